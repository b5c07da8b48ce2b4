"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

# Of a file that is being written; what ends so is nobody's to read.
PART = ".part"


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write ``path`` in one step, so that a reader never sees half of it, nor two writers' halves; returns it.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PART}")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return path

"""Imports that would take a second for a thing nobody asks for.

jsonschema, which nbformat and Altair load, imports the optional package ``rfc3987_syntax``, which compiles a grammar
for one second at import to check a format ("iri") that no notebook and no chart has. Its absence is a case that
jsonschema is made for; what imports it itself, before or afterwards, finds it as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OPTIONAL = "rfc3987_syntax"


@contextmanager
def hidden(name: str = OPTIONAL) -> Iterator[None]:
    """Let imports in the block go on as if ``name`` were not installed."""
    loaded, before = name in sys.modules, sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if loaded:
            sys.modules[name] = before  # type: ignore[assignment]
        else:
            del sys.modules[name]


def altair() -> Any:
    """Altair, loaded when the first chart is drawn: commands that draw none stay quick."""
    with hidden():
        import altair as loaded
    return loaded

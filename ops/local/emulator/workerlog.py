"""What a Lambda worker wrote to its standard error, taken without waiting.

A handler's output is in the pipe before its answer is, because it is written before. So when the answer has come, all
there is can be read at once, and neither a pause nor polling is needed to know that it is complete. Whoever reads
holds the lock: the thread that keeps the pipe from filling while the handler runs, or the one that wants the log.
"""

from __future__ import annotations

import os
import select
import threading
import time
from typing import IO, Any

_CHUNK_BYTES = 65_536
# The pipe holds 64 KB, and most handlers write less and answer sooner: a thread that woke at each line would cost the
# emulator more than the lines. A handler that writes more waits for this long, at worst.
_REST_S = 0.1


class StderrTap:
    """The standard error of one worker process. It holds its own descriptor, so that a closed one is never reused."""

    def __init__(self, stream: IO[Any]) -> None:
        self._descriptor = os.dup(stream.fileno())
        self._waiting, self._looking = self._new_poll(), self._new_poll()  # one may not be used by two threads at once
        self._lock = threading.Lock()
        self._text = bytearray()
        self._open = True

    def _new_poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return poll

    def keep_reading(self) -> None:
        """Read until the process closes its end, then give the descriptor back."""
        while self._open:
            self._waiting.poll()
            time.sleep(_REST_S)
            with self._lock:
                self._read_available()
        with self._lock:
            os.close(self._descriptor)

    def take(self) -> str:
        """Everything written since it was last taken."""
        with self._lock:
            self._read_available()
            text, self._text = self._text, bytearray()
        return text.decode(errors="replace").rstrip("\n")

    def _read_available(self) -> None:
        while self._open and self._looking.poll(0):
            chunk = os.read(self._descriptor, _CHUNK_BYTES)
            self._text += chunk
            self._open = bool(chunk)


def read(worker: Any) -> None:
    """Stands in for ``_read_stderr``: the thread of a worker process, from its start to its end."""
    worker.atoll_tap = StderrTap(worker._proc.stderr)
    worker.atoll_tap.keep_reading()


def take(worker: Any, first_line_wait: float = 0.0, idle_confirm: float = 0.0, hard_cap: float = 0.0) -> str:
    """Stands in for ``_drain_stderr`` and ``_drain_stderr_bounded``: there is nothing to wait for."""
    del first_line_wait, idle_confirm, hard_cap
    return str(worker.atoll_tap.take())

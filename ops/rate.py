"""No more than so many a second, shared by threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class TokenBucket:
    """Holds a tenth of a second's tokens, or one batch; whoever takes more than there are waits for its turn."""

    def __init__(self, per_s: float, *, least: int = 10, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._size = max(float(least), per_s / 10)
        self._tokens, self._at = self._size, clock()
        self._lock = threading.Lock()

    def reserve(self, count: int) -> float:
        """Take tokens, on credit where there are none; returns the seconds until they are there."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._size, self._tokens + (now - self._at) * self._per_s) - count
            self._at = now
            return max(0.0, -self._tokens / self._per_s)

    def take(self, count: int, stop: threading.Event) -> bool:
        """Wait for tokens; False when ``stop`` is set before they are there."""
        return not stop.wait(self.reserve(count))

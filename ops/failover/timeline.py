"""What happened when: phases, and what was seen in them, in UTC."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from ops.failover.measures import Phase

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Seen:
    """One line of the timeline; ``at`` in Unix seconds."""

    at: float
    phase: str
    what: str


class Timeline:
    """Phases one after another, and lines. Thread-safe; each line is said as it is noted."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.time) -> None:
        self._say, self._clock = progress, clock
        self._lock = threading.Lock()
        self._lines: list[Seen] = []
        self._phases: list[Phase] = []

    def now(self) -> float:
        return self._clock()

    def note(self, what: str, at: float | None = None) -> float:
        """Add a line, as of now or of ``at``; returns its time."""
        moment = self._clock() if at is None else at
        with self._lock:
            self._lines.append(Seen(moment, self._phases[-1].name if self._phases else "", what))
        self._say(f"{utc(moment)}  {what}")
        return moment

    def begin(self, phase: str, what: str = "") -> float:
        """End the phase under way and begin another."""
        moment = self._clock()
        with self._lock:
            self._end(moment)
            self._phases.append(Phase(phase, moment, None))
        return self.note(what or phase, moment)

    def end(self) -> None:
        """End the phase under way."""
        with self._lock:
            self._end(self._clock())

    def _end(self, moment: float) -> None:
        if self._phases and self._phases[-1].ended is None:
            last = self._phases[-1]
            self._phases[-1] = Phase(last.name, last.started, moment)

    @property
    def phases(self) -> list[Phase]:
        with self._lock:
            return list(self._phases)

    def frame(self) -> pd.DataFrame:
        """A row a line: when, seconds since the first, phase and what."""
        with self._lock:
            lines = sorted(self._lines, key=lambda line: line.at)
        first = lines[0].at if lines else 0.0
        rows = [(utc(line.at), f"+{line.at - first:.1f} s", line.phase, line.what) for line in lines]
        return pd.DataFrame(rows, columns=["time (UTC)", "since the start", "phase", "what"])


def utc(moment: float) -> str:
    """A time of day in UTC, to a tenth of a second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S.%f")[:10] + "Z"

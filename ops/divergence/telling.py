"""How far a scan is, in a line: items, rate, time left, and how much differs so far."""

from __future__ import annotations

from collections.abc import Callable

from ops.divergence.checkpoint import State
from ops.divergence.subtracting import Differences

EVERY_S = 2.0


class Teller:
    """Tells of one round.

    Args:
        before: items that were read before this round began.
        expected: items of all replicas together, as their descriptions have it; 0: nobody knows.
    """

    def __init__(
        self,
        progress: Callable[[str], None],
        state: State,
        differences: Differences,
        *,
        before: int,
        expected: int,
        clock: Callable[[], float],
    ) -> None:
        self._progress, self._state, self._differences, self._clock = progress, state, differences, clock
        self._before, self._expected = before, expected
        self._begun = self._told = clock()

    def tick(self, read: int) -> None:
        """Tell, if it is time. ``read``: items read in this round."""
        if self._clock() - self._told >= EVERY_S:
            self.tell(read)

    def tell(self, read: int) -> None:
        self._told = self._clock()
        spent_s = self._told - self._begun
        rate = read / spent_s if spent_s > 0 else 0.0
        total, again = self._before + read, " again" if self._state.round else ""
        wanted = self._state.segments if self._state.wanted is None else len(self._state.wanted)
        line = f"{total:,} items read{again}, {rate:,.0f}/s, {len(self._state.done):,} of {wanted:,} segments"
        if about := self._differences.about:
            line += f", about {about:,} elements differ so far"
        if not self._state.round and rate and self._expected > total:
            left = _time_text((self._expected - total) / rate)
            line += f"; {total / self._expected:.0%} of about {self._expected:,}, {left} left"
        self._progress(line)


def _time_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""A window cut into slices of whole minutes, each of them one EventBridge replay, and the names of those replays.

EventBridge replays minute after minute, so slices of whole minutes neither share an event nor leave one out. The name
of a slice's replay follows from the plan's token, so that a plan that is made again knows what it has finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ops.errors import UsageError
from ops.stage import Stage

# A slice is where a replay can pause and where it is taken up again: of so many events, as far as they are known.
EVENTS_PER_SLICE = 10_000
# As many as can be listed and watched in a few pages.
MAX_SLICES = 500
AUTOMATIC_SLICES = 100
# Half of what EventBridge allows in an account and region: others may have to replay as well.
AUTOMATIC_PARALLEL = 5


@dataclass(frozen=True)
class Slice:
    """One part of the window: from ``start`` up to, and without, ``end``. The first has number 1."""

    number: int
    start: datetime
    end: datetime

    @property
    def minutes(self) -> int:
        return int((self.end - self.start).total_seconds() // 60)


def cut(start: datetime, end: datetime, minutes: int) -> list[Slice]:
    """The window in slices of ``minutes``, of which the last may be shorter.

    Raises:
        UsageError: ``minutes`` is less than one, or it makes more slices than can be followed.
    """
    if minutes < 1:
        raise UsageError(f"slice_minutes: {minutes} is no length; accepted: 1 and more, or 0 to have it chosen")
    step = timedelta(minutes=minutes)
    count = -(-(end - start) // step)
    if count > MAX_SLICES:
        least = -(-(end - start) // (timedelta(minutes=1) * MAX_SLICES))
        raise UsageError(f"slice_minutes: {minutes} makes {count:,} slices of this window; accepted: {least} and more")
    return [Slice(n + 1, start + n * step, min(start + (n + 1) * step, end)) for n in range(count)]


def choose_minutes(window: tuple[datetime, datetime], events: int | None) -> int:
    """Minutes a slice, for a window in which this many events are known of; None: nothing is known."""
    whole = max(1, int((window[1] - window[0]).total_seconds() // 60))
    if events is None:
        # An hour is a bearable step to repeat.
        return max(min(whole, 60), -(-whole // AUTOMATIC_SLICES))
    wanted = min(max(1, -(-events // EVENTS_PER_SLICE)), AUTOMATIC_SLICES)
    return -(-whole // wanted)


def choose_parallel(slices: int, running: int, limit: int) -> int:
    """How many slices at a time, while ``running`` other replays take part of the ``limit``."""
    return max(1, min(slices, AUTOMATIC_PARALLEL, limit - running))


def name_prefix(stage: Stage, token: str) -> str:
    """What the names of all replays of a plan begin with."""
    return f"{stage.prefix}-{token}-"


def replay_name(stage: Stage, token: str, number: int, attempt: int = 1) -> str:
    """The replay of a slice; a later attempt takes up what an earlier one left. EventBridge allows 64 characters."""
    return f"{name_prefix(stage, token)}{number:03d}" + (f"-{attempt}" if attempt > 1 else "")

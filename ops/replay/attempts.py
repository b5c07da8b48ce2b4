"""How far the slices of a plan have come, read from EventBridge's own list of replays: no memory of ours is needed.

A slice is replayed by one attempt at a time. What always holds: a slice that completed is not attempted again; one that
was cancelled or failed goes on from the minute of the last event that it had replayed, since EventBridge replays minute
after minute and in no order within one.
https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_StartReplay.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ops.replay.slices import Slice

ACTIVE = ("STARTING", "RUNNING", "CANCELLING")
WAITING, COMPLETED = "WAITING", "COMPLETED"
MINUTE = timedelta(minutes=1)
_NAME = re.compile(r".*-[0-9a-f]{16}-(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class Attempt:
    """One EventBridge replay of a slice. ``last`` is the time of the last event replayed."""

    name: str
    number: int
    attempt: int
    state: str
    start: datetime
    end: datetime
    last: datetime | None = None
    reason: str = ""


def numbers_of(name: str) -> tuple[int, int]:
    """Slice and attempt in a replay's name.

    Raises:
        ValueError: it is no name of a slice's replay.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is no replay of a slice")
    return int(found[1]), int(found[2] or 1)


def read(replay: Mapping[str, Any]) -> Attempt:
    """One entry of ListReplays."""
    number, attempt = numbers_of(replay["ReplayName"])
    last = replay.get("EventLastReplayedTime")
    return Attempt(
        name=replay["ReplayName"],
        number=number,
        attempt=attempt,
        state=replay["State"],
        start=replay["EventStartTime"].astimezone(UTC),
        end=replay["EventEndTime"].astimezone(UTC),
        last=last.astimezone(UTC) if last else None,
        reason=replay.get("StateReason", ""),
    )


class Course:
    """The slices of a plan, and the latest attempt of each."""

    def __init__(self, slices: Sequence[Slice], attempts: Iterable[Attempt] = ()) -> None:
        self.slices = list(slices)
        self.latest: dict[int, Attempt] = {}
        self.update(attempts)

    def update(self, attempts: Iterable[Attempt]) -> None:
        for one in attempts:
            known = self.latest.get(one.number)
            if known is None or one.attempt >= known.attempt:
                self.latest[one.number] = one

    def state(self, number: int) -> str:
        return self.latest[number].state if number in self.latest else WAITING

    @property
    def active(self) -> list[Attempt]:
        return [one for one in self.latest.values() if one.state in ACTIVE]

    @property
    def done(self) -> bool:
        return all(self.state(one.number) == COMPLETED for one in self.slices)

    @property
    def to_start(self) -> list[Slice]:
        """The slices that no attempt replays and none has completed, in order."""
        return [one for one in self.slices if self.state(one.number) not in (*ACTIVE, COMPLETED)]

    def next_attempt(self, number: int) -> int:
        return self.latest[number].attempt + 1 if number in self.latest else 1

    def begin(self, one: Slice) -> datetime:
        """From where on the next attempt of a slice replays."""
        if one.number not in self.latest:
            return one.start
        latest = self.latest[one.number]
        reached = latest.last.replace(second=0, microsecond=0) if latest.last else latest.start
        return min(max(reached, one.start), one.end - MINUTE)

    def reached(self, one: Slice) -> datetime:
        """Up to which event time a slice has been replayed."""
        if self.state(one.number) == COMPLETED:
            return one.end
        latest = self.latest.get(one.number)
        return one.start if latest is None else min(max(latest.last or latest.start, one.start), one.end)

    @property
    def share(self) -> float:
        """Of the window's time that was replayed, 0 to 1."""
        whole = sum((one.end - one.start).total_seconds() for one in self.slices)
        return sum((self.reached(one) - one.start).total_seconds() for one in self.slices) / whole if whole else 1.0

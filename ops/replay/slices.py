"""The slices of a window, and the names of their replays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ops.stage import Stage


@dataclass(frozen=True)
class Slice:
    """A part of the window in whole minutes, replayed by one EventBridge replay at a time."""

    number: int
    start: datetime
    end: datetime


def cut(start: datetime, end: datetime, minutes: int) -> list[Slice]:
    """The window in slices of so many minutes, the last one maybe shorter."""
    found: list[Slice] = []
    while start < end:
        until = min(end, start + timedelta(minutes=minutes))
        found.append(Slice(len(found) + 1, start, until))
        start = until
    return found


def name_prefix(stage: Stage, token: str) -> str:
    """What the names of all replays of a plan begin with."""
    return f"{stage.prefix}-{token}-"


def replay_name(stage: Stage, token: str, number: int, attempt: int = 1) -> str:
    """The replay of a slice (EventBridge allows 64 characters)."""
    return f"{name_prefix(stage, token)}{number:03d}" + (f"-{attempt}" if attempt > 1 else "")

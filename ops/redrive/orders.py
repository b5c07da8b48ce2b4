"""What a pass over a dead-letter queue is to do, and the count of what it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from ops.bucket import Place
from ops.redrive.choice import Choice

HIDDEN_S = 60
WORKERS = 16

Second = Literal["quarantine", "leave", "redrive"]


@dataclass(frozen=True)
class Orders:
    """What to do with a queue's messages. ``limit``: to move at most, None for all. ``ours``: request ids of earlier
    redrives' invocations, whose failures are second ones."""

    choice: Choice
    second: Second
    place: Place
    rate_per_s: int
    limit: int | None = None
    ours: frozenset[str] = frozenset()

    @property
    def hidden_s(self) -> int:
        """How long a message stays hidden: the slower it goes, the longer those in hand wait for their turn."""
        return HIDDEN_S + 120 // self.rate_per_s

    @property
    def threads(self) -> int:
        """As many of each kind as the rate keeps busy."""
        return max(1, min(WORKERS, self.rate_per_s // 25))


@dataclass
class Tally:
    """What became of the messages of a pass so far.

    Attributes
    ----------
    passed_over, left
        Not chosen; chosen, and left because it failed before.
    undelivered, untargeted
        Chosen and still on the queue, by reason.
    undeleted
        Delivered or kept, and still on the queue: it will be delivered again.
    """

    seen: int = 0
    moved: int = 0
    quarantined: int = 0
    passed_over: int = 0
    left: int = 0
    undeleted: int = 0
    incomplete: str = ""
    undelivered: Counter[str] = field(default_factory=Counter)
    untargeted: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("seen", "moved", "quarantined", "passed_over", "left")}
        return counts | {
            "undelivered": dict(self.undelivered),
            "untargeted": dict(self.untargeted),
            "undeleted": self.undeleted,
            "incomplete": self.incomplete,
        }

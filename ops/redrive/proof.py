"""The proof after a redrive: each event that was moved is in every region's table and counted there exactly once, or is
named, with where it came back to and why.

What always holds: nothing is written; the wait is bounded; keys are asked in portions, so that memory does not grow
with what the items hold; a region that gives no answer is named and proves nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from ops import arrival, effects
from ops.aws import NO_ANSWER, Cloud, explained
from ops.fanout import each
from ops.queues import depths
from ops.record import Check
from ops.redrive import queues, receiving

PORTION = 2_000
PAUSE_S = 1.0
# Looks without progress after which the DLQs are searched for what is missing.
STILL = (3, 10, 30, 100)
SHOWN = 10
KEPT = 1_000
KINDS = ("missing", "uncounted", "doubled")
# What the item of an event says of where it counts.
_PROJECTION = {"ProjectionExpression": "event_key, tenant, #time", "ExpressionAttributeNames": {"#time": "time"}}


@dataclass(frozen=True)
class Back:
    """An event that is in a DLQ once more."""

    event_key: str
    region: str
    queue: str
    error_code: str
    error_message: str
    redrives: int


@dataclass(frozen=True)
class Proof:
    """``missing``, ``uncounted`` and ``doubled``: region -> keys whose item, whose effect its replica lacks, or which
    count twice there; of each at most ``KEPT``, and ``counts`` has them all. ``silent``: regions without an answer."""

    keys: int
    regions: tuple[str, ...]
    silent: tuple[str, ...]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    missing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    uncounted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    doubled: dict[str, tuple[str, ...]] = field(default_factory=dict)
    back: tuple[Back, ...] = ()
    waited_s: float = 0.0

    @property
    def whole(self) -> bool:
        return not any(any(counts.values()) for counts in self.counts.values())

    def frame(self) -> pd.DataFrame:
        """Events that came back, with their new reason."""
        rows = [(b.region, b.queue, b.event_key, b.error_code, b.error_message, b.redrives) for b in self.back]
        columns = ["region", "queue", "event_key", "error_code", "error_message", "redrives"]
        return pd.DataFrame(rows, columns=columns)

    def figures(self) -> dict[str, Any]:
        worst = {name: max((counts[name] for counts in self.counts.values()), default=0) for name in KINDS}
        return {"proved": self.keys, **worst, "came_back": len(self.back), "proof_s": round(self.waited_s, 2)}

    def checks(self) -> list[Check]:
        if not self.keys:
            return [Check("proof", True, "nothing that was moved is an event with a key: there is nothing to look for")]
        unread = f"; no answer, so not looked at: {', '.join(self.silent)}" if self.silent else ""
        where = ", ".join(self.regions) or "no region"
        made = [
            Check(name, not any(found.values()), self._said(found, kind, f"{self.keys:,} events, {where}") + unread)
            for name, kind, found in (
                ("moved events are in every table", "missing", self.missing),
                ("moved events count in every table", "uncounted", self.uncounted),
                ("no moved event counts twice", "doubled", self.doubled),
            )
        ]
        made[0] = Check(made[0].name, made[0].ok and bool(self.regions), made[0].detail)
        shown = "; ".join(f"{one.event_key} in {one.queue} ({one.error_code})" for one in self.back[:SHOWN])
        more = f" and {len(self.back) - SHOWN:,} more" if len(self.back) > SHOWN else ""
        return [*made, Check("no moved event came back to a DLQ", not self.back, f"{shown}{more}" or "none")]

    def _said(self, found: dict[str, tuple[str, ...]], kind: str, fine: str) -> str:
        parts = [
            f"{region}: {self.counts[region][kind]:,} {kind} ({', '.join(keys[:SHOWN])}"
            f"{', ...' if self.counts[region][kind] > SHOWN else ''})"
            for region, keys in found.items()
            if keys
        ]
        return "; ".join(parts) or fine


def prove(
    cloud: Cloud,
    redriven_keys: Iterable[tuple[str, str]],
    *,
    deadline_s: float = 300,
    progress: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Proof:
    """Wait until every event is where it should be, in vain ones excepted: those that are in a DLQ again.

    Args:
        redriven_keys: ``(event key, region)`` of what was moved.

    Raises:
        OpsError: a table or a DLQ could not be read.
    """
    begun, keys = clock(), sorted({key for key, _ in redriven_keys})
    silent = [region for region in cloud.stage.regions if keys and not _answers(cloud, region)]
    living = [region for region in cloud.stage.regions if region not in silent]
    open_ = {region: _Open(tuple(keys), (), ()) for region in living}
    back: dict[tuple[str, str, str], Back] = {}
    shown, still = -1, 0
    while keys and living:
        looked = each(open_.items(), lambda one: _look(cloud, one[0], one[1]))
        open_ = {region: found for (region, _), found in looked.items()}
        left = {key for found in open_.values() for key in found.keys}
        still = 0 if len(left) != shown else still + 1
        if not still:
            progress(f"{len(keys) - len(left):,} of {len(keys):,} moved events are in every table and counted")
            shown = len(left)
        over = clock() - begun >= deadline_s
        # Replication takes a moment, and a look into the DLQs hides their messages.
        if left and (over or (still in STILL and _queued(cloud, living) == 0)):
            back |= _came_back(cloud, living, left)
            if {one.event_key for one in back.values()} >= left:
                break
        if not left or over:
            break
        sleep(PAUSE_S)
    parts: dict[str, dict[str, tuple[str, ...]]] = {
        kind: {region: getattr(found, kind) for region, found in open_.items()} for kind in KINDS
    }
    return Proof(
        keys=len(keys),
        regions=tuple(living),
        silent=tuple(silent),
        counts={region: {kind: len(parts[kind][region]) for kind in KINDS} for region in living},
        **{kind: {region: held[:KEPT] for region, held in part.items()} for kind, part in parts.items()},
        back=tuple(back.values()),
        waited_s=clock() - begun,
    )


@dataclass(frozen=True)
class _Open:
    """Of one replica: the keys without item, those without effect, and those with more than one."""

    missing: tuple[str, ...]
    uncounted: tuple[str, ...]
    doubled: tuple[str, ...]

    @property
    def keys(self) -> list[str]:
        """What is to be asked again; what counts twice will not count once again."""
        return sorted({*self.missing, *self.uncounted})


def _look(cloud: Cloud, region: str, before: _Open) -> _Open:
    keys, missing, uncounted, twice = before.keys, list[str](), list[str](), list(before.doubled)
    for start in range(0, len(keys), PORTION):
        portion = keys[start : start + PORTION]
        items = arrival.items(cloud, region, portion, **_PROJECTION)
        missing += [key for key in portion if key not in items]
        events = {key: (item["tenant"]["S"], _time(item)) for key, item in items.items()}
        counted = effects.of_events(cloud, region, events)
        uncounted += [key for key in events if key not in counted]
        twice += [key for key, held in counted.items() if len(held) > 1]
    return _Open(tuple(missing), tuple(uncounted), tuple(twice))


def _time(item: Any) -> datetime | None:
    """When the event happened, as it says itself."""
    text = item.get("time", {}).get("S")
    if text is None:
        return None
    moment = datetime.fromisoformat(text.upper())
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _queued(cloud: Cloud, regions: Sequence[str]) -> int:
    return sum(depth.total for depth in depths(cloud, regions) if not depth.dlq)


def _came_back(cloud: Cloud, regions: Sequence[str], keys: set[str]) -> dict[tuple[str, str, str], Back]:
    """Those of the keys that are in a DLQ now. Its messages are hidden for the length of the look."""
    found = {}
    with explained("looking into the dead-letter queues"):
        for queue in queues.find(cloud, regions):
            if not queue.depth:
                continue
            for letter in _letters(cloud, queue):
                if letter.event_key in keys:
                    one = Back(
                        str(letter.event_key),
                        letter.region,
                        letter.queue,
                        letter.error_code,
                        letter.error_message,
                        letter.redrives,
                    )
                    found[one.region, one.queue, one.event_key] = one
    return found


def _letters(cloud: Cloud, queue: queues.DeadLetterQueue) -> Iterator[Any]:
    receipts: list[str] = []
    try:
        for letters in receiving.stream(cloud, queue, hidden_s=60, limit=0, stop=threading.Event()):
            receipts += [letter.receipt for letter in letters]
            yield from letters
    finally:
        receiving.release(cloud, queue, receipts)


def _answers(cloud: Cloud, region: str) -> bool:
    try:
        cloud.client("dynamodb", region).describe_table(TableName=cloud.stage.table_name)
    except NO_ANSWER:
        return False
    return True

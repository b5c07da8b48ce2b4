"""After a repair: the touched keys alone, read strongly in every replica until they are as planned, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ops.aws import Cloud, explained
from ops.divergence.naming import shown
from ops.divergence.repair.orders import digest
from ops.divergence.repair.outcome import Repaired
from ops.divergence.rereading import strongly
from ops.record import Check

DEADLINE_S, PAUSE_S = 30.0, 0.5
NAMED = 5


@dataclass(frozen=True)
class Proof:
    """What the touched keys are. ``wrong``: those that are not as planned in some replica, with where."""

    table: str
    keys: int
    wrong: tuple[str, ...]
    waited_s: float

    def checks(self) -> list[Check]:
        more = f"; and {len(self.wrong) - NAMED:,} more" if len(self.wrong) > NAMED else ""
        right = f"{self.keys - len(self.wrong):,} of {self.keys:,} touched items are as planned in every replica"
        named = f"; not so: {'; '.join(self.wrong[:NAMED])}{more}" if self.wrong else ""
        return [Check(f"repaired items of {self.table}", not self.wrong, right + named)]


def prove(
    cloud: Cloud,
    repaired: Repaired,
    *,
    deadline_s: float = DEADLINE_S,
    progress: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Proof:
    """Look until replication has brought everything, or the deadline is over; reads only.

    Raises:
        OpsError: a table could not be read.
    """
    work, begun = repaired.work, clock()
    labels = [one.label for one in work.replicas]
    open_ = {one.packed: one for one in repaired.mended}
    total, wrong = len(open_), dict[bytes, str]()
    # Bounded by the clock, and by count in case it stands still.
    for _ in range(int(deadline_s / PAUSE_S) + 1):
        wrong = {}
        with explained("reading the repaired items"):
            for key, images in strongly(cloud, work.replicas, work.schema, list(open_), sleep=sleep):
                held = {label: digest(image) for label, image in zip(labels, images, strict=True)}
                off = [label for label in labels if held[label] != open_[key].wanted[label]]
                if off:
                    wrong[key] = f"{shown(key, work.schema.names)} in {', '.join(off)}"
        progress(f"{total - len(wrong):,} of {total:,} touched items are as planned in every replica")
        open_ = {key: open_[key] for key in wrong}
        if not wrong or clock() - begun >= deadline_s:
            break
        sleep(PAUSE_S)
    return Proof(work.table, total, tuple(wrong.values()), clock() - begun)

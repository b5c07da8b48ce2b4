"""Sampling: how many items may differ, from a few slices of the table read in every replica.

Slices are drawn at random, without replacement, and read strongly everywhere (:mod:`ops.divergence.slices`); what is
unlike is a suspect, which the verdict reads again as it does for every other mode. Drawing goes on until the bound
that was asked for is reached, or cannot be; the bound holds wherever it stops (:mod:`ops.divergence.statistics`). What
always holds: nothing is written; little more is read than was said beforehand; a sample proves that *few* items differ,
never that none does. A slice counts with the items up to a limit, settled by the first slices: a partition key that
holds more items than that is beyond a sample, which is said.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ops.aws import Cloud, explained
from ops.divergence import statistics
from ops.divergence.concluding import Conclusion, Looked, conclusion
from ops.divergence.designing import TRIAL, Design, settle_limit
from ops.divergence.replicas import Described, Replica, Schema
from ops.divergence.slices import Slice, Slicer
from ops.divergence.survey import Side, Survey

WORKERS = 16
# The bound is looked at each time that so much more was read.
STEP, SMALLEST_STEP = 0.1, 64

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Sampled:
    """A sample of one table. ``survey`` has the suspects; the bound is that of the suspects until they were judged.

    Attributes
    ----------
    slices
        In the order drawn.
    looked
        What the bound was as the sample grew.
    stopped
        Why no more was read.
    """

    survey: Survey
    design: Design
    limit: int
    slices: tuple[Slice, ...]
    looked: tuple[Looked, ...]
    stopped: str
    seed: int

    @property
    def bound_per_million(self) -> float:
        """As if every suspect were a difference."""
        return self.looked[-1].bound_per_million

    def conclude(self, confirmed: Collection[bytes]) -> Conclusion:
        """What the sample says, once it is known which of its suspects truly differ (packed keys)."""
        return conclusion(
            self.slices,
            self.design,
            frozenset(confirmed),
            limit=self.limit,
            looked=self.looked,
            stopped=self.stopped,
        )


def conclude(sampled: Sampled, confirmed_keys: Collection[bytes]) -> Conclusion:
    """:meth:`Sampled.conclude`."""
    return sampled.conclude(confirmed_keys)


def sample(
    cloud: Cloud,
    replicas: Sequence[Replica],
    schema: Schema,
    described: Mapping[Replica, Described],
    *,
    per_million: float = 1000.0,
    seed: int = 0,
    max_read_units: float = 0.0,
    read_units_per_s: float = 0.0,
    settle_s: float = 1.0,
    ignore: Collection[str] = (),
    only: Collection[str] | None = None,
    workers: int = WORKERS,
    progress: Progress = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> Sampled:
    """Read slices until fewer than ``per_million`` items in a million can differ, with 95 % confidence; reads only.

    Args:
        seed: draws the same slices again; 0: others each time, by a seed that the figures tell.
        max_read_units: no slice is begun beyond so many, in any one replica; 0: what the design says.
        read_units_per_s: of each replica, on average; 0: as fast as the table answers.
        settle_s: after which suspects are read once more, so that what was on its way does not end the sample.

    Raises:
        UsageError: a number is out of range.
        OpsError: a table could not be read.
    """
    made = Design.of(described, per_million=per_million, max_read_units=max_read_units)
    if advice := made.advice():
        progress(advice)
    chosen = seed or secrets.randbelow(2**32) + 1
    slicer = Slicer(cloud, replicas, schema, made.total, ignore=ignore, only=only, sleep=sleep)
    begun, started = now(), clock()
    run = _Run(
        slicer,
        made,
        random.Random(chosen),  # noqa: S311 drawn to be repeatable, not to be secret
        settle_s=settle_s,
        read_units_per_s=read_units_per_s,
        progress=progress,
        clock=clock,
        sleep=sleep,
    )
    with (
        explained(f"sampling {', '.join(one.label for one in replicas)}"),
        ThreadPoolExecutor(max_workers=workers, thread_name_prefix="atoll-sample") as pool,
    ):
        run.draw(pool)
    duration_s = clock() - started
    sides = tuple(
        Side(
            replica.label, tally.items, tally.size_bytes, tally.pages, tally.read_units, str(tally.checksum), duration_s
        )
        for replica, tally in zip(slicer.replicas, slicer.tallies, strict=True)
    )
    suspects = tuple({one.key: one for found in run.slices for one in found.suspects}.values())
    figures = {
        "slices": made.total,
        "slices_read": len(run.slices),
        "items_read": sum(one.items for one in run.slices),
        "seed": chosen,
        "healed": run.healed,
    }
    survey = Survey("sample", sides, suspects, begun, duration_s, "reference", figures)
    return Sampled(survey, made, run.limit, tuple(run.slices), tuple(run.looked), run.stopped, chosen)


@dataclass
class _Run:
    """One sample as it grows."""

    slicer: Slicer
    design: Design
    random: random.Random
    settle_s: float
    read_units_per_s: float
    progress: Progress
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    slices: list[Slice] = field(default_factory=list)
    looked: list[Looked] = field(default_factory=list)
    limit: int = 0
    healed: int = 0
    stopped: str = ""

    def draw(self, pool: ThreadPoolExecutor) -> None:
        design, started = self.design, self.clock()
        numbers = self.random.sample(range(design.total), design.total)
        self._take(numbers[: min(TRIAL, design.total)], design.largest_slice, pool)
        self.limit = settle_limit([one.items for one in self.slices])
        self._look()
        while not self.stopped:
            step = max(SMALLEST_STEP, round(STEP * len(self.slices)))
            self._take(self._affordable(numbers[len(self.slices) : len(self.slices) + step]), self.limit, pool)
            self._look()
            self._pace(started)

    def _take(self, numbers: Sequence[int], limit: int, pool: ThreadPoolExecutor) -> None:
        self.slices += self._settled(self.slicer.read(numbers, limit, pool))

    def _settled(self, read: list[Slice]) -> list[Slice]:
        """The slices without the suspects that the replicas agree on a little later."""
        suspects = [one for found in read for one in found.suspects]
        if not suspects:
            return read
        self.sleep(self.settle_s)
        again = self.slicer.again(suspects)
        self.healed += sum(1 for one in again.values() if one is None)
        return [
            Slice(
                one.number,
                one.items,
                tuple(kept for key in one.suspects if (kept := again.get(key.key)) is not None),
                one.beyond,
            )
            for one in read
        ]

    def _affordable(self, numbers: Sequence[int]) -> Sequence[int]:
        """As many of them as the read units that are left will do for, going by those read so far."""
        used = max(tally.read_units for tally in self.slicer.tallies)
        each = max(used / len(self.slices), 1e-9)
        return numbers[: max(1, int((self.design.max_read_units - used) / each))]

    def _look(self) -> None:
        """Hold what was read against what was asked, and know whether to go on."""
        design = self.design
        drawn = statistics.Slices(
            design.total,
            [min(one.items, self.limit) for one in self.slices],
            [min(len(one.suspects), one.items, self.limit) for one in self.slices],
            self.limit,
            trial=min(TRIAL, len(self.slices)),
        )
        bound = 1e6 * statistics.upper_bound(drawn)
        used = max(tally.read_units for tally in self.slicer.tallies)
        items, unlike = sum(drawn.items), sum(drawn.differing)
        self.looked.append(Looked(drawn.read, items, unlike, bound, used))
        self.progress(
            f"{drawn.read:,} of {design.total:,} slices, {items:,} items, {unlike:,} unlike: "
            f"fewer than {bound:,.0f} per million"
        )
        if drawn.complete:
            self.stopped = "every slice was read"
        elif bound <= design.per_million:
            self.stopped = "the bound asked for is reached"
        elif 1e6 * statistics.lower_bound(drawn) > design.per_million:
            self.stopped = "more items seem to differ than the bound asked for: reading on cannot reach it"
        elif used >= design.max_read_units:
            self.stopped = f"{used:,.0f} read units were used in one replica, of {design.max_read_units:,.0f} at most"

    def _pace(self, started: float) -> None:
        """Wait until the units used are what the rate allows for the time that went by."""
        if self.read_units_per_s:
            used = max(tally.read_units for tally in self.slicer.tallies)
            self.sleep(max(0.0, used / self.read_units_per_s - (self.clock() - started)))


__all__ = ["Conclusion", "Design", "Sampled", "conclude", "sample"]

"""The design of a sample: how finely a table is cut, and what reading enough slices of it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.divergence import statistics
from ops.divergence.replicas import Described, Replica
from ops.divergence.slices import MAX_SLICES
from ops.errors import UsageError
from ops.prices import READ_REQUEST_UNIT_USD

if TYPE_CHECKING:
    import pandas as pd

# Items of a slice, on average: about what a read unit of 4 KB holds, so that little is paid for and not used, and so
# many that the largest slice is not many times as large as the others.
ITEMS_A_SLICE = 10
# Slices by which the limit is settled.
TRIAL = 100
# The limit leaves so little of what the trial read beyond it, and is larger than that by so many standard deviations of
# a random count, so that few of the slices that follow are larger.
BEYOND, HEADROOM = 0.01, 2.0
SMALLEST_LIMIT = 4
# Of a slice of the trial no more is read: a partition key that has more is no matter for a sample.
LARGEST_SLICE = 10_000
# Differences make a sample longer than one without any.
PATIENCE = 4
UNIT_BYTES = 4096
# Of 16 workers when an answer takes 40 ms, most of it on the way to a far region. A slice is a request a replica.
REQUESTS_PER_S = 400


@dataclass(frozen=True)
class Design:
    """How a sample is drawn, from what the tables tell of themselves.

    Attributes
    ----------
    total
        Slices that each replica is cut into.
    mean_items, units_a_slice
        Expected of a slice, in one replica.
    needed
        Slices that reach the bound if no item of them differs.
    max_read_units
        Of each replica, beyond which no slice is begun.
    """

    total: int
    mean_items: float
    units_a_slice: float
    needed: int
    per_million: float
    max_read_units: float
    replicas: int
    items: int

    @classmethod
    def of(cls, described: Mapping[Replica, Described], *, per_million: float, max_read_units: float = 0.0) -> Design:
        """The design for these tables.

        Raises:
            UsageError: a number is out of range.
        """
        if not 0 < per_million < 1_000_000:
            raise UsageError(f"per_million: more than 0 and less than 1,000,000, is {per_million:g}")
        if max_read_units < 0:
            raise UsageError(f"max_read_units: 0 or more, is {max_read_units:g}")
        largest = max(described.values(), key=lambda one: one.items)
        total = min(MAX_SLICES, max(1, round(largest.items / ITEMS_A_SLICE)))
        mean = largest.items / total
        # A strong read of up to 4 KB is a unit, of an empty slice too.
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
        units = max(1.0, math.ceil(largest.size_bytes / total / UNIT_BYTES))
        limit = settle_limit([math.ceil(mean + 2.5 * math.sqrt(mean))])
        needed = min(total, TRIAL + statistics.slices_needed(per_million / 1e6, max(mean, 0.1), limit))
        return cls(
            total=total,
            mean_items=mean,
            units_a_slice=units,
            needed=needed,
            per_million=per_million,
            max_read_units=max_read_units or PATIENCE * needed * units,
            replicas=len(described),
            items=largest.items,
        )

    @property
    def largest_slice(self) -> int:
        """Items of a slice that are read before its limit is settled; all of a table that is one slice."""
        return LARGEST_SLICE if self.total > 1 else max(LARGEST_SLICE, 2 * self.items)

    def frame(self) -> pd.DataFrame:
        """A row: what a sample without differences reads, and the most that one reads."""
        import pandas as pd

        most = min(self.max_read_units, self.total * self.units_a_slice)
        rows = []
        for what, units in (("if no item differs", self.needed * self.units_a_slice), ("at the most", most)):
            slices = units / self.units_a_slice
            requests = slices * self.replicas
            rows.append(
                (
                    what,
                    round(slices),
                    self.total,
                    round(slices * self.mean_items),
                    round(units * self.replicas),
                    requests / REQUESTS_PER_S / 60,
                    units * self.replicas * READ_REQUEST_UNIT_USD,
                )
            )
        columns = ["reads", "slices", "of slices", "items", "read units", "duration_min", "cost_usd"]
        return pd.DataFrame(rows, columns=columns)

    def advice(self) -> str:
        """What to do in its place, where a sample is not the way; else empty."""
        if self.needed < 0.5 * self.total:
            return ""
        share = self.needed / self.total
        return (
            f"so small a share of {self.items:,} items takes {share:.0%} of the slices to bound, and strong reads of "
            "slices cost twice what a scan does: run mode scan, which names every difference"
        )


def settle_limit(items: Sequence[int]) -> int:
    """The most items that a slice counts with, from those of the trial."""
    ordered, total = sorted(items), sum(items)
    # Read up to the limit, the slices hold all but a hundredth of what they hold.
    held, before = 0, 0
    for place, size in enumerate(ordered):
        held += (size - before) * (len(ordered) - place)
        before = size
        if held >= (1 - BEYOND) * total:
            return max(SMALLEST_LIMIT, math.ceil(size + HEADROOM * math.sqrt(size)))
    return SMALLEST_LIMIT

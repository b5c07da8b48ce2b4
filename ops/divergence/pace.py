"""How fast a scan reads and when it stops, as an operator asks for it, and how large its parts are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ops.divergence.budget import Budget, default_units_per_s
from ops.divergence.replicas import Described, Replica
from ops.errors import UsageError
from sketch import Layout, Sketch

# So many that the differences of a segment usually fit its sketch.
SEGMENT_ITEMS = 100_000
SMALL_SEGMENT_ITEMS = 2_500
# Of Scan itself. https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html
MOST_SEGMENTS = 1_000_000
MOST_WORKERS = 64
# Enough for some 350 changed items a segment; a worker holds one such sketch a replica.
CELLS = 1_023
# Of the sketches of all workers, when they have to be larger.
MEMORY_BYTES = 48 << 20


@dataclass(frozen=True)
class Pace:
    """How fast to read, and when to stop.

    Attributes
    ----------
    segments
        How many to cut each replica into; 0: by its items.
    read_units_per_s
        Of each replica; 0: a share of what it has (``budget``).
    max_latency_ms
        Stop when one in twenty pages of a replica takes longer; 0: any.
    max_throttles
        Stop when a replica throttles more requests within a minute; 0: any number.
    """

    segments: int = 0
    read_units_per_s: float = 0
    max_latency_ms: float = 0
    max_throttles: int = 200
    workers: int = 16

    def __post_init__(self) -> None:
        for name, least, most in (("segments", 0, MOST_SEGMENTS), ("workers", 1, MOST_WORKERS)):
            if not least <= getattr(self, name) <= most:
                raise UsageError(f"{name}: {getattr(self, name)} is not between {least} and {most:,}")
        for name in ("read_units_per_s", "max_latency_ms", "max_throttles"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"{name}: {value} is no number of 0 or more")


def budget_for(
    replica: Replica,
    described: Described | None,
    pace: Pace,
    clock: Callable[[], float],
    progress: Callable[[str], None],
) -> Budget:
    """The budget of a replica, which is told with where it comes from."""
    units, why = pace.read_units_per_s, "as asked"
    if not units:
        units, why = default_units_per_s(described.raw if described else {})
    progress(f"{replica.label}: at most {units:,.0f} read units per second, {why}")
    return Budget(
        replica.label,
        units,
        max_latency_ms=pace.max_latency_ms,
        max_throttles=pace.max_throttles,
        clock=clock,
    )


def segments_for(items: int, workers: int = 16) -> int:
    """How many segments suit a table: each small enough for its sketch, and one for each worker unless it is small."""
    by_sketch = -(-items // SEGMENT_ITEMS)
    by_worker = min(workers, max(4, -(-items // SMALL_SEGMENT_ITEMS)))
    return min(max(by_sketch, by_worker), MOST_SEGMENTS)


def workers_for(cells: int, replicas: int, pace: Pace) -> int:
    """How many workers have room for sketches of this size: each holds one a replica, and as much to subtract."""
    cell_bytes = len(Sketch(Layout(("key",), cells=CELLS)).to_bytes()) / CELLS
    return min(pace.workers, int(MEMORY_BYTES / (2 * replicas * cells * cell_bytes)))

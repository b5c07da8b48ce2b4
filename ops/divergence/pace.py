"""How fast a scan reads and when it stops, as an operator asks for it, and into how many segments it cuts a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ops.errors import UsageError

# So many that the differences of a segment usually fit its sketch.
SEGMENT_ITEMS = 150_000
SMALL_SEGMENT_ITEMS = 2_500
# Of Scan itself. https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html
MOST_SEGMENTS = 1_000_000
MOST_WORKERS = 64


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


def segments_for(items: int, workers: int = 16) -> int:
    """How many segments suit a table: each small enough for its sketch, and one for each worker unless it is small."""
    by_sketch = -(-items // SEGMENT_ITEMS)
    by_worker = min(workers, max(4, -(-items // SMALL_SEGMENT_ITEMS)))
    return min(max(by_sketch, by_worker), MOST_SEGMENTS)

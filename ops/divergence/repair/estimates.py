"""What a repair takes: writes, capacity, minutes and dollars, before the first of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ops.divergence.repair.orders import Work
from ops.prices import READ_REQUEST_UNIT_USD, WRITE_REQUEST_UNIT_USD

# Each write is preceded by a strong read of all replicas; each key is read once for its image and once for the proof.
READS_BESIDES = 2
_WRITE_UNIT_BYTES, _READ_UNIT_BYTES = 1024, 4096


def estimates(work: Work, sizes: Mapping[str, int], rate_per_s: float, *, aside: int) -> dict[str, Any]:
    """Figures of a plan, at the most: where one write reaches several replicas, the others need none."""
    writes = sum(len(one.touched) for one in work.orders)
    reached = {label: 1 + sum(1 for source, _ in work.linked if source == label) for label in _labels(work)}
    write_units = sum(
        math.ceil(max(1, sizes.get(one.key, 1)) / _WRITE_UNIT_BYTES) * reached[label]
        for one in work.orders
        for label in one.touched
    )
    read_units = sum(
        math.ceil(max(1, sizes.get(one.key, 1)) / _READ_UNIT_BYTES)
        * len(work.replicas)
        * (READS_BESIDES + len(one.touched))
        for one in work.orders
    )
    return {
        "items": len(work.orders),
        "left_alone": aside,
        "writes": writes,
        "write_units": write_units,
        "read_units": read_units,
        "duration_s": round(writes / rate_per_s, 1),
        "cost_usd": round(write_units * WRITE_REQUEST_UNIT_USD + read_units * READ_REQUEST_UNIT_USD, 6),
    }


def _labels(work: Work) -> list[str]:
    return [one.label for one in work.replicas]

"""What changed since another time (last Monday, say), and what of it is more than noise.

Both times are cut into the same blocks (24, or as many as there are periods), so that a morning is compared with a
morning. Each series has a figure a block at either time, and Wilcoxon's signed-rank test says how often differences as
one-sided as these would be seen if nothing had changed (F. Wilcoxon, Biometrics Bulletin 1, 1945; normal approximation
with ties). There are hundreds of series, so that some look changed by chance: the share of these among those named is
held at :data:`FALSE` (Y. Benjamini, Y. Hochberg, J. R. Stat. Soc. B 57, 1995). What is sure and smaller than
:data:`LEAST_CHANGE` is not named either.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ops.metrics.frames import SERIES, later, whole

if TYPE_CHECKING:
    import pandas as pd

BLOCKS, LEAST_BLOCKS = 24, 8
FALSE, LEAST_CHANGE = 0.05, 0.10
COLUMNS = [*SERIES, "before", "now", "change", "p", "says"]
CHANGED, NOISE, NEW, GONE, FEW = "changed", "within noise", "new", "gone", "too little to tell"
_ORDER = {CHANGED: 0, NEW: 1, GONE: 2, NOISE: 3, FEW: 4}


def shift(frame: pd.DataFrame, earlier: pd.DataFrame) -> timedelta:
    """How much later ``frame`` begins than ``earlier``."""
    return datetime.fromisoformat(frame.attrs["start"]) - datetime.fromisoformat(earlier.attrs["start"])


def compare(frame: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
    """A row a series: :data:`COLUMNS`, what changed most surely first.

    ``before`` and ``now`` are per hour for sums and the median over blocks otherwise; ``change`` is the ratio less one
    (None from zero); ``p`` is of the test; ``says`` is one of ``changed``, ``new``, ``gone``, ``within noise``, ``too
    little to tell``. The shorter of the two times is what is compared.
    """
    import pandas as pd

    frame, earlier = whole(frame), whole(earlier)
    start = datetime.fromisoformat(frame.attrs["start"])
    moved = later(earlier, shift(frame, earlier))
    moved.attrs = earlier.attrs
    span = min(_span(frame), _span(earlier))
    coarse = timedelta(seconds=max(frame.attrs["period_s"], earlier.attrs["period_s"]))
    blocks = max(1, min(BLOCKS, int(span / coarse)))
    edges = [start + span * n / blocks for n in range(blocks + 1)]
    now, before = _blocks(frame, edges), _blocks(moved, edges)
    rows = [
        (*key, *_row(str(key[3]), now.get(key), before.get(key), blocks, span))
        for key in sorted(set(now) | set(before), key=str)
    ]
    found = pd.DataFrame(rows, columns=COLUMNS)
    sure = _sure([row[-2] for row in rows])
    large = [change is None or abs(change) >= LEAST_CHANGE for *_, change, _, _ in rows]
    found["says"] = [
        CHANGED if says == NOISE and certain and big else says
        for says, certain, big in zip(found["says"], sure, large, strict=True)
    ]
    order = found["says"].map(_ORDER)
    return found.assign(_order=order).sort_values(["_order", "p"], ignore_index=True).drop(columns="_order")


def _span(frame: pd.DataFrame) -> timedelta:
    end = min(datetime.fromisoformat(frame.attrs[name]) for name in ("end", "asked_end"))
    return end - datetime.fromisoformat(frame.attrs["start"])


_Key = tuple[str, str, str, str, str]


def _blocks(frame: pd.DataFrame, edges: list[datetime]) -> dict[_Key, list[float]]:
    """Of each series a figure a block, NaN where it has none. A sum without points in a block in which its region has
    others is zero: CloudWatch has no points of what did not happen."""
    import pandas as pd

    inside = frame[(frame["time"] >= edges[0]) & (frame["time"] < edges[-1])]
    places = pd.cut(inside["time"], pd.DatetimeIndex(edges), right=False, labels=False)
    inside = inside.assign(block=places.astype("int64"))
    alive = {(r, b) for r, b in zip(inside["region"], inside["block"], strict=True)}
    found: dict[_Key, list[float]] = {}
    for key, rows in inside.groupby(SERIES):
        region, resource, metric, statistic, unit = map(str, key)
        groups = rows.groupby("block")["value"]
        figures = groups.sum() if statistic == "Sum" else groups.max() if statistic == "Maximum" else groups.median()
        found[region, resource, metric, statistic, unit] = [
            float(figures[b]) if b in figures.index
            else 0.0 if statistic == "Sum" and (region, b) in alive
            else math.nan
            for b in range(len(edges) - 1)
        ]  # fmt: skip
    return found


def _row(
    statistic: str, now: list[float] | None, before: list[float] | None, blocks: int, span: timedelta
) -> tuple[float | None, float | None, float | None, float | None, str]:
    hours = span.total_seconds() / 3600 / blocks
    figures = [_figure(statistic, one, hours) for one in (before, now)]
    old, new = figures
    change = None if old in (None, 0.0) or new is None else new / old - 1
    if now is None or before is None:
        absent, there = (NEW, now) if before is None else (GONE, before)
        seen = any(value and not math.isnan(value) for value in there or ())
        return old, new, change, None, absent if seen else FEW
    pairs = [(a, b) for a, b in zip(now, before, strict=True) if not (math.isnan(a) or math.isnan(b))]
    if len(pairs) < LEAST_BLOCKS:
        return old, new, change, None, FEW
    return old, new, change, signed_rank([a - b for a, b in pairs]), NOISE


def _figure(statistic: str, values: list[float] | None, hours: float) -> float | None:
    some = sorted(value for value in values or () if not math.isnan(value))
    if not some:
        return None
    if statistic == "Sum":
        return sum(some) / (len(some) * hours)
    middle = len(some) // 2
    return some[middle] if len(some) % 2 else (some[middle - 1] + some[middle]) / 2


def signed_rank(differences: list[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test: how often differences of no direction would be as one-sided."""
    import pandas as pd

    some = pd.Series([one for one in differences if one])
    count = len(some)
    if not count:
        return 1.0
    ranks = some.abs().rank()
    positive = float(ranks[some > 0].sum())
    ties = sum(float(n**3 - n) for n in ranks.value_counts())
    variance = count * (count + 1) * (2 * count + 1) / 24 - ties / 48
    if variance <= 0:
        return 1.0
    z = max(0.0, abs(positive - count * (count + 1) / 4) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def _sure(chances: list[float | None]) -> list[bool]:
    """Which are named when the share of false ones among them is held at :data:`FALSE`."""
    known = sorted(p for p in chances if p is not None)
    limit = max((p for rank, p in enumerate(known, 1) if p <= FALSE * rank / len(known)), default=-1.0)
    return [p is not None and p <= limit for p in chances]

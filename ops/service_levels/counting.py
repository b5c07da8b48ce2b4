"""How many of each period were bad, of each level and region: sums, so that periods and regions add up.

- *availability*: requests; bad is one that was answered 5xx.
- *latency*: requests; bad is one that took longer than the threshold, whatever its answer.
- *freshness*: accepted events; bad is one that was not in the region's table within the threshold. What is never stored
  has no latency, so the bad are those accepted less those stored in time. An event on its way at the end of a period
  is missing in one period and too many in the next, which a sum over both makes good; at the end of the data, where
  there is no next, as many are taken for on their way as the time after it shows (:func:`_on_their_way`).

Only whole periods count, and of those only ones that ended ``settle_s`` ago: CloudWatch may still add to others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ops.metrics import select
from ops.service_levels.asking import floored, over, taken, within
from ops.stage import Objective, ServiceLevelSettings

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["time", "region"]


@dataclass(frozen=True)
class Counts:
    """``rows`` have ``time, region, total, bad``; coarse periods until ``fine_from``, fine ones to ``end``.

    ``begin`` is what was asked for, ``period_s`` of the fine ones. ``bad`` of a row of freshness may be
    negative: see the module.
    """

    rows: pd.DataFrame
    begin: datetime
    fine_from: datetime
    end: datetime
    period_s: int

    def since(self, start: datetime, region: str) -> tuple[int, int]:
        """How many were bad, and of how many, in a region from ``start`` to the end."""
        rows = self.rows[(self.rows["region"] == region) & (self.rows["time"] >= start)]
        total = int(rows["total"].sum())
        return min(total, max(0, int(rows["bad"].sum()))), total

    def first(self, regions: tuple[str, ...]) -> datetime | None:
        """When the first event was counted in any of the regions; None if none was."""
        rows = self.rows[self.rows["region"].isin(regions) & (self.rows["total"] > 0)]
        return rows["time"].min().to_pydatetime() if len(rows) else None


def count(
    fine: pd.DataFrame,
    coarse: pd.DataFrame,
    name: str,
    settings: ServiceLevelSettings,
    now: datetime,
) -> Counts:
    """The counts of one level as of ``now``: of the fine frame, and of the coarse one for what was before it."""
    import pandas as pd

    objective = dict(settings.objectives)[name]
    period_s = int(fine.attrs["period_s"])
    fine_from = datetime.fromisoformat(fine.attrs["start"])
    known = floored(now - timedelta(seconds=settings.settle_s), period_s)
    before = pd.Timestamp(fine_from) - pd.Timedelta(seconds=int(coarse.attrs["period_s"]))
    earlier, later = _rows(coarse, name, objective), _rows(fine, name, objective)
    rows = pd.concat([earlier[earlier["time"] <= before], later[later["time"] < known]], ignore_index=True)
    begin = min(datetime.fromisoformat(coarse.attrs["start"]), fine_from)
    if name != "freshness":
        return Counts(rows, begin, fine_from, known, period_s)
    grace = timedelta(seconds=period_s * math.ceil(objective.threshold_ms / 1000 / period_s))
    return Counts(_judged(rows, known - grace, grace), begin, fine_from, known - grace, period_s)


def _rows(frame: pd.DataFrame, name: str, objective: Objective) -> pd.DataFrame:
    """``time, region, total, bad``; of freshness also ``in_time``, and ``waited_ms``, the sum of what those took."""
    import pandas as pd

    def of(resource: str, metric: str, statistic: str) -> pd.Series:
        return select(frame, resource, metric, statistic).set_index(KEYS)["value"]

    if name == "availability":
        found = pd.DataFrame({"total": of("api", "Count", "Sum"), "bad": of("api", "5xx", "Sum")}).fillna(0.0)
    elif name == "latency":
        good, slow = (of("api", "Latency", statistic) for statistic in (within(objective), over(objective)))
        found = pd.DataFrame({"total": good.add(slow, fill_value=0.0), "bad": slow}).fillna(0.0)
    else:
        accepted = of("service/ingest", "EventsAccepted", "Sum")
        in_time = of("service/store", "EndToEndLatency", within(objective))
        waited = of("service/store", "EndToEndLatency", taken(objective))
        found = pd.DataFrame({"total": accepted, "in_time": in_time, "waited_ms": waited}).fillna(0.0)
        found["bad"] = found["total"] - found["in_time"]
    return found.reset_index()


def _judged(rows: pd.DataFrame, end: datetime, grace: timedelta) -> pd.DataFrame:
    """The rows of freshness before ``end``, and one a region that takes back what was on its way then."""
    import pandas as pd

    before = rows[rows["time"] < end]
    credit = _on_their_way(before[before["time"] >= end - grace], rows[rows["time"] >= end], grace)
    back = pd.DataFrame({"time": pd.Timestamp(end) - pd.Timedelta(microseconds=1), "region": credit.index})
    back = back.assign(total=0.0, bad=-credit.to_numpy())
    parts = [part for part in (before[[*KEYS, "total", "bad"]], back) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else before[[*KEYS, "total", "bad"]]


def _on_their_way(last: pd.DataFrame, after: pd.DataFrame, grace: timedelta) -> pd.Series:
    """How many events of each region were accepted in the ``last`` periods and stored in time ``after`` them.

    At least those that were stored in time beyond what was accepted meanwhile. Else as many as were on their way at any
    moment of that time: by Little's law the sum of what they took, over the length of it. Nothing stored after is
    nothing on its way, so that an outage is not forgiven.
    """
    import pandas as pd

    sums = after.groupby("region")[["total", "in_time", "waited_ms"]].sum()
    usual = (sums["waited_ms"] / 1000 / grace.total_seconds()).round()
    found = pd.concat([sums["in_time"] - sums["total"], usual], axis=1).max(axis=1)
    accepted = last.groupby("region")["total"].sum().reindex(found.index).fillna(0.0)
    found = pd.concat([found, accepted], axis=1).min(axis=1)
    return found[found > 0]

"""What each region, and all of them together, attained of each objective.

Availability counts requests: one is bad that was answered 5xx. CloudWatch keeps percentiles and not how many were
slower than a threshold, so latency and freshness count periods that had traffic: one is bad whose p99 was over the
threshold (of freshness also one whose oldest message waited longer, because what is never stored has no latency). A
gap is neither good nor bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from ops.metrics import select
from ops.record import Check
from ops.service_levels import windows
from ops.stage import Objective, Stage

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"


@dataclass(frozen=True)
class Level:
    """One objective in one region. ``attained`` and ``budget_left`` are shares, None where nothing was counted."""

    name: str
    region: str
    objective: float
    good: int
    bad: int
    total: int
    attained: float | None
    budget_left: float | None
    burn: dict[str, float | None]
    verdict: Literal["page", "ticket", "ok"]
    why: str


def needed_range(stage: Stage) -> timedelta:
    """How far back the frame has to reach for every objective."""
    settings = stage.service_levels
    return max((one.window for _, one in settings.objectives), default=timedelta(0)) if settings else timedelta(0)


def evaluate(frame: pd.DataFrame, stage: Stage, now: datetime) -> list[Level]:
    """Each objective of the stage file, of all regions and of each, as of ``now`` (with a time zone)."""
    settings = stage.service_levels
    if settings is None:
        return []
    period_s = int(frame.attrs.get("period_s", 60))
    first = datetime.fromisoformat(frame.attrs["start"]) if "start" in frame.attrs else None
    found: list[Level] = []
    for name, objective in settings.objectives:
        counts = _counts(frame, name, objective)
        for region in (ALL, *stage.regions):
            own = counts if region == ALL else counts[counts["region"] == region]
            found.append(_level(name, region, objective, own, (now, first, period_s), min_events=settings.min_events))
    return found


def _counts(frame: pd.DataFrame, name: str, objective: Objective) -> pd.DataFrame:
    """``time, region, total, bad``: a row a period that had traffic."""
    keys = ["time", "region"]
    if name == "availability":
        total = select(frame, "api", "Count", "Sum").set_index(keys)["value"]
        bad = select(frame, "api", "5xx", "Sum").set_index(keys)["value"]
        counts = total.to_frame("total").join(bad.rename("bad")).fillna({"bad": 0.0})
        return counts[counts["total"] > 0].reset_index()
    resource, metric = ("api", "Latency") if name == "latency" else ("service/store", "EndToEndLatency")
    bad = select(frame, resource, metric, "p99").set_index(keys)["value"] > objective.threshold_ms
    if name == "freshness":
        age = select(frame, "queue/store", "ApproximateAgeOfOldestMessage", "Maximum").set_index(keys)["value"]
        late = age[age * 1000 > objective.threshold_ms] > 0
        bad = bad.reindex(bad.index.union(late.index), fill_value=False)
        bad.loc[late.index] = True
    return bad.astype(float).to_frame("bad").assign(total=1.0).reset_index()


def _level(
    name: str,
    region: str,
    objective: Objective,
    counts: pd.DataFrame,
    span: tuple[datetime, datetime | None, int],
    *,
    min_events: int,
) -> Level:
    now, first, period_s = span
    budget = 1 - objective.objective

    def within(length: timedelta) -> tuple[int, int]:
        rows = counts[(counts["time"] >= now - length) & (counts["time"] < now)]
        return int(rows["bad"].sum()), int(rows["total"].sum())

    verdict: Literal["page", "ticket", "ok"] = "ok"
    burn: dict[str, float | None] = {}
    said: list[str] = []
    # Where a period is the event, there are few of them by nature, and only chance bounds.
    least = min_events if name == "availability" else 1
    for pair in windows.pairs(objective.window, period_s):
        long, short = windows.text(pair.long), windows.text(pair.short)
        if first is not None and first > now - pair.long:
            burn |= {long: None}
            said.append(f"{long}: not judged, the data begin at {first:%Y-%m-%d %H:%M}")
            continue
        (bad, total), (bad_short, total_short) = within(pair.long), within(pair.short)
        rate, rate_short = (b / t / budget if t else None for b, t in ((bad, total), (bad_short, total_short)))
        burn |= {long: rate, short: rate_short}
        if total < least:
            said.append(f"{long}: not judged, {total} of at least {least}")
            continue
        few = windows.fewest(total, budget, pair.rate)
        if bad >= few and rate_short is not None and rate_short >= pair.rate - 1e-9:
            verdict = pair.verdict if verdict != "page" else verdict
            said.append(f"{pair.verdict}: {bad} bad of {total} in {long} burn {rate:.1f} times (limit {pair.rate:g})")
        elif few <= total:
            said.append(f"{long}: {bad} bad of {total}; {few} would {pair.verdict}")
        else:
            said.append(f"{long}: {total} are too few to tell from chance")
    bad, total = within(objective.window)
    share = bad / total if total else None
    return Level(
        name,
        region,
        objective.objective,
        total - bad,
        bad,
        total,
        None if share is None else 1 - share,
        None if share is None else 1 - share / budget,
        burn,
        verdict,
        "; ".join(said),
    )


def frame(levels: Sequence[Level]) -> pd.DataFrame:
    """A row a level; burn rates in columns ``burn_<window>``."""
    import pandas as pd

    rows = []
    for level in levels:
        row = asdict(level)
        rows.append(row | {f"burn_{window}": rate for window, rate in row.pop("burn").items()})
    return pd.DataFrame(rows)


def checks(levels: Sequence[Level]) -> list[Check]:
    """A check a level: a ticket or a page fails it, and its detail names the region and the count."""
    return [Check(f"{one.name} {one.region}", one.verdict == "ok", one.why) for one in levels]


def figures(levels: Sequence[Level]) -> dict[str, float]:
    """The budget left of all regions together, in percent."""
    return {
        f"{one.name}_budget_left_percent": round(100 * one.budget_left, 2)
        for one in levels
        if one.region == ALL and one.budget_left is not None
    }

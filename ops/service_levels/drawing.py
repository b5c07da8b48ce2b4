"""Two drawings: how fast the budget burnt in each window over time, against the limits, and what was left of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ops import charts
from ops.charts import Panel, Panels
from ops.charts.marks import Mark
from ops.service_levels import windows
from ops.service_levels.asking import COARSE_S, chart_span, floored
from ops.service_levels.counting import Counts, count
from ops.stage import Objective, Stage

if TYPE_CHECKING:
    import pandas as pd

# More points of a line than this no small chart shows.
POINTS = 144
LIMIT = "limit"


def burn_chart(
    fine: pd.DataFrame, coarse: pd.DataFrame, stage: Stage, now: datetime, marks: Sequence[Mark] = ()
) -> Panels:
    """A small chart for each pair of windows of each level: a line a region, the slower burn of the two windows, and
    the limit, from which on the pair speaks. A gap is a window without an event."""
    shown = []
    for name, objective, counts in _each(fine, coarse, stage, now):
        moments = _moments(counts, chart_span(objective))
        for pair in windows.pairs(objective.window, counts.period_s):
            rows: list[dict[str, Any]] = [
                {"time": moment, "region": region, "value": rate}
                for region in stage.regions
                for moment, rate in _burns(counts, region, pair, moments, objective)
            ]
            if rows:
                rows += [{"time": edge, "region": LIMIT, "value": pair.rate} for edge in _edges(moments)]
            lengths = f"{windows.text(pair.long)} and {windows.text(pair.short)}"
            title = f"{name.capitalize()} burn, {lengths}: {pair.verdict}"
            shown.append(Panel(title, rows, "times", empty="nothing was counted"))
    return charts.panels(shown, x="time", y="value", colour="region", marks=marks)


def budget_chart(
    fine: pd.DataFrame, coarse: pd.DataFrame, stage: Stage, now: datetime, marks: Sequence[Mark] = ()
) -> Panels:
    """A small chart for each level: a line a region, from all of the budget of its window down to what is left of it
    now; below zero it is overspent."""
    shown = []
    for name, objective, counts in _each(fine, coarse, stage, now):
        moments = _moments(counts, objective.window)
        start = floored(counts.end - objective.window, COARSE_S)
        rows: list[dict[str, Any]] = [
            {"time": moment, "region": region, "value": 100 * left}
            for region in stage.regions
            for moment, left in _left(counts, region, start, moments, objective)
        ]
        if any(row["value"] < 0 for row in rows):
            rows += [{"time": edge, "region": LIMIT, "value": 0.0} for edge in _edges(moments)]
        title = f"{name.capitalize()}: budget left of {windows.text(objective.window)}"
        shown.append(Panel(title, rows, "%", empty="nothing was counted"))
    return charts.panels(shown, x="time", y="value", colour="region", marks=marks)


def _each(
    fine: pd.DataFrame, coarse: pd.DataFrame, stage: Stage, now: datetime
) -> Iterator[tuple[str, Objective, Counts]]:
    settings = stage.service_levels
    if settings is None:
        return
    for name, objective in settings.objectives:
        yield name, objective, count(fine, coarse, name, settings, now)


def _moments(counts: Counts, span: timedelta) -> list[datetime]:
    """The ends of steps over ``span``, or over the data where they begin later; the last is the end of the data."""
    first = counts.first(tuple(counts.rows["region"].unique()))
    begin = counts.end - span if first is None else max(counts.end - span, first)
    period = timedelta(seconds=counts.period_s)
    periods = max(1, -(-(counts.end - begin) // period))
    step = period * -(-periods // POINTS)
    return [counts.end - n * step for n in reversed(range(periods * period // step))]


def _edges(moments: list[datetime]) -> list[datetime]:
    """Where a straight line begins and ends."""
    return sorted({min(moments), max(moments)})


def _burns(
    counts: Counts, region: str, pair: windows.Pair, moments: list[datetime], objective: Objective
) -> Iterator[tuple[datetime, float | None]]:
    """The slower burn of the two windows that end at each of the moments; None where one of them has no event."""
    times, bad, total = _sums(counts, region)
    if not total[-1]:
        return
    lasts = _places(times, moments)
    firsts = [_places(times, [moment - length for moment in moments]) for length in (pair.long, pair.short)]
    for moment, last, *begins in zip(moments, lasts, *firsts, strict=True):
        events = [total[last] - total[first] for first in begins]
        wrong = [min(e, max(0.0, bad[last] - bad[first])) for e, first in zip(events, begins, strict=True)]
        rates = [w / e / (1 - objective.objective) for w, e in zip(wrong, events, strict=True) if e]
        yield moment, min(rates) if len(rates) == len(events) else None


def _left(
    counts: Counts, region: str, start: datetime, moments: list[datetime], objective: Objective
) -> Iterator[tuple[datetime, float]]:
    """The share of the budget that was left at each of the moments, of what the window's events allow."""
    times, bad, total = _sums(counts, region)
    first = _places(times, [start])[0]
    allowed = (total[-1] - total[first]) * (1 - objective.objective)
    for moment, last in zip(moments, _places(times, moments), strict=True) if allowed else ():
        wrong = min(total[-1] - total[first], max(0.0, bad[last] - bad[first]))
        yield moment, 1 - wrong / allowed


def _sums(counts: Counts, region: str) -> tuple[pd.Series, list[float], list[float]]:
    """The times of a region's rows, and how many were bad, and how many there were, before each and in all."""
    own = counts.rows[counts.rows["region"] == region].sort_values("time")
    return own["time"], [0.0, *own["bad"].cumsum()], [0.0, *own["total"].cumsum()]


def _places(times: pd.Series, moments: list[datetime]) -> Any:
    """How many of the times are before each of the moments."""
    import pandas as pd

    return times.searchsorted(pd.DatetimeIndex(moments), side="left")

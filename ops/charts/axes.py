"""Axes: round times in UTC, powers of ten, whole numbers for counts, and titles with units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from ops import slowimports
from ops.charts import points
from ops.markup import split_unit

# Seconds between two marks of a time axis, and how many of them it has room for.
TICKS_S = (1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800)
TICKS = 8


def x_axis(x: str, rows: list[dict[str, Any]], span: tuple[float, float], title: str | None) -> Any:
    """``title`` None is an axis without one, empty one with its own words."""
    alt = slowimports.altair()
    if not any(isinstance(row[x], (datetime, date)) for row in rows):
        words = None if title is None else title or spoken(x)
        return alt.X("x:Q", title=words, axis=alt.Axis(tickCount=7), scale=alt.Scale(zero=False))
    first, last = span
    if first == last:
        first, last = first - 60_000, last + 60_000
    whole = all((points.place_of(row[x]) or 0) % 60_000 == 0 for row in rows)
    ticks, form = time_ticks(first, last, 60 if whole else 1)
    words = None if title is None else title or time_words(first, last)[1]
    scale = alt.Scale(type="utc", domain=[first, last], nice=False)
    return alt.X("x:T", title=words, axis=alt.Axis(values=ticks, format=form), scale=scale)


def time_ticks(first_ms: float, last_ms: float, finest_s: int) -> tuple[list[float], str]:
    """Round times from the first to the last, at most :data:`TICKS`, and how they are written (24 hours, UTC)."""
    seconds = (last_ms - first_ms) / 1000
    fitting = (step for step in TICKS_S if step >= finest_s and seconds / step < TICKS)
    step = next(fitting, 0) or TICKS_S[-1] * math.ceil(seconds / TICKS_S[-1] / (TICKS - 1))
    begin = math.ceil(first_ms / 1000 / step) * step
    ticks = [tick * 1000.0 for tick in range(begin, int(last_ms // 1000) + 1, step)]
    form = time_words(first_ms, last_ms)[0] if step >= 60 else "%H:%M:%S"
    return ticks, "%d %b" if step >= 86_400 else form


def time_words(first_ms: float, last_ms: float) -> tuple[str, str]:
    """How a time within this span is written, and what the axis is called: up to two days, these stand in its title."""
    first, last = (datetime.fromtimestamp(edge / 1000, UTC) for edge in (first_ms, last_ms))
    if (last - first).total_seconds() > 48 * 3600:
        return "%d %b %H:%M", "time (UTC)"
    days = f"{first:%d %b %Y}" if first.date() == last.date() else f"{first:%d %b} to {last:%d %b %Y}"
    return "%H:%M", f"time (UTC), {days}"


def y_scale(values: Sequence[float], log: bool) -> Any:
    alt = slowimports.altair()
    if log and min(values) > 0:
        return alt.Scale(type="log", domain=decades(values), nice=False)
    if not any(values):
        return alt.Scale(domain=[0, 1])  # a row of zeros is a line at the foot
    return alt.Scale(zero=True)


def y_ticks(values: Sequence[float], log: bool, count: int) -> Any:
    alt = slowimports.altair()
    if log and min(values) > 0:
        low, high = decades(values)
        between = (1, 2, 5) if high / low <= 100 else (1,)
        steps = [
            m * 10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for m in between
        ]
        return alt.Axis(values=[step for step in steps if low <= step <= high * 1.001], format=",~g")
    # Half a request is no mark on an axis.
    if min(values) >= 0 and max(values) <= count and all(value == int(value) for value in values):
        return alt.Axis(values=list(range(max(1, int(max(values))) + 1)), format="d")
    return alt.Axis(tickCount=count)


def decades(values: Sequence[float]) -> list[float]:
    """From the last power of ten below the values to the next 1, 2 or 5 times one above them."""
    low = 10.0 ** math.floor(math.log10(min(values)))
    top = 10.0 ** math.floor(math.log10(max(values)))
    high = next(factor * top for factor in (1, 2, 5, 10) if factor * top >= max(values) * 0.999)
    return [low, high if high > low else 10 * low]


def spoken(name: str) -> str:
    return name.replace("_", " ")


def value_title(name: str, title: str, unit: str) -> str:
    """The title of a value's axis, with the unit that is given or that the column's name ends with."""
    words, own = split_unit(name)
    shown = title or spoken(words)
    return f"{shown} ({unit or own})" if unit or own else shown

"""Charts as self-contained vectors: readable in light and dark, on paper and by a screen reader.

A chart is a Vega-Lite description drawn by vl-convert inside this process: no browser, no request, no script in the
page. A gap in the data stays a gap. A region keeps its colour and dash through all charts of a stage, and no data is
a figure that says so, not an error.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from html import escape
from typing import Any
from urllib.parse import quote

from ops.markup import number, split_unit

VEGA_LITE = "6.4"
WIDTH = 720
HEIGHT = 220
# Okabe and Ito's colours for all kinds of colour vision, less the two that vanish on white or on black.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C8C8C")
# Told apart without colour, too.
DASHES: tuple[list[int], ...] = ([1, 0], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [1, 2], [12, 4])
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
# A spacing this much longer than usual is a gap.
GAP_FACTOR = 1.6

_kept: list[str] = []


def keep_colours(names: Sequence[str]) -> None:
    """Give these names (a stage's regions) the first colours, in this order, in every chart from now on."""
    _kept[:] = list(names)


def theme() -> dict[str, Any]:
    """The look of every chart, as a Vega-Lite config. Text and lines take the colour of the page around them."""
    axis = {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelPadding": 6,
        "gridColor": "currentColor",
        "gridOpacity": 0.13,
        "domainColor": "currentColor",
        "domainOpacity": 0.35,
        "tickColor": "currentColor",
        "tickOpacity": 0.35,
        "labelOpacity": 0.85,
        "titleOpacity": 0.85,
    }
    legend = {
        "orient": "top",
        "direction": "horizontal",
        "title": None,
        "labelColor": "currentColor",
        "labelFontSize": 12,
        "symbolStrokeWidth": 2.5,
        "symbolSize": 220,
        "offset": 10,
    }
    return {
        "background": None,
        "font": FONT,
        "aria": False,
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False},
        "axisY": {"domain": False, "ticks": False},
        "legend": legend,
        "range": {"category": list(PALETTE)},
    }


@dataclass(frozen=True)
class Chart:
    """A drawn chart, with the data it shows as CSV."""

    svg: str
    title: str
    summary: str
    csv: str

    def _repr_html_(self) -> str:
        caption = f"<figcaption>{escape(self.title)}</figcaption>" if self.title else ""
        name = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "chart"
        link = f"data:text/csv;charset=utf-8,{quote(self.csv)}"
        return (
            f'<figure class="at-chart">{caption}<div class="at-scroll" tabindex="0" role="region" '
            f'aria-label="{escape(self.title or "chart", quote=True)}">{self.svg}</div>'
            f'<a class="at-csv" download="{name}.csv" href="{link}">Data as CSV</a></figure>'
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/html": self._repr_html_(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"{self.title}: {self.summary}"


@dataclass(frozen=True)
class NoData:
    """What stands where a chart would be when there is nothing to draw."""

    title: str
    reason: str = "no data in this window"

    def _repr_html_(self) -> str:
        return (
            f'<figure class="at-chart at-nodata"><figcaption>{escape(self.title)}</figcaption>'
            f"<p>{escape(self.reason)}</p></figure>"
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/html": self._repr_html_(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"{self.title}: {self.reason}"


def lines(
    frame: Any,
    *,
    x: str,
    y: str,
    colour: str = "",
    title: str = "",
    x_title: str = "",
    y_title: str = "",
    unit: str = "",
    threshold: float | None = None,
    height: int = HEIGHT,
) -> Chart | NoData:
    """A line for each value of ``colour`` over ``x`` (times are shown in UTC).

    Parameters
    ----------
    frame
        A DataFrame or rows (mappings). A missing ``y``, or a stretch without rows that is clearly longer than the
        usual spacing, breaks the line; a single point between two gaps is drawn as a point.
    unit
        Of ``y``; stands behind the axis title. Default: what the column's name ends with (``lag_ms``).
    threshold
        A dashed line across, for an objective.
    """
    rows = _rows(frame, [x, y, *([colour] if colour else [])])
    if not any(_number(row[y]) is not None for row in rows):
        return NoData(title)
    for row in rows:
        row[x] = _time(row[x])
    temporal = any(isinstance(row[x], (datetime, date)) for row in rows)
    series = _series(rows, x, y, colour)
    data = [point for name, points in series.items() for point in _with_gaps(name, points)]
    position: dict[str, Any] = {
        "field": "x",
        "type": "temporal" if temporal else "quantitative",
        "title": x_title or ("time (UTC)" if temporal else _words(x)),
        "axis": {"tickCount": 7, "labelOverlap": True},
    }
    if temporal:
        position |= _time_axis([point["x"] for point in data], x_title)
    encoding = {
        "x": position,
        "y": {
            "field": "y",
            "type": "quantitative",
            "title": _axis(y, y_title, unit),
            "axis": {"tickCount": 5},
        },
        **_colour_encoding(list(series), dashes=True),
    }
    if "field" in encoding["color"]:
        encoding["color"]["legend"] = {"symbolType": "stroke", "symbolSize": 400}
    points = {key: value for key, value in encoding.items() if key != "strokeDash"}
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "line", "strokeWidth": 2, "invalid": "break-paths-show-path-domains"}, "encoding": encoding},
        {
            "transform": [{"filter": "datum.alone"}],
            "mark": {"type": "point", "filled": True, "size": 30, "opacity": 1},
            "encoding": points,
        },
    ]
    if threshold is not None:
        layers.append(_threshold(threshold))
    spec = {"data": {"values": data}, "layer": layers, "height": height}
    return draw(spec, title=title, summary=_lines_summary(series, unit), rows=rows)


def bars(
    frame: Any,
    *,
    x: str,
    y: str,
    colour: str = "",
    title: str = "",
    x_title: str = "",
    y_title: str = "",
    unit: str = "",
    stacked: bool = True,
    height: int = HEIGHT,
) -> Chart | NoData:
    """A bar for each ``x`` (a category, in the order given); with ``colour``, stacked or side by side."""
    rows = [row for row in _rows(frame, [x, y, *([colour] if colour else [])]) if _number(row[y]) is not None]
    if not rows:
        return NoData(title)
    data = [{"x": _label(r[x]), "y": _number(r[y]), "c": _label(r[colour]) if colour else ""} for r in rows]
    names = list(dict.fromkeys(str(row["c"]) for row in data))
    encoding = {
        "x": {
            "field": "x",
            "type": "nominal",
            "sort": None,
            "title": x_title or _words(x),
            "axis": {"labelAngle": 0, "labelLimit": 160, "labelOverlap": True},
        },
        "y": {
            "field": "y",
            "type": "quantitative",
            "title": _axis(y, y_title, unit),
            "stack": stacked or None,
        },
        **_colour_encoding(names),
    }
    if colour and not stacked:
        encoding["xOffset"] = {"field": "c", "sort": None}
    spec = {
        "data": {"values": data},
        "mark": {"type": "bar", "cornerRadiusEnd": 2, "width": {"band": 0.72}},
        "encoding": encoding,
        "height": height,
    }
    suffix = f" {unit}" if unit else ""
    names_of = (f"{point['x']} {point['c']}".strip() for point in data)
    each = "; ".join(f"{name} {number(d['y'])}{suffix}" for name, d in zip(names_of, data[:12], strict=False))
    return draw(spec, title=title, summary=each, rows=rows)


def heatmap(
    frame: Any,
    *,
    x: str,
    y: str,
    value: str,
    title: str = "",
    x_title: str = "",
    y_title: str = "",
    unit: str = "",
) -> Chart | NoData:
    """A matrix of ``value`` by ``x`` and ``y`` (categories), each cell with its figure; what is missing stays blank."""
    rows = [row for row in _rows(frame, [x, y, value]) if _number(row[value]) is not None]
    if not rows:
        return NoData(title)
    highest = max(float(_number(row[value]) or 0) for row in rows)
    data = [
        {
            "x": _label(row[x]),
            "y": _label(row[y]),
            "v": _number(row[value]),
            "text": f"{number(_number(row[value]))} {unit}".strip(),
            "strong": bool(highest > 0 and float(_number(row[value]) or 0) > 0.45 * highest),
        }
        for row in rows
    ]
    encoding = {
        "x": {
            "field": "x",
            "type": "nominal",
            "sort": None,
            "title": x_title or _words(x),
            "axis": {"labelAngle": 0, "orient": "top", "domain": False, "ticks": False},
        },
        "y": {"field": "y", "type": "nominal", "sort": None, "title": y_title or _words(y)},
    }
    shade = {
        "field": "v",
        "type": "quantitative",
        "legend": None,
        "scale": {"domain": [0, highest or 1], "range": [0.06, 0.95]},
    }
    text_colour = {"condition": {"test": "datum.strong", "value": "#ffffff"}, "value": "currentColor"}
    spec = {
        "data": {"values": data},
        "encoding": encoding,
        "layer": [
            {"mark": {"type": "rect", "fill": PALETTE[0]}, "encoding": {"fillOpacity": shade}},
            {"mark": {"type": "text", "fontSize": 13}, "encoding": {"text": {"field": "text"}, "color": text_colour}},
        ],
        "height": {"step": 44},
    }
    each = "; ".join(f"{d['y']} to {d['x']}: {d['text']}" for d in data[:16])
    return draw(spec, title=title, summary=each, rows=rows)


def draw(
    spec: Mapping[str, Any], *, title: str, summary: str = "", rows: Sequence[Mapping[str, Any]] | None = None
) -> Chart:
    """Draw any Vega-Lite description in Atoll's look. ``rows`` is what "Data as CSV" gives."""
    import vl_convert

    full = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": WIDTH,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": 4,
        "config": theme(),
        **spec,
    }
    # Nothing may be fetched: a chart's data is in it.
    svg = vl_convert.vegalite_to_svg(full, vl_version=VEGA_LITE, allowed_base_urls=[])
    return Chart(_embedded(svg, title, summary), title, summary, _csv(rows or []))


def _embedded(svg: str, title: str, summary: str) -> str:
    """The drawing as it goes into a page: it scales, has a text alternative, and shares no id with another."""
    unique = hashlib.sha256(svg.encode()).hexdigest()[:10]
    svg = re.sub(r'\bid="([^"]+)"', rf'id="c{unique}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#c{unique}-\1)", svg)
    # Vega describes each mark to screen readers; one description of the whole says more.
    svg = re.sub(r' (?:role="[^"]*"|aria-[a-z]+="[^"]*"|pointer-events="none")', "", svg)
    label = escape(f"{title}. {summary}" if summary else title, quote=True)
    opening = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    size = f'viewBox="0 0 {opening[1]} {opening[2]}" width="{opening[1]}" height="{opening[2]}"' if opening else ""
    return re.sub(
        r"^<svg[^>]*>", f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">', svg
    )


def _colour_encoding(names: list[str], dashes: bool = False) -> dict[str, Any]:
    """Colour (and dash) by series; names that :func:`keep_colours` knows keep theirs."""
    if names in ([], [""]):
        return {"color": {"value": PALETTE[0]}}
    names = sorted(names, key=lambda name: (_kept.index(name) if name in _kept else len(_kept), name))
    free = iter(range(len(_kept) if set(names) & set(_kept) else 0, 10_000))
    places = [_kept.index(name) if name in _kept else next(free) for name in names]
    scale = {"domain": names, "range": [PALETTE[place % len(PALETTE)] for place in places]}
    encoding: dict[str, Any] = {"color": {"field": "c", "type": "nominal", "scale": scale}}
    if dashes and len(names) > 1:
        dash = {"domain": names, "range": [DASHES[place % len(DASHES)] for place in places]}
        encoding["strokeDash"] = {"field": "c", "type": "nominal", "scale": dash}
    return encoding


def _time_axis(places_ms: Sequence[float], title: str) -> dict[str, Any]:
    """UTC, on a 24-hour clock; days stand at the ticks or, when there is only one, in the title."""
    first, last = (datetime.fromtimestamp(edge / 1000, UTC) for edge in (min(places_ms), max(places_ms)))
    hours = (last - first).total_seconds() / 3600
    if hours <= 48:
        days = f"{first:%d %b %Y}" if first.date() == last.date() else f"{first:%d %b} to {last:%d %b %Y}"
        form, words = "%H:%M" if hours >= 0.15 else "%H:%M:%S", f"time (UTC), {days}"
    else:
        form, words = "%d %b" if hours > 24 * 6 else "%d %b %H:%M", "time (UTC)"
    axis = {"format": form, "tickCount": 7, "labelOverlap": True}
    return {"scale": {"type": "utc"}, "title": title or words, "axis": axis}


def _threshold(value: float) -> dict[str, Any]:
    return {
        "data": {"values": [{"y": value}]},
        "mark": {"type": "rule", "color": "currentColor", "strokeDash": [3, 3], "opacity": 0.7},
        "encoding": {"y": {"field": "y", "type": "quantitative"}},
    }


def _rows(frame: Any, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a DataFrame or of mappings, with these columns; what is missing is None."""
    if hasattr(frame, "columns") and hasattr(frame, "itertuples"):
        names = [str(name) for name in frame.columns]
        records = [dict(zip(names, values, strict=True)) for values in frame.itertuples(index=False, name=None)]
    else:
        records = [dict(row) for row in frame]
        names = list(dict.fromkeys(name for record in records for name in record))
    if records and (missing := [column for column in columns if column not in names]):
        raise ValueError(f"columns: {', '.join(missing)} not in the data, which has {', '.join(names)}")
    return [{column: record.get(column) for column in columns} for record in records]


def _series(rows: list[dict[str, Any]], x: str, y: str, colour: str) -> dict[str, list[tuple[Any, float | None]]]:
    series: dict[str, list[tuple[Any, float | None]]] = {}
    for row in rows:
        place = _place(row[x])
        if place is not None:
            series.setdefault(_label(row[colour]) if colour else "", []).append((place, _number(row[y])))
    return {name: sorted(points, key=lambda point: point[0]) for name, points in series.items()}


def _with_gaps(name: str, points: list[tuple[Any, float | None]]) -> list[dict[str, Any]]:
    """A series' points, with an empty one wherever its spacing says that some are missing."""
    steps = [b[0] - a[0] for a, b in itertools.pairwise(points) if b[0] > a[0]]
    usual = statistics.median(steps) if steps else 0
    filled: list[tuple[Any, float | None]] = []
    for point in points:
        if filled and usual and point[0] - filled[-1][0] > GAP_FACTOR * usual:
            filled.append((filled[-1][0] + usual, None))
        filled.append(point)
    values: list[float | None] = [None, *(value for _, value in filled), None]
    return [
        {"x": place, "y": value, "c": name, "alone": value is not None and values[i] is None and values[i + 2] is None}
        for i, (place, value) in enumerate(filled)
    ]


def _time(value: Any) -> Any:
    """A text that is an RFC 3339 time as a time; whatever else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


def _place(value: Any) -> float | None:
    """Where a value stands on the x axis: times as epoch milliseconds."""
    if isinstance(value, datetime):
        if str(value) == "NaT":
            return None
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000
    return _number(value)


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        plain = float(value)
    except (TypeError, ValueError):
        return None
    return plain if math.isfinite(plain) else None


def _label(value: Any) -> str:
    return "" if value is None else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _axis(name: str, title: str, unit: str) -> str:
    """The title of a value's axis, with the unit that is given or that the column's name ends with."""
    words, own = split_unit(name)
    shown = title or _words(words)
    return f"{shown} ({unit or own})" if unit or own else shown


def _lines_summary(series: Mapping[str, list[tuple[Any, float | None]]], unit: str) -> str:
    parts = []
    suffix = f" {unit}" if unit else ""
    for name, points in list(series.items())[:8]:
        values = [value for _, value in points if value is not None]
        if values:
            span = f"{number(min(values))} to {number(max(values))}{suffix}, last {number(values[-1])}{suffix}"
            parts.append(f"{name}: {span}" if name else span)
    return "; ".join(parts)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: value.isoformat() if isinstance(value, (datetime, date)) else value for name, value in row.items()}
        for row in rows
    )
    return text.getvalue()

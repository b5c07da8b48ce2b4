"""Charts as self-contained vectors: readable in light and dark, on paper and by a screen reader.

A chart is described with Altair and drawn by vl-convert inside this process: no browser, no request, no script in the
page. A gap in the data stays a gap. A region keeps its colour and dash through all charts of a stage, and no data is
a figure that says so, not an error.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from ops import slowimports
from ops.charts import axes as chartaxes
from ops.charts import marks as chartmarks
from ops.charts import points as chartdata
from ops.charts.marks import Mark
from ops.markup import number

if TYPE_CHECKING:
    import altair as alt

WIDTH = 720
HEIGHT = 220
# Of one of several charts side by side: half the width of a page, all of a phone.
PANEL_WIDTH = 440
PANEL_HEIGHT = 150
# Okabe and Ito's colours for all kinds of colour vision, less the two that vanish on white or on black.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C8C8C")
# Told apart without colour, too.
DASHES: tuple[list[int], ...] = ([1, 0], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [1, 2], [12, 4])
# How the lines of one colour are told apart: width and opacity of the first, the second and so on.
STRENGTHS = ((2.6, 1.0), (1.5, 0.85), (0.9, 0.65))
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_kept: list[str] = []


def keep_colours(names: Sequence[str]) -> None:
    """Give these names (a stage's regions) the first colours, in this order, in every chart from now on."""
    _kept[:] = list(names)


def theme() -> dict[str, Any]:
    """The look of every chart, as an Altair theme. Text and lines take the colour of the page around them."""
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
        "labelOverlap": True,
    }
    legend = {
        "orient": "top",
        "direction": "horizontal",
        "title": None,
        "labelColor": "currentColor",
        "labelFontSize": 12,
        "labelLimit": 320,
        # The page's font may be wider than the one this was laid out with.
        "columnPadding": 28,
        "symbolStrokeWidth": 2.5,
        "symbolSize": 220,
        "offset": 10,
    }
    config = {
        "background": None,
        "font": FONT,
        "aria": False,
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False},
        "axisY": {"domain": False, "ticks": False, "minExtent": 40},
        "legend": legend,
        "range": {"category": list(PALETTE)},
    }
    return {"config": config}


@dataclass(frozen=True)
class Chart:
    """A drawn chart, with the data it shows as CSV; ``note`` is the unit, where no axis says it."""

    svg: str
    title: str
    summary: str
    csv: str
    note: str = ""

    def _repr_html_(self) -> str:
        return self.figure()

    def figure(self, scroll: bool = True) -> str:
        """The chart as a figure; ``scroll`` False where what is around it scrolls."""
        name = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "chart"
        link = f"data:text/csv;charset=utf-8,{quote(self.csv)}"
        label = escape(self.title or "chart", quote=True)
        around = (
            f'class="at-scroll" tabindex="0" role="region" aria-label="{label}"' if scroll else 'class="at-drawing"'
        )
        return (
            f'<figure class="at-chart">{_caption(self.title, self.note)}<div {around}>{self.svg}</div>'
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
        return f'<figure class="at-chart at-nodata">{_caption(self.title)}<p>{escape(self.reason)}</p></figure>'

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/html": self._repr_html_(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"{self.title}: {self.reason}"


@dataclass(frozen=True)
class Panel:
    """One of several charts side by side.

    ``frame`` is a DataFrame or rows; ``shade`` the column that tells the lines of one colour apart; ``empty`` what is
    said when there are no rows.
    """

    title: str
    frame: Any
    unit: str = ""
    shade: str = ""
    log: bool = False
    empty: str = "no data in this window"


@dataclass(frozen=True)
class Panels:
    """Charts side by side, with one legend."""

    charts: tuple[Chart | NoData, ...]
    legend_html: str

    def _repr_html_(self) -> str:
        parts = "".join(chart._repr_html_() for chart in self.charts)
        return f'<div class="at-panels">{self.legend_html}{parts}</div>'

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/html": self._repr_html_(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.charts))


def panels(shown: Sequence[Panel], *, x: str, y: str, colour: str, marks: Sequence[Mark] = ()) -> Panels:
    """Small charts of lines side by side, over the same stretch of ``x``, with the same colours and one legend.

    ``marks`` stand on each axis, if ``x`` is a time.
    """
    rows = [row for panel in shown for row in chartdata.rows_of(panel.frame, [x, colour])]
    places = [place for row in rows if (place := chartdata.place_of(chartdata.as_time(row[x]))) is not None]
    names = list(dict.fromkeys(chartdata.label_of(row[colour]) for row in rows))
    span = (min(places), max(places)) if places else None
    drawn = [
        lines(
            panel.frame,
            x=x,
            y=y,
            colour=colour,
            shade=panel.shade,
            title=panel.title,
            unit=panel.unit,
            log=panel.log,
            span_ms=span,
            panel=True,
            marks=marks,
        )
        for panel in shown
    ]
    texts = zip(drawn, shown, strict=True)
    charts = tuple(replace(c, reason=p.empty) if isinstance(c, NoData) else c for c, p in texts)
    temporal = any(isinstance(chartdata.as_time(row[x]), (datetime, date)) for row in rows)
    note = chartaxes.time_words(*span)[1] if span and temporal else ""
    return Panels(charts, _legend(names, note))


def lines(
    frame: Any,
    *,
    x: str,
    y: str,
    colour: str = "",
    shade: str = "",
    title: str = "",
    x_title: str = "",
    y_title: str = "",
    unit: str = "",
    threshold: float | None = None,
    height: int = HEIGHT,
    log: bool = False,
    span_ms: tuple[float, float] | None = None,
    panel: bool = False,
    even: bool = True,
    marks: Sequence[Mark] = (),
) -> Chart | NoData:
    """A line for each value of ``colour`` over ``x`` (times are shown in UTC).

    Parameters
    ----------
    frame
        A DataFrame or rows (mappings). A missing ``y``, or a stretch without rows that is clearly longer than the
        usual spacing, breaks the line; a single point between two gaps is drawn as a point.
    shade
        Tells the lines of one colour apart, by strength: the first value is the strongest.
    unit
        Of ``y``; stands behind the axis title. Default: what the column's name ends with (``lag_ms``).
    threshold
        A dashed line across, for an objective.
    log
        A logarithmic axis, as long as every value is above zero.
    span_ms
        What of ``x`` the axis covers; default: what the rows cover.
    panel
        Small, without titles of axes and without a legend of the colours: one of :func:`panels`.
    even
        Whether the points are spaced evenly, so that a longer stretch without one is a gap.
    marks
        What happened when, where ``x`` is a time.
    """
    columns = [x, y, *([colour] if colour else []), *([shade] if shade else [])]
    rows = chartdata.rows_of(frame, columns)
    values = [value for row in rows if (value := chartdata.finite(row[y])) is not None]
    for row in rows:
        row[x] = chartdata.as_time(row[x])
    series = chartdata.series_of(rows, x, y, colour, shade)
    if not values or not series:
        return NoData(title)
    alt = _altair()
    data = alt.Data(
        values=[point for key, points in series.items() for point in chartdata.with_gaps(key, points, even=even)]
    )
    places = [place for points in series.values() for place, _ in points]
    span = span_ms or (min(places), max(places))
    names = list(dict.fromkeys(name for name, _ in series))
    base = alt.Chart(data).encode(
        x=chartaxes.x_axis(x, rows, span, None if panel else x_title),
        y=alt.Y(
            "y:Q",
            title=None if panel else chartaxes.value_title(y, y_title, unit),
            scale=chartaxes.y_scale(values, log),
            axis=chartaxes.y_ticks(values, log, 4 if panel else 5),
        ),
        color=_colour(names, symbol="stroke", legend=not panel),
        detail=["c:N", "s:N"],
    )
    strokes = base.mark_line(invalid="break-paths-show-path-domains").encode(strokeWidth=alt.value(2))
    if len(names) > 1:
        dash = alt.StrokeDash("c:N", scale=_scale(names, DASHES), legend=_key(names, "stroke", legend=not panel))
        strokes = strokes.encode(strokeDash=dash)
    if shade:
        strokes = strokes.encode(**_strengths(list(dict.fromkeys(chartdata.label_of(row[shade]) for row in rows))))
    points = base.transform_filter("datum.alone").mark_point(filled=True, size=30, opacity=1)
    layers = [strokes, points]
    if threshold is not None:
        rule = alt.Chart(alt.Data(values=[{"y": threshold}]))
        layers.append(rule.mark_rule(color="currentColor", strokeDash=[3, 3], opacity=0.7).encode(y="y:Q"))
    layers += chartmarks.layers(alt, marks, span)
    chart = alt.layer(*layers).properties(
        width=PANEL_WIDTH if panel else WIDTH, height=PANEL_HEIGHT if panel else height
    )
    happened = ", ".join(f"{mark.name} at {mark.at:%d %b %H:%M}" for mark in chartmarks.inside(marks, span))
    summary = _lines_summary(series, unit) + (f"; marked: {happened}" if happened else "")
    return draw(chart, title=title, summary=summary, rows=rows, note=unit if panel else "")


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
    line: Any = None,
) -> Chart | NoData:
    """A bar for each ``x``; with ``colour``, stacked or side by side.

    A time stands at its place on an axis in UTC, as wide as the usual spacing, so that a gap is seen; stacked only.
    Anything else is a category, in the order given. ``line``: rows of ``x``, a time, and ``y``, drawn over the bars as
    points on a dashed line in the colour of text.
    """
    rows = chartdata.rows_of(frame, [x, y, *([colour] if colour else [])])
    over = _line_points(line, x, y)
    if over and not len(rows):
        return lines(line, x=x, y=y, title=title, x_title=x_title, y_title=y_title, unit=unit, height=height)
    for row in rows:
        row[x] = chartdata.as_time(row[x])
    rows = [row for row in rows if chartdata.finite(row[y]) is not None and str(row[x]) != "NaT"]
    if not rows:
        return NoData(title)
    alt = _altair()
    temporal = all(isinstance(row[x], (datetime, date)) for row in rows)
    data: list[dict[str, Any]] = [
        {
            "x": chartdata.place_of(row[x]) if temporal else chartdata.label_of(row[x]),
            "y": chartdata.finite(row[y]),
            "c": chartdata.label_of(row[colour]) if colour else "",
        }
        for row in rows
    ]
    names = list(dict.fromkeys(str(row["c"]) for row in data))
    values = [float(cast(float, row["y"])) for row in data]
    totals = Counter[Any]()
    for row in data:
        totals[row["x"]] += row["y"]
    tops = list(totals.values()) if stacked or temporal else values
    title_of_y, colours = chartaxes.value_title(y, y_title, unit), _colour(names, symbol="square")
    if temporal:
        _stack_by_time(data, names)
        span = (
            min(row["x"] for row in [*data, *over]),
            max([*(row["end"] for row in data), *(row["x"] for row in over)]),
        )
        across = chartaxes.x_axis(x, rows, span, x_title)
        up = chartaxes.y_ticks([*tops, *(row["y"] for row in over)], False, 5)
        chart = alt.Chart(alt.Data(values=data)).mark_rect()
        chart = chart.encode(
            x=across,
            x2=alt.X2("end"),
            y=alt.Y("top:Q", title=title_of_y, axis=up),
            y2=alt.Y2("foot"),
            color=colours,
        )
        if over:
            points = alt.Chart(alt.Data(values=over)).encode(x=across, y=alt.Y("y:Q", title=title_of_y, axis=up))
            dashed = points.mark_line(color="currentColor", strokeDash=[5, 3], strokeWidth=1.5)
            chart = alt.layer(chart, dashed, points.mark_point(color="currentColor", filled=True, size=24, opacity=1))
    else:
        axis = alt.Axis(labelAngle=0, labelLimit=160)
        bar = alt.Chart(alt.Data(values=data)).mark_bar(cornerRadiusEnd=2, width=alt.RelativeBandSize(0.72))
        chart = bar.encode(
            x=alt.X("x:N", sort=None, title=x_title or chartaxes.spoken(x), axis=axis),
            y=alt.Y("y:Q", title=title_of_y, stack=stacked or None, axis=chartaxes.y_ticks(tops, False, 5)),
            color=colours,
        )
        if colour and not stacked:
            chart = chart.encode(xOffset=alt.XOffset("c:N", sort=None))
    suffix = f" {unit}" if unit else ""
    named = [f"{chartdata.moment(row[x])} {point['c']}".strip() for row, point in zip(rows, data, strict=True)][:12]
    each = "; ".join(f"{name} {number(value)}{suffix}" for name, value in zip(named, values, strict=False))
    return draw(chart.properties(width=WIDTH, height=height), title=title, summary=each, rows=rows)


def _line_points(frame: Any, x: str, y: str) -> list[dict[str, float]]:
    """Points of a line over bars, in their order in time."""
    found = []
    for row in [] if frame is None else chartdata.rows_of(frame, [x, y]):
        place, value = chartdata.place_of(chartdata.as_time(row[x])), chartdata.finite(row[y])
        if place is not None and value is not None:
            found.append({"x": place, "y": value})
    return sorted(found, key=lambda row: row["x"])


def _stack_by_time(data: list[dict[str, Any]], names: Sequence[str]) -> None:
    """Give each bar its ``foot`` and ``top``, and its ``end``: a little before the next one begins."""
    places = sorted({row["x"] for row in data})
    width_ms = min((b - a for a, b in itertools.pairwise(places)), default=60_000.0)
    heights = dict.fromkeys(places, 0.0)
    for row in sorted(data, key=lambda row: names.index(row["c"])):
        row["foot"], row["top"], row["end"] = (
            heights[row["x"]],
            heights[row["x"]] + row["y"],
            row["x"] + 0.85 * width_ms,
        )
        heights[row["x"]] = row["top"]


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
    text: str = "",
) -> Chart | NoData:
    """A matrix of ``value`` by ``x`` and ``y`` (categories), each cell with its figure; what is missing stays blank.

    ``text`` is a column of what stands in a cell that has no figure, framed, where it is not empty.
    """
    columns = [x, y, value, *([text] if text else [])]
    shown = [(row, chartdata.finite(row[value])) for row in chartdata.rows_of(frame, columns)]
    shown = [(row, figure) for row, figure in shown if figure is not None or (text and row[text])]
    if not shown:
        return NoData(title)
    alt = _altair()
    rows = [row for row, _ in shown]
    highest = max(figure or 0.0 for _, figure in shown)
    data = [
        {
            "x": chartdata.label_of(row[x]),
            "y": chartdata.label_of(row[y]),
            "v": figure,
            "text": f"{number(figure)} {unit}".strip() if figure is not None else str(row[text]),
            "strong": bool(highest > 0 and (figure or 0.0) > 0.45 * highest),
        }
        for row, figure in shown
    ]
    across = alt.Axis(labelAngle=0, orient="top", domain=False, ticks=False)
    # In the order given, and what is in both in one order.
    down = list(dict.fromkeys(one["y"] for one in data))
    over = dict.fromkeys(one["x"] for one in data)
    sides = [name for name in down if name in over] + [name for name in over if name not in down]
    base = alt.Chart(alt.Data(values=data)).encode(
        x=alt.X("x:N", scale=alt.Scale(domain=sides), title=x_title or chartaxes.spoken(x), axis=across),
        y=alt.Y("y:N", scale=alt.Scale(domain=down), title=y_title or chartaxes.spoken(y)),
    )
    shade = alt.Scale(domain=[0, highest or 1], range=[0.06, 0.95])
    cells = base.transform_filter("datum.v !== null").mark_rect(fill=PALETTE[0])
    cells = cells.encode(fillOpacity=alt.FillOpacity("v:Q", legend=None, scale=shade))
    # Told apart by a frame and by words, not by its colour alone.
    without = base.transform_filter("datum.v === null").mark_rect(
        fill=PALETTE[1], fillOpacity=0.18, stroke=PALETTE[1], strokeWidth=2, strokeDash=[4, 3]
    )
    ink = alt.condition("datum.strong", alt.value("#ffffff"), alt.value("currentColor"))
    texts = base.mark_text(fontSize=13).encode(text="text:N", color=ink)
    chart = alt.layer(cells, *([without] if text else []), texts).properties(width=WIDTH, height=alt.Step(44))
    each = "; ".join(f"{d['y']} to {d['x']}: {d['text']}" for d in data[:16])
    return draw(chart, title=title, summary=each, rows=rows)


def draw(
    chart: alt.TopLevelMixin,
    *,
    title: str,
    summary: str = "",
    rows: Sequence[Mapping[str, Any]] | None = None,
    note: str = "",
) -> Chart:
    """Draw any Altair chart in Atoll's look. ``rows`` is what "Data as CSV" gives."""
    import vl_convert

    alt = _altair()
    with alt.theme.enable("atoll"):
        spec = chart.to_dict()
    spec |= {"autosize": {"type": "fit-x", "contains": "padding"}, "padding": 4}
    # The Vega-Lite that Altair speaks. Nothing may be fetched: a chart's data is in it.
    svg = vl_convert.vegalite_to_svg(spec, vl_version=alt.SCHEMA_VERSION.rpartition(".")[0], allowed_base_urls=[])
    return Chart(_embedded(svg, title, summary), title, summary, _csv(rows or []), note)


@cache
def _altair() -> Any:
    """Altair with Atoll's theme, loaded when the first chart is drawn: commands that draw none stay quick."""
    altair = slowimports.altair()
    altair.theme.register("atoll", enable=False)(lambda: cast(Any, theme()))
    return altair


def _caption(title: str, note: str = "") -> str:
    unit = f" <small>{escape(note)}</small>" if note else ""
    return f"<figcaption>{escape(title)}{unit}</figcaption>" if title else ""


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


# --- series: colour, dash, strength ------------------------------------------------------------------------------


def _places(names: Iterable[str]) -> dict[str, int]:
    """Each name's place in the palette; names that :func:`keep_colours` knows keep theirs."""
    ordered = sorted(names, key=lambda name: (_kept.index(name) if name in _kept else len(_kept), name))
    free = itertools.count(len(_kept) if set(ordered) & set(_kept) else 0)
    return {name: _kept.index(name) if name in _kept else next(free) for name in ordered}


def _scale(names: Sequence[str], values: Sequence[Any]) -> Any:
    places = _places(names)
    return _altair().Scale(domain=list(places), range=[values[place % len(values)] for place in places.values()])


def _colour(names: list[str], symbol: str, legend: bool = True) -> Any:
    """Colour by series; one that has no name has the first colour and no legend."""
    alt = _altair()
    if names in ([], [""]):
        return alt.value(PALETTE[0])
    return alt.Color("c:N", scale=_scale(names, PALETTE), legend=_key(names, symbol, legend))


def _key(names: list[str], symbol: str, legend: bool = True) -> Any:
    # As many columns as fit: an entry is its symbol and about seven pixels a letter.
    columns = max(1, WIDTH // (70 + 7 * max(map(len, names))))
    size = 400 if symbol == "stroke" else 110
    return _altair().Legend(symbolType=symbol, columns=columns, symbolSize=size) if legend else None


def _strengths(names: list[str]) -> dict[str, Any]:
    alt = _altair()
    widths, opacities = zip(*(STRENGTHS[min(place, len(STRENGTHS) - 1)] for place in range(len(names))), strict=True)
    key = alt.Legend(symbolType="stroke", symbolStrokeColor="currentColor", symbolSize=400, offset=4)
    return {
        "opacity": alt.Opacity("s:N", scale=alt.Scale(domain=names, range=list(opacities)), legend=key),
        "strokeWidth": alt.StrokeWidth("s:N", scale=alt.Scale(domain=names, range=list(widths)), legend=key),
    }


def _legend(names: Sequence[str], note: str) -> str:
    """The key of several charts."""
    entries = "".join(
        f'<span><svg viewBox="0 0 28 8" width="28" height="8" aria-hidden="true"><path d="M1 4h26" fill="none" '
        f'stroke="{PALETTE[place % len(PALETTE)]}" stroke-width="2.5" '
        f'stroke-dasharray="{" ".join(map(str, DASHES[place % len(DASHES)]))}"/></svg>{escape(name)}</span>'
        for name, place in _places(names).items()
        if name
    )
    return f'<p class="at-legend">{entries}<span class="at-note">{escape(note)}</span></p>'


def _lines_summary(series: Mapping[chartdata.Key, chartdata.Points], unit: str) -> str:
    parts = []
    suffix = f" {unit}" if unit else ""
    for key, points in list(series.items())[:8]:
        values = [value for _, value in points if value is not None]
        if values:
            name = " ".join(filter(None, key))
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

"""Several charts under each other on one axis of time, with the phases of what happened shaded and named in each."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any, Literal, Protocol

from ops import charts
from ops.charts import axes as chartaxes
from ops.charts import points as chartdata
from ops.markup import number

Kind = Literal["bars", "points", "steps"]
# Room for what stands left of each plot, the same in all, so that one time is one place down the page.
MARGIN = 84
HEIGHT = 150
ROW = 26
LABEL_ROW = 15
MAX_LABEL_ROWS = 3
LETTER = 6.6
PLOT = charts.WIDTH - MARGIN - 20
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
# What a stretch without a row is, in usual spacings.
GAP = 4


class Named(Protocol):
    """A phase: Unix seconds; ``ended`` None goes on to the end of the axis."""

    @property
    def name(self) -> str: ...
    @property
    def started(self) -> float: ...
    @property
    def ended(self) -> float | None: ...


@dataclass(frozen=True)
class TimePanel:
    """One chart of a timeline: ``frame`` is a DataFrame or rows with the column ``time``.

    ``bars`` stack ``y`` by ``colour``, and expect a row for each step of time. ``points`` show each row, with gaps as
    gaps. ``steps`` have a row of the chart for each value of ``y``, filled with the colour of what held there then.
    ``strong`` is a series in the colour of text: what went wrong. ``legend`` False: as in the chart above.
    """

    title: str
    frame: Any
    kind: Kind
    y: str
    colour: str
    unit: str = ""
    log: bool = False
    strong: str = ""
    legend: bool = True
    empty: str = "no data in this window"


@dataclass(frozen=True)
class Timeline:
    """Charts under each other; they scroll as one where the page is narrow."""

    charts: tuple[charts.Chart | charts.NoData, ...]
    title: str

    def _repr_html_(self) -> str:
        parts = "".join(c.figure(scroll=False) if isinstance(c, charts.Chart) else c._repr_html_() for c in self.charts)
        label = escape(self.title or "timeline", quote=True)
        around = f'class="at-scroll at-timeline" tabindex="0" role="region" aria-label="{label}"'
        return f"<div {around}><div>{parts}</div></div>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/html": self._repr_html_(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.charts))


def timeline(panels: Sequence[TimePanel], phases: Sequence[Named] = (), *, title: str = "timeline") -> Timeline:
    """Draw the panels over the stretch that their rows and the phases cover (times are shown in UTC)."""
    taken = [(panel, _rows(panel)) for panel in panels]
    places = [float(row["time"]) for _, rows in taken for row in rows]
    places += [edge * 1000 for phase in phases for edge in (phase.started, phase.ended) if edge is not None]
    if not places:
        return Timeline(tuple(charts.NoData(panel.title, panel.empty) for panel in panels), title)
    span = (min(places), max(places) if max(places) > min(places) else min(places) + 1000)
    bands = _bands(phases, span)
    shown = [index for index, (_, rows) in enumerate(taken) if rows]
    drawn = [
        _draw(panel, rows, span, bands, last=index == shown[-1]) if rows else charts.NoData(panel.title, panel.empty)
        for index, (panel, rows) in enumerate(taken)
    ]
    return Timeline(tuple(drawn), title)


def _rows(panel: TimePanel) -> list[dict[str, Any]]:
    """The panel's rows in the order of time, their time in milliseconds; what has no time or no value is left out."""
    rows = []
    for row in chartdata.rows_of(panel.frame, ["time", panel.y, panel.colour]):
        place = chartdata.place_of(chartdata.as_time(row["time"]))
        value = chartdata.label_of(row[panel.y]) if panel.kind == "steps" else chartdata.finite(row[panel.y])
        if place is not None and value is not None:
            rows.append({"time": place, "y": value, "c": chartdata.label_of(row[panel.colour])})
    return sorted(rows, key=lambda row: float(row["time"]))


# --- phases --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Band:
    """A phase on the axis; its name stands in line ``row`` above the plot and begins ``at``, left of a last phase that
    is shorter than it."""

    name: str
    first: float
    last: float
    at: float
    row: int
    dark: bool


def _bands(phases: Sequence[Named], span: tuple[float, float]) -> list[_Band]:
    """The phases with their names laid out so that none lies on another; a name without room is left out."""
    bands: list[_Band] = []
    free = [0.0] * MAX_LABEL_ROWS
    for index, phase in enumerate(sorted(phases, key=lambda phase: phase.started)):
        first = max(span[0], phase.started * 1000)
        last = min(span[1], span[1] if phase.ended is None else phase.ended * 1000)
        width, length = LETTER * len(phase.name) + 8, span[1] - span[0]
        left = max(0.0, min(PLOT * (first - span[0]) / length, PLOT - width))
        row = next((row for row, taken in enumerate(free) if left >= taken), -1)
        if row >= 0:
            free[row] = left + width
        bands.append(_Band(phase.name, first, last, span[0] + length * left / PLOT, row, index % 2 == 1))
    return bands


def _phase_layers(alt: Any, bands: list[_Band], height: float, scale: Any) -> list[Any]:
    if not bands:
        return []
    data = [{"first": b.first, "last": b.last, "at": b.at, "name": b.name, "row": b.row, "dark": b.dark} for b in bands]
    base = alt.Chart(alt.Data(values=data)).encode(x=alt.X("first:T", scale=scale))
    shade = alt.condition("datum.dark", alt.value(0.1), alt.value(0.0))
    layers = [
        base.mark_rect(fill="currentColor", stroke=None).encode(
            x2="last", y=alt.value(0), y2=alt.value(height), fillOpacity=shade
        ),
        base.mark_rule(color="currentColor", opacity=0.45, strokeDash=[2, 3]).encode(
            y=alt.value(0), y2=alt.value(height)
        ),
    ]
    for row in sorted({band.row for band in bands if band.row >= 0}):
        text = base.transform_filter(f"datum.row == {row}").mark_text(
            align="left", baseline="bottom", dx=2, fontSize=11.5, color="currentColor", clip=False
        )
        layers.append(text.encode(x=alt.X("at:T", scale=scale), text="name:N", y=alt.value(-4 - LABEL_ROW * row)))
    return layers


# --- one panel -----------------------------------------------------------------------------------------------------


def _draw(
    panel: TimePanel, rows: list[dict[str, Any]], span: tuple[float, float], bands: list[_Band], *, last: bool
) -> charts.Chart:
    alt = charts._altair()
    names = list(dict.fromkeys(str(row["c"]) for row in rows))
    ticks, form = chartaxes.time_ticks(*span, 1)
    scale = alt.Scale(type="utc", domain=list(span), nice=False)
    axis = alt.Axis(values=ticks, format=form, labelFlush=False)
    words = chartaxes.time_words(*span)[1] if last else None
    x = alt.X("time:T", title=words, scale=scale, axis=axis)
    labels = 1 + max((band.row for band in bands), default=-1)
    colour = _colour(names, panel, 14 + LABEL_ROW * labels)
    height: float = HEIGHT
    if panel.kind == "steps":
        marks, height, summary = _steps(rows, x, colour, panel)
    elif panel.kind == "bars":
        marks, summary = _bars(rows, x, colour, panel)
    else:
        marks, summary = _points(rows, x, colour, panel)
    chart = alt.layer(*_phase_layers(alt, bands, height, scale), *marks).properties(width=charts.WIDTH, height=height)
    shown = ", ".join(band.name for band in bands)
    text = f"{summary}{f'; phases: {shown}' if shown else ''}"
    unstacked = [{panel.colour: r["c"], panel.y: r["y"], "time": _moment(r["time"])} for r in rows]
    return charts.draw(chart, title=panel.title, summary=text, rows=unstacked, note=panel.unit)


def _moment(place_ms: float) -> str:
    return datetime.fromtimestamp(place_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _colour(names: list[str], panel: TimePanel, offset: float) -> Any:
    """Colours as in every chart, but for the strong series, which takes the colour of text."""
    alt = charts._altair()
    places = charts._places([name for name in names if name != panel.strong])
    domain = [*places, *([panel.strong] if panel.strong in names else [])]
    colours = [charts.PALETTE[place % len(charts.PALETTE)] for place in places.values()] + ["currentColor"]
    if names == [""]:
        return alt.value(charts.PALETTE[0])
    columns = max(1, PLOT // (60 + 7 * max(map(len, names))))
    legend = alt.Legend(symbolType="square", symbolSize=110, columns=columns, offset=offset) if panel.legend else None
    return alt.Color("c:N", scale=alt.Scale(domain=domain, range=colours[: len(domain)]), legend=legend)


def _value_axis(alt: Any, values: list[float], log: bool) -> Any:
    axis = chartaxes.y_ticks(values, log, 4)
    axis.minExtent = axis.maxExtent = MARGIN
    return axis


def _bars(rows: list[dict[str, Any]], x: Any, colour: Any, panel: TimePanel) -> tuple[list[Any], str]:
    alt, names = charts._altair(), list(dict.fromkeys(str(row["c"]) for row in rows))
    places = charts._places(names)
    order = sorted(names, key=lambda name: (name == panel.strong, places[name]))
    data = [{"x": row["time"], "y": row["y"], "c": row["c"]} for row in rows]
    charts._stack_by_time(data, order)
    tops = [float(row["top"]) for row in data]
    mark = alt.Chart(alt.Data(values=[{"time": row["x"], **row} for row in data if row["y"]])).mark_rect(clip=True)
    axis = _value_axis(alt, tops, False)
    encoded = mark.encode(
        x=x, x2=alt.X2("end"), y=alt.Y("top:Q", title=None, axis=axis), y2=alt.Y2("foot"), color=colour
    )
    totals = {name: max(float(row["y"]) for row in rows if row["c"] == name) for name in order}
    return [encoded], "; ".join(f"{name or panel.y} up to {number(value)}" for name, value in list(totals.items())[:8])


def _points(rows: list[dict[str, Any]], x: Any, colour: Any, panel: TimePanel) -> tuple[list[Any], str]:
    alt, names = charts._altair(), list(dict.fromkeys(str(row["c"]) for row in rows))
    values = [float(row["y"]) for row in rows]
    order = list(charts._places(names))
    shapes = [SHAPES[place % len(SHAPES)] for place in range(len(order))]
    size, opacity = (22, 0.85) if len(rows) <= 400 else (12, 0.7)
    mark = alt.Chart(alt.Data(values=rows)).mark_point(filled=True, size=size, opacity=opacity, clip=True)
    y = alt.Y("y:Q", title=None, scale=chartaxes.y_scale(values, panel.log), axis=_value_axis(alt, values, panel.log))
    encoded = mark.encode(x=x, y=y, color=colour)
    if names != [""]:
        encoded = encoded.encode(shape=alt.Shape("c:N", scale=alt.Scale(domain=order, range=shapes), legend=None))
    ranges = {name: [float(row["y"]) for row in rows if row["c"] == name] for name in order[:8]}
    suffix = f" {panel.unit}" if panel.unit else ""
    said = (f"{name or panel.y} {number(min(some))} to {number(max(some))}{suffix}" for name, some in ranges.items())
    return [encoded], "; ".join(said)


def _steps(rows: list[dict[str, Any]], x: Any, colour: Any, panel: TimePanel) -> tuple[list[Any], float, str]:
    alt = charts._altair()
    tracks = list(dict.fromkeys(str(row["y"]) for row in rows))
    segments = [one for track in tracks for one in _segments([row for row in rows if row["y"] == track])]
    low, high = (float(edge) for edge in x.to_dict()["scale"]["domain"])
    for one in segments:
        width = PLOT * (min(one["end"], high) - one["time"]) / (high - low)
        one["end"] = min(one["end"], high)
        one["text"] = one["c"] if one["c"] != panel.strong and width > LETTER * len(one["c"]) + 8 else ""
        one["strong"] = one["c"] == panel.strong
    y = alt.Y(
        "y:N",
        sort=tracks,
        title=None,
        scale=alt.Scale(domain=tracks, paddingInner=0.18, paddingOuter=0.1),
        axis=alt.Axis(minExtent=MARGIN, maxExtent=MARGIN, labelLimit=MARGIN - 8, domain=False, ticks=False),
    )
    base = alt.Chart(alt.Data(values=segments)).encode(x=x, y=y)
    opacity = alt.condition("datum.strong", alt.value(0.85), alt.value(0.5))
    bars = base.mark_bar().encode(x2=alt.X2("end"), color=colour, fillOpacity=opacity)
    texts = base.mark_text(align="left", dx=4, fontSize=11, color="currentColor", clip=True).encode(text="text:N")
    said = (
        f"{track}: {', then '.join(str(one['c']) for one in segments if one['y'] == track)}" for track in tracks[:6]
    )
    return [bars, texts], ROW * len(tracks), "; ".join(said)[:600]


def _segments(rows: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """What held from when to when: a row holds until the next one, and over a gap only for the usual spacing."""
    steps = [b["time"] - a["time"] for a, b in itertools.pairwise(rows)]
    usual = statistics.median(steps) if steps else 1000.0
    found: list[dict[str, Any]] = []
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        end = following["time"] if following and following["time"] - row["time"] <= GAP * usual else row["time"] + usual
        if found and found[-1]["c"] == row["c"] and found[-1]["end"] >= row["time"]:
            found[-1]["end"] = end
        else:
            found.append({**row, "end": end})
    return found

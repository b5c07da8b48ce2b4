"""What happened where, on lanes over time: points for moments, bars for what took a while, one chart an episode.

What happens to one event takes a second, and may go on days later: on one axis each would be a dot. So time is cut
where nothing happened for long, and each episode has an axis of its own, down to milliseconds. Kinds are told apart by
colour and by shape, and each thing by its number in the table beside the chart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops import charts
from ops.charts.timeline import Timeline

MARGIN = 150
ROW = 30
# Nothing for so long, and for so much longer than all that went before it took, begins another episode.
PAUSE_MS = 20_000.0
EPISODES = 8
BAR = "M-1.4,-0.35L1.4,-0.35L1.4,0.35L-1.4,0.35Z"  # the shape of a bar, for the key
TICKS = 6
# Of the axis, what half the text of a mark takes: nearer to its end, it would be cut.
ROOM = 0.065
SPANS = (1, 2, 5)


@dataclass(frozen=True)
class Style:
    """How a kind looks: a colour of the palette, a shape of Vega's; what is ``faint`` is a bar without a point."""

    colour: str
    shape: str
    faint: bool = False


@dataclass(frozen=True)
class Happened:
    """One thing: ``number`` as in the table. ``until`` None is a moment."""

    number: int
    time: datetime
    lane: str
    kind: str
    what: str
    until: datetime | None = None


def lanes(
    things: Sequence[Happened], order: Sequence[str], styles: Mapping[str, Style], *, title: str, empty: str = "nothing"
) -> Timeline:
    """Charts of the episodes, one under the other; of more than ``EPISODES``, the first ones and the last.

    Args:
        order: the lanes from above; those without anything in an episode are left out of its chart.
        styles: every kind there is, in the order of the key.
    """
    if not things:
        return Timeline((charts.NoData(title, empty),), title)
    found = episodes(things)
    left = max(0, len(found) - EPISODES)
    shown = found if not left else [*found[: EPISODES - 1], found[-1]]
    kinds = [kind for kind in styles if any(one.kind == kind for episode in shown for one in episode)]
    drawn: list[charts.Chart | charts.NoData] = []
    for number, episode in enumerate(shown):
        name = title if not drawn else f"Later: {_moment(_first(episode))} UTC"
        drawn.append(_draw(episode, order, {kind: styles[kind] for kind in kinds}, name, legend=not number))
        if left and number == EPISODES - 2:
            said = f"{left} episodes between these are in the table only"
            drawn.append(charts.NoData("Not drawn", said))
    return Timeline(tuple(drawn), title)


def episodes(things: Iterable[Happened]) -> list[list[Happened]]:
    """Cut where nothing happened for long; in whatever order they come, each thing is in exactly one episode."""
    ordered = sorted(things, key=lambda one: (one.time, one.number))
    made: list[list[Happened]] = []
    over = -math.inf
    for one in ordered:
        begun, ended = _ms(one.time), _ms(one.until or one.time)
        took = over - _first(made[-1]) if made else 0.0
        if not made or begun - over > max(PAUSE_MS, took):
            made.append([])
            over = -math.inf
        made[-1].append(one)
        over = max(over, ended)
    return made


def _draw(
    episode: Sequence[Happened], order: Sequence[str], styles: Mapping[str, Style], title: str, *, legend: bool
) -> charts.Chart:
    alt: Any = charts._altair()
    used = {one.lane for one in episode}
    shown = [lane for lane in order if lane in used] + sorted(used - set(order))
    first, last = _first(episode), max(_ms(one.until or one.time) for one in episode)
    pad = max(1.0, (last - first) * 0.03)
    span = (first - pad, last + pad)
    step, form = _ticks(span)
    scale = alt.Scale(domain=list(span), nice=False, zero=False)
    ticks = [tick * step for tick in range(math.ceil(span[0] / step), math.floor(span[1] / step) + 1)]
    ticks = [tick for tick in ticks if tick <= span[1] - ROOM * (span[1] - span[0])]
    # Numbers and not times: Vega takes two marks of an axis of times that are in one second for one.
    axis = alt.Axis(values=ticks, labelExpr=f"utcFormat(datum.value, '{form}')", labelFlush=False, grid=True)
    data = [
        {
            "time": _ms(one.time),
            "end": _ms(one.until) if one.until else _ms(one.time),
            "lane": one.lane,
            "kind": one.kind,
            "number": str(one.number),
        }
        for one in episode
    ]
    base = alt.Chart(alt.Data(values=data)).encode(
        x=alt.X("time:Q", title=f"time (UTC), {_day(first)}", scale=scale, axis=axis),
        y=alt.Y(
            "lane:N",
            title=None,
            scale=alt.Scale(domain=shown, paddingInner=0.2, paddingOuter=0.2),
            axis=alt.Axis(
                minExtent=MARGIN, maxExtent=MARGIN, labelLimit=MARGIN - 6, domain=False, ticks=False, grid=True
            ),
        ),
    )
    names = list(styles)
    key = alt.Legend(symbolSize=110, columns=6, symbolStrokeWidth=0, symbolOpacity=1) if legend else None
    colour = alt.Color(
        "kind:N", scale=alt.Scale(domain=names, range=[styles[name].colour for name in names]), legend=key
    )
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=names, range=[styles[n].shape for n in names]), legend=key)
    faint = " || ".join(f"datum.kind == '{name}'" for name, style in styles.items() if style.faint) or "false"
    bars = base.transform_filter("datum.end > datum.time").mark_bar(height=7, cornerRadius=2)
    bars = bars.encode(x2=alt.X2("end"), color=colour, opacity=alt.condition(faint, alt.value(0.45), alt.value(0.65)))
    points = (
        base.transform_filter(f"!({faint}) || datum.end == datum.time")
        .mark_point(filled=True, size=120, opacity=1)
        .encode(color=colour, shape=shape)
    )
    numbers = base.mark_text(dy=-11, fontSize=10.5, color="currentColor").encode(text="number:N")
    chart = alt.layer(bars, points, numbers).properties(width=charts.WIDTH, height=ROW * len(shown))
    rows = [
        {"number": one.number, "time": _text(one.time), "until": _text(one.until), "lane": one.lane}
        | {"kind": one.kind, "what": one.what}
        for one in episode
    ]
    said = "; ".join(f"{one.number} {one.lane}: {one.kind} at {_text(one.time)[11:23]}" for one in episode[:20])
    more = f"; and {len(episode) - 20} more" if len(episode) > 20 else ""
    return charts.draw(chart, title=title, summary=said + more, rows=rows)


def _ticks(span: tuple[float, float]) -> tuple[float, str]:
    """The step of a time axis in milliseconds, of round numbers or of a clock, and how its times are written."""
    length = span[1] - span[0]
    steps = [factor * 10.0**power for power in range(5) for factor in SPANS if factor * 10.0**power <= 10_000]
    steps += [seconds * 1000.0 for seconds in (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)]
    step = next((one for one in steps if length / one <= TICKS), math.ceil(length / TICKS / 86_400_000) * 86_400_000.0)
    if step < 60_000:
        return step, "%H:%M:%S.%L" if step < 1000 else "%H:%M:%S"
    return step, "%H:%M" if _day(span[0]) == _day(span[1]) else "%d %b %H:%M"


def _ms(at: datetime) -> float:
    return at.timestamp() * 1000


def _first(episode: Sequence[Happened]) -> float:
    return min(_ms(one.time) for one in episode)


def _day(place: float) -> str:
    return f"{datetime.fromtimestamp(place / 1000, UTC):%d %b %Y}"


def _moment(place: float) -> str:
    return f"{datetime.fromtimestamp(place / 1000, UTC):%d %b %Y %H:%M:%S}"


def _text(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds") if at else ""

"""What happened at a time, drawn on the axis of a chart: a line with a short name, which a table explains."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

# Names closer to each other than this share of the axis stand under each other.
CLOSE = 0.05
ROWS, ROW_PX = 3, 11


class Mark(NamedTuple):
    """A moment (with a time zone) and its name, one to three letters."""

    at: datetime
    name: str


def inside(marks: Sequence[Mark], span_ms: tuple[float, float]) -> list[Mark]:
    """Those on the axis, in order; what began before it is not."""
    return sorted(mark for mark in marks if span_ms[0] <= mark.at.timestamp() * 1000 <= span_ms[1])


def layers(alt: Any, marks: Sequence[Mark], span_ms: tuple[float, float]) -> list[Any]:
    """A dotted line over the height of the plot, and its name at the top."""
    data, ends = [], [float("-inf")] * ROWS
    close = CLOSE * (span_ms[1] - span_ms[0])
    for mark in inside(marks, span_ms):
        at = mark.at.timestamp() * 1000
        # A name that has no room is left out; its line is not.
        row = next((row for row, end in enumerate(ends) if at - end >= close), None)
        if row is not None:
            ends[row] = at
        data.append({"at": at, "name": "" if row is None else mark.name, "y": ROW_PX * (row or 0)})
    if not data:
        return []
    base = alt.Chart(alt.Data(values=data)).encode(x=alt.X("at:T"))
    text = base.mark_text(align="left", baseline="top", dx=3, fontSize=10, color="currentColor", opacity=0.85)
    return [
        base.mark_rule(color="currentColor", strokeDash=[1, 3], opacity=0.6),
        text.encode(text="name:N", y=alt.Y("y:Q", scale=None)),
    ]

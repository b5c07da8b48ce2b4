"""Rows as the points of lines: whatever a notebook has, in the order of time, with gaps where points are missing."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

# A spacing this much longer than usual is a gap.
GAP_FACTOR = 1.6

# A line's colour and shade, and its points by place.
Key = tuple[str, str]
Points = list[tuple[Any, float | None]]


def rows_of(frame: Any, columns: Sequence[str]) -> list[dict[str, Any]]:
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


def series_of(rows: list[dict[str, Any]], x: str, y: str, colour: str, shade: str) -> dict[Key, Points]:
    """The points of each line, by its colour and its shade, in the order of ``x``."""
    series: dict[Key, Points] = {}
    for row in rows:
        place = place_of(row[x])
        if place is not None:
            key = (label_of(row[colour]) if colour else "", label_of(row[shade]) if shade else "")
            series.setdefault(key, []).append((place, finite(row[y])))
    return {key: sorted(points, key=lambda point: point[0]) for key, points in series.items()}


def with_gaps(key: Key, points: Points, *, even: bool = True) -> list[dict[str, Any]]:
    """A series' points, with an empty one wherever its spacing says that some are missing; not where it is not
    ``even``."""
    steps = [b[0] - a[0] for a, b in itertools.pairwise(points) if b[0] > a[0]]
    usual = statistics.median(steps) if steps and even else 0
    filled: Points = []
    for point in points:
        if filled and usual and point[0] - filled[-1][0] > GAP_FACTOR * usual:
            filled.append((filled[-1][0] + usual, None))
        filled.append(point)
    values: list[float | None] = [None, *(value for _, value in filled), None]
    return [
        {
            "x": place,
            "y": value,
            "c": key[0],
            "s": key[1],
            "alone": value is not None and values[i] is None and values[i + 2] is None,
        }
        for i, (place, value) in enumerate(filled)
    ]


def as_time(value: Any) -> Any:
    """A text that is an RFC 3339 time as a time; whatever else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


def place_of(value: Any) -> float | None:
    """Where a value stands on the x axis: times as epoch milliseconds."""
    if isinstance(value, datetime):
        if str(value) == "NaT":
            return None
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000
    return finite(value)


def finite(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        plain = float(value)
    except (TypeError, ValueError):
        return None
    return plain if math.isfinite(plain) else None


def label_of(value: Any) -> str:
    return "" if value is None else str(value)


def moment(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else label_of(value)

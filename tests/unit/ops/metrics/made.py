"""Frames made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pandas as pd

from ops.metrics import frames

US, AP, EU = "us-east-1", "ap-south-1", "eu-west-1"
START = datetime(2026, 11, 16, tzinfo=UTC)


def frame(
    rows: Iterable[tuple[int, str, str, str, str, float]],
    *,
    periods: int,
    period_s: int = 60,
    regions: tuple[str, ...] = (US, AP, EU),
    start: datetime = START,
) -> pd.DataFrame:
    """Rows of (number of the period, region, resource, metric, statistic, value), as ``collect`` returns them."""
    step = timedelta(seconds=period_s)
    units = {"Latency": "ms", "EndToEndLatency": "ms", "ReplicationLatency": "ms", "Duration": "ms"}
    made = frames.make(
        [
            (start + n * step, region, res, name, stat, units.get(name, "count"), v)
            for n, region, res, name, stat, v in rows
        ]
    )
    end = (start + periods * step).isoformat()
    made.attrs.update(
        period_s=period_s, start=start.isoformat(), end=end, asked_end=end, regions=list(regions), incomplete=[]
    )
    return made


def series(  # noqa: PLR0917 - as a row has them
    region: str, resource: str, metric: str, statistic: str, value: Callable[[int], float], periods: int
) -> list[tuple[int, str, str, str, str, float]]:
    """A row a period."""
    return [(n, region, resource, metric, statistic, value(n)) for n in range(periods)]

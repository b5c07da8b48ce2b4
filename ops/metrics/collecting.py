"""All regions asked in parallel, each with as few GetMetricData calls as its limits allow.

The period follows from the age of the range, because CloudWatch keeps fine data for a short time only. What always
holds: times are in UTC, a gap stays a gap, and a series that CloudWatch could not give in full is named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ops import stack
from ops.aws import Cloud, explained
from ops.errors import OpsError, UsageError
from ops.fanout import each
from ops.metrics import frames
from ops.metrics.catalogue import catalogue
from ops.metrics.series import Series

if TYPE_CHECKING:
    import pandas as pd

# GetMetricData: 500 queries a call, and as many points an answer as fit; NextToken leads to the rest. So many queries
# a call are always the fewest calls: what does not fit into an answer takes pages, however it is asked for.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
MAX_QUERIES = 500
MAX_POINTS = 100_800
MAX_PAGES = 200
ATTEMPTS = 3
# How long CloudWatch keeps points of a period: 60 s for 15 days, 300 s for 63, 3,600 s for 455.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html
RETENTION = ((timedelta(days=15), 60), (timedelta(days=63), 300), (timedelta(days=455), 3600))
PERIODS_S = (60, 300, 900, 3600, 21_600, 86_400)
# More points than this in a series no chart shows.
CHART_POINTS = 1440

Window = tuple[datetime, datetime, int]


def finest_s(age: timedelta) -> int | None:
    """The finest period in seconds that CloudWatch still has of what is so old; None where it has nothing."""
    return next((period for limit, period in RETENTION if age <= limit), None)


def derive_period(start: datetime, end: datetime, now: datetime) -> int:
    """Seconds a point: the finest that CloudWatch still has for all of the range and a chart still shows.

    Raises:
        UsageError: the range begins before anything is kept.
    """
    age = now - start
    kept = finest_s(age)
    if kept is None:
        raise UsageError(f"start: {start.isoformat()} is {age.days} days ago; CloudWatch keeps {RETENTION[-1][0].days}")
    span_s = (end - start).total_seconds()
    return next((p for p in PERIODS_S if p >= kept and span_s / p <= CHART_POINTS), PERIODS_S[-1])


def _aligned(start: datetime, end: datetime, period_s: int) -> Window:
    """The range widened to whole periods: CloudWatch is fastest so, and the first point is whole."""
    first = int(start.timestamp()) // period_s * period_s
    last = -(-int(end.timestamp()) // period_s) * period_s
    return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(max(last, first + period_s), UTC), period_s


def collect(
    cloud: Cloud,
    start: datetime,
    end: datetime | None = None,
    period_s: int | None = None,
    *,
    regions: Sequence[str] = (),
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> pd.DataFrame:
    """Every region's series from ``start`` to ``end`` (default: now), one row a point; reads only.

    The frame's ``attrs`` have ``period_s``, ``start`` and ``end`` (of whole periods), ``asked_end``, ``regions`` and
    ``incomplete``, the series that CloudWatch gave in part only.

    Raises:
        UsageError: the range is empty or too old, has no time zone, or the period is no multiple of 60.
        OpsError: CloudWatch did not answer.
    """
    end = end or now()
    if start.tzinfo is None or end.tzinfo is None:
        raise UsageError("start, end: they need a time zone, for example datetime.now(UTC)")
    if start >= end:
        raise UsageError(f"start: {start.isoformat()} is not before end, {end.isoformat()}")
    period_s = period_s or derive_period(start, end, now())
    if period_s % 60 or period_s <= 0:
        raise UsageError(f"period_s: {period_s} is no multiple of 60")
    window = _aligned(start, end, period_s)
    names = list(regions) or cloud.stage.regions

    def read(region: str) -> tuple[pd.DataFrame, list[str]]:
        series = catalogue(cloud.stage, stack.read(cloud, region).api_id, region)
        return _read(cloud.client("cloudwatch", region), region, series, window, sleep)

    with explained("reading metrics"):
        found = each(names, read)
    result = frames.together(frame for frame, _ in found.values())
    result.attrs.update(
        period_s=period_s,
        start=window[0].isoformat(),
        end=window[1].isoformat(),
        asked_end=end.isoformat(),
        regions=names,
        incomplete=[f"{region} {series}" for region, (_, partial) in found.items() for series in partial],
    )
    return result


def read(
    cloud: Cloud,
    region: str,
    series: list[Series],
    start: datetime,
    end: datetime,
    *,
    period_s: int = 60,
    client: Any = None,
) -> pd.DataFrame:
    """Some series of one region, a row a point, without those that CloudWatch gave in part only, which the frame's
    ``attrs`` name as ``incomplete``; reads only.

    Args:
        client: CloudWatch of another account, where the series are not in the run's own.

    Raises:
        OpsError: CloudWatch did not answer.
    """
    with explained(f"{region}: reading metrics"):
        window = _aligned(start, end, period_s)
        frame, partial = _read(client or cloud.client("cloudwatch", region), region, series, window, time.sleep)
    frame.attrs["incomplete"] = partial
    return frame


def _read(
    client: Any, region: str, series: list[Series], window: Window, sleep: Callable[[float], None]
) -> tuple[pd.DataFrame, list[str]]:
    rows: list[tuple[Any, ...]] = []
    partial: list[str] = []
    for offset in range(0, len(series), MAX_QUERIES):
        batch = {f"q{offset + n}": one for n, one in enumerate(series[offset : offset + MAX_QUERIES])}
        left = dict(batch)
        for attempt in range(ATTEMPTS):
            if attempt:
                sleep(2**attempt)
            got, left = _call(client, left, window)
            for identifier, found in got.items():
                one = batch[identifier]
                rows += [(t, region, one.resource, one.metric, one.statistic, one.unit, v) for t, v in found.items()]
            if not left:
                break
        partial += [str(one) for one in left.values()]
    return frames.make(rows), partial


def _call(
    client: Any, batch: dict[str, Series], window: Window
) -> tuple[dict[str, dict[datetime, float]], dict[str, Series]]:
    """All pages of one request: points by query, and the queries that stayed incomplete."""
    start, end, period_s = window
    request: dict[str, Any] = {
        "MetricDataQueries": [one.query(identifier, period_s) for identifier, one in batch.items()],
        "StartTime": start,
        "EndTime": end,
        "ScanBy": "TimestampAscending",
        "MaxDatapoints": MAX_POINTS,
    }
    points: dict[str, dict[datetime, float]] = {identifier: {} for identifier in batch}
    status: dict[str, str] = {}
    for _ in range(MAX_PAGES):
        answer = client.get_metric_data(**request)
        for result in answer["MetricDataResults"]:
            identifier = result["Id"]
            points[identifier].update(zip(result["Timestamps"], result["Values"], strict=True))
            status[identifier] = result.get("StatusCode", "Complete")
            if status[identifier] in ("InternalError", "Forbidden"):
                one, messages = batch[identifier], "; ".join(m.get("Value", "") for m in result.get("Messages", []))
                raise OpsError(f"metric {one.resource} {one.metric}: CloudWatch says {status[identifier]}: {messages}")
        if not answer.get("NextToken"):
            break
        request["NextToken"] = answer["NextToken"]
    else:
        raise OpsError(f"CloudWatch had more than {MAX_PAGES} pages of {len(batch)} series", hint="Ask for less time.")
    left = {identifier: one for identifier, one in batch.items() if status.get(identifier) == "PartialData"}
    return {identifier: found for identifier, found in points.items() if identifier not in left}, left

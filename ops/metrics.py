"""Every region's metrics as one tidy table, what they add up to per region, and whether that is good enough.

All regions are asked in parallel, each with as few GetMetricData calls as its limits allow. The period follows from the
age of the range, because CloudWatch keeps fine data for a short time only. What always holds: times are in UTC, a gap
stays a gap (a missing point is never a zero), and a series that CloudWatch could not give in full is named.

A notebook calls ``collect(cloud, start, end)``, then ``golden_signals(frame)``, ``summarise(frame)``,
``figures(frame)`` and ``checks(frame)``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ops import stack
from ops.aws import Cloud, explained
from ops.charts import Panel
from ops.errors import OpsError, UsageError
from ops.fanout import each
from ops.record import Check
from ops.stage import Stage

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["time", "region", "resource", "metric", "statistic", "unit", "value"]
# GetMetricData: 500 queries and 100,800 points a call.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
MAX_QUERIES = 500
MAX_POINTS = 100_800
MAX_PAGES = 100
# How long CloudWatch keeps points of a period: 60 s for 15 days, 300 s for 63, 3,600 s for 455.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html
RETENTION = ((timedelta(days=15), 60), (timedelta(days=63), 300), (timedelta(days=455), 3600))
PERIODS_S = (60, 300, 900, 3600, 21_600, 86_400)
# More points than this in a series no chart shows.
CHART_POINTS = 1440

PERCENTILES = ("p50", "p95", "p99")
_ATOLL = {
    "ingest": ("EventsAccepted", "EventsDuplicate", "EventsRejected", "EventsFailed"),
    "store": ("EventsStored", "EventsAlreadyStored", "EventsConflicting"),
    "activity": ("EventsCounted", "EventsAlreadyCounted"),
    "query": ("Reads",),
}
_ATOLL_TIMES = {"ingest": "IngestLatency", "store": "EndToEndLatency"}


@dataclass(frozen=True)
class Series:
    """One query: a metric of one resource in one statistic."""

    resource: str
    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str
    unit: str

    def query(self, identifier: str, period_s: int) -> dict[str, Any]:
        metric = {
            "Namespace": self.namespace,
            "MetricName": self.metric,
            "Dimensions": [{"Name": name, "Value": value} for name, value in self.dimensions],
        }
        return {"Id": identifier, "MetricStat": {"Metric": metric, "Period": period_s, "Stat": self.statistic}}


def catalogue(stage: Stage, api_id: str | None) -> list[Series]:
    """Every series of one region. Without an API (no stack) its own are left out."""
    return [*_api(api_id), *_functions(stage), *_queues(stage), *_platform(stage)]


def _api(api_id: str | None) -> Iterator[Series]:
    if api_id is None:
        return
    dimensions = (("ApiId", api_id),)
    for metric in ("Count", "4xx", "5xx"):
        yield Series("api", "AWS/ApiGateway", metric, dimensions, "Sum", "count")
    for statistic in PERCENTILES:
        yield Series("api", "AWS/ApiGateway", "Latency", dimensions, statistic, "ms")


def _functions(stage: Stage) -> Iterator[Series]:
    for name in stage.function_names:
        dimensions = (("FunctionName", stage.function(name)),)
        for metric in ("Invocations", "Errors", "Throttles"):
            yield Series(f"function/{name}", "AWS/Lambda", metric, dimensions, "Sum", "count")
        for statistic in PERCENTILES:
            yield Series(f"function/{name}", "AWS/Lambda", "Duration", dimensions, statistic, "ms")


def _queues(stage: Stage) -> Iterator[Series]:
    for processor in stage.processor_names:
        for kind, name in (("queue", stage.queue(processor)), ("dlq", stage.dlq(processor))):
            resource, dimensions = f"{kind}/{processor}", (("QueueName", name),)
            yield Series(resource, "AWS/SQS", "ApproximateAgeOfOldestMessage", dimensions, "Maximum", "s")
            yield Series(resource, "AWS/SQS", "ApproximateNumberOfMessagesVisible", dimensions, "Maximum", "count")


def _platform(stage: Stage) -> Iterator[Series]:
    for service, metrics in _ATOLL.items():
        dimensions = (("service", service), ("stage", stage.stage))
        for metric in metrics:
            yield Series(f"service/{service}", "Atoll", metric, dimensions, "Sum", "count")
        if service in _ATOLL_TIMES:
            for statistic in PERCENTILES:
                yield Series(f"service/{service}", "Atoll", _ATOLL_TIMES[service], dimensions, statistic, "ms")


# --- the range ---------------------------------------------------------------------------------------------------


def derive_period(start: datetime, end: datetime, now: datetime) -> int:
    """Seconds a point: the finest that CloudWatch still has for all of the range and a chart still shows.

    Raises:
        UsageError: the range begins before anything is kept.
    """
    age = now - start
    kept = next((period for limit, period in RETENTION if age <= limit), None)
    if kept is None:
        raise UsageError(f"start: {start.isoformat()} is {age.days} days ago; CloudWatch keeps {RETENTION[-1][0].days}")
    span_s = (end - start).total_seconds()
    return next((p for p in PERIODS_S if p >= kept and span_s / p <= CHART_POINTS), PERIODS_S[-1])


def _aligned(start: datetime, end: datetime, period_s: int) -> tuple[datetime, datetime]:
    """The range widened to whole periods: CloudWatch is fastest so, and the first point is whole."""
    first = int(start.timestamp()) // period_s * period_s
    last = -(-int(end.timestamp()) // period_s) * period_s
    return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(max(last, first + period_s), UTC)


# --- collect -----------------------------------------------------------------------------------------------------


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

    The frame's ``attrs`` have ``period_s``, ``start`` and ``end`` (of whole periods), ``asked_end``, and
    ``incomplete``, the series that CloudWatch gave in part only.

    Raises:
        UsageError: the range is empty or too old, has no time zone, or the period is no multiple of 60.
        OpsError: CloudWatch did not answer.
    """
    import pandas as pd

    end = end or now()
    if start.tzinfo is None or end.tzinfo is None:
        raise UsageError("start, end: they need a time zone, for example datetime.now(UTC)")
    if start >= end:
        raise UsageError(f"start: {start.isoformat()} is not before end, {end.isoformat()}")
    period_s = period_s or derive_period(start, end, now())
    if period_s % 60 or period_s <= 0:
        raise UsageError(f"period_s: {period_s} is no multiple of 60")
    first, last = _aligned(start, end, period_s)
    names = list(regions) or cloud.stage.regions

    def read(region: str) -> tuple[pd.DataFrame, list[str]]:
        series = catalogue(cloud.stage, stack.read(cloud, region).api_id)
        return _read(cloud.client("cloudwatch", region), region, series, (first, last, period_s), sleep)

    with explained("reading metrics"):
        found = each(names, read)
    # Frames without rows would change the types of the columns of the others.
    frames = [frame for frame, _ in found.values() if len(frame)]
    result = pd.concat(frames, ignore_index=True) if frames else _frame([])
    result.attrs.update(
        period_s=period_s,
        start=first.isoformat(),
        end=last.isoformat(),
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
        window = (*_aligned(start, end, period_s), period_s)
        frame, partial = _read(client or cloud.client("cloudwatch", region), region, series, window, time.sleep)
    frame.attrs["incomplete"] = partial
    return frame


def _read(
    client: Any,
    region: str,
    series: list[Series],
    window: tuple[datetime, datetime, int],
    sleep: Callable[[float], None],
) -> tuple[pd.DataFrame, list[str]]:
    start, end, period_s = window
    points = max(1, int((end - start).total_seconds()) // period_s)
    size = max(1, min(MAX_QUERIES, MAX_POINTS // points))
    rows: list[tuple[Any, ...]] = []
    partial: list[str] = []
    for offset in range(0, len(series), size):
        batch = {f"q{offset + n}": one for n, one in enumerate(series[offset : offset + size])}
        left = dict(batch)
        for attempt in range(3):
            if attempt:
                sleep(2**attempt)
            got, left = _call(client, left, window)
            for identifier, found in got.items():
                one = batch[identifier]
                rows += [(t, region, one.resource, one.metric, one.statistic, one.unit, v) for t, v in found.items()]
            if not left:
                break
        partial += [f"{one.resource} {one.metric} {one.statistic}" for one in left.values()]
    return _frame(rows), partial


def _call(
    client: Any, batch: dict[str, Series], window: tuple[datetime, datetime, int]
) -> tuple[dict[str, dict[datetime, float]], dict[str, Series]]:
    """All pages of one request: points by query, and the queries that stayed incomplete."""
    start, end, period_s = window
    request: dict[str, Any] = {
        "MetricDataQueries": [one.query(identifier, period_s) for identifier, one in batch.items()],
        "StartTime": start,
        "EndTime": end,
        "ScanBy": "TimestampAscending",
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
    left = {identifier: one for identifier, one in batch.items() if status.get(identifier) == "PartialData"}
    return {identifier: found for identifier, found in points.items() if identifier not in left}, left


def _frame(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    frame["value"] = frame["value"].astype("float64")
    return frame.sort_values(["resource", "metric", "statistic", "time"], ignore_index=True)


# --- what it adds up to ------------------------------------------------------------------------------------------


def select(frame: pd.DataFrame, resource: str, metric: str, statistic: str | None = None) -> pd.DataFrame:
    """The rows of one metric; ``resource`` may be a kind (``dlq/``) and then stands for all of it."""
    named = frame["resource"].str.startswith(resource) if resource.endswith("/") else frame["resource"] == resource
    chosen = frame[named & (frame["metric"] == metric)]
    return chosen if statistic is None else chosen[chosen["statistic"] == statistic]


def percentiles(frame: pd.DataFrame, resource: str, metric: str) -> pd.DataFrame:
    """The rows of one metric's percentiles, the lowest percentile first."""
    chosen = select(frame, resource, metric)
    return chosen[chosen["statistic"].isin(PERCENTILES)].sort_values(["statistic", "time"])


def by_processor(frame: pd.DataFrame, resource: str, metric: str) -> pd.DataFrame:
    """The rows of one metric of several queues; ``processor`` names whose."""
    chosen = select(frame, resource, metric)
    return chosen.assign(processor=chosen["resource"].str.removeprefix(resource))


def golden_signals(frame: pd.DataFrame) -> list[Panel]:
    """Traffic, errors, latency and saturation, as small charts over the same time.

    A period that was under way is left out, as long as there are others: it would look like an outage.
    """
    import pandas as pd

    period_s = frame.attrs.get("period_s", 60)
    if "asked_end" in frame.attrs:
        over = frame[frame["time"] + pd.Timedelta(seconds=period_s) <= pd.Timestamp(frame.attrs["asked_end"])]
        frame = over if len(over) else frame
    per = {60: "per minute", 3600: "per hour", 86_400: "per day"}.get(period_s, f"per {period_s // 60} minutes")
    age, depth = "ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"
    return [
        Panel("Requests", select(frame, "api", "Count"), per),
        Panel("Events accepted", select(frame, "service/ingest", "EventsAccepted"), per),
        Panel("Server errors (5xx)", select(frame, "api", "5xx"), per),
        Panel("Declined requests (4xx)", select(frame, "api", "4xx"), per),
        Panel("API latency", percentiles(frame, "api", "Latency"), "ms", "statistic", log=True),
        Panel(
            "From acceptance to storage",
            percentiles(frame, "service/store", "EndToEndLatency"),
            "ms",
            "statistic",
            log=True,
        ),
        Panel("Age of the oldest message", by_processor(frame, "queue/", age), "s", "processor"),
        Panel("Dead letters", by_processor(frame, "dlq/", depth), "messages", "processor"),
    ]


def figures(frame: pd.DataFrame) -> dict[str, Any]:
    """The headline of all regions together; the worst region's latency and queue age. Unknown is None."""
    import pandas as pd

    rows = summarise(frame)
    totals = {name: rows[name].sum(min_count=1) for name in ("requests", "accepted", "stored", "dlq_messages")}
    worst = {name: rows[name].max() for name in ("error_rate", "p50_ms", "p95_ms", "p99_ms", "max_queue_age_s")}
    return {name: None if pd.isna(value) else round(float(value), 4) for name, value in (totals | worst).items()}


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a region.

    ``requests``; ``error_rate`` (5xx of all requests) and ``rejected_rate`` (4xx); ``p50_ms`` to ``p99_ms``, the means
    of the periods' percentiles weighted by their requests (CloudWatch's percentiles cannot be merged exactly);
    ``worst_p99_ms`` and ``end_to_end_p95_ms`` (from acceptance to storage), the highest of a period;
    ``max_queue_age_s``; ``dlq_messages``, the last known depth of all DLQs. What has no data is NaN, never zero.
    """
    import pandas as pd

    regions = list(dict.fromkeys([*frame.attrs.get("regions", []), *frame["region"]]))
    rows = []
    for region in regions:
        own = frame[frame["region"] == region]
        requests = _sum(select(own, "api", "Count"))
        rows.append(
            {
                "region": region,
                "requests": requests,
                "error_rate": _rate(_sum(select(own, "api", "5xx")), requests),
                "rejected_rate": _rate(_sum(select(own, "api", "4xx")), requests),
                **{f"{p}_ms": _weighted(own, p) for p in PERCENTILES},
                "worst_p99_ms": select(own, "api", "Latency", "p99")["value"].max(),
                "accepted": _sum(select(own, "service/ingest", "EventsAccepted")),
                "stored": _sum(select(own, "service/store", "EventsStored")),
                "end_to_end_p95_ms": select(own, "service/store", "EndToEndLatency", "p95")["value"].max(),
                "max_queue_age_s": select(own, "queue/", "ApproximateAgeOfOldestMessage")["value"].max(),
                "function_errors": _sum(select(own, "function/", "Errors")),
                "dlq_messages": _last_sum(select(own, "dlq/", "ApproximateNumberOfMessagesVisible")),
            }
        )
    return (
        pd.DataFrame(rows).astype({name: "float64" for name in rows[0] if name != "region"}) if rows else pd.DataFrame()
    )


def checks(
    frame: pd.DataFrame, *, max_error_rate: float = 0.001, min_requests: int = 1, max_queue_age_s: float | None = None
) -> list[Check]:
    """Traffic seen, server errors within ``max_error_rate``, functions without errors, DLQs empty; per region."""
    import pandas as pd

    found = []
    for row in summarise(frame).to_dict("records"):
        region, requests, rate = row["region"], row["requests"], row["error_rate"]
        seen = 0 if pd.isna(requests) else int(requests)
        found.append(Check(f"traffic in {region}", seen >= min_requests, f"{seen:,} requests"))
        shown = "no requests" if pd.isna(rate) else f"{rate:.3%} of requests failed; accepted: {max_error_rate:.3%}"
        found.append(Check(f"server errors in {region}", pd.isna(rate) or rate <= max_error_rate, shown))
        own = frame[frame["region"] == region]
        failing = select(own, "function/", "Errors").groupby("resource")["value"].sum()
        failing = failing[failing > 0]
        shown = ", ".join(f"{name}: {int(count)}" for name, count in failing.items()) or "none"
        found.append(Check(f"function errors in {region}", failing.empty, shown))
        dlq = row["dlq_messages"]
        shown = "no data: SQS reports queues in use only" if pd.isna(dlq) else f"{int(dlq):,} messages"
        found.append(Check(f"DLQs in {region}", pd.isna(dlq) or dlq == 0, shown))
        age = row["max_queue_age_s"]
        if max_queue_age_s is not None:
            shown = (
                "no data"
                if pd.isna(age)
                else f"the oldest message waited {age:.0f} s; accepted: {max_queue_age_s:.0f} s"
            )
            found.append(Check(f"queue age in {region}", pd.isna(age) or age <= max_queue_age_s, shown))
    partial = frame.attrs.get("incomplete", [])
    found.append(Check("metrics complete", not partial, "; ".join(partial[:5]) or "every series in full"))
    return found


def _sum(rows: pd.DataFrame) -> float:
    return float(rows["value"].sum(min_count=1))


def _rate(part: float, whole: float) -> float:
    import pandas as pd

    if pd.isna(whole) or whole == 0:
        return float("nan")
    # A region without a single error has no series of errors.
    return (0.0 if pd.isna(part) else part) / whole


def _weighted(own: pd.DataFrame, statistic: str) -> float:
    latency = select(own, "api", "Latency", statistic).set_index("time")["value"]
    weight = select(own, "api", "Count").set_index("time")["value"].reindex(latency.index).fillna(0)
    return float((latency * weight).sum() / weight.sum()) if weight.sum() else float(latency.mean())


def _last_sum(rows: pd.DataFrame) -> float:
    """The sum over resources of the last known value of each."""
    return float(rows.sort_values("time").groupby("resource")["value"].last().sum(min_count=1))

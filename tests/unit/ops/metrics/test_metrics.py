"""Metrics: few calls, gaps kept, partial answers handled, and sums that can be checked by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from ops import charts, metrics
from ops.aws import Cloud
from ops.errors import OpsError, UsageError
from ops.metrics import Series, checks, collect, collecting, derive_period, frames, summarise
from ops.stack import Stack
from ops.stage import Stage

US, AP = "us-east-1", "ap-south-1"
NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
START = NOW - timedelta(hours=1)


class CloudWatch:
    """Answers GetMetricData from points by (metric, statistic), a page of ``page`` queries at a time."""

    def __init__(self, points: dict[tuple[str, str], dict[datetime, float]], page: int = 500) -> None:
        self.points = points
        self.page = page
        self.requests: list[dict[str, Any]] = []
        self.partial: dict[str, int] = {}
        self.status = "Complete"

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        offset = int(request.get("NextToken", "0"))
        queries = request["MetricDataQueries"]
        results = []
        for query in queries[offset : offset + self.page]:
            stat = query["MetricStat"]
            found = self.points.get((stat["Metric"]["MetricName"], stat["Stat"]), {})
            status = self.status
            if self.partial.get(query["Id"], 0):
                self.partial[query["Id"]] -= 1
                status = "PartialData"
            results.append(
                {"Id": query["Id"], "Timestamps": list(found), "Values": list(found.values()), "StatusCode": status}
            )
        more = {"NextToken": str(offset + self.page)} if offset + self.page < len(queries) else {}
        return {"MetricDataResults": results} | more


class World:
    """A cloud whose regions all have the same CloudWatch."""

    def __init__(self, stage: Stage, cloudwatch: CloudWatch) -> None:
        self.stage = stage
        self.cloudwatch = cloudwatch

    def client(self, service: str, region: str) -> Any:
        return self.cloudwatch


def collected(stage: Stage, cloudwatch: CloudWatch, monkeypatch: pytest.MonkeyPatch, **options: Any) -> pd.DataFrame:
    monkeypatch.setattr(collecting.stack, "read", lambda cloud, region: Stack("CREATE_COMPLETE", {"ApiId": "a1b2c3"}))
    options = {"now": lambda: NOW, "sleep": lambda seconds: None} | options
    return collect(World(stage, cloudwatch), START, NOW, **options)  # type: ignore[arg-type]


# --- the range ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "span", "period_s"),
    [
        (timedelta(hours=1), timedelta(hours=1), 60),
        (timedelta(days=1), timedelta(days=1), 60),
        (timedelta(days=2), timedelta(days=2), 300),
        (timedelta(days=15), timedelta(hours=1), 60),
        (timedelta(days=16), timedelta(hours=1), 300),
        (timedelta(days=64), timedelta(hours=1), 3600),
        (timedelta(days=400), timedelta(days=400), 86_400),
    ],
)
def test_derive_period_follows_age_and_length(age: timedelta, span: timedelta, period_s: int) -> None:
    assert derive_period(NOW - age, NOW - age + span, NOW) == period_s


def test_derive_period_when_older_than_anything_kept_is_refused() -> None:
    with pytest.raises(UsageError, match="CloudWatch keeps 455"):
        derive_period(NOW - timedelta(days=456), NOW, NOW)


@pytest.mark.parametrize(
    ("start", "end", "period_s", "message"),
    [
        (NOW, START, None, "is not before end"),
        (START.replace(tzinfo=None), NOW, None, "need a time zone"),
        (START, NOW, 90, "no multiple of 60"),
    ],
)
def test_collect_when_range_is_wrong_is_refused(
    stage: Stage, start: datetime, end: datetime, period_s: int | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        collect(World(stage, CloudWatch({})), start, end, period_s, now=lambda: NOW)  # type: ignore[arg-type]


# --- collect -----------------------------------------------------------------------------------------------------


def test_collect_asks_each_region_once_and_keeps_gaps(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {START: 5.0, START + timedelta(minutes=3): 7.0}
    cloudwatch = CloudWatch({("Count", "Sum"): points})
    frame = collected(stage, cloudwatch, monkeypatch)
    assert len(cloudwatch.requests) == len(stage.regions)
    assert list(frame.columns) == ["time", "region", "resource", "metric", "statistic", "unit", "value"]
    own = frame[frame["region"] == AP]
    assert list(own["value"]) == [5.0, 7.0]
    assert [stamp.to_pydatetime() for stamp in own["time"]] == list(points)
    assert set(frame["resource"]) == {"api"}
    assert str(frame["time"].dt.tz) == "UTC"


def test_collect_widens_the_range_to_whole_periods(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    cloudwatch = CloudWatch({})
    monkeypatch.setattr(collecting.stack, "read", lambda cloud, region: Stack())
    start, end = datetime(2026, 11, 20, 14, 2, 30, tzinfo=UTC), datetime(2026, 11, 20, 14, 11, tzinfo=UTC)
    frame = collect(World(stage, cloudwatch), start, end, 300, now=lambda: NOW)  # type: ignore[arg-type]
    request = cloudwatch.requests[0]
    assert (request["StartTime"].minute, request["EndTime"].minute) == (0, 15)
    assert frame.empty
    assert frame.attrs["period_s"] == 300


def test_collect_reads_every_page(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    cloudwatch = CloudWatch({("Errors", "Sum"): {START: 1.0}}, page=7)
    frame = collected(stage, cloudwatch, monkeypatch, regions=[US])
    assert sorted(frame["resource"]) == sorted(f"function/{name}" for name in stage.function_names)
    assert len(cloudwatch.requests) == -(-len(metrics.catalogue(stage, "x", US)) // 7)


def test_collect_makes_the_fewest_calls_that_the_limits_allow(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(metrics.catalogue(stage, "x", US))
    assert count <= collecting.MAX_QUERIES
    for limit in (count, count - 1, 10):
        monkeypatch.setattr(collecting, "MAX_QUERIES", limit)
        cloudwatch = CloudWatch({})
        collected(stage, cloudwatch, monkeypatch, regions=[US])
        sizes = [len(request["MetricDataQueries"]) for request in cloudwatch.requests]
        assert max(sizes) == limit
        assert len(sizes) == -(-count // limit)
    assert {request["MaxDatapoints"] for request in cloudwatch.requests} == {100_800}


def test_collect_when_pages_never_end_says_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MAX_PAGES", 3)
    cloudwatch = CloudWatch({}, page=1)
    with pytest.raises(OpsError, match="more than 3 pages of"):
        collected(stage, cloudwatch, monkeypatch, regions=[US])
    assert len(cloudwatch.requests) == 3


def test_collect_when_data_is_partial_asks_again_and_names_what_stays_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloudwatch = CloudWatch({("Count", "Sum"): {START: 5.0}, ("4xx", "Sum"): {START: 2.0}})
    cloudwatch.partial = {"q0": 1, "q1": 99}
    slept: list[float] = []
    frame = collected(stage, cloudwatch, monkeypatch, regions=[US], sleep=slept.append)
    assert list(frame["metric"]) == ["Count"]
    assert frame.attrs["incomplete"] == ["us-east-1 api 4xx Sum"]
    assert [len(request["MetricDataQueries"]) for request in cloudwatch.requests[1:]] == [2, 1]
    assert slept == [2, 4]
    assert not checks(frame)[-1].ok


def test_collect_when_a_query_is_refused_says_which(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    cloudwatch = CloudWatch({})
    cloudwatch.status = "Forbidden"
    with pytest.raises(OpsError, match="metric api Count: CloudWatch says Forbidden"):
        collected(stage, cloudwatch, monkeypatch)


def test_collect_reads_what_was_published_and_makes_no_mutating_call(deployed: Cloud, calls: Any) -> None:
    at = datetime.now(UTC) - timedelta(minutes=5)
    dimensions = [{"Name": "service", "Value": "store"}, {"Name": "stage", "Value": "unit"}]
    datum: Any = {"MetricName": "EventsStored", "Dimensions": dimensions, "Timestamp": at, "Value": 3.0}
    deployed.client("cloudwatch", AP).put_metric_data(Namespace="Atoll", MetricData=[datum])
    calls.clear()
    frame = collect(deployed, at - timedelta(minutes=10))
    assert frame[["region", "resource", "metric", "value"]].values.tolist() == [
        [AP, "service/store", "EventsStored", 3.0]
    ]
    assert calls.made
    assert calls.mutating == []


def test_catalogue_names_each_series_once(stage: Stage) -> None:
    series = metrics.catalogue(stage, "a1b2c3", US)
    assert len({(s.resource, s.metric, s.statistic) for s in series}) == len(series)
    dimensions = (("QueueName", "atoll-unit-store-dlq"),)
    depth = Series("dlq/store", "AWS/SQS", "ApproximateNumberOfMessagesVisible", dimensions, "Maximum", "count")
    assert depth in series
    assert not any(s.resource == "api" for s in metrics.catalogue(stage, None, US))


# --- what it adds up to ------------------------------------------------------------------------------------------


def frame_of(*rows: tuple[int, str, str, str, str, float], regions: tuple[str, ...] = (US,)) -> pd.DataFrame:
    """(minute, region, resource, metric, statistic, value)"""
    data = [
        (START + timedelta(minutes=m), region, res, metric, stat, "", v) for m, region, res, metric, stat, v in rows
    ]
    frame = frames.make(data)
    frame.attrs["regions"] = list(regions)
    return frame


def test_summarise_adds_up_as_by_hand() -> None:
    depth = "ApproximateNumberOfMessagesVisible"
    frame = frame_of(
        (0, US, "api", "Count", "Sum", 300),
        (1, US, "api", "Count", "Sum", 100),
        (1, US, "api", "5xx", "Sum", 4),
        (0, US, "api", "Latency", "p95", 20),
        (1, US, "api", "Latency", "p95", 60),
        (0, US, "api", "Latency", "p99", 90),
        (0, US, "dlq/store", depth, "Maximum", 9),
        (1, US, "dlq/store", depth, "Maximum", 2),
        (0, US, "dlq/activity", depth, "Maximum", 1),
        (0, US, "queue/store", "ApproximateAgeOfOldestMessage", "Maximum", 12),
        regions=(US, AP),
    )
    us, ap = summarise(frame).to_dict("records")
    assert (us["requests"], us["error_rate"], us["rejected_rate"]) == (400, 0.01, 0)
    assert us["p95_ms"] == pytest.approx((300 * 20 + 100 * 60) / 400)
    assert (us["worst_p99_ms"], us["max_queue_age_s"], us["dlq_messages"]) == (90, 12, 3)
    assert ap["region"] == AP
    assert all(math.isnan(value) for name, value in ap.items() if name != "region")


def test_checks_when_all_is_well_pass() -> None:
    frame = frame_of((0, US, "api", "Count", "Sum", 10), (0, US, "function/store", "Errors", "Sum", 0))
    assert [check for check in checks(frame) if not check.ok] == []


@pytest.mark.parametrize(
    ("row", "name", "detail"),
    [
        ((0, US, "api", "5xx", "Sum", 1), "server errors in us-east-1", "10.000% of requests failed; accepted: 0.100%"),
        ((0, US, "function/store", "Errors", "Sum", 2), "function errors in us-east-1", "function/store: 2"),
        ((0, US, "dlq/store", "ApproximateNumberOfMessagesVisible", "Maximum", 5), "DLQs in us-east-1", "5 messages"),
        (
            (0, US, "queue/store", "ApproximateAgeOfOldestMessage", "Maximum", 99),
            "queue age in us-east-1",
            "the oldest message waited 99 s; accepted: 60 s",
        ),
    ],
)
def test_checks_when_one_thing_is_wrong_names_it(row: Any, name: str, detail: str) -> None:
    found = checks(frame_of((0, US, "api", "Count", "Sum", 10), row), max_queue_age_s=60)
    assert [(check.name, check.detail) for check in found if not check.ok] == [(name, detail)]


def test_checks_when_a_region_is_silent_fails_its_traffic() -> None:
    found = checks(frame_of((0, US, "api", "Count", "Sum", 10), regions=(US, AP)))
    assert [check.name for check in found if not check.ok] == ["traffic in ap-south-1"]


def test_golden_signals_when_drawn_cover_traffic_errors_latency_and_saturation() -> None:
    frame = frame_of(
        (0, US, "api", "Count", "Sum", 100),
        (0, US, "api", "Latency", "p99", 900),
        (0, US, "api", "Latency", "p50", 40),
        (0, US, "queue/store", "ApproximateAgeOfOldestMessage", "Maximum", 3),
    )
    frame.attrs["period_s"] = 300
    panels = {panel.title: panel for panel in metrics.golden_signals(frame)}
    assert len(panels) == 10
    assert panels["Requests"].unit == "per 5 minutes"
    assert list(panels["API latency"].frame["statistic"]) == ["p50", "p99"]
    assert list(panels["Age of the oldest message"].frame["processor"]) == ["store"]
    drawn = charts.panels(list(panels.values()), x="time", y="value", colour="region")
    assert sum(isinstance(chart, charts.NoData) for chart in drawn.charts) == 7


def test_golden_signals_when_a_period_is_under_way_leave_it_out_unless_there_is_no_other() -> None:
    frame = frame_of((0, US, "api", "Count", "Sum", 100), (1, US, "api", "Count", "Sum", 3))
    for seconds, shown in ((59, [100, 3]), (61, [100]), (119, [100]), (120, [100, 3])):
        frame.attrs["asked_end"] = (START + timedelta(seconds=seconds)).isoformat()
        assert list(metrics.golden_signals(frame)[0].frame["value"]) == shown


def test_read_names_the_series_that_came_in_part_only(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting.time, "sleep", lambda seconds: None)
    cloudwatch = CloudWatch({("Count", "Sum"): {START: 5.0}})
    cloudwatch.partial["q1"] = 100
    series = [Series("api", "AWS/ApiGateway", name, (("ApiId", "a"),), "Sum", "count") for name in ("Count", "5xx")]
    frame = metrics.read(World(stage, cloudwatch), US, series, START, NOW)  # type: ignore[arg-type]
    assert frame.attrs["incomplete"] == ["api 5xx Sum"]
    assert set(frame["metric"]) == {"Count"}

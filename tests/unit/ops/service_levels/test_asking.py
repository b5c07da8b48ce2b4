"""What is asked of CloudWatch: the series that levels need, in as few calls as there are periods, and no more."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from ops import service_levels, stack
from ops.errors import UsageError
from ops.service_levels import asking
from tests.unit.ops.service_levels.given import HOME, NOW, OTHER, STAGE


class CloudWatch:
    """Answers GetMetricData from points by (metric, statistic); ``partial`` never gives all of the first query."""

    def __init__(self, points):
        self.points = points
        self.partial = False
        self.requests = []

    def get_metric_data(self, **request):
        self.requests.append(request)
        results = []
        for query in request["MetricDataQueries"]:
            stat = query["MetricStat"]
            found = self.points.get((stat["Metric"]["MetricName"], stat["Stat"]), {})
            status = "PartialData" if self.partial and query["Id"].endswith("0") else "Complete"
            results.append(
                {"Id": query["Id"], "Timestamps": list(found), "Values": list(found.values()), "StatusCode": status}
            )
        return {"MetricDataResults": results}


class World:
    """A cloud with a CloudWatch a region."""

    def __init__(self, **regions):
        self.stage = STAGE
        self.regions = regions

    def client(self, service, region):
        return self.regions[region]


@pytest.fixture(autouse=True)
def stacks(monkeypatch):
    def read(cloud, region):
        return stack.Stack("CREATE_COMPLETE", {"ApiId": f"api-{region}"})

    monkeypatch.setattr(stack, "read", read)


def test_collect_asks_once_a_period_and_region_for_what_levels_need():
    world = World(**{HOME: CloudWatch({}), OTHER: CloudWatch({})})
    fine, coarse = service_levels.collect(world, NOW)
    for region in (HOME, OTHER):
        requests = {q["MetricDataQueries"][0]["MetricStat"]["Period"]: q for q in world.regions[region].requests}
        assert set(requests) == {60, 3600}
        assert len(world.regions[region].requests) == 2
        # Three days and one for the chart, the minute of freshness, one to settle and two periods: 4 d and 4 min before
        # 12:01:30, on the hour. And thirty days and an hour.
        assert requests[60]["StartTime"] == datetime(2026, 11, 19, 11, 0, tzinfo=UTC)
        assert requests[60]["EndTime"] == datetime(2026, 11, 23, 12, 2, tzinfo=UTC)
        assert requests[3600]["StartTime"] == datetime(2026, 10, 24, 11, 0, tzinfo=UTC)
        asked = {
            (stat["Metric"]["MetricName"], stat["Stat"]): {d["Name"]: d["Value"] for d in stat["Metric"]["Dimensions"]}
            for stat in (query["MetricStat"] for query in requests[60]["MetricDataQueries"])
        }
        api, store = {"ApiId": f"api-{region}"}, {"service": "store", "stage": "local"}
        assert asked == {
            ("Count", "Sum"): api,
            ("5xx", "Sum"): api,
            ("Latency", "TC(:3000)"): api,
            ("Latency", "TC(3000:)"): api,
            ("EventsAccepted", "Sum"): {"service": "ingest", "stage": "local"},
            ("EndToEndLatency", "TC(:60000)"): store,
            ("EndToEndLatency", "TS(:60000)"): store,
        }
    assert (fine.attrs["period_s"], coarse.attrs["period_s"]) == (60, 3600)
    assert fine.attrs["start"] == "2026-11-19T11:00:00+00:00"
    assert fine.attrs["end"] == "2026-11-23T12:02:00+00:00"


def test_collected_frames_are_evaluated():
    minute = NOW.replace(second=0) - timedelta(minutes=5)
    points = {
        ("Count", "Sum"): {minute: 1000.0},
        ("5xx", "Sum"): {minute: 200.0},
        ("EventsAccepted", "Sum"): {minute: 500.0},
    }
    world = World(**{HOME: CloudWatch(points), OTHER: CloudWatch({})})
    levels = service_levels.evaluate(*service_levels.collect(world, NOW), STAGE, NOW)
    paging = {(one.name, one.region): (one.bad, one.total) for one in levels if one.verdict == "page"}
    assert paging == {
        (n, r): c for n, c in (("availability", (200, 1000)), ("freshness", (500, 500))) for r in ("all", HOME)
    }


def test_what_came_in_part_is_named_with_its_region(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    broken = CloudWatch({})
    broken.partial = True
    fine, _ = service_levels.collect(World(**{HOME: broken, OTHER: CloudWatch({})}), NOW)
    assert [one.split(" ")[0] for one in fine.attrs["incomplete"]] == [HOME]


def test_region_without_a_stack_is_asked_for_its_events_only(monkeypatch):
    assert {one.resource for one in service_levels.series(STAGE, None)} == {"service/ingest", "service/store"}


def test_longest_window_stays_within_what_cloudwatch_keeps_by_the_minute():
    longest = STAGE.service_levels.availability.model_copy(update={"window_days": 90})
    settings = STAGE.service_levels.model_copy(update={"availability": longest})
    assert NOW - asking.fine_start(settings, NOW) < timedelta(days=15)


@pytest.mark.parametrize(
    ("stage", "now"),
    [(STAGE.model_copy(update={"service_levels": None}), NOW), (STAGE, NOW.replace(tzinfo=None))],
)
def test_wrong_arguments_are_refused(stage, now):
    world = World()
    world.stage = stage
    with pytest.raises(UsageError, match=r"^(service_levels|now): "):
        service_levels.collect(world, now)

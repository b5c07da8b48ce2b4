"""Cost: bills that can be checked by hand, what is unknown named, and what-ifs that follow from what was measured."""

from __future__ import annotations

import inspect
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops import charts, cost, metrics, prices
from ops.cost import described, usage
from ops.cost.aggregating import MEASURED
from ops.cost.described import Described
from ops.cost.usage import Line, Usage
from ops.errors import OpsError, UsageError
from ops.stack import Stack
from ops.stage import Stage, load_stage

US, AP = "us-east-1", "ap-south-1"
NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
START = NOW - timedelta(hours=1)
MILLION = 1_000_000
NOTHING: dict[str, dict[str, float]] = {}


def frame_of(values: dict[tuple[str, str], list[float]], region: str = US) -> pd.DataFrame:
    """A point a minute for each (resource, metric)."""
    rows = [
        (START + timedelta(minutes=minute), region, resource, metric, "Sum", "count", value)
        for (resource, metric), points in values.items()
        for minute, value in enumerate(points)
    ]
    frame = pd.DataFrame(rows, columns=metrics.COLUMNS)
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    return frame


def used(stage: Stage, lines: list[Line], frame: pd.DataFrame | None = None, hours: float = 1.0) -> Usage:
    start = NOW - timedelta(hours=hours)
    return Usage(stage, start, NOW, tuple(lines), frame_of({}) if frame is None else frame)


def minutes(requests: list[float], events: list[float], duration_ms: list[float]) -> pd.DataFrame:
    return frame_of(
        {
            ("function/ingest", "Invocations"): requests,
            ("function/ingest", "Duration"): duration_ms,
            ("service/ingest", "EventsAccepted"): events,
        }
    )


FOUND = Described(
    table_bytes={"atoll-unit": 10**9, "atoll-unit-idempotency": 0},
    archive_bytes=2 * 10**9,
    archived_event_bytes=1000.0,
    log_groups={"/aws/lambda/atoll-unit-ingest": 10**9},
    alarms={"alarms": 3, "alarms of high resolution": 0, "composite alarms": 1},
)


@pytest.fixture
def collected(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Usage of an hour, of the sums that each region is given by (resource, metric)."""

    def collect(sums: dict[str, dict[tuple[str, str], float]]) -> Usage:
        class World:
            account = "123456789012"

            def __init__(self) -> None:
                self.stage = stage

        def read(cloud: Any, region: str, series: Any, start: Any, end: Any, *, period_s: int) -> pd.DataFrame:
            asked = {(one.resource, one.metric) for one in series}
            own = {key: [value] for key, value in sums.get(region, {}).items()}
            assert own.keys() <= asked, own.keys() - asked
            return frame_of(own, region)

        monkeypatch.setattr(usage, "describe", lambda cloud, region: FOUND)
        monkeypatch.setattr(usage.stack, "read", lambda cloud, region: Stack("CREATE_COMPLETE", {"ApiId": "a1"}))
        monkeypatch.setattr(usage.metrics, "read", read)
        return cost.collect(World(), START, NOW, now=lambda: NOW)  # type: ignore[arg-type]

    return collect


# --- the bill ----------------------------------------------------------------------------------------------------


def test_bill_of_one_region_is_what_comes_out_by_hand(collected: Any) -> None:
    log = "log//aws/lambda/atoll-unit-ingest"
    made = cost.bill(
        collected(
            {
                US: {
                    ("api", "Count"): 2_000_000,
                    ("function/ingest", "Invocations"): 1_000_000,
                    ("function/ingest", "Duration"): 40_000_000,
                    ("function/store", "Invocations"): 100_000,
                    ("service/ingest", "EventsAccepted"): 1_000_000,
                    ("service/store", "EventsStored"): 1_000_000,
                    ("rule/journal", "Invocations"): 1_000_000,
                    ("queue/store", "NumberOfMessagesSent"): 1_000_000,
                    ("queue/store", "NumberOfEmptyReceives"): 50_000,
                    ("table/atoll-unit", "ConsumedWriteCapacityUnits"): 3_000_000,
                    ("table/atoll-unit-idempotency", "ConsumedWriteCapacityUnits"): 2_000_000,
                    (log, "IncomingBytes"): 4e9,
                }
            }
        )
    )
    usd = made.rows[made.rows["region"] == US].groupby("item")["usd"].sum()
    assert usd["requests to the API"] == pytest.approx(2.00)
    assert usd["invocations"] == pytest.approx(0.22)
    assert usd["duration"] == pytest.approx(40_000 * 256 / 1024 * 0.0000166667)
    assert usd["events published"] == usd["events to the journal of another region"] == pytest.approx(1.00)
    assert usd["archived"] == pytest.approx(0.10)  # a million events of 1,000 bytes
    assert usd["requests to queues"] == pytest.approx((1_000_000 + 2 * 100_000 + 50_000) * 0.40 / MILLION)
    assert usd["writes"] == pytest.approx(5 * 0.625)
    assert usd["logs taken in"] == pytest.approx(2.00)
    assert usd["alarms"] == pytest.approx(3 * 0.10 / 730)
    assert usd["kept in tables"] == pytest.approx(0.25 / 730)
    assert made.figures()["events"] == 1_000_000
    assert made.figures()["a_million_events_usd"] == pytest.approx(made.variable_usd())


def test_bill_when_cloudwatch_is_silent_about_a_table_derives_the_least_from_what_was_stored(collected: Any) -> None:
    region = {("service/ingest", "EventsAccepted"): 1000.0, ("service/store", "EventsStored"): 900.0}
    rows = cost.bill(collected({US: region})).rows
    writes = rows[rows["item"] == "writes"].set_index("region")
    # Two of the claim where it was accepted; the event and its index entry in both replicas.
    assert writes["quantity"].to_dict() == {US: 2 * 1000 + 2 * 900, AP: 2 * 900}
    assert set(writes["basis"]) == {"derived"}


def test_what_ran_and_cloudwatch_is_silent_about_is_named_and_not_zero(collected: Any) -> None:
    made = cost.bill(collected({US: {("function/ingest", "Invocations"): 5.0}}))
    assert [row["not counted"] for row in made.left_out()][:2] == [f"{US}: logs taken in", f"{US}: reads of tables"]
    assert "logs taken in" not in set(made.rows["item"])
    assert cost.log_retention(made.usage).empty


def test_what_cloudwatch_tells_is_not_named_as_unknown(collected: Any) -> None:
    told = {
        ("function/ingest", "Invocations"): 5.0,
        ("log//aws/lambda/atoll-unit-ingest", "IncomingBytes"): 0.0,
        ("table/atoll-unit-idempotency", "ConsumedReadCapacityUnits"): 1.0,
    }
    assert collected({US: told}).unknown == ()


def test_bill_adds_up_by_service_region_and_month(collected: Any) -> None:
    made = cost.bill(collected({US: {("api", "Count"): 10.0}, AP: {("api", "Count"): 30.0}}))
    by_service = made.by_service()
    assert by_service["usd_per_month"].sum() == pytest.approx(made.total_usd * 730)
    assert by_service["share_rate"].sum() == pytest.approx(1)
    api = by_service[by_service["service"] == "API Gateway"].set_index("region")["usd_per_month"]
    assert api[AP] == pytest.approx(3 * api[US])
    standing = made.figures()["standing_usd_per_month"]
    assert standing == pytest.approx((made.total_usd - made.variable_usd()) * 730)


def test_bill_without_events_knows_no_cost_of_a_million(collected: Any) -> None:
    made = cost.bill(collected(NOTHING))
    assert made.figures()["a_million_events_usd"] is None
    assert made.per_million().empty
    assert all(check.ok for check in made.checks(max_usd_per_million=1.0))


def test_bill_of_provisioned_capacity_counts_unit_hours_and_no_requests(collected: Any, stage: Stage) -> None:
    # Average units of a minute, over a minute.
    sums = {
        ("table/atoll-unit", "ProvisionedWriteCapacityUnits"): 120.0,
        ("table/atoll-unit", "ConsumedWriteCapacityUnits"): 60.0,
    }
    scaling = {"min": 1, "max": 9, "target_percent": 70}
    capacity = {"read": scaling, "write": scaling}
    table = type(stage.table).model_validate(stage.table.model_dump() | {"capacity": capacity})
    object.__setattr__(stage, "table", table)
    rows = cost.bill(collected({US: sums})).rows
    own = rows[rows["region"] == US].set_index("item")["quantity"]
    assert own["write capacity"] == pytest.approx(2.0)
    assert "writes" not in own


@pytest.mark.parametrize(("limit", "ok"), [(0.9, False), (1.1, True)])
def test_checks_hold_the_cost_of_a_million_events_against_its_limit(stage: Stage, limit: float, ok: bool) -> None:
    made = cost.bill(used(stage, [Line(US, "events published", 500.0, MEASURED)]))
    (_, found) = made.checks(max_usd_per_million=limit)
    assert (found.ok, "1.00 USD a million events" in found.detail) == (ok, True)


def test_checks_hold_a_month_at_this_rate_against_its_limit(stage: Stage) -> None:
    made = cost.bill(used(stage, [Line(US, "key", 1 / 730, "stage file")]))
    assert not made.checks(max_usd_per_month=0.99)[1].ok
    assert made.checks(max_usd_per_month=1.01)[1].ok


def test_checks_name_series_that_came_in_part_only(stage: Stage) -> None:
    incomplete = Usage(stage, START, NOW, (Line(US, "key", 1, "stage file"),), frame_of({}), (f"{US} api Count Sum",))
    (found,) = cost.bill(incomplete).checks()
    assert (found.ok, found.detail) == (False, f"{US} api Count Sum")


def test_every_price_is_above_zero_and_of_something_that_is_counted() -> None:
    known = cost.rates(load_stage("prod"))
    assert all(rate.usd > 0 and rate.unit for rate in known.values())
    source = inspect.getsource(usage) + inspect.getsource(described)
    assert [item for item in known if f'"{item}"' not in source] == []


def test_rates_of_arm_are_those_of_arm(stage: Stage) -> None:
    arm = stage.model_copy(update={"lambda_": stage.lambda_.model_copy(update={"architecture": "arm64"})})
    assert cost.rates(arm)["duration"].usd == prices.LAMBDA_ARM_GB_SECOND_USD


def test_collect_counts_the_hours_that_its_sums_stand_for(collected: Any) -> None:
    assert collected(NOTHING).hours == 1
    for start, end in ((NOW - timedelta(hours=40), NOW), (NOW - timedelta(hours=50), NOW - timedelta(hours=10))):
        odd = timedelta(minutes=2)
        first, last = usage._whole(start + odd, end - odd, 300, NOW)
        assert (first, last) == (start, end)
    # The period under way has nothing of the future.
    assert usage._whole(START, NOW - timedelta(minutes=1), 3600, NOW) == (START - timedelta(minutes=30), NOW)


def test_collect_when_the_range_is_empty_is_refused() -> None:
    with pytest.raises(UsageError, match="is not before end"):
        cost.collect(None, NOW, START)  # type: ignore[arg-type]


# --- what is there -----------------------------------------------------------------------------------------------


class Lists:
    """Answers each list in pages of one."""

    def __init__(self, groups: list[dict[str, Any]], alarms: list[dict[str, Any]], endless: bool = False) -> None:
        self.groups, self.alarms, self.endless = groups, alarms, endless

    def describe_log_groups(self, **asked: Any) -> dict[str, Any]:
        own = [one for one in self.groups if one["logGroupName"].startswith(asked["logGroupNamePrefix"])]
        return self._page("logGroups", own, "nextToken", int(asked.get("nextToken", 0)))

    def describe_alarms(self, **asked: Any) -> dict[str, Any]:
        return self._page("MetricAlarms", self.alarms, "NextToken", int(asked.get("NextToken", 0)))

    def _page(self, name: str, rows: list[Any], token: str, place: int) -> dict[str, Any]:
        more = {token: str(place + 1)} if self.endless or place + 1 < len(rows) else {}
        return {name: rows[place : place + 1]} | more


class Cloud:
    def __init__(self, stage: Stage, lists: Lists) -> None:
        self.stage, self._lists = stage, lists

    def client(self, service: str, region: str) -> Lists:
        return self._lists


def test_log_groups_are_those_of_the_stage_and_of_every_page(stage: Stage) -> None:
    names = [
        "/aws/lambda/atoll-unit-ingest",
        "/aws/lambda/atoll-unit-store",
        "/aws/http-api/atoll-unit",
        "/aws/http-api/atoll-unit2",
    ]
    lists = Lists([{"logGroupName": name, "storedBytes": 5} for name in names], [])
    assert described._log_groups(Cloud(stage, lists), US) == dict.fromkeys(names[:3], 5)  # type: ignore[arg-type]


def test_alarms_are_counted_as_they_are_billed(stage: Stage) -> None:
    math_on = [{"Id": "a", "MetricStat": {}}, {"Id": "b", "MetricStat": {}}, {"Id": "e", "Expression": "a/b"}]
    alarms = [{"Period": 60}, {"Period": 10}, {"Metrics": math_on}]
    found = described._alarms(Cloud(stage, Lists([], alarms)), US)  # type: ignore[arg-type]
    assert found == {"alarms": 3, "alarms of high resolution": 1, "composite alarms": 0}


def test_list_without_an_end_is_an_error(stage: Stage) -> None:
    with pytest.raises(OpsError, match="more than 100 pages"):
        described._alarms(Cloud(stage, Lists([], [{}], endless=True)), US)  # type: ignore[arg-type]


# --- what if -----------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.floats(0.5, 200), st.floats(0.05, 50), st.lists(st.integers(1, 40), min_size=2, max_size=8, unique=True))
def test_intake_finds_what_a_request_and_an_event_take(request_ms: float, event_ms: float, factors: list[int]) -> None:
    stage = load_stage("local")
    requests = [20.0] * len(factors)
    events = [20.0 * factor for factor in factors]
    duration = [20 * request_ms + event_ms * count for count in events]
    found = cost.intake(used(stage, [], minutes(requests, events, duration)))
    if max(factors) < 1.5 * min(factors):
        assert not found.told
        return
    assert found.told
    assert found.per_request_ms == pytest.approx(request_ms, rel=1e-6)
    assert found.per_event_ms == pytest.approx(event_ms, rel=1e-6)
    costs = [found.usd_per_million(factor) for factor in (1, 2, 10, 100)]
    assert costs == sorted(costs, reverse=True)


def test_intake_by_hand(stage: Stage) -> None:
    # 256 MB: a million events alone cost 1.00 + 0.20 for requests, and 10 ms each.
    found = cost.intake(used(stage, [], minutes([100, 10], [100, 100], [1000, 280])))
    gb_s = 0.25 * 0.0000166667
    assert (found.told, found.factor) == (True, pytest.approx(200 / 110))
    measured = found.measured().set_index("events_per_request")["usd"]
    assert measured[1.0] == pytest.approx(1.20 + MILLION * 0.010 * gb_s)
    assert measured[10.0] == pytest.approx(0.12 + MILLION * 0.0028 * gb_s)
    assert found.usd_per_million(1) == pytest.approx(measured[1.0])
    assert found.usd_per_million(10) == pytest.approx(measured[10.0])
    saving = cost.aggregation_figures(found)["measured_saving_rate"]
    assert saving == pytest.approx(1 - measured[10.0] / measured[1.0])


def test_intake_when_all_requests_were_alike_claims_no_saving_of_duration(stage: Stage) -> None:
    found = cost.intake(used(stage, [], minutes([50, 60], [50, 60], [500, 600])))
    assert (found.told, found.per_request_ms, found.per_event_ms) == (False, 0.0, pytest.approx(10))
    assert found.usd_per_million(10) == pytest.approx(0.12 + MILLION * 0.010 * 0.25 * 0.0000166667)
    assert cost.aggregation_figures(found)["measured_saving_rate"] is None


@pytest.mark.parametrize("duration", [[100.0, 4000.0], [4000.0, 100.0]])
def test_intake_when_duration_does_not_follow_keeps_both_parts_above_zero(stage: Stage, duration: list[float]) -> None:
    found = cost.intake(used(stage, [], minutes([50, 50], [50, 500], duration)))
    assert min(found.per_request_ms, found.per_event_ms) >= 0
    assert max(found.per_request_ms, found.per_event_ms) > 0


def test_intake_without_events_draws_nothing_and_knows_nothing(stage: Stage) -> None:
    found = cost.intake(used(stage, []))
    assert isinstance(cost.aggregation(found), charts.NoData)
    assert set(cost.aggregation_figures(found).values()) == {None}


def test_aggregation_chart_has_what_was_measured_beside_what_follows(stage: Stage) -> None:
    chart = cost.aggregation(cost.intake(used(stage, [], minutes([100, 10], [100, 100], [1000, 280]))))
    assert isinstance(chart, charts.Chart)
    assert chart.csv.count("measured") == 2
    assert chart.csv.count("modelled") == len(cost.aggregating.FACTORS)


def test_log_retention_keeps_what_comes_in_for_so_many_days(stage: Stage) -> None:
    rows = cost.log_retention(used(stage, [Line(US, "logs taken in", 0.5, MEASURED)])).set_index("days")
    assert rows.loc[30, "gb_kept"] == pytest.approx(12 * 30)
    assert rows.loc[30, "kept_usd_per_month"] == pytest.approx(12 * 30 * 0.03)
    assert rows.loc[30, "difference_usd_per_month"] == pytest.approx(12 * 29 * 0.03)  # 1 day is set
    assert list(rows.index[rows["now"] == "set"]) == [stage.lambda_.log_retention_days]
    assert cost.log_retention(used(stage, [])).empty


def test_endpoint_zones_are_billed_by_zone_region_and_hour() -> None:
    stage = load_stage("prod")
    rows = cost.endpoint_zones(used(stage, [])).set_index("zones")
    # events, sqs and xray, in two regions.
    assert rows["usd_per_month"].to_dict() == {z: pytest.approx(3 * z * 2 * 730 * 0.01) for z in (1, 2, 3)}
    assert rows.loc[3, "difference_usd_per_month"] == 0
    assert rows.loc[1, "difference_usd_per_month"] == pytest.approx(-2 * rows.loc[1, "usd_per_month"])


def test_endpoint_zones_without_a_network_are_none(stage: Stage) -> None:
    assert cost.endpoint_zones(used(stage, [])).empty
    assert not math.isnan(cost.bill(used(stage, [Line(US, "key", 1, "stage file")])).total_usd)

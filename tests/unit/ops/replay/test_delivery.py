"""Where there is no table: what was overheard, against what CloudWatch counts and what the DLQs hold."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.aws import Cloud
from ops.replay import delivery
from ops.replay.pausing import Queue
from ops.replay.running import apply
from ops.replay.waits import Waits
from tests.unit.ops.replay.replays import ACCOUNT, US, Replays, plan_of
from tests.unit.ops.replay.test_running import QUICK, failed

BUS = "orders"
SPAN = (datetime.now(UTC) - timedelta(minutes=5), datetime.now(UTC))


def count(cloud: Cloud, rule: str, metric: str, value: float, bus: str = BUS) -> None:
    dimensions = [{"Name": "RuleName", "Value": rule}]
    if bus != "default":
        dimensions.insert(0, {"Name": "EventBusName", "Value": bus})
    point: Any = {"MetricName": metric, "Dimensions": dimensions, "Value": value}
    point["Timestamp"] = SPAN[1] - timedelta(minutes=2)
    cloud.client("cloudwatch", US).put_metric_data(Namespace="AWS/Events", MetricData=[point])


def test_told_when_the_tap_is_matched_as_often_as_it_heard_waits_no_longer(account: Cloud) -> None:
    count(account, "tap", "MatchedEvents", 7)
    count(account, "ship", "FailedInvocations", 2)
    waits = Waits(metrics_s=600, sleep=lambda seconds: pytest.fail("it waits"))
    found = delivery.Meter(account, US, BUS, SPAN).told("tap", ["ship", "bill"], 7, waits)
    assert found == delivery.Delivered(7, {"ship FailedInvocations": 2})


def test_told_when_cloudwatch_says_nothing_gives_up_at_the_deadline(account: Cloud) -> None:
    clock = iter(range(1000))
    waits = replace(QUICK, metrics_s=5, clock=lambda: float(next(clock)), sleep=lambda seconds: None)
    assert delivery.Meter(account, US, BUS, SPAN).told("tap", [], 7, waits) == delivery.Delivered(None, {})


def test_sum_of_a_rule_of_the_default_bus_asks_by_its_name_alone(account: Cloud) -> None:
    count(account, "ship", "Invocations", 3, bus="default")
    assert delivery.Meter(account, US, "default", SPAN).sum("ship", "Invocations") == 3
    assert delivery.Meter(account, US, BUS, SPAN).sum("ship", "Invocations") is None


@pytest.fixture
def foreign(replays: Replays) -> Replays:
    """A bus of somebody's, with a rule whose target has a DLQ."""
    cloud = replays.cloud
    events, sqs = cloud.client("events", US), cloud.client("sqs", US)
    events.create_event_bus(Name=BUS)
    for name in ("orders-ship", "orders-dead"):
        sqs.create_queue(QueueName=name)
    arn = f"arn:aws:sqs:{US}:{ACCOUNT}:orders-"
    events.put_rule(Name="orders-store", EventBusName=BUS, EventPattern=json.dumps({"source": ["shop"]}))
    target: Any = {"Id": "q", "Arn": f"{arn}ship", "DeadLetterConfig": {"Arn": f"{arn}dead"}}
    events.put_targets(Rule="orders-store", EventBusName=BUS, Targets=[target])
    return replays


def test_apply_on_a_foreign_bus_counts_what_was_delivered_and_reads_no_table(foreign: Replays, calls: Any) -> None:
    cloud = foreign.cloud
    plan = plan_of(cloud, bus=BUS, receivers=["store"])
    calls.clear()
    done = apply(cloud, plan, plan.token, waits=replace(QUICK, metrics_s=0))
    assert failed(done) == []
    assert (done.found, done.heard, done.dlqs_after) == (None, 12, {f"{US} orders-dead": 0})
    assert not [call for call in calls.made if call.startswith("dynamodb:")]
    (check,) = [check for check in done.checks() if check.name == "delivered as EventBridge counts"]
    assert "nothing is compared" in check.detail


def test_apply_on_a_foreign_bus_fails_when_its_dlq_grows(foreign: Replays) -> None:
    cloud = foreign.cloud
    sqs = cloud.client("sqs", US)
    url = sqs.get_queue_url(QueueName="orders-dead")["QueueUrl"]
    foreign.deliver = lambda event: sqs.send_message(QueueUrl=url, MessageBody="x") and None
    plan = plan_of(cloud, bus=BUS, receivers=["store"])
    done = apply(cloud, plan, plan.token, waits=replace(QUICK, metrics_s=0))
    assert failed(done) == [f"nothing new in the DLQs: {US} orders-dead: 0 to 12"]
    assert delivery.dlqs_of(cloud, US, BUS, ["orders-store"]) == [Queue(US, "orders-dead", url)]

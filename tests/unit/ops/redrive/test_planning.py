"""The plan of a redrive: what it says, what it is bound to, and that making it changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.errors import UsageError
from ops.redrive import look, plan, targets_frame
from tests.unit.ops.conftest import Calls
from tests.unit.ops.redrive.letters import BODY, given_up, message, undelivered
from tests.unit.ops.redrive.platform import Platform

# Receiving hides a message for a moment, and what was received is given back.
LOOKING = {"sqs:ReceiveMessage", "sqs:ChangeMessageVisibilityBatch"}


def test_plan_when_messages_wait_says_where_each_would_go_and_changes_nothing(platform: Platform, calls: Calls) -> None:
    for raw in (undelivered(), given_up(), given_up(REDRIVES="1"), message("hello")):
        platform.send(raw)
    calls.clear()
    made = plan(platform.cloud)
    assert {call.partition("@")[0] for call in calls.mutating} <= LOOKING
    assert platform.depth() == 4
    (step,) = made.steps
    assert step.after == {
        "region": "us-east-1",
        "queue": "atoll-unit-store-dlq",
        "url": platform.url("atoll-unit-store-dlq"),
        "engine": "client",
    }
    assert targets_frame(made).to_numpy().tolist() == [
        ["us-east-1", "atoll-unit-store-dlq", platform.arn("atoll-unit-store"), 2],
        ["us-east-1", "atoll-unit-store-dlq", "quarantine", 1],
        ["us-east-1", "atoll-unit-store-dlq", "stays where it is", 1],
    ]
    assert made.estimates["messages_to_move"] == 2
    assert made.estimates["counts_are_partial"] is False
    assert made.estimates["cost_usd"] > 0
    assert made.parameters["rate_per_s"] == platform.cloud.stage.recovery.redrive_per_s


def test_plan_when_nothing_waits_has_nothing_to_do(platform: Platform) -> None:
    assert plan(platform.cloud).settled


def test_plan_when_fewer_messages_are_left_has_the_same_token(platform: Platform) -> None:
    for _ in range(3):
        platform.send(given_up())
    before = plan(platform.cloud)
    sqs, url = platform.cloud.client("sqs", "us-east-1"), platform.url("atoll-unit-store-dlq")
    (received,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=received["ReceiptHandle"])
    after = plan(platform.cloud)
    assert (after.estimates["messages_to_move"], after.token) == (2, before.token)


def test_plan_when_filtered_chooses_and_is_another_plan(platform: Platform) -> None:
    platform.send(undelivered())
    platform.send(given_up())
    everything = plan(platform.cloud)
    chosen = plan(platform.cloud, error_codes=["AccessDenied*"])
    assert (everything.estimates["messages_to_move"], chosen.estimates["messages_to_move"]) == (2, 1)
    assert everything.token != chosen.token
    assert plan(platform.cloud, older_than="1d").settled


def test_plan_when_messages_are_hidden_by_somebody_says_that_counts_are_partial(platform: Platform) -> None:
    platform.send(given_up())
    platform.cloud.client("sqs", "us-east-1").receive_message(QueueUrl=platform.url("atoll-unit-store-dlq"))
    made = plan(platform.cloud)
    assert len(made.steps) == 1
    assert any("0 of about 1 messages were looked at: counts are partial" in one for one in made.warnings)


def test_plan_when_the_move_task_is_asked_for_and_not_enough_refuses_with_the_reason(platform: Platform) -> None:
    platform.send(given_up())
    (refusal,) = plan(platform.cloud, engine="move-task").refusals
    assert "it knows the source only of what SQS itself brought here" in refusal.detail


def test_plan_when_there_is_no_place_for_the_ledger_refuses(platform: Platform) -> None:
    platform.send(given_up())
    made = plan(platform.cloud, keep="s3://somewhere-else/redrives")
    assert [step.resource for step in made.refusals] == ["ledger and quarantine"]


def test_plan_when_the_dlq_has_a_dlq_or_its_time_is_short_warns(platform: Platform) -> None:
    policy = json.dumps({"deadLetterTargetArn": platform.arn("atoll-unit-bus-dlq"), "maxReceiveCount": 9})
    platform.attribute("atoll-unit-store-dlq", RedrivePolicy=policy, MessageRetentionPeriod="3600")
    platform.send(given_up())
    warnings = " ".join(plan(platform.cloud).warnings)
    assert "it has a DLQ itself: what is received more than 9 times" in warnings
    assert "SQS deletes its oldest message in 1 h, for ever" in warnings


def test_plan_when_the_function_still_fails_or_is_off_warns(platform: Platform) -> None:
    platform.send(given_up())
    mapping = {"FunctionArn": platform.arn("function:atoll-unit-store", service="lambda"), "State": "Disabled"}
    platform.answers["ListEventSourceMappings"] = {"EventSourceMappings": [mapping]}
    cloudwatch = platform.cloud.client("cloudwatch", "us-east-1")
    dimensions: Any = [{"Name": "FunctionName", "Value": "atoll-unit-store"}]
    cloudwatch.put_metric_data(
        Namespace="AWS/Lambda", MetricData=[{"MetricName": "Errors", "Dimensions": dimensions, "Value": 3}]
    )
    warnings = " ".join(plan(platform.cloud).warnings)
    assert "atoll-unit-store in us-east-1: failed 3 times in the last 5 minutes" in warnings
    assert "its function does not take from it: the mapping is Disabled" in warnings


def test_look_when_bodies_hold_secrets_shows_none(platform: Platform) -> None:
    platform.send(given_up(BODY.replace('"total": 12', '"password": "hunter2-hunter2"')))
    _, seen = look(platform.cloud)
    shown = seen.samples_frame()["sample"][0]
    assert "com.shop.order.created" in shown
    assert "hunter2" not in shown
    assert "4111111111111111" not in shown
    assert seen.ages_frame()["messages"].sum() == 1


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ({"engine": "magic"}, "engine: 'magic' is none; accepted: auto, client, move-task"),
        ({"on_second_failure": "delete"}, "on_second_failure: 'delete' is none"),
        ({"rate_per_s": -1}, "rate_per_s: -1 is below 0"),
        ({"older_than": "soon"}, "older_than: 'soon' is no age"),
        ({"regions": ["mars-1"]}, "mars-1"),
    ],
)
def test_plan_when_a_parameter_is_wrong_names_it(platform: Platform, parameter: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan(platform.cloud, **parameter)

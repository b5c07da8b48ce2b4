"""A rule's target as AWS treats it: a failure that passes is retried, any other ends in the DLQ with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ops.local import cloud as local_cloud
from ops.local import faults
from ops.local.cloud import LocalCloud
from ops.local.processes import choose_port
from ops.stage import Stage
from tests.local.platform import ROLE, Aws, stage_on, wait_until

US, INDIA = "us-east-1", "ap-south-1"


@dataclass
class Buses:
    """A running cloud with a bus in each region; each test makes rules and queues of its own."""

    cloud: LocalCloud
    stage: Stage
    aws: Aws

    def rule(self, name: str, target_arn: str, *, attempts: int = 185) -> str:
        """A rule for events of type ``name`` with a target and a DLQ; returns the rule's ARN."""
        events = self.aws("events", US)
        pattern = json.dumps({"source": ["atoll.events"], "detail-type": [name]})
        arn = events.put_rule(Name=name, EventBusName="bus", EventPattern=pattern)["RuleArn"]
        dlq = self.aws.queue(US, f"{name}-dlq", arn)
        target: dict[str, Any] = {
            "Id": "t",
            "Arn": target_arn,
            "RetryPolicy": {"MaximumRetryAttempts": attempts, "MaximumEventAgeInSeconds": 3600},
            "DeadLetterConfig": {"Arn": dlq},
        }
        if ":event-bus/" in target_arn:
            target["RoleArn"] = ROLE
        events.put_targets(Rule=name, EventBusName="bus", Targets=[target])
        return str(arn)

    def put(self, name: str) -> str:
        entry = {"Source": "atoll.events", "DetailType": name, "Detail": '{"key": "k"}', "EventBusName": "bus"}
        # Past the proxy, so that what is broken is the delivery and not the call.
        past = Aws(LocalCloud(**{**self.cloud.to_json(), "endpoint_url": self.cloud.emulator_url}))
        try:
            return str(past("events", US).put_events(Entries=[entry])["Entries"][0]["EventId"])
        finally:
            past.close()

    def received(self, name: str, region: str = US) -> list[dict[str, Any]]:
        url = self.aws("sqs", region).get_queue_url(QueueName=name)["QueueUrl"]
        answer = self.aws("sqs", region).receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        return list(answer.get("Messages", []))

    def buried(self, name: str) -> tuple[str, dict[str, str]]:
        """Id of the event on the DLQ, and the attributes it carries; waits until it is there."""
        (message,) = wait_until(lambda: self.received(f"{name}-dlq"), f"an event in {name}-dlq")
        attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
        return json.loads(message["Body"])["id"], attributes

    @property
    def state(self) -> dict[str, int]:
        return dict(httpx.get(f"{self.cloud.emulator_url}/_atoll/deliveries").json())


@pytest.fixture(scope="module")
def buses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buses]:
    state_dir = tmp_path_factory.mktemp("cloud")
    stage = stage_on(choose_port(0, {0}))
    cloud = local_cloud.up(stage, state_dir=state_dir)
    aws = Aws(cloud)
    try:
        for region in (US, INDIA):
            aws("events", region).create_event_bus(Name="bus")
        yield Buses(cloud, stage, aws)
    finally:
        aws.close()
        local_cloud.down(state_dir=state_dir)


@pytest.fixture(autouse=True)
def healed(buses: Buses) -> Iterator[None]:
    yield
    faults.heal(buses.cloud, buses.stage)


def arn_of(region: str, queue: str) -> str:
    return f"arn:aws:sqs:{region}:000000000000:{queue}"


def test_event_for_a_queue_that_is_gone_is_in_the_dlq_with_its_reason_without_a_retry(buses: Buses) -> None:
    rule = buses.rule("gone", arn_of(US, "gone"))
    sent = buses.put("gone")
    event_id, reason = buses.buried("gone")
    assert event_id == sent
    assert reason == {
        "RULE_ARN": rule,
        "TARGET_ARN": arn_of(US, "gone"),
        "ERROR_CODE": "NO_RESOURCE",
        "ERROR_MESSAGE": "queue gone does not exist",
        "RETRY_ATTEMPTS": "0",
    }


def test_event_for_a_queue_whose_policy_names_another_rule_is_in_the_dlq(buses: Buses) -> None:
    buses.aws.queue(US, "closed", "arn:aws:events:us-east-1:000000000000:rule/bus/another")
    buses.rule("closed", arn_of(US, "closed"))
    buses.put("closed")
    assert buses.buried("closed")[1]["ERROR_CODE"] == "NO_PERMISSIONS"
    assert buses.received("closed") == []


def test_event_for_a_throttled_queue_is_retried_within_the_policy_and_then_in_the_dlq(buses: Buses) -> None:
    target = buses.aws.queue(US, "throttled", "arn:aws:events:us-east-1:000000000000:rule/bus/throttled")
    buses.rule("throttled", target, attempts=2)
    faults.api_fault(buses.cloud, buses.stage, "throttle", "sqs", region=US)
    sent = buses.put("throttled")
    wait_until(lambda: buses.state["retrying"] == 0, "the retries to be used up")
    faults.heal(buses.cloud, buses.stage)
    event_id, reason = buses.buried("throttled")
    assert event_id == sent
    assert (reason["ERROR_CODE"], reason["RETRY_ATTEMPTS"]) == ("THROTTLING", "2")
    assert reason["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts"
    dimensions = {"EventBusName": "bus", "RuleName": "throttled"}
    for metric, expected in (("InvocationsSentToDlq", 1), ("FailedInvocations", 1), ("RetryInvocationAttempts", 3)):
        wait_until(
            lambda metric=metric, expected=expected: (
                buses.aws.metric_sum(US, "AWS/Events", metric, dimensions) == expected
            ),
            f"{metric} to be {expected}",
        )


def test_event_for_a_queue_throttled_for_a_while_arrives_once(buses: Buses) -> None:
    target = buses.aws.queue(US, "patient", "arn:aws:events:us-east-1:000000000000:rule/bus/patient")
    buses.rule("patient", target)
    faults.api_fault(buses.cloud, buses.stage, "throttle", "sqs", region=US)
    sent = buses.put("patient")
    assert buses.state["retrying"] == 1
    faults.heal(buses.cloud, buses.stage)
    (message,) = wait_until(lambda: buses.received("patient"), "the event")
    assert json.loads(message["Body"])["id"] == sent
    assert buses.state["retrying"] == 0
    assert buses.received("patient-dlq") == []


def test_event_for_a_bus_in_a_region_that_is_down_arrives_when_it_is_back(buses: Buses) -> None:
    bus = f"arn:aws:events:{INDIA}:000000000000:event-bus/bus"
    buses.aws.role_may_put_events_on(bus)
    buses.rule("far", bus)
    pattern = json.dumps({"source": ["atoll.events"], "detail-type": ["far"]})
    there = buses.aws("events", INDIA).put_rule(Name="there", EventBusName="bus", EventPattern=pattern)["RuleArn"]
    queue = buses.aws.queue(INDIA, "there", there)
    buses.aws("events", INDIA).put_targets(Rule="there", EventBusName="bus", Targets=[{"Id": "q", "Arn": queue}])
    faults.region_down(buses.cloud, buses.stage, INDIA)
    sent = buses.put("far")
    assert buses.state["retrying"] == 1
    faults.heal(buses.cloud, buses.stage)
    (message,) = wait_until(lambda: buses.received("there", INDIA), "the event in the other region")
    assert json.loads(message["Body"])["id"] == sent
    assert buses.received("far-dlq") == []


def test_event_for_a_bus_that_the_role_may_not_reach_or_that_is_missing_is_in_the_dlq(buses: Buses) -> None:
    buses.aws.role_may_put_events_on(f"arn:aws:events:{INDIA}:000000000000:event-bus/other")
    buses.rule("denied", f"arn:aws:events:{INDIA}:000000000000:event-bus/bus")
    buses.put("denied")
    assert buses.buried("denied")[1]["ERROR_CODE"] == "NO_PERMISSIONS"
    buses.rule("lost", f"arn:aws:events:{INDIA}:000000000000:event-bus/other")
    buses.put("lost")
    assert buses.buried("lost")[1]["ERROR_CODE"] == "NO_RESOURCE"


def test_event_that_no_dlq_takes_is_counted_as_dropped(buses: Buses) -> None:
    before = buses.state["dropped"]
    buses.rule("bare", arn_of(US, "bare"))
    url = buses.aws("sqs", US).get_queue_url(QueueName="bare-dlq")["QueueUrl"]
    buses.aws("sqs", US).delete_queue(QueueUrl=url)
    buses.put("bare")
    wait_until(lambda: buses.state["dropped"] == before + 1, "the event to be dropped")

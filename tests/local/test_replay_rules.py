"""The rules that a replay makes for itself reach the processors' queues, by their names; no others do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.local.conftest import Atoll
from tests.local.platform import wait_until

REGION = "ap-south-1"
SOURCE = "probe.of.rules"


@contextmanager
def rule(atoll: Atoll, bus: str, name: str, target: str) -> Iterator[str]:
    """A rule to the queue ``target``, with a DLQ of its own that takes from anybody; gives the DLQ's URL."""
    events, sqs, account = atoll.client("events", REGION), atoll.client("sqs", REGION), atoll.stage.account
    queue, dlq = (f"arn:aws:sqs:{REGION}:{account}:{one}" for one in (target, f"{name}-dlq"))
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": dlq,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    url = sqs.create_queue(QueueName=f"{name}-dlq", Attributes={"Policy": policy})["QueueUrl"]
    events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps({"source": [SOURCE]}))
    events.put_targets(
        Rule=name, EventBusName=bus, Targets=[{"Id": "t", "Arn": queue, "DeadLetterConfig": {"Arn": dlq}}]
    )
    try:
        yield url
    finally:
        events.remove_targets(Rule=name, EventBusName=bus, Ids=["t"])
        events.delete_rule(Name=name, EventBusName=bus)
        sqs.delete_queue(QueueUrl=url)


def put(atoll: Atoll, bus: str) -> None:
    entry = {"Source": SOURCE, "DetailType": "probe", "Detail": "{}", "EventBusName": bus}
    assert atoll.client("events", REGION).put_events(Entries=[entry])["FailedEntryCount"] == 0


def received(atoll: Atoll, url: str) -> list[dict[str, Any]]:
    answer = atoll.client("sqs", REGION).receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    )
    for message in answer.get("Messages", []):
        atoll.client("sqs", REGION).delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return list(answer.get("Messages", []))


@pytest.mark.parametrize("journal", [False, True], ids=["bus", "journal bus"])
def test_queue_takes_from_a_rule_of_a_replay_and_from_no_other(atoll: Atoll, journal: bool) -> None:
    stage = atoll.stage
    bus = stage.journal_bus if journal else stage.bus
    # A processor's DLQ: what arrives there stays to be seen.
    target = stage.dlq("activity")
    arrived = atoll.client("sqs", REGION).get_queue_url(QueueName=target)["QueueUrl"]
    with rule(atoll, bus, f"{stage.prefix}-replay-0123456789abcdef-0", target) as own:
        put(atoll, bus)
        (message,) = wait_until(lambda: received(atoll, arrived), f"the event in {target}")
        assert json.loads(message["Body"])["source"] == SOURCE
        assert received(atoll, own) == []
    with rule(atoll, bus, f"{stage.prefix}-other", target) as own:
        put(atoll, bus)
        (message,) = wait_until(lambda: received(atoll, own), "the event in the DLQ of the rule")
        assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_PERMISSIONS"
        assert received(atoll, arrived) == []

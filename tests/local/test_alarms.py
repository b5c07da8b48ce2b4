"""The alarms of the deployed stack, on what the local cloud publishes."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.local.conftest import Atoll
from tests.local.platform import wait_until


def states(atoll: Atoll, region: str) -> dict[str, str]:
    pages = atoll.client("cloudwatch", region).get_paginator("describe_alarms").paginate()
    return {alarm["AlarmName"]: alarm["StateValue"] for page in pages for alarm in page["MetricAlarms"]}


def is_healthy(atoll: Atoll, region: str) -> bool:
    return states(atoll, region)["atoll-local-health"] == "OK"


def notifications(atoll: Atoll, region: str, name: str) -> str:
    """Subscribe a new queue to the region's topic; its URL."""
    sqs, sns = atoll.client("sqs", region), atoll.client("sns", region)
    url = str(sqs.create_queue(QueueName=name)["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = f"arn:aws:sns:{region}:{atoll.stage.account}:{atoll.stage.prefix}-alarms"
    let_in = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [let_in]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def told(atoll: Atoll, region: str, url: str) -> list[tuple[str, str]]:
    """Take what the topic has delivered: alarm and new state."""
    taken: dict[str, Any] = atoll.client("sqs", region).receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    bodies = [json.loads(json.loads(message["Body"])["Message"]) for message in taken.get("Messages", [])]
    return [(body["AlarmName"], body["NewStateValue"]) for body in bodies]


def test_every_region_has_its_alarms_and_healthy_ones(atoll: Atoll) -> None:
    for region in atoll.stage.regions:
        peers = {f"atoll-local-replication-to-{peer}" for peer in atoll.stage.regions if peer != region}
        found = states(atoll, region)
        assert {name for name in found if "replication" in name} == peers
        wait_until(partial(is_healthy, atoll, region), f"{region} is healthy", 60)


def test_platforms_alarms_follow_route_53s_health_checks(atoll: Atoll) -> None:
    names = [f"{atoll.stage.prefix}-global-{what}" for what in ("platform", *atoll.stage.regions)]
    wait_until(lambda: {states(atoll, "us-east-1").get(name) for name in names} == {"OK"}, "they are OK", 60)


def test_message_in_a_dlq_raises_its_alarm_alone_and_taking_it_away_ends_it(atoll: Atoll) -> None:
    name, (region, other) = atoll.stage.dlq("store"), atoll.stage.regions
    wait_until(lambda: states(atoll, region)[name] == "OK", f"{name} is OK", 60)
    inbox = notifications(atoll, region, "alarm-test-inbox")
    sqs = atoll.client("sqs", region)
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]

    sqs.send_message(QueueUrl=url, MessageBody="{}")
    try:
        wait_until(lambda: states(atoll, region)[name] == "ALARM", f"{name} goes off", 60)
        assert states(atoll, region)[atoll.stage.dlq("activity")] == "OK"
        assert states(atoll, other)[name] == "OK"
        wait_until(lambda: (name, "ALARM") in told(atoll, region, inbox), "the topic tells of it", 30)
    finally:
        message = sqs.receive_message(QueueUrl=url)["Messages"][0]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    wait_until(lambda: states(atoll, region)[name] == "OK", f"{name} is OK again", 60)
    wait_until(lambda: (name, "OK") in told(atoll, region, inbox), "the topic tells of its end", 30)

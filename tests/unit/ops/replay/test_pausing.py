"""A replay waits for queues that fall behind, by a bound that is certain, and stops when the DLQs grow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.aws import Cloud
from ops.replay.pausing import Gate, queues_of
from tests.unit.ops.replay.replays import ACCOUNT, US

ARN = f"arn:aws:sqs:{US}:{ACCOUNT}:atoll-unit-store"


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def gate(deployed: Cloud) -> tuple[Gate, Clock, dict[str, int]]:
    clock, dlqs = Clock(), {"us-east-1 store-dlq": 3}
    queues = queues_of(deployed, [ARN, ARN])
    assert [queue.name for queue in queues] == ["atoll-unit-store"]
    return Gate(deployed, queues, lambda: dlqs, max_age_s=60, max_growth=2, clock=clock), clock, dlqs


def send(cloud: Cloud) -> Any:
    sqs = cloud.client("sqs", US)
    url = sqs.get_queue_url(QueueName="atoll-unit-store")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    return lambda: sqs.purge_queue(QueueUrl=url)


def test_look_waits_once_a_queue_was_not_empty_for_longer_than_the_limit(
    deployed: Cloud, gate: tuple[Gate, Clock, dict[str, int]]
) -> None:
    one, clock, _ = gate
    purge = send(deployed)
    clock.at = 60
    assert one.look().wait == ""
    clock.at = 61
    assert one.look().wait == "oldest message of atoll-unit-store in us-east-1: up to 61 s; the limit is 60 s"
    purge()
    assert one.look().wait == ""


def test_look_when_the_queue_is_never_empty_goes_by_cloudwatch_if_that_is_fresh(
    deployed: Cloud, gate: tuple[Gate, Clock, dict[str, int]]
) -> None:
    one, clock, _ = gate
    send(deployed)
    clock.at = 500
    told = {
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Dimensions": [{"Name": "QueueName", "Value": "atoll-unit-store"}],
    }
    cloudwatch: Any = deployed.client("cloudwatch", US)
    recent = datetime.now(UTC) - timedelta(minutes=2)
    stale = datetime.now(UTC) - timedelta(minutes=30)
    cloudwatch.put_metric_data(Namespace="AWS/SQS", MetricData=[{**told, "Value": 1.0, "Timestamp": stale}])
    assert "up to 500 s" in one.look().wait
    cloudwatch.put_metric_data(Namespace="AWS/SQS", MetricData=[{**told, "Value": 7.0, "Timestamp": recent}])
    assert one.look().wait == ""


def test_look_stops_when_the_dlqs_hold_more_than_the_limit_beyond_what_they_held(
    gate: tuple[Gate, Clock, dict[str, int]],
) -> None:
    one, _, dlqs = gate
    dlqs["us-east-1 store-dlq"] = 5
    assert one.look().stop == ""
    dlqs["ap-south-1 store-dlq"] = 1
    assert one.look().stop == (
        "the DLQs have grown: us-east-1 store-dlq by 2, ap-south-1 store-dlq by 1; the limit is 2"
    )


def test_queues_of_leaves_out_what_is_no_queue_of_the_account(deployed: Cloud) -> None:
    others = [
        f"arn:aws:lambda:{US}:{ACCOUNT}:function:f",
        "arn:aws:sqs:us-east-1:999999999999:q",
        f"{ARN}-gone",
        "nonsense",
    ]
    assert queues_of(deployed, others) == []

"""A task moves dead letters to where they came from, at its rate, one task at a time, until it is cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ops.local.emulator.movetasks import source_of
from ops.local.emulator.scopes import entered
from tests.unit.local.emulator.test_queues import SCOPE, Bench


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with entered(SCOPE):
        bench = Bench(monkeypatch)
        yield bench
        bench.sqs.reset()


def dead(sqs: Bench, source: str, *bodies: str) -> None:
    """Messages that went from ``source`` to its DLQ."""
    sqs.send(source, *bodies)
    while sqs.receive(source):
        pass


def test_task_brings_each_message_back_to_the_queue_it_came_from(sqs: Bench) -> None:
    dlq = sqs.dlq("dead", "a", "b")
    dead(sqs, "a", "1", "2")
    dead(sqs, "b", "3")
    sqs("SendMessage", "a", MessageBody="4", MessageAttributes={"N": {"DataType": "Number", "StringValue": "7"}})
    sqs.receive("a"), sqs.receive("a")
    before = {one["Body"]: one["MessageId"] for one in sqs.receive("dead", VisibilityTimeout=0)}
    task = sqs("StartMessageMoveTask", SourceArn=dlq)
    assert source_of(task["TaskHandle"]) == dlq
    assert sqs.depth("a") == (0, 0, 0)
    sqs.queues.tasks.tick(1.0)
    back = sqs.receive("a", MessageAttributeNames=["All"]) + sqs.receive("b")
    assert [one["Body"] for one in back] == ["1", "2", "4", "3"]
    assert back[2]["MessageAttributes"]["N"]["StringValue"] == "7"
    assert {one["MessageId"] for one in back}.isdisjoint(before.values())
    assert {one["Attributes"]["ApproximateReceiveCount"] for one in back} == {"1"}
    assert all("DeadLetterQueueSourceArn" not in one["Attributes"] for one in back)
    assert sqs.depth("dead") == (0, 0, 0)
    (listed,) = sqs("ListMessageMoveTasks", SourceArn=dlq)["Results"]
    assert (listed["Status"], listed["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 4)
    assert listed["ApproximateNumberOfMessagesToMove"] == 4
    assert "TaskHandle" not in listed


def test_task_moves_at_its_rate_and_cancelling_it_leaves_the_rest(sqs: Bench) -> None:
    dlq, other = sqs.dlq("dead", "a"), sqs.create("other")
    dead(sqs, "a", *map(str, range(9)))
    handle = sqs("StartMessageMoveTask", SourceArn=dlq, DestinationArn=other, MaxNumberOfMessagesPerSecond=2)
    for _ in range(2):
        sqs.queues.tasks.tick(1.0)
    (listed,) = sqs("ListMessageMoveTasks", SourceArn=dlq)["Results"]
    assert (listed["Status"], listed["TaskHandle"]) == ("RUNNING", handle["TaskHandle"])
    assert (listed["MaxNumberOfMessagesPerSecond"], listed["DestinationArn"]) == (2, other)
    assert sqs.refused("StartMessageMoveTask", SourceArn=dlq) == "InvalidParameterValue"
    assert sqs("CancelMessageMoveTask", **handle) == {"ApproximateNumberOfMessagesMoved": 4}
    sqs.queues.tasks.tick(1.0)
    assert (sqs.depth("other")[0], sqs.depth("dead")[0]) == (4, 5)
    assert sqs.refused("CancelMessageMoveTask", **handle) == "UnsupportedOperation"
    sqs("StartMessageMoveTask", SourceArn=dlq)
    statuses = [one["Status"] for one in sqs("ListMessageMoveTasks", SourceArn=dlq, MaxResults=10)["Results"]]
    assert statuses == ["RUNNING", "CANCELLED"]


def test_message_that_came_from_no_queue_fails_the_task_and_stays(sqs: Bench) -> None:
    dlq = sqs.dlq("dead", "a")
    sqs.send("dead", "from somewhere")
    sqs("StartMessageMoveTask", SourceArn=dlq)
    sqs.queues.tasks.tick(1.0)
    (listed,) = sqs("ListMessageMoveTasks", SourceArn=dlq)["Results"]
    assert (listed["Status"], listed["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert sqs.depth("dead") == (1, 0, 0)


@pytest.mark.parametrize(
    ("action", "request_", "code"),
    [
        ("StartMessageMoveTask", {"SourceArn": "arn:aws:sqs:eu-west-3:000000000000:gone"}, "ResourceNotFoundException"),
        ("StartMessageMoveTask", {"SourceArn": "arn:aws:sqs:eu-west-3:000000000000:a"}, "InvalidParameterValue"),
        (
            "StartMessageMoveTask",
            {"SourceArn": "arn:aws:sqs:eu-west-3:000000000000:dead", "MaxNumberOfMessagesPerSecond": 501},
            "InvalidParameterValue",
        ),
        (
            "ListMessageMoveTasks",
            {"SourceArn": "arn:aws:sqs:eu-west-3:000000000000:dead", "MaxResults": 11},
            "InvalidParameterValue",
        ),
        ("CancelMessageMoveTask", {"TaskHandle": "?"}, "InvalidParameterValue"),
    ],
)
def test_task_that_sqs_would_refuse_is_refused(sqs: Bench, action: str, request_: dict[str, Any], code: str) -> None:
    sqs.dlq("dead", "a")
    assert sqs.refused(action, **request_) == code

"""Standard queues answer as SQS does, at a cost that does not grow with their depth."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ops.local.emulator.messages import Messages
from ops.local.emulator.queues import Queues
from ops.local.emulator.scopes import Scope, entered

SCOPE = Scope("000000000000", "eu-west-3")
SPENT = "0f1e0f1e-0000-4000-8000-00000000beef"


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sqs = importlib.import_module("ministack.services.sqs")
        self.queues = Queues()
        for name, by in (
            ("_get_q", self.queues.get),
            ("_queue_by_arn", self.queues.by_arn),
            ("_collect_msgs", self.queues.collect),
            ("_dlq_sweep", self.queues.sweep),
            ("_expire_retained", self.queues.expire),
            ("_refresh_counts", self.queues.count),
        ):
            monkeypatch.setattr(self.sqs, name, by)

    def __call__(self, action: str, queue: str = "", **request: Any) -> dict[str, Any]:
        named = {"QueueUrl": self.sqs._queue_url(queue)} if queue else {}
        return dict(asyncio.run(self.queues.dispatch(action, named | request, "")))

    def refused(self, action: str, queue: str = "", **request: Any) -> str:
        with pytest.raises(self.sqs._Err) as caught:
            self(action, queue, **request)
        return str(caught.value.code)

    def create(self, name: str, **attributes: str) -> str:
        self("CreateQueue", QueueName=name, Attributes=attributes)
        return f"arn:aws:sqs:{SCOPE.region}:{SCOPE.account}:{name}"

    def dlq(self, name: str, *sources: str, receives: int = 1) -> str:
        arn = self.create(name)
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": receives})
        for source in sources:
            self.create(source, RedrivePolicy=policy, VisibilityTimeout="0")
        return arn

    def send(self, queue: str, *bodies: str) -> None:
        for body in bodies:
            self("SendMessage", queue, MessageBody=body)

    def receive(self, queue: str, most: int = 10, **request: Any) -> list[dict[str, Any]]:
        answer = self("ReceiveMessage", queue, MaxNumberOfMessages=most, AttributeNames=["All"], **request)
        return list(answer.get("Messages", []))

    def depth(self, queue: str) -> tuple[int, int, int]:
        attributes = self("GetQueueAttributes", queue)["Attributes"]
        names = ("", "NotVisible", "Delayed")
        visible, in_flight, delayed = (int(attributes[f"ApproximateNumberOfMessages{name}"]) for name in names)
        return visible, in_flight, delayed


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with entered(SCOPE):
        bench = Bench(monkeypatch)
        yield bench
        bench.sqs.reset()


def test_messages_are_received_once_counted_and_deleted(sqs: Bench) -> None:
    sqs.create("q")
    sqs.send("q", "a", "b", "c")
    sqs("SendMessage", "q", MessageBody="late", DelaySeconds=60)
    first = sqs.receive("q", 2)
    assert [one["Body"] for one in first] == ["a", "b"]
    assert sqs.depth("q") == (1, 2, 1)
    entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(first)]
    assert sqs("DeleteMessageBatch", "q", Entries=entries) == {"Successful": [{"Id": "0"}, {"Id": "1"}], "Failed": []}
    assert sqs.depth("q") == (1, 0, 1)


def test_receipt_that_is_not_the_last_one_deletes_nothing_and_is_no_error(sqs: Bench) -> None:
    sqs.create("q")
    sqs.send("q", "a")
    (first,) = sqs.receive("q", VisibilityTimeout=0)
    (second,) = sqs.receive("q")
    assert sqs("DeleteMessage", "q", ReceiptHandle=first["ReceiptHandle"]) == {}
    assert sqs.depth("q") == (0, 1, 0)
    assert sqs("DeleteMessage", "q", ReceiptHandle=second["ReceiptHandle"]) == {}
    assert sqs("DeleteMessage", "q", ReceiptHandle=second["ReceiptHandle"]) == {}
    assert sqs.depth("q") == (0, 0, 0)
    assert sqs.refused("DeleteMessage", "q", ReceiptHandle="no receipt") == "ReceiptHandleIsInvalid"
    assert sqs.refused("DeleteMessage", "q") == "MissingParameter"
    assert sqs("DeleteMessageBatch", "q", Entries=[{"Id": "x", "ReceiptHandle": "?"}])["Failed"][0]["Id"] == "x"


def test_visibility_given_back_shows_a_message_at_once(sqs: Bench) -> None:
    sqs.create("q")
    sqs.send("q", "a", "b")
    a, b = sqs.receive("q")
    sqs("ChangeMessageVisibility", "q", ReceiptHandle=a["ReceiptHandle"], VisibilityTimeout=0)
    entries = [
        {"Id": "b", "ReceiptHandle": b["ReceiptHandle"], "VisibilityTimeout": 0},
        {"Id": "a", "ReceiptHandle": a["ReceiptHandle"], "VisibilityTimeout": 0},
        {"Id": "c", "ReceiptHandle": SPENT, "VisibilityTimeout": 43_201},
    ]
    answer = sqs("ChangeMessageVisibilityBatch", "q", Entries=entries)
    assert answer["Successful"] == [{"Id": "b"}]
    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [
        ("a", "InvalidParameterValue"),
        ("c", "InvalidParameterValue"),
    ]
    assert [one["Attributes"]["ApproximateReceiveCount"] for one in sqs.receive("q")] == ["2", "2"]
    refused = sqs.refused("ChangeMessageVisibility", "q", ReceiptHandle="?", VisibilityTimeout=0)
    assert refused == "ReceiptHandleIsInvalid"


def test_message_received_too_often_is_in_the_dlq_with_its_source(sqs: Bench) -> None:
    sqs.dlq("dead", "q", receives=2)
    sqs.send("q", "a")
    for _ in range(2):
        assert len(sqs.receive("q")) == 1
    assert sqs.receive("q") == []
    (dead,) = sqs.receive("dead")
    assert dead["Attributes"]["DeadLetterQueueSourceArn"].endswith(":q")
    assert dead["Attributes"]["ApproximateReceiveCount"] == "3"
    assert sqs.depth("q") == (0, 0, 0)


def test_messages_older_than_the_retention_are_gone(sqs: Bench) -> None:
    sqs.create("q", MessageRetentionPeriod="60")
    sqs.send("q", "a")
    sqs.queues.get(sqs.sqs._queue_url("q"))["messages"].append(
        {"id": "old", "body": "b", "sent_at": 1.0, "visible_at": 1.0, "receive_count": 0, "receipt_handle": None}
    )
    assert sqs.depth("q") == (1, 0, 0)


def test_sources_of_a_dlq_are_listed_in_pages(sqs: Bench) -> None:
    sqs.dlq("dead", "a", "b", "c")
    sqs.create("other")
    first = sqs("ListDeadLetterSourceQueues", "dead", MaxResults=2)
    rest = sqs("ListDeadLetterSourceQueues", "dead", MaxResults=2, NextToken=first["NextToken"])
    names = [url.rpartition("/")[2] for url in first["queueUrls"] + rest["queueUrls"]]
    assert (names, "NextToken" in rest) == (["a", "b", "c"], False)


def test_fifo_queue_is_served_by_the_emulator(sqs: Bench) -> None:
    sqs("CreateQueue", QueueName="q.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})
    for body in ("a", "b"):
        sqs("SendMessage", "q.fifo", MessageBody=body, MessageGroupId="g")
    assert not isinstance(sqs.queues.get(sqs.sqs._queue_url("q.fifo"))["messages"], Messages)
    (one,) = sqs.receive("q.fifo", 1)
    sqs("DeleteMessage", "q.fifo", ReceiptHandle=one["ReceiptHandle"])
    assert sqs.depth("q.fifo")[0] == 1


def steps(sqs: Bench, queue: str) -> int:
    """How many lines of Python ten rounds of receive and delete take."""
    lines = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    async def rounds() -> None:
        url = sqs.sqs._queue_url(queue)
        for _ in range(10):
            got = await sqs.queues.dispatch("ReceiveMessage", {"QueueUrl": url, "MaxNumberOfMessages": 10}, url)
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(got["Messages"])]
            await sqs.queues.dispatch("DeleteMessageBatch", {"QueueUrl": url, "Entries": entries}, url)
            await sqs.queues.dispatch("GetQueueAttributes", {"QueueUrl": url}, url)

    before = sys.gettrace()
    coroutine = rounds()
    sys.settrace(trace)
    try:
        asyncio.run(coroutine)
    finally:
        sys.settrace(before)
    return lines


def test_work_on_a_queue_does_not_grow_with_its_depth(sqs: Bench) -> None:
    work = {}
    for depth in (200, 20_000):
        sqs.create(f"q{depth}")
        template = {"body": "b", "md5_body": "", "message_attributes": {}, "sys": {}, "sent_at": 2e9, "visible_at": 0.0}
        messages = sqs.queues.get(sqs.sqs._queue_url(f"q{depth}"))["messages"]
        for number in range(depth):
            messages.append({**template, "id": str(number), "receive_count": 0, "receipt_handle": None})
        sqs.depth(f"q{depth}")  # once, each message becomes visible
        work[depth] = steps(sqs, f"q{depth}")
    assert work[20_000] < 1.5 * work[200]

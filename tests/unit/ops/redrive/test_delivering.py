"""Each message ends as delivered or not, at its own target, and is delivered only when the target's service says so."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from ops.redrive import delivering
from ops.redrive.delivering import ATTEMPTS, deliver
from ops.redrive.messages import Letter, Target
from ops.stage import load_stage
from tests.unit.ops.redrive.fakes import ACCOUNT, Clock, FakeCloud, FakeSqs

QUEUE = Target("sqs", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:target")
FUNCTION = Target("lambda", f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:x")
BUS = Target("bus", f"arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/x")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "FIRST_WAIT_S", 0.0)


def letter(number: int, target: Target | None = QUEUE, body: str = "", **changes: Any) -> Letter:
    made = Letter(
        region="us-east-1",
        queue="dlq",
        message_id=f"m-{number}",
        receipt=f"r-{number}",
        body=body or f"body-{number}",
        attributes={},
        system={},
        kind="function",
        error_code="",
        error_message="",
        handler="",
        event_type="",
        event_key=None,
        sent=datetime(2026, 11, 23, tzinfo=UTC),
        redrives=0,
        request_id=None,
        target=target,
        why_not="",
    )
    return replace(made, **changes)


def cloud_of(client: Any) -> Any:
    return FakeCloud(load_stage("local"), client)


def test_messages_go_in_batches_of_ten_and_of_the_size_that_fits() -> None:
    sqs = FakeSqs(Clock())
    delivered, undelivered = deliver(cloud_of(sqs), [letter(n) for n in range(25)])
    assert (len(delivered), undelivered, sqs.calls) == (25, [], ["SendMessageBatch"] * 3)

    sqs = FakeSqs(Clock())
    deliver(cloud_of(sqs), [letter(n, body="x" * 100_000) for n in range(4)] + [letter(5, body="x" * 400_000)])
    assert len(sqs.calls) == 3


def test_entries_that_were_throttled_are_sent_again_alone() -> None:
    sqs = FakeSqs(Clock())
    sqs.failing["SendMessageBatch"] = ["throttled", "partly", "ok"]
    delivered, undelivered = deliver(cloud_of(sqs), [letter(n) for n in range(4)])
    assert undelivered == []
    assert sorted(sqs.taken) == [f"body-{n}" for n in range(4)]
    assert len(delivered) == 4


def test_attempts_are_bounded() -> None:
    sqs = FakeSqs(Clock())
    sqs.failing["SendMessageBatch"] = ["throttled"] * 50
    delivered, undelivered = deliver(cloud_of(sqs), [letter(0)])
    assert (delivered, [one.code for one in undelivered]) == ([], ["ThrottlingException"])
    assert len(sqs.calls) == ATTEMPTS


def test_refusal_of_one_message_is_final_and_touches_no_other() -> None:
    sqs = FakeSqs(Clock())
    sqs.target_refuses = lambda body: "InvalidMessageContents" if body == "body-1" else None
    delivered, undelivered = deliver(cloud_of(sqs), [letter(n) for n in range(3)])
    assert [one.letter.message_id for one in delivered] == ["m-0", "m-2"]
    assert [(one.letter.message_id, one.code) for one in undelivered] == [("m-1", "InvalidMessageContents")]
    assert len(sqs.calls) == 1


def test_call_without_an_answer_delivers_nothing_as_far_as_anybody_knows() -> None:
    sqs = FakeSqs(Clock())
    sqs.failing["SendMessageBatch"] = ["unanswered"]
    delivered, undelivered = deliver(cloud_of(sqs), [letter(0)])
    assert (delivered, [one.code for one in undelivered]) == ([], ["ReadTimeoutError"])


@pytest.mark.parametrize("targets", [(QUEUE, BUS), (None, None), (QUEUE, None)])
def test_messages_of_several_targets_or_of_none_are_refused(targets: tuple[Target | None, ...]) -> None:
    with pytest.raises(ValueError, match="one target"):
        deliver(cloud_of(FakeSqs(Clock())), [letter(n, target) for n, target in enumerate(targets)])


class Lambda:
    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def invoke(self, **request: Any) -> Any:
        self.asked.append(request)
        if b"bad" in request["Payload"]:
            raise ClientError({"Error": {"Code": "InvalidRequestContentException", "Message": "no JSON"}}, "Invoke")
        if b"slow" in request["Payload"]:
            raise ReadTimeoutError(endpoint_url="x")
        return {"StatusCode": 202, "ResponseMetadata": {"RequestId": f"id-{len(self.asked)}"}}


def test_function_is_invoked_asynchronously_and_the_request_id_kept() -> None:
    client = Lambda()
    letters = [letter(n, FUNCTION, body) for n, body in enumerate(('{"a": 1}', "bad", "slow"))]
    delivered, undelivered = deliver(cloud_of(client), letters)
    assert [(one.letter.message_id, one.request_id) for one in delivered] == [("m-0", "id-1")]
    assert [one.code for one in undelivered] == ["InvalidRequestContentException", "ReadTimeoutError"]
    assert client.asked[0] == {"FunctionName": FUNCTION.arn, "InvocationType": "Event", "Payload": b'{"a": 1}'}


class Bus:
    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> Any:  # noqa: N803 - botocore's name
        self.entries += Entries
        return {"Entries": [{"EventId": "e"} if entry["Source"] == "a" else {"ErrorCode": "No"} for entry in Entries]}


def test_event_is_put_on_its_bus_as_it_was_and_what_is_no_event_is_not() -> None:
    event = {"source": "a", "detail-type": "t", "detail": {"k": 1}, "resources": ["r"], "time": "2026-11-23T00:00:00Z"}
    client = Bus()
    bodies = [json.dumps(event), json.dumps(event | {"source": "b"}), "[]", "{"]
    delivered, undelivered = deliver(cloud_of(client), [letter(n, BUS, body) for n, body in enumerate(bodies)])
    assert [one.letter.message_id for one in delivered] == ["m-0"]
    assert [one.code for one in undelivered] == ["NotAnEvent", "NotAnEvent", "No"]
    assert client.entries[0] == {
        "Source": "a",
        "DetailType": "t",
        "Detail": '{"k":1}',
        "Resources": ["r"],
        "EventBusName": BUS.arn,
        "Time": "2026-11-23T00:00:00Z",
    }


class Fifo:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def get_queue_url(self, **_: Any) -> Any:
        return {"QueueUrl": "https://sqs/target.fifo"}

    def send_message(self, **request: Any) -> Any:
        if request["MessageBody"] == "body-1":
            raise ClientError({"Error": {"Code": "InvalidMessageContents", "Message": ""}}, "SendMessage")
        self.sent.append(request)


def test_fifo_queue_gets_its_groups_in_order_and_none_past_one_that_was_not_taken() -> None:
    client, target = Fifo(), Target("sqs", f"{QUEUE.arn}.fifo")
    letters = [letter(n, target, system={"MessageGroupId": group}) for n, group in enumerate("aaabb")]
    delivered, undelivered = deliver(cloud_of(client), letters)
    assert [one.letter.message_id for one in delivered] == ["m-0", "m-3", "m-4"]
    assert [one.code for one in undelivered] == ["InvalidMessageContents", "GroupWaits"]
    assert [(one["MessageGroupId"], one["MessageDeduplicationId"]) for one in client.sent] == [
        ("a", "m-0"),
        ("b", "m-3"),
        ("b", "m-4"),
    ]

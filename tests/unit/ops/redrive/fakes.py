"""Queues and a bucket in memory, whose calls can fail before or after they took effect, in part, or for good.

They remember what the law needs: whether a message that is deleted was taken by its target or kept before.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore.exceptions import ClientError, ReadTimeoutError

from ops.redrive.queues import DeadLetterQueue, Feed
from ops.stage import Stage

REGION, ACCOUNT = "us-east-1", "123456789012"
SOURCE_ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:source"

Outcome = Literal["ok", "refused", "unanswered", "throttled", "partly", "killed"]


class KilledError(BaseException):
    """The process is gone: from here on, no call is made."""


class Clock:
    """Time passes with each call."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Message:
    id: str
    body: str
    attributes: dict[str, Any] = field(default_factory=dict)
    system: dict[str, str] = field(default_factory=dict)
    receipt: str = ""
    visible_at: float = 0.0
    receives: int = 0


@dataclass
class FakeSqs:
    """One DLQ and the queue it belongs to. ``outcomes`` are of the calls in the order they are made, ``failing`` of
    those of one operation; then all is well."""

    clock: Clock
    outcomes: Iterator[Outcome] = field(default_factory=lambda: iter(()))
    failing: dict[str, list[Outcome]] = field(default_factory=dict)
    call_s: float = 0.05
    hides_at_most: int = 120_000
    messages: dict[str, Message] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    sent_attributes: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    dead: bool = False
    target_refuses: Callable[[str], str | None] = lambda body: None
    lock: threading.RLock = field(default_factory=threading.RLock)
    receipts: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def put(self, number: int, **attributes: str) -> None:
        message_id = f"{number:08x}-0000-4000-8000-000000000000"
        typed = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        self.messages[message_id] = Message(message_id, f"body-{number}", typed, {"SentTimestamp": "1764000000000"})

    def bodies(self) -> set[str]:
        return {message.body for message in self.messages.values()}

    @property
    def hidden(self) -> int:
        return sum(message.visible_at > self.clock.now for message in self.messages.values())

    def _call(self, name: str, effect: Callable[[bool], Any], **_: Any) -> Any:
        with self.lock:
            self.clock.now += self.call_s
            outcome: Outcome = "killed" if self.dead else next(self.outcomes, "ok")
            if self.failing.get(name):
                outcome = self.failing[name].pop(0)
            self.calls.append(name)
            if outcome == "killed":
                self.dead = True
                raise KilledError
            if outcome in ("refused", "throttled"):
                code = "AccessDenied" if outcome == "refused" else "ThrottlingException"
                raise ClientError({"Error": {"Code": code, "Message": "on purpose"}}, name)
            answer = effect(outcome == "partly")
            if outcome == "unanswered":
                raise ReadTimeoutError(endpoint_url="https://sqs")
            return answer

    def receive_message(self, **request: Any) -> Any:
        def effect(partly: bool) -> Any:
            if self.hidden >= self.hides_at_most:
                raise ClientError({"Error": {"Code": "OverLimit", "Message": "too many in flight"}}, "ReceiveMessage")
            found = [one for one in self.messages.values() if one.visible_at <= self.clock.now]
            for message in found[: request["MaxNumberOfMessages"]]:
                message.receipt = f"receipt-{next(self.receipts)}"
                message.visible_at = self.clock.now + request["VisibilityTimeout"]
                message.receives += 1
            return {
                "Messages": [
                    {
                        "MessageId": one.id,
                        "ReceiptHandle": one.receipt,
                        "Body": one.body,
                        "Attributes": one.system,
                        "MessageAttributes": one.attributes,
                    }
                    for one in found[: request["MaxNumberOfMessages"]]
                ]
            }

        return self._call("ReceiveMessage", effect)

    def send_message_batch(self, **request: Any) -> Any:
        def take(entry: Mapping[str, Any]) -> str | None:
            code = self.target_refuses(entry["MessageBody"])
            if code is None:
                self.taken.append(entry["MessageBody"])
                self.sent_attributes[entry["MessageBody"]] = entry["MessageAttributes"]
            return code

        return self._call("SendMessageBatch", lambda partly: _batch(request["Entries"], partly, take))

    def delete_message_batch(self, **request: Any) -> Any:
        def delete(entry: Mapping[str, Any]) -> str | None:
            found = next((one for one in self.messages.values() if one.receipt == entry["ReceiptHandle"]), None)
            if found is None:
                return "ReceiptHandleIsInvalid"
            if found.body not in self.taken and not any(found.id in key for key in self.kept):
                self.lost.append(found.body)
            del self.messages[found.id]
            return None

        return self._call("DeleteMessageBatch", lambda partly: _batch(request["Entries"], partly, delete))

    def change_message_visibility_batch(self, **request: Any) -> Any:
        def show(entry: Mapping[str, Any]) -> str | None:
            for message in self.messages.values():
                if message.receipt == entry["ReceiptHandle"]:
                    message.visible_at = self.clock.now
                    return None
            return "ReceiptHandleIsInvalid"

        return self._call("ChangeMessageVisibilityBatch", lambda partly: _batch(request["Entries"], partly, show))

    def get_queue_attributes(self, **_: Any) -> Any:
        return self._call(
            "GetQueueAttributes",
            lambda partly: {
                "Attributes": {
                    "ApproximateNumberOfMessages": str(len(self.messages) - self.hidden),
                    "ApproximateNumberOfMessagesNotVisible": str(self.hidden),
                }
            },
        )

    def get_queue_url(self, **_: Any) -> Any:
        return {"QueueUrl": "https://sqs/source"}

    def put_object(self, **request: Any) -> Any:
        return self._call("PutObject", lambda partly: self.kept.__setitem__(request["Key"], request["Body"]))


def _batch(
    entries: list[Any], partly: bool, do: Callable[[Mapping[str, Any]], str | None]
) -> dict[str, list[dict[str, Any]]]:
    answer: dict[str, list[dict[str, Any]]] = {"Successful": [], "Failed": []}
    for number, entry in enumerate(entries):
        code = "InternalError" if partly and number % 2 else do(entry)
        if code is None:
            answer["Successful"].append({"Id": entry["Id"]})
        else:
            answer["Failed"].append({"Id": entry["Id"], "Code": code, "Message": "on purpose"})
    return answer


class FakeCloud:
    """What :class:`ops.aws.Cloud` is to the modules under test."""

    def __init__(self, stage: Stage, client: Any) -> None:
        self.stage, self.account, self._client = stage, ACCOUNT, client

    def client(self, service: str, region: str) -> Any:
        return self._client


def dead_letter_queue(**changes: Any) -> DeadLetterQueue:
    values: dict[str, Any] = {
        "region": REGION,
        "name": "source-dlq",
        "url": "https://sqs/source-dlq",
        "arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:source-dlq",
        "depth": 0,
        "feeds": (Feed("queue", SOURCE_ARN, SOURCE_ARN),),
    }
    return DeadLetterQueue(**(values | changes))

"""Tasks of SQS that move the messages of a dead-letter queue to where they came from, or to one other queue.

What always holds: one task at a time for a DLQ; a message is in its destination before it leaves the DLQ, as a new one
(its id, the time of its sending and its receives start again); what is hidden when the task comes by stays.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

from __future__ import annotations

import base64
import binascii
import importlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.local.emulator.messages import Messages, message_of

MAX_PER_S = 500
LISTED_AT_MOST = 10
HIDDEN_S = 60

Queue = dict[str, Any]


@dataclass
class Task:
    """A task and how far it is. ``destination`` empty: each message goes to the queue that it came from."""

    source: str
    destination: str
    per_s: int | None
    to_move: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started_s: float = field(default_factory=time.time)
    status: str = "RUNNING"
    moved: int = 0
    reason: str = ""

    @property
    def handle(self) -> str:
        return base64.b64encode(json.dumps({"taskId": self.id, "sourceArn": self.source}).encode()).decode()

    def listed(self) -> dict[str, Any]:
        """As ListMessageMoveTasks answers: only a task that runs has a handle."""
        entry: dict[str, Any] = {
            "Status": self.status,
            "SourceArn": self.source,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "StartedTimestamp": int(self.started_s * 1000),
        }
        optional = {
            "TaskHandle": self.handle if self.status == "RUNNING" else "",
            "DestinationArn": self.destination,
            "MaxNumberOfMessagesPerSecond": self.per_s,
            "FailureReason": self.reason,
        }
        return entry | {name: value for name, value in optional.items() if value}


class MoveTasks:
    """The tasks of every account and region; they go on with each tick."""

    def __init__(self, by_arn: Callable[[str], Queue | None]) -> None:
        """``by_arn`` finds a queue."""
        self._by_arn = by_arn
        self._sqs = importlib.import_module("ministack.services.sqs")
        self._tasks: list[Task] = []

    def start(self, data: Mapping[str, Any], _url: str = "") -> dict[str, Any]:
        """StartMessageMoveTask."""
        source = self._queue("SourceArn", data.get("SourceArn", ""))
        arn, destination = data["SourceArn"], data.get("DestinationArn") or ""
        if destination:
            self._queue("DestinationArn", destination)
        if not any((dead_letters(one) or ("", 0))[0] == arn for one in self._sqs._queues.all_values()):
            raise self._invalid("Source queue must be configured as a Dead Letter Queue.")
        per_s = data.get("MaxNumberOfMessagesPerSecond")
        if per_s is not None and not 1 <= int(per_s) <= MAX_PER_S:
            raise self._invalid(f"Value for parameter MaxNumberOfMessagesPerSecond must be between 1 and {MAX_PER_S}.")
        if any(task.source == arn and task.status == "RUNNING" for task in self._tasks):
            raise self._invalid("There is already a task running. Only one active task is allowed for a source queue.")
        to_move = source["messages"].counts(time.time())[0]
        task = Task(arn, destination, per_s and int(per_s), to_move)
        self._tasks.append(task)
        return {"TaskHandle": task.handle}

    def list_tasks(self, data: Mapping[str, Any], _url: str = "") -> dict[str, Any]:
        """ListMessageMoveTasks: the newest first."""
        self._queue("SourceArn", data.get("SourceArn", ""))
        most = int(data.get("MaxResults") or 1)
        if not 1 <= most <= LISTED_AT_MOST:
            raise self._invalid(f"Value for parameter MaxResults must be between 1 and {LISTED_AT_MOST}.")
        own = [task for task in reversed(self._tasks) if task.source == data["SourceArn"]]
        return {"Results": [task.listed() for task in own[:most]]}

    def cancel(self, data: Mapping[str, Any], _url: str = "") -> dict[str, Any]:
        """CancelMessageMoveTask: what was moved stays moved."""
        source_of(data.get("TaskHandle", ""), self._invalid)
        task = next((one for one in self._tasks if one.handle == data["TaskHandle"]), None)
        if task is None:
            raise self._sqs._Err("ResourceNotFoundException", "Task does not exist.")
        if task.status != "RUNNING":
            raise self._sqs._Err("UnsupportedOperation", "Only active tasks can be cancelled.")
        task.status = "CANCELLED"
        return {"ApproximateNumberOfMessagesMoved": task.moved}

    def tick(self, elapsed_s: float) -> None:
        """Move what each task may in this time."""
        for task in [one for one in self._tasks if one.status == "RUNNING"]:
            most = max(1, round((task.per_s or MAX_PER_S) * elapsed_s))
            source = self._by_arn(task.source)
            if source is None:
                task.status, task.reason = "FAILED", "AWS.SimpleQueueService.NonExistentQueue"
                continue
            taken = self._take(source, most)
            for position, message in enumerate(taken):
                destination = self._by_arn(task.destination or message["sys"].get("DeadLetterQueueSourceArn", ""))
                if destination is None:
                    task.status, task.reason = "FAILED", "CouldNotDetermineMessageSource"
                    for left in taken[position:]:
                        source["messages"].change_visibility(left["receipt_handle"], time.time(), 0)
                    break
                sender, attributes = message["sys"].get("SenderId", ""), message["message_attributes"]
                destination["messages"].append(message_of(self._sqs, destination, message["body"], attributes, sender))
                source["messages"].delete(message["receipt_handle"])
                task.moved += 1
            if len(taken) < most and task.status == "RUNNING":
                task.status = "COMPLETED"
            self._sqs.esm_wake.set()

    def _take(self, queue: Queue, most: int) -> list[dict[str, Any]]:
        messages: Messages = queue["messages"]
        return messages.take(most, time.time(), HIDDEN_S, self._sqs.new_uuid, lambda message: False)

    def _queue(self, name: str, arn: str) -> Queue:
        queue = self._by_arn(arn)
        if queue is None:
            message = f"The resource that you specified for the {name} parameter doesn't exist."
            raise self._sqs._Err("ResourceNotFoundException", message)
        if queue["is_fifo"]:
            raise self._sqs._Err("UnsupportedOperation", "Tasks for FIFO queues are not played here.")
        return queue

    def _invalid(self, message: str) -> Exception:
        error: Exception = self._sqs._Err("InvalidParameterValue", message)
        return error


def source_of(handle: str, error: Callable[[str], Exception] = ValueError) -> str:
    """The ARN of the DLQ of a task, from its handle.

    Raises:
        ``error``: it is not the handle of a task.
    """
    try:
        return str(json.loads(base64.b64decode(handle, validate=True))["sourceArn"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise error("The value for parameter TaskHandle is invalid.") from None


def dead_letters(queue: Mapping[str, Any]) -> tuple[str, int] | None:
    """The DLQ of a queue, and after how many receives a message goes there; None without a redrive policy."""
    try:
        policy = json.loads(queue["attributes"].get("RedrivePolicy") or "null")
        found = str(policy["deadLetterTargetArn"]), int(policy["maxReceiveCount"])
    except (ValueError, TypeError, KeyError):
        return None
    return found if all(found) else None

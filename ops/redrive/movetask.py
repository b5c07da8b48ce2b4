"""SQS's own way of moving a whole dead-letter queue back, watched: for queues where it is enough.

It moves everything, to the queues that the messages came from, at 500 a second at the most, and only where queues
alone feed the dead-letter queue; it neither filters nor counts how often a message was moved. What always holds: one
task at a time of a queue, whoever started it; Ctrl-C cancels the task, and what it has not moved stays where it was.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.errors import OpsError
from ops.redrive.queues import DeadLetterQueue

MAX_PER_S = 500
ACTIVE = ("RUNNING", "CANCELLING")
# SQS ends a task after 36 hours.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
DEADLINE_S = 36 * 3600
CANCEL_S = 60

Moved = Callable[[int, int], None]


@dataclass(frozen=True)
class Task:
    """A task as SQS tells of it; its counts are approximations. ``handle`` is only of one that runs."""

    handle: str
    status: str
    moved: int
    to_move: int
    started_ms: int
    reason: str


def latest(cloud: Cloud, queue: DeadLetterQueue) -> Task | None:
    """The newest task of a queue; None when there never was one, or SQS cannot move from this queue."""
    try:
        answer: Any = cloud.client("sqs", queue.region).list_message_move_tasks(SourceArn=queue.arn, MaxResults=1)
    except ClientError as error:
        if "ResourceNotFound" in error_code(error):
            return None
        raise
    return next((_task(found) for found in answer.get("Results", [])), None)


def run(
    cloud: Cloud,
    queue: DeadLetterQueue,
    *,
    rate_per_s: int,
    resume: bool,
    moved: Moved,
    stop: threading.Event,
    poll_s: float = 2.0,
    clock: Callable[[], float] = time.monotonic,
) -> Task:
    """Move a queue and wait for the end; ``moved`` is told ``(moved, still to move)`` all along.

    Args:
        resume: whether a task that runs already is an earlier run's of the same plan, and is watched on.
        stop: set it, and the task is cancelled.

    Raises:
        KeyboardInterrupt: Ctrl-C; the task was cancelled.
        OpsError: another task runs, or the task failed or did not end.
    """
    sqs = cloud.client("sqs", queue.region)
    task = latest(cloud, queue)
    if task is None or task.status not in ACTIVE:
        try:
            sqs.start_message_move_task(
                SourceArn=queue.arn, MaxNumberOfMessagesPerSecond=max(1, min(MAX_PER_S, rate_per_s))
            )
        except ClientError as error:
            raise OpsError(
                f"queue {queue.name} in {queue.region}: SQS does not move it: {error.response['Error'].get('Message')}",
                hint="Without its move task: -p engine=client",
            ) from error
    elif not resume:
        raise OpsError(
            f"queue {queue.name} in {queue.region}: a move task is {task.status} already, and SQS allows one at a time",
            hint=f"Wait for it, or cancel it: aws sqs cancel-message-move-task --task-handle {task.handle}",
        )
    try:
        return _follow(cloud, queue, moved, stop, poll_s=poll_s, clock=clock)
    except KeyboardInterrupt:
        stop.set()
        _follow(cloud, queue, moved, stop, poll_s=poll_s, clock=clock)
        raise


def _follow(
    cloud: Cloud,
    queue: DeadLetterQueue,
    moved: Moved,
    stop: threading.Event,
    *,
    poll_s: float,
    clock: Callable[[], float],
) -> Task:
    end = clock() + DEADLINE_S
    cancelled = False
    while True:
        task = latest(cloud, queue)
        if task is None:
            raise OpsError(f"queue {queue.name} in {queue.region}: SQS knows nothing of the task that it started")
        moved(task.moved, task.to_move)
        if task.status == "FAILED":
            raise OpsError(
                f"queue {queue.name} in {queue.region}: the move task failed: {task.reason or 'no reason given'}",
                hint="What it had not moved is still on the queue. Without the task: -p engine=client",
            )
        if task.status not in ACTIVE:
            return task
        if stop.is_set() and not cancelled:
            cancelled, end = True, clock() + CANCEL_S
            _cancel(cloud, queue, task)
        if clock() >= end:
            raise OpsError(f"queue {queue.name} in {queue.region}: the move task is still {task.status}")
        # Once it is to stop there is nothing left to wait for but SQS's word, at the same pace.
        threading.Event().wait(poll_s) if stop.is_set() else stop.wait(poll_s)


def _cancel(cloud: Cloud, queue: DeadLetterQueue, task: Task) -> None:
    try:
        cloud.client("sqs", queue.region).cancel_message_move_task(TaskHandle=task.handle)
    except ClientError as error:
        # It may have ended by itself; the next look at it tells.
        if "ResourceNotFound" not in error_code(error) and "UnsupportedOperation" not in error_code(error):
            raise


def _task(found: dict[str, Any]) -> Task:
    return Task(
        handle=found.get("TaskHandle", ""),
        status=found["Status"],
        moved=int(found.get("ApproximateNumberOfMessagesMoved", 0)),
        to_move=int(found.get("ApproximateNumberOfMessagesToMove", 0)),
        started_ms=int(found.get("StartedTimestamp", 0)),
        reason=found.get("FailureReason", ""),
    )

"""SQS's own move of a queue is started once, watched, and cancelled when it is to stop."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops.errors import OpsError
from ops.redrive import movetask
from ops.stage import load_stage
from tests.unit.ops.redrive.fakes import FakeCloud, dead_letter_queue

QUEUE = dead_letter_queue()


class Tasks:
    """Answers with these states in turn, the last one for good; cancelling ends it."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.started: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.refusal: ClientError | None = None

    def list_message_move_tasks(self, **_: Any) -> Any:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if not state:
            return {"Results": []}
        counts = {"ApproximateNumberOfMessagesMoved": 7, "ApproximateNumberOfMessagesToMove": 9}
        return {"Results": [{"Status": state, "TaskHandle": "h", "FailureReason": "because", **counts}]}

    def start_message_move_task(self, **request: Any) -> Any:
        if self.refusal is not None:
            raise self.refusal
        self.started.append(request)

    def cancel_message_move_task(self, **request: Any) -> Any:
        self.cancelled.append(request["TaskHandle"])
        self.states = ["CANCELLING", "CANCELLED"]


def run(tasks: Tasks, **changes: Any) -> tuple[movetask.Task, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    values: dict[str, Any] = {"rate_per_s": 2_000, "resume": False, "stop": threading.Event(), "poll_s": 0}
    cloud: Any = FakeCloud(load_stage("local"), tasks)
    task = movetask.run(cloud, QUEUE, **(values | {"moved": lambda *counts: told.append(counts)} | changes))
    return task, told


@pytest.mark.parametrize("before", ["", "COMPLETED", "CANCELLED", "FAILED"])
def test_task_is_started_at_the_rate_that_sqs_allows_and_watched_to_its_end(before: str) -> None:
    tasks = Tasks(before, "RUNNING", "RUNNING", "COMPLETED")
    task, told = run(tasks)
    assert tasks.started == [{"SourceArn": QUEUE.arn, "MaxNumberOfMessagesPerSecond": 500}]
    assert (task.status, task.moved, told) == ("COMPLETED", 7, [(7, 9)] * 3)


def test_task_of_another_is_left_alone() -> None:
    tasks = Tasks("RUNNING")
    with pytest.raises(OpsError, match="one at a time"):
        run(tasks)
    assert tasks.started == tasks.cancelled == []


def test_task_of_an_earlier_run_of_the_plan_is_watched_on() -> None:
    tasks = Tasks("RUNNING", "RUNNING", "COMPLETED")
    assert run(tasks, resume=True)[0].status == "COMPLETED"
    assert tasks.started == []


def test_task_is_cancelled_once_when_it_is_to_stop() -> None:
    tasks, stop = Tasks("", "RUNNING"), threading.Event()
    stop.set()
    assert run(tasks, stop=stop)[0].status == "CANCELLED"
    assert tasks.cancelled == ["h"]


def test_interruption_cancels_the_task() -> None:
    tasks, asked = Tasks("", "RUNNING"), iter([KeyboardInterrupt])

    def interrupted(*counts: int) -> None:
        for error in asked:
            raise error

    with pytest.raises(KeyboardInterrupt):
        run(tasks, moved=interrupted)
    assert tasks.cancelled == ["h"]


def test_task_that_fails_says_why() -> None:
    with pytest.raises(OpsError, match="because"):
        run(Tasks("", "RUNNING", "FAILED"))


def test_queue_that_sqs_does_not_move_names_the_other_engine() -> None:
    tasks = Tasks("")
    tasks.refusal = ClientError({"Error": {"Code": "InvalidParameterValue", "Message": "not a DLQ"}}, "Start")
    with pytest.raises(OpsError, match="not a DLQ") as refused:
        run(tasks)
    assert "engine=client" in refused.value.hint

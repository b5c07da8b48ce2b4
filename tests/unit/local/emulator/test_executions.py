"""Stopped executions of the emulator's Step Functions."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from ops.local.emulator.executions import Executions

steps = importlib.import_module("ministack.services.stepfunctions")
PASSING = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke",
    "Parameters": {"FunctionName": "f"},
    "End": True,
}


@pytest.fixture
def execution() -> Iterator[dict[str, Any]]:
    made = {"executionArn": "arn:whole", "status": "RUNNING", "events": [], "stateMachineArn": "arn:machine"}
    steps._executions["arn:whole"] = made
    yield made
    del steps._executions["arn:whole"]


def begin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Begin a task of an iteration, whose own execution is another than the whole."""
    monkeypatch.setattr(steps, "_invoke_resource", lambda resource, given: {"Payload": "ran"})
    ctx = {"Execution": {"Id": "arn:whole"}, "State": {}}
    iteration = {"executionArn": "arn:one", "status": "RUNNING", "events": []}
    return Executions().task(PASSING, {}, iteration, ctx)


def test_task_of_a_stopped_execution_is_not_begun(execution: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert begin(monkeypatch) == ({"Payload": "ran"}, None)

    execution["status"] = "ABORTED"

    with pytest.raises(steps._ExecutionError) as stopped:
        begin(monkeypatch)
    assert stopped.value.cause == "the execution was stopped"


def test_stopped_execution_does_not_fail_later(execution: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_emit_execution_status_event", lambda execution: None)
    execution["status"] = "ABORTED"
    Executions().fail(execution, "States.Runtime", "the execution was stopped")
    assert execution["status"] == "ABORTED"

    execution["status"] = "RUNNING"
    Executions().fail(execution, "Lambda.Unknown", "out of memory")
    assert (execution["status"], json.loads(execution["output"])["Error"]) == ("FAILED", "Lambda.Unknown")

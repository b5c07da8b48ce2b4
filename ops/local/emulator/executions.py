"""Executions of state machines that are stopped: nothing more is begun for them, and stopped is what they stay.

On AWS the iterations of a Map end with the execution that they belong to.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

STOPPED = "ABORTED"


class Executions:
    """Takes part in the beginning of each task and in the failure of each execution."""

    def __init__(self) -> None:
        self._steps = importlib.import_module("ministack.services.stepfunctions")
        self._begin, self._end = self._steps._execute_task, self._steps._fail_execution

    def task(self, state_def: Mapping[str, Any], raw_input: Any, execution: Any, ctx: Mapping[str, Any]) -> Any:
        """Stands in for ``_execute_task``: of the execution itself, or of an iteration of its Map."""
        whole = self._steps._executions.get(ctx.get("Execution", {}).get("Id"))
        if whole is not None and whole["status"] == STOPPED:
            raise self._steps._ExecutionError("States.Runtime", "the execution was stopped")
        return self._begin(state_def, raw_input, execution, ctx)

    def fail(self, execution: dict[str, Any], error: str, cause: str) -> None:
        """Stands in for ``_fail_execution``: what its tasks meet after it was stopped changes nothing."""
        if execution["status"] != STOPPED:
            self._end(execution, error, cause)

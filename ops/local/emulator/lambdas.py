"""Invocations of functions: counted as AWS counts them, by a few warm workers, and as broken as ``outages`` says."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

from ops.local.emulator.invocations import REQUEST_ID
from ops.local.emulator.metrics import Metrics
from ops.local.emulator.outages import Outages
from ops.local.emulator.scopes import Scope, here
from ops.local.record import Fault

WARM_WORKERS = max(2, os.cpu_count() or 1)
WAIT_FOR_WARM_WORKER_S = 10.0
UNNAMED_ERROR = "Runtime.HandlerError"
TRACEBACK = "Traceback (most recent call last):\n"


class Lambdas:
    """The functions of every account and region."""

    def __init__(self, outages: Outages, metrics: Metrics) -> None:
        service = importlib.import_module("ministack.services.lambda_svc")
        self._execute = service._execute_function_dispatch
        self._acquire_slot = service._acquire_execution_slot
        self._event_source_mappings = service._iter_all_esms
        self._outages = outages
        self._metrics = metrics
        self._workers: dict[tuple[Scope, str], threading.Semaphore] = {}

    def execute(self, func: Any, config: Any, event: Any, request_id: str, started: float) -> Any:
        """Stands in for ``_execute_function_dispatch``."""
        scope, function = here(), config.get("FunctionName", "unknown")
        delay, error = self._outages.of_invocation(scope.region, function)
        if delay is not None and (late := self._delayed(delay, config)):
            self._metrics.invocation(scope, function, duration_ms=late["duration_ms"], error=True)
            return late
        if error is not None and error.prevent:
            self._metrics.invocation(scope, function, duration_ms=0.0, error=True)
            return _failed("FaultInjectedError", f"the invocation fails by experiment {error.owner}")
        workers = self._workers.setdefault((scope, function), threading.Semaphore(WARM_WORKERS))
        # Never longer: a function that invokes itself would otherwise wait for its own worker for ever.
        waited = workers.acquire(timeout=WAIT_FOR_WARM_WORKER_S)
        started = time.time()
        try:
            with self._metrics.running(scope, function):
                result = self._execute(func, config, event, REQUEST_ID.get() or request_id, started)
        finally:
            if waited:
                workers.release()
        duration_ms = (time.time() - started) * 1000
        answer = result if isinstance(result, dict) else {}
        if isinstance(answer.get("body"), dict) and answer["body"].get("errorType") == UNNAMED_ERROR:
            answer["body"] = raised(answer["body"], answer.get("log") or "", REQUEST_ID.get() or request_id)
        if error is not None:
            log = answer.get("log") or ""
            answer = result = _failed("FaultInjectedError", f"the invocation failed by experiment {error.owner}")
            answer["log"] = log
        self._metrics.invocation(scope, function, duration_ms=duration_ms, error=bool(answer.get("error")))
        self._metrics.log(scope, answer.get("log") or "")
        return result

    @staticmethod
    def _delayed(delay: Fault, config: Any) -> dict[str, Any] | None:
        """Wait before the code runs. The wait counts against the timeout of the function, as on AWS; the answer is
        that of a function which ran into it, or None."""
        wait_s, timeout_s = (delay.latency_ms or 0.0) / 1000, float(config.get("Timeout", 3))
        time.sleep(min(wait_s, timeout_s))
        if wait_s < timeout_s:
            return None
        return _failed("Sandbox.Timedout", f"Task timed out after {timeout_s:.2f} seconds", timeout_s * 1000)

    def emit_nothing(self, function_name: str, duration_ms: float, error: bool, throttle: bool) -> None:
        """Stands in for ``_emit_lambda_metrics``: counted by ``execute`` and ``acquire_slot``."""

    def acquire_slot(self, func: Any, config: Any) -> Any:
        """Stands in for ``_acquire_execution_slot``."""
        slot, limit = self._acquire_slot(func, config)
        if slot is None:
            self._metrics.throttle(here(), config.get("FunctionName", "unknown"))
        return slot, limit

    def event_source_mappings(self) -> Iterator[tuple[str, str, Any]]:
        """Stands in for ``_iter_all_esms``."""
        for account, region, mapping in self._event_source_mappings():
            if self._outages.polls(region, mapping.get("FunctionName", "")):
                yield account, region, mapping


def _failed(kind: str, message: str, duration_ms: float = 0.0) -> dict[str, Any]:
    """What the emulator takes for an invocation that ended with an error of the function."""
    body = {"errorType": kind, "errorMessage": message}
    return {"body": body, "error": True, "log": "", "duration_ms": duration_ms}


def raised(body: dict[str, Any], log: str, request_id: str) -> dict[str, Any]:
    """What Lambda answers for an exception of a Python handler: its type and stack, which the emulator leaves out.

    The traceback ends the log. https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
    """
    traceback = log.rpartition(TRACEBACK)[2].rstrip("\n") if TRACEBACK in log else ""
    message = str(body["errorMessage"])
    frames, _, last = traceback.removesuffix(message).rpartition("\n")
    kind = last.partition(":")[0].rpartition(".")[2].strip()
    if not kind.isidentifier():
        return body
    stack = [f"  File{frame}" for frame in f"\n{frames}\n".split("\n  File")[1:]]
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": stack}

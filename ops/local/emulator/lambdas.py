"""Invocations of functions: counted as AWS counts them, by a few warm workers, and none for a region taken away."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any

from ops.local.emulator.metrics import Metrics
from ops.local.emulator.scopes import Scope, here

WARM_WORKERS = max(2, os.cpu_count() or 1)
WAIT_FOR_WARM_WORKER_S = 10.0


class Lambdas:
    """The functions of every account and region."""

    def __init__(self, regions_down: Collection[str], metrics: Metrics) -> None:
        service = importlib.import_module("ministack.services.lambda_svc")
        self._execute = service._execute_function_dispatch
        self._acquire_slot = service._acquire_execution_slot
        self._event_source_mappings = service._iter_all_esms
        self._regions_down = regions_down
        self._metrics = metrics
        self._workers: dict[tuple[Scope, str], threading.Semaphore] = {}

    def execute(self, func: Any, config: Any, event: Any, request_id: str, started: float) -> Any:
        """Stands in for ``_execute_function_dispatch``."""
        scope, function = here(), config.get("FunctionName", "unknown")
        workers = self._workers.setdefault((scope, function), threading.Semaphore(WARM_WORKERS))
        # Never longer: a function that invokes itself would otherwise wait for its own worker for ever.
        waited = workers.acquire(timeout=WAIT_FOR_WARM_WORKER_S)
        started = time.time()
        try:
            result = self._execute(func, config, event, request_id, started)
        finally:
            if waited:
                workers.release()
        duration_ms = (time.time() - started) * 1000
        answer = result if isinstance(result, dict) else {}
        self._metrics.invocation(scope, function, duration_ms=duration_ms, error=bool(answer.get("error")))
        self._metrics.log(scope, answer.get("log") or "")
        return result

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
            if region not in self._regions_down:
                yield account, region, mapping

"""What is published about invocations that ministack itself counts otherwise or not at all."""

from __future__ import annotations

import importlib
import traceback
from typing import Any

import pytest

from ops.local.emulator.lambdas import Lambdas, raised
from ops.local.emulator.metrics import Metrics
from ops.local.emulator.outages import Outages
from ops.local.emulator.scopes import Scope, entered
from ops.local.record import Fault

IRELAND = Scope("000000000000", "eu-west-1")


class Recorded(Metrics):
    """Keeps the throttles that it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.throttles: list[tuple[Scope, str]] = []
        self.errors: list[tuple[str, bool]] = []

    def throttle(self, scope: Scope, function: str) -> None:
        self.throttles.append((scope, function))

    def invocation(self, scope: Scope, function: str, *, duration_ms: float, error: bool) -> None:
        self.errors.append((function, error))


def test_invocation_without_a_free_slot_is_published_as_a_throttle() -> None:
    metrics = Recorded()
    lambdas = Lambdas(Outages(lambda change: None), metrics)
    function = {"concurrency": 1}, {"FunctionName": "store"}
    release = importlib.import_module("ministack.services.lambda_svc")._release_execution_slot
    with entered(IRELAND):
        slot, _ = lambdas.acquire_slot(*function)
        try:
            assert metrics.throttles == []
            assert lambdas.acquire_slot(*function) == (None, "function")
        finally:
            release(slot)
    assert metrics.throttles == [(IRELAND, "store")]


def test_executions_at_once_are_counted_by_function_and_in_all_when_one_begins() -> None:
    metrics = Metrics()
    elsewhere = Scope("000000000000", "us-east-1")
    with metrics.running(IRELAND, "store"), metrics.running(elsewhere, "store"), metrics.running(IRELAND, "ingest"):
        with metrics.running(IRELAND, "store"):
            pass
        with metrics.running(IRELAND, "store"):
            pass
    highest = {
        (scope, dict(datum.dimensions).get("FunctionName", "")): (max(datum.values), sum(datum.counts))
        for scope, datum in metrics._counts.drain(1.0)
    }
    assert highest == {
        (IRELAND, "store"): (2, 3),
        (IRELAND, "ingest"): (1, 1),
        (IRELAND, ""): (3, 4),
        (elsewhere, "store"): (1, 1),
        (elsewhere, ""): (1, 1),
    }


def test_region_that_is_down_reads_no_queue_and_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    mappings = [("000000000000", region, {"UUID": region}) for region in ("eu-west-1", "us-east-1")]
    monkeypatch.setattr("ministack.services.lambda_svc._iter_all_esms", lambda: iter(mappings))
    outages = Outages(lambda change: None)
    outages.apply([Fault("x", "region-down", "now", region="eu-west-1", parts=("processing",))])
    lambdas = Lambdas(outages, Recorded())
    assert list(lambdas.event_source_mappings()) == mappings[1:]
    outages.apply([])
    assert list(lambdas.event_source_mappings()) == mappings


class Invoked:
    """A function of the emulator that can be broken, and what ran of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *faults: Fault) -> None:
        self.ran = 0
        self.slept: list[float] = []
        self.metrics = Recorded()
        monkeypatch.setattr("ministack.services.lambda_svc._execute_function_dispatch", self._run)
        monkeypatch.setattr("ops.local.emulator.lambdas.time.sleep", self.slept.append)
        outages = Outages(lambda change: None)
        outages.apply(faults)
        self._lambdas = Lambdas(outages, self.metrics)

    def _run(self, *_: Any) -> dict[str, Any]:
        self.ran += 1
        return {"body": {"ok": True}, "log": "said"}

    def answer(self) -> Any:
        with entered(IRELAND):
            return self._lambdas.execute({}, {"FunctionName": "store", "Timeout": 3}, {}, "id", 0.0)


def broken(kind: str, **details: Any) -> Fault:
    return Fault("x", kind, "now", region=IRELAND.region, functions=("store",), owner="EXP1", **details)


def test_invocation_that_fails_on_purpose_does_not_run_and_is_published_as_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    function = Invoked(monkeypatch, broken("function-error"))
    answer = function.answer()
    assert (answer["error"], answer["body"]["errorType"], function.ran) == (True, "FaultInjectedError", 0)
    assert function.metrics.errors == [("store", True)]


def test_invocation_that_fails_after_it_ran_has_run_and_keeps_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    function = Invoked(monkeypatch, broken("function-error", prevent=False))
    answer = function.answer()
    assert (answer["error"], answer["log"], function.ran) == (True, "said", 1)
    assert function.metrics.errors == [("store", True)]


def test_invocation_that_is_delayed_runs_later(monkeypatch: pytest.MonkeyPatch) -> None:
    function = Invoked(monkeypatch, broken("function-delay", latency_ms=2000))
    assert function.answer()["body"] == {"ok": True}
    assert (function.slept, function.ran, function.metrics.errors) == ([2.0], 1, [("store", False)])


def test_delay_beyond_the_timeout_of_the_function_ends_there(monkeypatch: pytest.MonkeyPatch) -> None:
    function = Invoked(monkeypatch, broken("function-delay", latency_ms=900_000))
    answer = function.answer()
    assert answer["body"]["errorMessage"] == "Task timed out after 3.00 seconds"
    assert (function.slept, function.ran, function.metrics.errors) == ([3.0], 0, [("store", True)])


@pytest.mark.parametrize("message", ["on purpose", "of two\nlines: and more", ""])
def test_exception_of_a_handler_is_answered_with_its_type_and_stack(message: str) -> None:
    try:
        raise LookupError(message)
    except LookupError as error:
        log = "a line\n" + traceback.format_exc()
        body = raised({"errorMessage": str(error), "errorType": "Runtime.HandlerError"}, log, "id")
    assert (body["errorType"], body["errorMessage"], body["requestId"]) == ("LookupError", message, "id")
    (frame,) = body["stackTrace"]
    assert frame.startswith('  File "')
    assert "raise LookupError" in frame


def test_exception_of_a_module_is_answered_without_its_module() -> None:
    log = 'Traceback (most recent call last):\n  File "a.py", line 1, in b\n    c()\nbotocore.errors.Gone: no: such\n'
    assert raised({"errorMessage": "no: such"}, log, "id")["errorType"] == "Gone"


def test_error_without_a_traceback_stays_as_it_is() -> None:
    body = {"errorMessage": "Worker process died", "errorType": "Runtime.HandlerError"}
    assert raised(body, "Worker process died", "id") == body

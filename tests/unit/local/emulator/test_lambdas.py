"""What is published about invocations that ministack itself counts otherwise or not at all."""

from __future__ import annotations

import importlib

import pytest

from ops.local.emulator.lambdas import Lambdas
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

    def throttle(self, scope: Scope, function: str) -> None:
        self.throttles.append((scope, function))


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


def test_region_that_is_down_reads_no_queue_and_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    mappings = [("000000000000", region, {"UUID": region}) for region in ("eu-west-1", "us-east-1")]
    monkeypatch.setattr("ministack.services.lambda_svc._iter_all_esms", lambda: iter(mappings))
    outages = Outages(lambda change: None)
    outages.apply([Fault("x", "region-down", "now", region="eu-west-1", parts=("processing",))])
    lambdas = Lambdas(outages, Recorded())
    assert list(lambdas.event_source_mappings()) == mappings[1:]
    outages.apply([])
    assert list(lambdas.event_source_mappings()) == mappings

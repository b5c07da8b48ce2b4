"""What the emulator breaks is the union of the record, and nothing is left of what was healed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from ops.local.emulator.outages import Outages
from ops.local.emulator.replication import ReplicationLog
from ops.local.record import Fault

US, INDIA, IRELAND = "us-east-1", "ap-south-1", "eu-west-1"


@pytest.fixture
def log() -> ReplicationLog:
    log = ReplicationLog(apply=lambda write, region: True, clock=lambda: 0)
    log.connect([US, INDIA, IRELAND])
    return log


@pytest.fixture
def outages(log: ReplicationLog) -> Outages:
    def change(action: Callable[[ReplicationLog], None]) -> None:
        action(log)

    return Outages(change)


def cut(name: str, first: str, second: str, **details: Any) -> Fault:
    return Fault(name, "replication-cut", "now", region=first, other_region=second, **details)


def cuts_of(log: ReplicationLog) -> set[tuple[str, str]]:
    return {(link.source, link.destination) for link in log.links() if link.cut}


def test_cut_that_two_faults_ask_for_lasts_until_both_are_healed(outages: Outages, log: ReplicationLog) -> None:
    mine, theirs = cut("mine", INDIA, US), cut("EXP1:cut", INDIA, US, owner="EXP1")
    outages.apply([mine, theirs])
    assert cuts_of(log) == {(INDIA, US), (US, INDIA)}
    outages.apply([mine])
    assert cuts_of(log) == {(INDIA, US), (US, INDIA)}
    outages.apply([cut("other", IRELAND, US)])
    assert cuts_of(log) == {(IRELAND, US), (US, IRELAND)}
    outages.apply([])
    assert cuts_of(log) == set()


def test_cut_loses_if_one_of_its_faults_does(outages: Outages, log: ReplicationLog) -> None:
    outages.apply([cut("a", INDIA, US, lose=True), cut("b", US, INDIA)])
    assert {link.lose for link in log.links() if link.cut} == {True}


def test_parts_of_a_region_are_down_apart(outages: Outages) -> None:
    set_rules: list[list[dict[str, Any]]] = []
    outages.set_rules = set_rules.append
    for parts, apis, calls, processing in (
        (("api",), {US}, set(), set()),
        (("calls",), set(), {US}, set()),
        (("processing",), set(), set(), {US}),
        ((), {US}, {US}, {US}),
    ):
        outages.apply([Fault("x", "region-down", "now", region=US, parts=parts)])
        effects = outages.effects
        assert [set(one) for one in (effects.apis_down, effects.calls_down, effects.processing_off)] == [
            apis,
            calls,
            processing,
        ]
        assert bool(set_rules[-1]) == bool(calls)
        assert outages.polls(US, "store") == (US not in processing)
        assert outages.polls(INDIA, "store")


def test_faults_of_functions_meet_those_functions_there_and_no_other(outages: Outages) -> None:
    error = Fault("e", "function-error", "now", region=US, functions=("store",))
    delay = Fault("d", "function-delay", "now", region=US, functions=("store", "query"), latency_ms=5)
    outages.apply([error, delay])
    assert outages.of_invocation(US, "store") == (delay, error)
    assert outages.of_invocation(US, "query") == (delay, None)
    assert outages.of_invocation(INDIA, "store") == outages.of_invocation(US, "other") == (None, None)


@pytest.mark.parametrize(
    ("rate", "prevent", "polls"), [(1.0, True, False), (1.0, False, True), (0.5, True, True), (0.0, True, True)]
)
def test_queue_is_read_unless_each_invocation_would_fail_before_it_ran(
    outages: Outages, rate: float, prevent: bool, polls: bool
) -> None:
    fault = Fault("e", "function-error", "now", region=US, functions=("store",), rate=rate, prevent=prevent)
    outages.apply([fault])
    assert outages.polls(US, "store") is polls


def test_share_of_invocations_meets_the_fault(outages: Outages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", random.Random(7).random)
    outages.apply([Fault("e", "function-error", "now", region=US, functions=("store",), rate=0.3)])
    hits = sum(outages.of_invocation(US, "store")[1] is not None for _ in range(2000))
    assert 0.27 < hits / 2000 < 0.33

"""The platform under random histories, and proof that the histories find mistakes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.model import mutations
from tests.unit.model.machine import Deliver, LossyPlatform, Platform, Post
from tests.unit.model.profiles import profile

TestPlatform = Platform.TestCase
TestPlatform.settings = profile()

TestLossyPlatform = LossyPlatform.TestCase
TestLossyPlatform.settings = profile(0.3)


# A run ends with the first failure, so that a mistake takes a few examples, and only one that is missed takes all.
@pytest.mark.parametrize("mutation", mutations.PLATFORM, ids=lambda mutation: mutation.__name__)
def test_mistake_is_found(mutation: mutations.Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Platform, settings=settings(profile(5), phases=[Phase.generate]))


def _counted_in_two_batches(machine: Platform) -> None:
    for name in ("a", "b"):
        machine.client_posts(Post("us-east-1", "north", (name,)))
        machine.queue_delivers(Deliver("us-east-1", "activity", (0,)))


def _posted_while_the_bus_is_down(machine: Platform) -> None:
    machine.goes_down_or_returns("us-east-1", "bus", up=False)
    machine.client_posts(Post("us-east-1", "north", ("a",)))


def _posted_again_after_the_retention(machine: Platform) -> None:
    machine.client_posts(Post("us-east-1", "north", ("a",)))
    machine.queue_delivers(Deliver("us-east-1", "store", (0,)))
    machine.retention_passes()
    machine.client_posts(Post("us-east-1", "north", ("a",)))


# Mistakes that random histories meet too seldom for a test of seconds: each with a history that meets it.
HISTORIES: list[tuple[mutations.Mutation, Callable[[Platform], None]]] = [
    (mutations.activity_replaces_the_set_instead_of_adding, _counted_in_two_batches),
    (mutations.ingest_answers_202_though_the_bus_refused, _posted_while_the_bus_is_down),
    (mutations.expired_items_are_in_the_way, _posted_again_after_the_retention),
]


def _play(history: Callable[[Platform], None]) -> None:
    machine = Platform()
    machine.start(2, 0)
    try:
        history(machine)
        machine.at_rest()
    finally:
        machine.world.close()


@pytest.mark.parametrize(("mutation", "history"), HISTORIES, ids=lambda one: one.__name__)
def test_mistake_is_found_by_its_history(
    mutation: mutations.Mutation, history: Callable[[Platform], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _play(history)
    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        _play(history)

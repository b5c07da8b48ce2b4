"""An event taken is delivered or buried, once: retried only where waiting can help, and within its policy's bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.local.emulator.retries import MAX_PAUSE_S, Burial, Failure, Policy, Retries

THROTTLED = Failure("THROTTLING", "slow down", retryable=True)
MISSING = Failure("NO_RESOURCE", "there is none")


class Bench:
    """Retries over a clock of the test's own and a target that fails as told."""

    def __init__(self, answers: Iterator[Failure | None] | Callable[[], Failure | None]) -> None:
        self.now = 0.0
        self.delivered: list[str] = []
        self.attempts: list[float] = []
        self.buried: list[tuple[str, Burial]] = []
        self._answer = answers if callable(answers) else lambda: next(answers)
        self.retries: Retries[str] = Retries(self._deliver, lambda e, b: self.buried.append((e, b)), lambda: self.now)

    def _deliver(self, event: str) -> Failure | None:
        self.attempts.append(self.now)
        failure = self._answer()
        if failure is None:
            self.delivered.append(event)
        return failure

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.5
            self.retries.pump()


def test_event_that_is_taken_at_once_is_not_tried_again() -> None:
    bench = Bench(iter([None]))
    bench.retries.take("e", Policy())
    bench.pass_time(100)
    assert (bench.delivered, bench.attempts, bench.retries.waiting) == (["e"], [0.0], 0)


def test_failure_that_passes_is_retried_with_growing_pauses_until_it_is_taken() -> None:
    bench = Bench(iter([THROTTLED] * 5 + [None]))
    bench.retries.take("e", Policy())
    assert bench.retries.waiting == 1
    bench.pass_time(60)
    pauses = [later - earlier for earlier, later in zip(bench.attempts, bench.attempts[1:], strict=False)]
    assert pauses == [1.0, 2.0, 4.0, MAX_PAUSE_S, MAX_PAUSE_S]
    assert (bench.delivered, bench.buried) == (["e"], [])


def test_failure_that_waiting_cannot_mend_is_buried_without_a_retry() -> None:
    bench = Bench(lambda: MISSING)
    bench.retries.take("e", Policy())
    bench.pass_time(60)
    assert bench.attempts == [0.0]
    assert bench.buried == [("e", Burial(MISSING, 0, None))]


@pytest.mark.parametrize(
    ("policy", "retries", "exhausted"),
    [
        (Policy(max_attempts=2), 2, "MaximumRetryAttempts"),
        (Policy(max_attempts=0), 0, "MaximumRetryAttempts"),
        (Policy(max_age_s=60), 13, "MaximumEventAgeInSeconds"),
    ],
)
def test_failure_that_stays_is_buried_when_the_policy_is_used_up(policy: Policy, retries: int, exhausted: str) -> None:
    bench = Bench(lambda: THROTTLED)
    bench.retries.take("e", policy)
    bench.pass_time(200)
    assert bench.buried == [("e", Burial(THROTTLED, retries, exhausted))]
    assert len(bench.attempts) == retries + 1


def test_retries_that_end_in_a_permanent_failure_say_how_often_they_were_tried() -> None:
    bench = Bench(iter([THROTTLED, THROTTLED, MISSING]))
    bench.retries.take("e", Policy())
    bench.pass_time(20)
    assert bench.buried == [("e", Burial(MISSING, 2, None))]


def test_policy_of_a_target_without_one_is_that_of_aws() -> None:
    assert Policy.of({}) == Policy(185, 86400)
    assert Policy.of({"RetryPolicy": {"MaximumRetryAttempts": "3"}}) == Policy(3, 86400)


@given(st.lists(st.lists(st.sampled_from([None, THROTTLED, MISSING]), max_size=6), max_size=8), st.integers(0, 4))
def test_each_event_ends_once_delivered_or_buried(answers: list[list[Failure | None]], max_attempts: int) -> None:
    bench = Bench(lambda: None)
    scripts = {str(number): iter(script) for number, script in enumerate(answers)}
    ended: list[str] = []

    def deliver(event: str) -> Failure | None:
        failure = next(scripts[event], None)
        if failure is None:
            ended.append(event)
        return failure

    retries: Retries[str] = Retries(deliver, lambda event, _: ended.append(event), lambda: bench.now)
    bench.retries = retries
    for event in scripts:
        retries.take(event, Policy(max_attempts))
    bench.pass_time(60)
    assert sorted(ended) == sorted(scripts)
    assert retries.waiting == 0

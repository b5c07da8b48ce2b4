"""A replica is read no faster than its budget, slower when it throttles, and not at all past a threshold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.divergence.budget import ENOUGH, Budget, default_units_per_s
from ops.errors import OpsError

ON_DEMAND = {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("description", "units", "of_what"),
    [
        ({"ProvisionedThroughput": {"ReadCapacityUnits": 1000}}, 250, "25% of 1,000 provisioned"),
        ({"ProvisionedThroughput": {"ReadCapacityUnits": 1}}, 1, "25% of 1 provisioned"),
        (ON_DEMAND, 3000, "25% of 12,000 that it serves at once on demand"),
        (ON_DEMAND | {"WarmThroughput": {"ReadUnitsPerSecond": 40_000}}, 10_000, "25% of 40,000 that it serves"),
        (ON_DEMAND | {"OnDemandThroughput": {"MaxReadRequestUnits": 400}}, 100, "on-demand maximum of 400"),
        (ON_DEMAND | {"OnDemandThroughput": {"MaxReadRequestUnits": -1}}, 3000, "25% of 12,000"),
        ({}, 3000, "25% of 12,000"),
    ],
)
def test_default_is_a_share_of_what_the_table_serves(description: dict[str, Any], units: float, of_what: str) -> None:
    found, why = default_units_per_s(description)
    assert found == units
    assert of_what in why


@given(
    rate=st.floats(1, 10_000),
    pages=st.lists(st.tuples(st.floats(0.5, 300), st.floats(0, 5)), min_size=20, max_size=60),
)
def test_pages_take_no_more_than_the_rate_and_one_second_of_it(rate: float, pages: list[tuple[float, float]]) -> None:
    clock = Clock()
    budget = Budget("r", rate, clock=clock)
    begun, spent, largest = clock.now, 0.0, 128.0
    for units, pause_s in pages:
        paid, wait_s = budget.reserve()
        clock.now += wait_s
        # What was used before this page was within the rate; a page that took more than was expected is paid after.
        assert spent <= (clock.now - begun + 1) * rate + 2 * largest
        spent += units
        largest = max(largest, units)
        budget.used(paid, units)
        clock.now += pause_s


def test_throttle_halves_the_rate_once_a_second_and_time_gives_it_back() -> None:
    clock = Clock()
    budget = Budget("r", 1000, clock=clock)
    for _ in range(5):
        budget.throttled()
    assert budget.rate == 500
    clock.now += 1
    budget.throttled()
    assert budget.rate == pytest.approx(275)  # 50 came back in that second
    clock.now += 4
    budget.reserve()
    assert budget.rate == pytest.approx(475)
    clock.now += 60
    budget.reserve()
    assert budget.rate == 1000
    assert budget.throttles == 6


def test_throttles_beyond_the_threshold_stop_and_old_ones_do_not_count() -> None:
    clock = Clock()
    budget = Budget("us-east-1", 1000, max_throttles=3, clock=clock)
    for _ in range(6):
        budget.throttled()
        clock.now += 21
    for _ in range(1):
        budget.throttled()
    with pytest.raises(
        OpsError, match=r"us-east-1: stopped, as 4 requests were throttled.*max_throttles is 3"
    ) as stopped:
        budget.throttled()
    assert "read_units_per_s" in stopped.value.hint


def test_latency_beyond_the_threshold_stops_when_there_is_enough_to_tell() -> None:
    budget = Budget("us-east-1", 1000, max_latency_ms=100, clock=Clock())
    for _ in range(ENOUGH - 1):
        budget.answered(500)
    with pytest.raises(OpsError, match=r"us-east-1: stopped, as one in twenty.*max_latency_ms is 100"):
        budget.answered(500)


def test_latency_of_a_few_slow_pages_does_not_stop() -> None:
    budget = Budget("us-east-1", 1000, max_latency_ms=100, clock=Clock())
    for number in range(1000):
        budget.answered(5000 if number % 50 == 0 else 10)

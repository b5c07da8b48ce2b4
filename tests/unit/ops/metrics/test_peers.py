"""A region unlike its peers is named, with the figure; what is small, rare or chance is not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.metrics import odd
from tests.unit.ops.metrics.made import AP, EU, US, frame, series

PERIODS = 30


def latencies(by: dict[str, float], seed: int = 7) -> list[tuple[int, str, str, str, str, float]]:
    """p95 of the API by region, with a tenth of noise."""
    chance = random.Random(seed)
    return [
        row
        for region, level in by.items()
        for row in series(region, "api", "Latency", "p95", lambda _: level * chance.uniform(0.9, 1.1), PERIODS)  # noqa: B023
    ]


def test_odd_names_the_slow_region_with_its_figures() -> None:
    [found] = odd(frame(latencies({US: 100, AP: 110, EU: 500}), periods=PERIODS))
    assert (found.region, found.metric, found.unit) == (EU, "API latency p95", "ms")
    assert found.value == pytest.approx(500, rel=0.1)
    assert found.peers_median == pytest.approx(105, rel=0.1)
    assert found.score > 3.5
    assert str(found).startswith("eu-west-1: API latency p95 ")
    assert "times its peers'" in str(found)


@pytest.mark.parametrize(
    "by",
    [
        {US: 100, AP: 100, EU: 180},  # sure, and less than twice
        {US: 2, AP: 2, EU: 9},  # four times next to nothing
        {US: 100},  # nobody to compare with
    ],
)
def test_odd_leaves_out_what_is_small(by: dict[str, float]) -> None:
    assert odd(frame(latencies(by), periods=PERIODS)) == []


def test_odd_when_periods_are_few_or_scattered_says_nothing() -> None:
    few = [row for row in latencies({US: 100, AP: 100, EU: 900}) if row[0] < 4]
    assert odd(frame(few, periods=4)) == []
    # Half of the periods ten times as slow, half ten times as fast: the median is not what a region is.
    swinging = latencies({US: 500, AP: 500})
    swinging += series(EU, "api", "Latency", "p95", lambda n: 9000 if n % 2 else 90, PERIODS)
    assert odd(frame(swinging, periods=PERIODS)) == []


@given(st.permutations([US, AP, EU]), st.integers(0, 1000))
def test_odd_names_the_same_region_whatever_its_name_is(regions: list[str], seed: int) -> None:
    levels = dict(zip(regions, (100.0, 100.0, 600.0), strict=True))
    assert {one.region for one in odd(frame(latencies(levels, seed), periods=PERIODS))} == {regions[2]}


def test_odd_compares_shares_of_failures_and_not_their_number() -> None:
    rows = []
    for region, invocations, errors in ((US, 10_000, 50), (AP, 1_000, 5), (EU, 1_000, 60)):
        rows += [
            (0, region, "function/store", "Invocations", "Sum", invocations),
            (0, region, "function/store", "Errors", "Sum", errors),
        ]
    [found] = odd(frame(rows, periods=1))
    assert (found.region, found.metric) == (EU, "failed invocations of store")
    assert found.value == 0.06
    assert found.peers_median == pytest.approx(55 / 11_000)
    # By hand: p = 115/12000; 0.055 / sqrt(p (1 - p) (1/1000 + 1/11000)) = 17.1
    assert found.score == pytest.approx(17.09, abs=0.01)
    assert "60 of 1,000 against 55 of 11,000" in str(found)


def test_odd_when_only_one_region_fails_says_that_its_peers_do_not() -> None:
    rows = [
        (0, region, "api", metric, "Sum", value)
        for region, failed in ((US, 0), (AP, 30))
        for metric, value in (("Count", 100), ("5xx", failed))
    ]
    [found] = odd(frame(rows, periods=1, regions=(US, AP)))
    assert "30.00%, its peers none" in str(found)
    assert odd(frame([row if row[5] != 30 else (*row[:5], 4) for row in rows], periods=1)) == []

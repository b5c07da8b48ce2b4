"""The Workbook's windows, and how few errors are more than chance."""

from __future__ import annotations

import itertools
import math
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.service_levels import windows


def test_pairs_are_those_of_the_workbook():
    found = [(windows.text(one.long), windows.text(one.short), one.rate, one.verdict) for one in windows.PAIRS]
    assert found == [("1h", "5m", 14.4, "page"), ("6h", "30m", 6.0, "page"), ("3d", "6h", 1.0, "ticket")]
    # 2 %, 5 % and 10 % of the budget of 30 days.
    assert [one.rate * (one.long / windows.BASE) for one in windows.PAIRS] == pytest.approx([0.02, 0.05, 0.1])


@given(st.sampled_from([7, 30, 90]))
def test_scaled_pairs_spend_the_same_share_of_the_budget(days):
    window = timedelta(days=days)
    for base, pair in zip(windows.PAIRS, windows.pairs(window, 60), strict=True):
        assert pair.rate * (pair.long / window) == pytest.approx(base.rate * (base.long / windows.BASE), rel=0.05)


def exact(bad, total, budget):
    """Term by term, from the other end than the code."""
    return math.fsum(math.comb(total, k) * budget**k * (1 - budget) ** (total - k) for k in range(bad, total + 1))


@given(st.integers(1, 150), st.floats(0.001, 0.5), st.data())
def test_chance_is_the_sum_of_its_terms(total, budget, data):
    bad = data.draw(st.integers(0, total + 1))
    assert windows.chance(bad, total, budget) == pytest.approx(exact(bad, total, budget), abs=1e-9)


@given(st.integers(1, 300), st.floats(0.001, 0.2))
def test_chance_falls_with_each_bad_one(total, budget):
    odds = [windows.chance(bad, total, budget) for bad in range(min(total, 20) + 1)]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(odds))
    # By hand: at least one of n is 1 - (1 - p)^n.
    assert odds[1] == pytest.approx(1 - (1 - budget) ** total)


@given(st.integers(1, 400), st.sampled_from([0.0013, 0.011, 0.1]), st.sampled_from([1.0, 6.0, 14.4]))
def test_fewest_is_the_first_that_burns_and_is_no_chance(total, budget, rate):
    few = windows.fewest(total, budget, rate)
    speaks = [n for n in range(1, total + 1) if n >= total * budget * rate - 1e-9 and exact(n, total, budget) <= 0.01]
    assert few == speaks[0] if speaks else few > total


def test_fewest_of_a_month_of_a_busy_platform_takes_no_time():
    started = time.process_time()
    few = windows.fewest(300_000_000, 0.01, 1)
    # One in a hundred is 2.33 standard deviations above the mean: sqrt(3e8 * 0.01 * 0.99) is 1,723.4.
    assert few == pytest.approx(3_000_000 + 2.326 * 1723.4, abs=20)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (timedelta(days=3), "3d"),
        (timedelta(minutes=5), "5m"),
        (timedelta(hours=67, minutes=12), "2d 19h 12m"),
        (timedelta(seconds=10), "10s"),
        (timedelta(0), "0s"),
    ],
)
def test_text_of_a_length(length, expected):
    assert windows.text(length) == expected

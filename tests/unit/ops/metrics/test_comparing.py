"""What changed between two times: named when it did, left alone when it is noise."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import product

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.metrics import compare
from ops.metrics.comparing import CHANGED, FEW, GONE, NEW, NOISE, signed_rank
from tests.unit.ops.metrics.made import START, US, frame, series

DAY = 24 * 60


def day(seed: int, *, slow: float = 1.0, busy: float = 1.0, later: int = 0) -> pd.DataFrame:
    """A day of traffic in hours, with its morning and its night, and a p95 of the API."""
    chance = random.Random(seed)

    def traffic(minute: int) -> float:
        return busy * (1000 if 8 * 60 <= minute < 20 * 60 else 100) * chance.uniform(0.8, 1.2)

    rows = series(US, "api", "Count", "Sum", traffic, DAY)
    rows += series(US, "api", "Latency", "p95", lambda _: slow * 80 * chance.uniform(0.7, 1.3), DAY)
    return frame(rows, periods=DAY, regions=(US,), start=START + timedelta(days=later))


def said(now: pd.DataFrame, before: pd.DataFrame) -> dict[str, str]:
    found = compare(now, before)
    return dict(zip(found["metric"], found["says"], strict=True))


def test_compare_tells_change_from_noise() -> None:
    found = compare(day(1, slow=1.5, later=7), day(2)).set_index("metric")
    assert found["says"].to_dict() == {"Latency": CHANGED, "Count": NOISE}
    assert found.loc["Latency", "change"] == pytest.approx(0.5, abs=0.05)
    assert found.loc["Latency", "before"] == pytest.approx(80, abs=3)
    # By hand: 12 hours of 60 times 1000 and 12 of 60 times 100, by the hour.
    assert found.loc["Count", "before"] == pytest.approx((12 * 60_000 + 12 * 6_000) / 24, rel=0.02)


def test_compare_names_nothing_that_is_sure_and_small() -> None:
    assert said(day(1, slow=1.06), day(2)) == {"Latency": NOISE, "Count": NOISE}


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_compare_of_two_days_alike_names_no_change(one: int, other: int) -> None:
    assert CHANGED not in said(day(one), day(other)).values()


def test_compare_with_itself_changes_nothing() -> None:
    found = compare(day(1), day(1))
    assert set(found["says"]) == {NOISE}
    assert list(found["change"]) == [0, 0]
    assert list(found["p"]) == [1, 1]


def test_compare_when_a_series_is_new_or_gone_says_so() -> None:
    with_errors = day(1)
    errors = frame(series(US, "api", "5xx", "Sum", lambda n: 3.0, DAY), periods=DAY, regions=(US,))
    both = pd.concat([with_errors, errors], ignore_index=True)
    both.attrs = with_errors.attrs
    assert said(both, day(2))["5xx"] == NEW
    assert said(day(2), both)["5xx"] == GONE


def test_compare_counts_what_did_not_happen_as_none_and_not_as_a_gap() -> None:
    """CloudWatch has no points of errors in hours without errors."""
    quiet = day(1)
    one = frame([(5, US, "api", "5xx", "Sum", 2.0)], periods=DAY, regions=(US,))
    some = frame(series(US, "api", "5xx", "Sum", lambda n: 10.0, DAY), periods=DAY, regions=(US,))
    before, now = (pd.concat([quiet, extra], ignore_index=True) for extra in (one, some))
    before.attrs = now.attrs = quiet.attrs
    found = compare(now, before).set_index("metric").loc["5xx"]
    assert found["says"] == CHANGED
    assert found["before"] == pytest.approx(2 / 24)
    assert found["now"] == 600


def test_compare_of_little_says_that_it_cannot_tell() -> None:
    short = frame(series(US, "api", "Count", "Sum", lambda n: 5.0, 4), periods=4, regions=(US,))
    assert said(short, short) == {"Count": FEW}


def test_signed_rank_is_as_by_hand() -> None:
    # Ranks 1..10, all positive: W = 55, mean 27.5, variance 96.25, z = 27 / 9.811 = 2.752, p = 0.0059
    assert signed_rank([float(n) for n in range(1, 11)]) == pytest.approx(0.00592, abs=1e-5)
    assert signed_rank([0.0, 0.0]) == 1
    assert signed_rank([1.0, -1.0, 2.0, -2.0]) == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=24))
def test_signed_rank_knows_no_direction_and_no_order(values: list[float]) -> None:
    found = signed_rank(values)
    assert 0 <= found <= 1
    assert signed_rank([-value for value in values]) == pytest.approx(found)
    assert signed_rank(values[::-1]) == pytest.approx(found)


def test_signed_rank_is_near_the_exact_distribution() -> None:
    """All signs of ten ranks: how often the sum is at least as one-sided as this."""
    ranks = range(1, 11)
    sums = [sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign) for signs in product((0, 1), repeat=10)]
    differences = [-1.0, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    exact = sum(abs(one - 27.5) >= abs(52 - 27.5) for one in sums) / len(sums)
    assert signed_rank(differences) == pytest.approx(exact, abs=0.005)

"""Service levels against counts worked out by hand."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops import service_levels
from ops.metrics import COLUMNS
from ops.service_levels import windows
from ops.stage import load_stage

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STAGE = load_stage("local")  # availability 99 %, freshness 60 s
HOME, OTHER = STAGE.regions


def series(region, resource, metric, statistic, values):
    """A value a minute, the last one ending at NOW."""
    first = NOW - timedelta(minutes=len(values))
    return [
        (first + timedelta(minutes=n), region, resource, metric, statistic, "", float(v)) for n, v in enumerate(values)
    ]


def made(rows, days=30):
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    frame.attrs.update(period_s=60, start=(NOW - timedelta(days=days)).isoformat())
    return frame


def level(frame, name, region):
    return next(x for x in service_levels.evaluate(frame, STAGE, NOW) if (x.name, x.region) == (name, region))


def requests(region, errors_a_minute, minutes=60):
    return [
        *series(region, "api", "Count", "Sum", [10] * minutes),
        *series(region, "api", "5xx", "Sum", [errors_a_minute] * minutes),
    ]


def test_burn_when_one_region_fails_is_as_by_hand():
    frame = made([*requests(HOME, 2), *requests(OTHER, 0)])
    home, other, both = (level(frame, "availability", r) for r in (HOME, OTHER, "all"))
    # 120 of 600 are bad: 20 %, of a budget of 1 %: it burns 20 times as fast as it may.
    assert (home.bad, home.total, home.verdict) == (120, 600, "page")
    assert home.burn["1h"] == pytest.approx(20)
    assert home.burn["5m"] == pytest.approx(20)
    assert home.budget_left == pytest.approx(-19)
    assert other.verdict == "ok"
    assert other.budget_left == 1
    # Of both: 120 of 1,200 burn 10 times: under 14.4 in an hour, over 6 in six.
    assert both.burn["1h"] == pytest.approx(10)
    assert both.verdict == "page"
    assert "6h" in both.why


def test_page_when_errors_are_over_is_not_given():
    rows = [
        *series(HOME, "api", "Count", "Sum", [10] * 60),
        *series(HOME, "api", "5xx", "Sum", [5] * 20 + [0] * 40),
    ]
    found = level(made(rows), "availability", HOME)
    # 100 of 600 burn 16.7 times in the hour; the last five and thirty minutes had none. The ticket's six hours burn.
    assert found.burn["1h"] == pytest.approx(100 / 600 / 0.01)
    assert found.burn["5m"] == 0
    assert found.verdict == "ticket"


def test_one_error_at_low_traffic_does_not_page():
    rows = [
        *series(HOME, "api", "Count", "Sum", [1] * 5),
        *series(HOME, "api", "5xx", "Sum", [0, 0, 0, 0, 1]),
    ]
    found = level(made(rows), "availability", HOME)
    assert found.verdict == "ok"
    assert "not judged, 5 of at least 20" in found.why


def test_a_window_that_the_data_do_not_reach_is_not_judged():
    found = level(made(requests(HOME, 0), days=1), "availability", HOME)
    assert found.burn["3d"] is None
    assert "3d: not judged" in found.why


def test_freshness_when_nothing_is_stored_is_bad_by_the_age_of_the_queue():
    rows = series(HOME, "queue/store", "ApproximateAgeOfOldestMessage", "Maximum", [61] * 60)
    found = level(made(rows), "freshness", HOME)
    assert (found.bad, found.total, found.verdict) == (60, 60, "page")
    assert level(made(rows), "freshness", OTHER).attained is None


def test_a_page_fails_its_check_and_names_the_region():
    levels = service_levels.evaluate(made(requests(HOME, 2)), STAGE, NOW)
    failed = [check.name for check in service_levels.checks(levels) if not check.ok]
    assert f"availability {HOME}" in failed
    assert f"availability {OTHER}" not in failed
    assert service_levels.figures(levels) == {"availability_budget_left_percent": -1900.0}
    assert len(service_levels.frame(levels)) == 9


@given(st.sampled_from([7, 30, 90]))
def test_scaled_pairs_spend_the_same_share_of_the_budget(days):
    window = timedelta(days=days)
    for base, pair in zip(windows.PAIRS, windows.pairs(window, 60), strict=True):
        assert pair.rate * (pair.long / window) == pytest.approx(base.rate * (base.long / windows.BASE), rel=0.05)


@given(st.integers(1, 300), st.floats(0.001, 0.2))
def test_chance_falls_with_each_bad_one(total, budget):
    odds = [windows.chance(bad, total, budget) for bad in range(min(total, 20) + 1)]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(odds))
    # By hand: at least one of n is 1 - (1 - p)^n.
    assert odds[1] == pytest.approx(1 - (1 - budget) ** total)

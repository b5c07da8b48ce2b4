"""The charts draw what the levels say."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest

from ops import service_levels
from tests.unit.ops.service_levels.given import (
    COUNT,
    ERRORS,
    HOME,
    NOON,
    NOW,
    OTHER,
    STAGE,
    evaluate,
    frame,
    hours,
    level,
    series,
)

# Six hours of ten a minute; the last hour of one region has two bad ones a minute.
FINE = frame(
    [
        *series(HOME, COUNT, [10] * 360),
        *series(HOME, ERRORS, [0] * 300 + [2] * 60),
        *series(OTHER, COUNT, [10] * 360),
    ]
)


def rows(chart, region):
    """The values that a chart shows of a region, by time."""
    return {
        row["time"]: float(row["value"]) for row in csv.DictReader(io.StringIO(chart.csv)) if row["region"] == region
    }


def test_burn_chart_ends_at_the_burn_of_the_level_and_shows_the_limit():
    drawn = service_levels.burn_chart(FINE, hours(), STAGE, NOW)
    titles = [chart.title for chart in drawn.charts]
    assert titles[:3] == [
        "Availability burn, 1h and 5m: page",
        "Availability burn, 6h and 30m: page",
        "Availability burn, 3d and 6h: ticket",
    ]
    first, second = drawn.charts[:2]
    assert first.note == "times"
    assert set(rows(first, "limit").values()) == {14.4}
    burnt = rows(first, HOME)
    # 120 of the last hour's 600; 120 of six hours' 3,600; half of the hour at half past eleven, and then all of 5 min.
    assert burnt["2026-11-23T12:00:00+00:00"] == pytest.approx(20) == level("availability", HOME, FINE).burn["1h"]
    assert burnt["2026-11-23T11:30:00+00:00"] == pytest.approx(10)
    assert burnt["2026-11-23T11:00:00+00:00"] == 0
    assert rows(second, HOME)["2026-11-23T12:00:00+00:00"] == pytest.approx(120 / 3600 * 100)
    assert set(rows(first, OTHER).values()) == {0}
    assert drawn.charts[3].reason == "nothing was counted"


def test_budget_chart_falls_from_all_of_it_to_what_is_left():
    drawn = service_levels.budget_chart(FINE, hours(), STAGE, NOW)
    left = rows(drawn.charts[0], HOME)
    assert drawn.charts[0].title == "Availability: budget left of 30d"
    # 36 of 3,600 may be bad. After half an hour of two a minute 60 were, at noon 120.
    assert left["2026-11-23T11:00:00+00:00"] == pytest.approx(100)
    assert left["2026-11-23T11:30:00+00:00"] == pytest.approx(100 * (1 - 60 / 36))
    assert left["2026-11-23T12:00:00+00:00"] == pytest.approx(100 * level("availability", HOME, FINE).budget_left)
    assert set(rows(drawn.charts[0], OTHER).values()) == {100}
    assert set(rows(drawn.charts[0], "limit").values()) == {0}


def test_chart_of_a_month_has_few_points_and_ends_as_the_level():
    coarse = hours(
        [*series(HOME, COUNT, [60] * 720, period_s=3600), *series(HOME, ERRORS, [1] * 720, period_s=3600)],
        start=NOON - timedelta(days=31),
    )
    fine = frame([*series(HOME, COUNT, [1] * 5760), *series(HOME, ERRORS, [0] * 5760)])
    left = rows(service_levels.budget_chart(fine, coarse, STAGE, NOW).charts[0], HOME)
    assert len(left) <= 144
    # 26 days of hours with one bad of 60, then four days without: 624 of 43,200, of which 432 may be.
    found = next(one for one in evaluate(fine, coarse) if (one.name, one.region) == ("availability", HOME))
    assert (found.bad, found.total) == (624, 43_200)
    assert left["2026-11-23T12:00:00+00:00"] == pytest.approx(100 * (1 - 624 / 432)) == 100 * found.budget_left


def test_charts_without_data_say_so():
    for draw in (service_levels.burn_chart, service_levels.budget_chart):
        assert {chart.reason for chart in draw(frame(), hours(), STAGE, NOW).charts} == {"nothing was counted"}

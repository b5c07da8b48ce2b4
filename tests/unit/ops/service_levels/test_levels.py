"""Service levels against counts worked out by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ops import service_levels
from ops.errors import UsageError
from ops.stage import Objective
from tests.unit.ops.service_levels.given import (
    ACCEPTED,
    COUNT,
    ERRORS,
    HOME,
    IN_TIME,
    NOON,
    NOW,
    OTHER,
    QUICK,
    SETTINGS,
    SLOW,
    STAGE,
    WAITED,
    evaluate,
    frame,
    hours,
    level,
    series,
)


def requests(region, errors_a_minute, minutes=60):
    return [*series(region, COUNT, [10] * minutes), *series(region, ERRORS, [errors_a_minute] * minutes)]


# --- availability --------------------------------------------------------------------------------------------------


def test_burn_when_one_region_fails_is_as_by_hand():
    fine = frame([*requests(HOME, 2), *requests(OTHER, 0)])
    home, other, both = (level("availability", one, fine) for one in (HOME, OTHER, "all"))
    # 120 of 600 are bad: 20 %, of a budget of 1 %: it burns 20 times as fast as it may.
    assert (home.bad, home.good, home.total, home.verdict) == (120, 480, 600, "page")
    assert home.burn["1h"] == pytest.approx(20)
    assert home.burn["5m"] == pytest.approx(20)
    assert home.budget_left == pytest.approx(1 - 20)
    said = (
        "page: 1h burns 20.0 times its budget (limit 14.4; in 5m 20.0), 120 bad of 600; so do 6h and 3d; the budget is"
    )
    assert home.why.startswith(said)
    assert (other.verdict, other.budget_left) == ("ok", 1)
    # Of both: 120 of 1,200 burn 10 times: under 14.4 in an hour, over 6 in six.
    assert both.burn["1h"] == pytest.approx(10)
    assert both.verdict == "page"
    assert both.why.startswith("page: 6h burns 10.0 times its budget (limit 6; in 30m 10.0), 120 bad of 1,200")


def test_page_when_errors_are_over_is_not_given():
    fine = frame([*series(HOME, COUNT, [10] * 60), *series(HOME, ERRORS, [5] * 20 + [0] * 40)])
    found = level("availability", HOME, fine)
    # 100 of 600 burn 16.7 times in the hour; the last five and thirty minutes had none. The ticket's six hours burn.
    assert found.burn["1h"] == pytest.approx(100 / 600 / 0.01)
    assert found.burn["5m"] == 0
    assert found.verdict == "ticket"


def test_region_without_an_error_has_no_series_of_errors_and_is_good():
    found = level("availability", HOME, frame(series(HOME, COUNT, [10] * 60)))
    assert (found.bad, found.total, found.budget_left) == (0, 600, 1)


# --- the end of the data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [60, 61, 90, 119.9])
def test_now_inside_a_period_shifts_no_count(seconds):
    rows = [*requests(HOME, 1), *series(HOME, COUNT, [100], end=NOON + timedelta(minutes=1))]
    found = level("availability", HOME, frame(rows), now=NOON + timedelta(seconds=seconds))
    # What began at noon is not settled: 600 of the hour before.
    assert (found.bad, found.total) == (60, 600)
    assert found.burn["5m"] == pytest.approx(10)


def test_period_that_settled_counts():
    rows = [*requests(HOME, 1), *series(HOME, COUNT, [100], end=NOON + timedelta(minutes=1))]
    assert level("availability", HOME, frame(rows), now=NOON + timedelta(seconds=120)).total == 700


# --- low traffic ---------------------------------------------------------------------------------------------------


def test_one_error_at_low_traffic_does_not_page():
    fine = frame([*series(HOME, COUNT, [1] * 5), *series(HOME, ERRORS, [0, 0, 0, 0, 1])])
    found = level("availability", HOME, fine)
    assert (found.verdict, found.page_at) == ("ok", None)
    assert "1h: not judged, 5 of at least 20" in found.why


def test_how_few_errors_would_page_is_told():
    found = level("availability", HOME, frame(series(HOME, COUNT, [1] * 60)))
    # 14.4 times 1 % of 60 are 8.64, so nine; that nine of 60 are chance at 1 % is out of the question.
    assert found.page_at == 9
    assert "1h: 0 bad of 60; 9 would page" in found.why


@pytest.mark.parametrize(("errors", "verdict"), [(2, "ok"), (3, "ok"), (4, "page")])
def test_chance_bounds_what_few_errors_say(errors, verdict):
    # 60 requests. At 1 % bad, two or more are 12 % and three or more 2.2 %, though they burn 3.3 and 5 times: chance.
    # Four or more are 0.3 %, and burn 6.7 times, over the 6 of six hours.
    fine = frame([*series(HOME, COUNT, [1] * 60), *series(HOME, ERRORS, [0] * 56 + [1] * errors + [0] * (4 - errors))])
    found = level("availability", HOME, fine)
    assert found.verdict == verdict
    assert f"6h: {errors} bad of 60; 4 would page" in found.why or verdict == "page"


# --- the budget and what is covered --------------------------------------------------------------------------------


def test_budget_adds_hours_before_the_fine_data_and_minutes_of_them():
    # Fine data from noon four days ago. 30 days before noon today, in hours: 26 days of 100 with one bad, and what of
    # them the fine data have too, which is not counted twice.
    count = series(HOME, COUNT, [100] * 720, period_s=3600)
    errors = series(HOME, ERRORS, [1] * 720, period_s=3600)
    fine = frame([*series(HOME, COUNT, [10] * 60), *series(HOME, ERRORS, [5] * 60)])
    found = level("availability", HOME, fine, hours([*count, *errors]))
    assert found.total == 26 * 24 * 100 + 600
    assert found.bad == 26 * 24 + 300
    # 924 of 63,000, of which 630 may be bad.
    assert found.budget_left == pytest.approx(1 - 924 / 630)
    assert found.covered == timedelta(days=30)
    assert "have data" not in found.why


def test_budget_of_a_young_platform_is_over_what_is_covered_and_says_so():
    found = level("availability", HOME, frame(requests(HOME, 0, minutes=125)))
    assert found.covered == timedelta(minutes=125)
    assert "the budget is over the 2h 5m that have data, of 30d" in found.why


def test_window_that_was_not_asked_for_is_not_judged():
    found = level("availability", HOME, frame(requests(HOME, 1), start=NOON - timedelta(hours=2)))
    assert found.burn["1h"] == pytest.approx(10)
    assert (found.burn["6h"], found.burn["3d"]) == (None, None)
    assert "6h: not judged, the data were asked for from 2026-11-23 10:00" in found.why


def test_nothing_counted_is_said():
    found = level("latency", HOME, frame())
    assert (found.attained, found.budget_left, found.covered, found.why) == (
        None,
        None,
        timedelta(0),
        "nothing was counted",
    )


def test_data_in_part_fail_the_check_of_their_region():
    fine = frame([*requests(HOME, 0), *requests(OTHER, 0)], incomplete=[f"{HOME} api Count Sum"])
    failed = {check.name for check in service_levels.checks(evaluate(fine)) if not check.ok}
    assert failed == {
        f"{name} {where}" for name, _ in SETTINGS.objectives for where in ("of all regions", f"in {HOME}")
    }
    assert f"in part only: {HOME} api Count Sum" in level("availability", HOME, fine).why


# --- latency -------------------------------------------------------------------------------------------------------


def test_latency_is_a_share_of_requests():
    # A busy minute with few slow ones weighs more than a quiet one that is all slow.
    rows = [*series(HOME, QUICK, [990, 0]), *series(HOME, SLOW, [0, 10])]
    found = level("latency", HOME, frame(rows))
    assert (found.bad, found.total) == (10, 1000)
    assert found.attained == pytest.approx(0.99)
    assert found.budget_left == pytest.approx(0)


def test_latency_when_all_are_slow_needs_no_quick_one():
    found = level("latency", HOME, frame(series(HOME, SLOW, [10] * 60)))
    assert (found.bad, found.total, found.verdict) == (600, 600, "page")
    assert found.burn["1h"] == pytest.approx(100)


# --- freshness -----------------------------------------------------------------------------------------------------


def test_freshness_when_nothing_is_stored_pages_and_names_the_region():
    rows = [*series(HOME, ACCEPTED, [10] * 60), *series(OTHER, ACCEPTED, [10] * 60), *series(OTHER, IN_TIME, [10] * 60)]
    fine = frame(rows)
    home, other, both = (level("freshness", one, fine) for one in (HOME, OTHER, "all"))
    # The last minute, to noon, has until a minute past noon: 59 minutes of ten are judged, and all were lost.
    assert (home.bad, home.total, home.verdict) == (590, 590, "page")
    assert home.burn["1h"] == pytest.approx(100)
    assert (other.bad, other.total, other.verdict) == (0, 590, "ok")
    # Half of all: 50 times a budget of 1 %.
    assert both.burn["1h"] == pytest.approx(50)


def test_freshness_of_events_on_their_way_at_the_end_of_a_period_is_good():
    # Ten a minute of six seconds each: one is on its way at any moment, and each minute but the first stores one of the
    # minute before. In the minute that is not judged they took 60 s together, so that one is taken for on its way.
    rows = [*series(HOME, ACCEPTED, [10] * 60), *series(HOME, IN_TIME, [9] + [10] * 59)]
    found = level("freshness", HOME, frame([*rows, *series(HOME, WAITED, [54_000] + [60_000] * 59)]))
    assert (found.bad, found.total) == (0, 590)


def test_freshness_of_late_ones_is_bad_when_they_are_stored_after_the_threshold():
    # 20 of a minute are stored half an hour later: no sample within a minute ever.
    rows = [*series(HOME, ACCEPTED, [10] * 30 + [20] + [10] * 30), *series(HOME, IN_TIME, [10] * 30 + [0] + [10] * 30)]
    found = level("freshness", HOME, frame(rows))
    assert (found.bad, found.total) == (20, 610)


def test_freshness_forgives_at_the_end_no_more_than_was_stored_in_time_after_it():
    # In the last judged minute four of ten are missing; in the minute after it, three were stored.
    rows = [*series(HOME, ACCEPTED, [10, 10, None]), *series(HOME, IN_TIME, [10, 6, 3])]
    found = level("freshness", HOME, frame(rows))
    assert (found.bad, found.total) == (1, 20)


def test_freshness_longer_than_a_period_waits_for_as_many():
    patient = SETTINGS.model_copy(update={"freshness": Objective(objective=0.99, threshold_ms=150_000)})
    stage = STAGE.model_copy(update={"service_levels": patient})
    found = level("freshness", HOME, frame(series(HOME, ACCEPTED, [10] * 60)), stage=stage)
    assert found.total == 570  # three minutes hold 150 s


# --- what is shown -------------------------------------------------------------------------------------------------


def test_a_page_fails_its_check_and_names_the_region():
    levels = evaluate(frame([*requests(HOME, 2), *requests(OTHER, 0)]))
    failed = [check.name for check in service_levels.checks(levels) if not check.ok]
    assert failed == [f"availability in {HOME}", "availability of all regions"]
    assert service_levels.figures(levels) == {
        "service_levels_paging": 2,
        "service_levels_ticketing": 0,
        "availability_budget_left_percent": -900.0,
        "availability_fastest_burn": 20.0,
    }
    table = service_levels.frame(levels)
    assert list(table["verdict"][:3]) == ["page", "page", "ok"]
    assert len(table) == 9
    assert list(table["region"][:2]) == [HOME, "all"]
    assert list(table["burn_1h"][:2]) == pytest.approx([20, 10])


def test_stage_without_service_levels_has_none():
    assert evaluate(frame(), stage=STAGE.model_copy(update={"service_levels": None})) == []


def test_wrong_arguments_are_refused():
    with pytest.raises(UsageError, match="time zone"):
        evaluate(frame(), now=NOW.replace(tzinfo=None))
    bare = frame()
    bare.attrs = {}
    with pytest.raises(UsageError, match="fine: its attrs lack period_s, start"):
        evaluate(bare)

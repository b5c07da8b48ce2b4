"""Statistics with fixed bounds are counted as CloudWatch's user guide says."""

from __future__ import annotations

import pytest

from ops.local.emulator.statistics import Statistics

# 80 once, 300 three times, 500 twice.
POINTS = [{"Value": 80.0, "Count": 1.0}, {"Value": 300.0, "Count": 3.0}, {"Value": 500.0, "Count": 2.0}]


def value(statistic, points=POINTS):
    return Statistics().value({"Average": 1.0}, statistic, points)


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [("TC(80:500)", 5), ("TC(:80)", 1), ("TC(:79.9)", 0), ("TC(300:)", 2), ("TC(:)", 6), ("TC(:300)", 4)],
)
def test_trimmed_count_leaves_out_the_lower_bound_and_has_the_upper(statistic, expected):
    assert value(statistic) == expected


def test_percentile_rank_is_in_percent():
    assert value("PR(:300)") == pytest.approx(100 * 4 / 6)


def test_trimmed_sum_adds_up_what_lies_within():
    assert value("TS(:300)") == 80 + 3 * 300


def test_bounds_of_a_statistic_set_are_not_known():
    points = [{"_stat": {"SampleCount": 2, "Sum": 3, "Minimum": 1, "Maximum": 2}}]
    assert value("TC(:5)", points) is None


def test_other_statistics_are_left_to_the_emulator():
    assert value("Average") == 1.0
    assert value("p50") == 300.0

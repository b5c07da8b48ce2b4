"""Charts of lanes: every thing is in exactly one episode, and nothing depends on the order it came in."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.charts import Chart, NoData
from ops.charts.lanes import EPISODES, PAUSE_MS, Happened, Style, _ticks, episodes, lanes

BEGIN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STYLES = {
    "good": Style("#009E73", "circle"),
    "bad": Style("#D55E00", "cross"),
    "wait": Style("#8C8C8C", "square", True),
}
PAUSE_S = PAUSE_MS / 1000


def thing(number: int, after_s: float, kind: str = "good", lane: str = "a", took_s: float | None = None) -> Happened:
    at = BEGIN + timedelta(seconds=after_s)
    return Happened(number, at, lane, kind, "it", None if took_s is None else at + timedelta(seconds=took_s))


@given(st.lists(st.tuples(st.floats(0, 1e6), st.none() | st.floats(0, 1e5)), min_size=1, max_size=20), st.randoms())
def test_episodes_have_each_thing_once_in_order_whatever_order_they_came_in(
    made: list[tuple[float, float | None]], random: object
) -> None:
    things = [thing(number, after, took_s=took) for number, (after, took) in enumerate(made)]
    found = episodes(things)
    flat = [one for episode in found for one in episode]
    assert flat == sorted(things, key=lambda one: (one.time, one.number))
    random.shuffle(things)  # type: ignore[attr-defined]
    assert episodes(things) == found
    for before, after in itertools.pairwise(found):
        over = max(one.until or one.time for one in before)
        assert (after[0].time - over).total_seconds() > PAUSE_S


def test_episodes_are_cut_after_a_pause_that_is_longer_than_all_before() -> None:
    quick = [thing(1, 0), thing(2, 1), thing(3, 1 + PAUSE_S + 1)]
    assert [len(one) for one in episodes(quick)] == [2, 1]
    slow = [thing(1, 0), thing(2, 1, took_s=200), thing(3, 201 + PAUSE_S + 1)]
    assert [len(one) for one in episodes(slow)] == [3]


def test_chart_has_the_lanes_in_order_the_numbers_and_its_data() -> None:
    made = [thing(1, 0, lane="b"), thing(2, 0.4, "wait", "a", took_s=0.5), thing(3, 1, "bad", "c")]
    (chart,) = lanes(made, ["a", "b"], STYLES, title="What happened").charts
    assert isinstance(chart, Chart)
    assert [chart.svg.index(f">{text}<") for text in "abc"] == sorted(chart.svg.index(f">{text}<") for text in "abc")
    assert all(f">{number}<" in chart.svg for number in "123")
    assert all(f">{kind}<" in chart.svg for kind in STYLES)
    assert chart.csv.splitlines()[2] == ("2,2026-11-23T12:00:00.400+00:00,2026-11-23T12:00:00.900+00:00,a,wait,it")
    assert chart.summary.startswith("1 b: good at 12:00:00.000; 2 a: wait at 12:00:00.400")
    # Below a second, every mark of the axis is there, but for one that would be cut at its end.
    marks = ("0.000", "0.200", "0.400", "0.600", "0.800")
    assert [mark for mark in marks if f">12:00:0{mark}<" not in chart.svg] == []
    assert ">12:00:01.000<" not in chart.svg


def test_chart_of_many_episodes_draws_the_first_and_the_last_and_says_how_many_it_leaves() -> None:
    made = [thing(number, number * 1000 * number) for number in range(EPISODES + 4)]
    drawn = lanes(made, ["a"], STYLES, title="T").charts
    (left,) = [one for one in drawn if isinstance(one, NoData)]
    assert left.reason == "4 episodes between these are in the table only"
    assert len(drawn) == EPISODES + 1
    assert isinstance(drawn[-1], Chart)
    assert f"{made[-1].number}," in drawn[-1].csv


def test_chart_of_nothing_says_so() -> None:
    assert lanes([], [], STYLES, title="T", empty="nobody knows").charts == (NoData("T", "nobody knows"),)


@pytest.mark.parametrize(
    ("length_ms", "step", "form"),
    [
        (3.0, 1.0, "%H:%M:%S.%L"),
        (2500.0, 500.0, "%H:%M:%S.%L"),
        (60_000.0, 10_000.0, "%H:%M:%S"),
        (3_600_000.0, 600_000.0, "%H:%M"),
        (30 * 86_400_000.0, 5 * 86_400_000.0, "%d %b %H:%M"),
    ],
)
def test_marks_of_the_axis_are_round(length_ms: float, step: float, form: str) -> None:
    assert _ticks((0.0, length_ms)) == (step, form)

"""What a run of a suite shows that the run before did not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.report.changes import Change, changes, figures
from tests.unit.ops.report.made import record, run


def test_changes_of_a_first_run_are_none() -> None:
    assert changes(record(run("metrics", "fail", failing={"a": "b"})), []) == []


def test_changes_name_verdicts_and_checks_the_worse_first() -> None:
    before = record(run("parity", "fail", failing={"same code": "ap-south-1 is behind"}), run("metrics"), day=22)
    now = record(run("parity"), run("metrics", "fail", failing={"freshness in ap-south-1": "147 bad of 300"}))
    assert changes(now, [before]) == [
        Change("metrics", "was pass, is fail", True),
        Change("metrics", "freshness in ap-south-1 fails since this run: 147 bad of 300", True),
        Change("parity", "was fail, is pass", False),
        Change("parity", "same code is well again", False),
    ]


def test_changes_of_what_came_to_no_end_say_so_and_nothing_of_its_checks() -> None:
    before = record(run("metrics", "fail", failing={"a": "b"}), run("cost"), day=22)
    now = record(run("metrics", "error"), run("trace"))
    assert changes(now, [before]) == [
        Change("metrics", "was fail, is error", True),
        Change("cost", "is not in this run", True),
        Change("trace", "is new in this suite: pass", None),
    ]


def test_changes_name_figures_that_are_not_as_usual() -> None:
    earlier = [record(run("metrics", p99_ms=100.0 + day % 3, requests=1000), day=day) for day in range(20, 10, -1)]
    found = changes(record(run("metrics", p99_ms=240.0, requests=1005)), earlier)
    [one] = found
    assert one.runbook == "metrics"
    assert one.text.startswith("p99 is 240")
    assert "usually" in one.text
    assert changes(record(run("metrics", p99_ms=104.0, requests=1080)), earlier) == []


def test_figures_of_few_runs_are_never_unusual() -> None:
    earlier = [record(run("metrics", p99_ms=100.0), day=day) for day in (22, 21, 20, 19)]
    [one] = figures(record(run("metrics", p99_ms=9000.0)), earlier)
    assert (one.usual, one.unusual, one.before) == (None, False, 100.0)


def test_figures_keep_gaps_of_runs_that_had_none() -> None:
    earlier = [record(run("metrics", p99_ms=3.0), day=22), record(run("other"), day=21), record(run("metrics"), day=20)]
    [one] = figures(record(run("metrics", p99_ms=4.0)), earlier)
    assert one.past == (None, None, 3.0)


@given(st.lists(st.floats(-1e9, 1e9), min_size=5, max_size=40), st.data())
def test_a_figure_that_was_so_in_most_runs_is_never_unusual(past: list[float], data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(past))
    earlier = [record(run("metrics", x=value), day=22) for _ in range(len(past) + 1)]
    earlier += [record(run("metrics", x=one), day=21) for one in past]
    [one] = figures(record(run("metrics", x=value)), earlier)
    assert not one.unusual


@pytest.mark.parametrize("verdict", ["pass", "fail", "error"])
def test_changes_between_the_same_runs_are_none(verdict: str) -> None:
    same = record(run("metrics", verdict, failing={"a": "b"} if verdict == "fail" else {}, p99_ms=5.0))
    assert changes(same, [same] * 9) == []

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.failover import measures
from ops.failover.arrivals import Span
from ops.failover.measures import FAILED, Phase, recovery
from ops.load import EDGE, Attempt, LoadRecord
from ops.stage import load_stage
from tests.unit.ops.failover.conftest import INDIA, NOON, US, attempt, key_of, record


def event(second: float, *statuses: int, city: str = "London", number: int = 0, **changes: Any) -> list[Attempt]:
    """An event's attempts, a second apart: each through the edge when odd, else straight to India."""
    return [
        attempt(
            number or round(second * 10),
            source=f"/drills/run/{city.lower()}",
            id=f"{round(second * 1000):x}-{number}",
            city=city,
            number=place,
            at=NOON + second + place - 1,
            via=EDGE if place % 2 else INDIA,
            status=status,
            event_key=key_of(number or round(second * 10)) if status == 202 else None,
            **changes,
        )
        for place, status in enumerate(statuses, start=1)
    ]


def of(*events: list[Attempt]) -> LoadRecord:
    return record(*(one for attempts in events for one in attempts))


def test_recovery_is_the_last_first_attempt_that_failed_less_the_start_of_the_outage() -> None:
    made = of(
        event(0, 202),
        event(11, 503, 202),
        event(14, 0, 503, 202),
        event(12, 202, city="Mumbai"),
        event(20, 202),
    )
    measured = recovery(made, NOON + 10, NOON + 30)

    assert measured.rto_s == pytest.approx(4.1)
    assert measured.by_city == {"London": pytest.approx(4.1), "Mumbai": 0.0}
    assert measured.recovered
    assert (measured.attempts, measured.failed, measured.first_attempts, measured.first_failed) == (7, 3, 4, 2)
    assert [measured.failed_share, measured.unanswered] == [pytest.approx(3 / 7), 1]
    assert list(measured.waits_s) == pytest.approx([0.1, 0.1, 1.1, 2.1])


def test_recovery_when_a_repetition_fails_at_the_edge_does_not_prolong_it() -> None:
    measured = recovery(of(event(11, 503, 503, 503, 202), event(12, 202)), NOON + 10, None)

    assert measured.rto_s == pytest.approx(1.1)


def test_recovery_with_failures_before_and_after_the_outage_leaves_them_out() -> None:
    measured = recovery(of(event(1, 503), event(11, 503), event(40, 503), event(50, 202)), NOON + 10, NOON + 30)

    assert [measured.rto_s, measured.failed] == [pytest.approx(1.1), 1]


def test_recovery_when_nothing_gets_through_any_more_is_a_lower_bound() -> None:
    measured = recovery(of(event(1, 202), event(11, 503), event(29, 503)), NOON + 10, NOON + 30)

    assert not measured.recovered
    assert measured.rto_s == pytest.approx(19.1)
    assert measured.figures()["wait_max_s"] is None


def test_recovery_of_nothing_is_zero() -> None:
    measured = recovery(record(), NOON, None)

    assert (measured.rto_s, measured.by_city, measured.recovered, measured.failed_share) == (0.0, {}, True, 0.0)


SECONDS = st.floats(0, 100)
EVENTS = st.lists(st.tuples(SECONDS, st.sampled_from([202, 503, 0, 422]), st.sampled_from(["London", "Mumbai"])))


def _made(events: list[tuple[float, int, str]]) -> LoadRecord:
    return of(*(event(second, status, city=city, number=n + 1) for n, (second, status, city) in enumerate(events)))


@given(EVENTS, SECONDS)
def test_recovery_overall_is_that_of_the_slowest_city(events: list[tuple[float, int, str]], start: float) -> None:
    measured = recovery(_made(events), NOON + start, None)

    assert measured.rto_s == max(measured.by_city.values(), default=0.0)
    assert (measured.rto_s > 0) == (measured.first_failed > 0)
    assert 0 <= measured.failed <= measured.attempts <= len(events)


@given(EVENTS, SECONDS, SECONDS)
def test_recovery_with_one_more_failure_is_never_shorter(
    events: list[tuple[float, int, str]], start: float, second: float
) -> None:
    before = recovery(_made(events), NOON + start, None)
    after = recovery(_made([*events, (second, 503, "London")]), NOON + start, None)

    assert after.rto_s >= before.rto_s


@given(EVENTS, SECONDS, st.floats(0.001, 50))
def test_recovery_in_the_order_of_the_record_or_another_is_the_same(
    events: list[tuple[float, int, str]], start: float, length: float
) -> None:
    made = _made(events)
    other = replace(made, attempts=made.attempts[::-1])
    window = NOON + start, NOON + start + length

    one, two = recovery(made, *window), recovery(other, *window)
    assert (one.rto_s, one.failed, one.attempts, one.waits_s) == (two.rto_s, two.failed, two.attempts, two.waits_s)


@given(EVENTS, st.floats(1, 99))
def test_moved_has_each_first_attempt_in_one_phase_and_shares_that_add_up(
    events: list[tuple[float, int, str]], edge: float
) -> None:
    phases = [Phase("before", NOON, NOON + edge), Phase("after", NOON + edge, None)]
    frame = measures.moved(_made(events), phases)

    assert frame["attempts"].sum() == len(events)
    assert all(share == pytest.approx(1) for share in frame.groupby(["city", "phase"])["share"].sum())


@given(EVENTS)
def test_per_second_counts_every_attempt_once(events: list[tuple[float, int, str]]) -> None:
    frame, every_s = measures.per_second(_made(events))

    assert frame["per_s"].sum() * every_s == pytest.approx(len(events))
    assert frame.groupby("series").size().nunique() <= 1


def test_per_second_of_a_long_run_has_no_more_bars_than_can_be_told_apart() -> None:
    frame, every_s = measures.per_second(_made([(float(second), 202, "London") for second in range(0, 3600, 7)]))

    assert every_s == 30
    assert len(frame) <= measures.MAX_STEPS


def test_moved_says_who_answered_before_and_during() -> None:
    made = of(event(1, 202), event(11, 503), event(12, 202, region=INDIA), event(13, 202, region=INDIA))
    frame = measures.moved(made, [Phase("before", NOON, NOON + 10), Phase("outage", NOON + 10, None)])

    assert frame[["phase", "region", "attempts"]].to_numpy().tolist() == [
        ["before", US, 1],
        ["outage", INDIA, 2],
        ["outage", FAILED, 1],
    ]


def test_left_and_returned_are_the_edges_of_the_stretch_without_the_region() -> None:
    made = of(event(1, 202), event(11, 503), event(12, 202, region=INDIA), event(31, 202))

    assert measures.left_at(made, US, NOON + 10, NOON + 30) == NOON + 11
    assert measures.returned_at(made, US, NOON + 12) == pytest.approx(NOON + 31.1)
    assert measures.returned_at(made, US, NOON + 32) is None


def test_lags_when_the_other_replica_could_not_be_read_have_a_gap() -> None:
    def at(second: float) -> pd.Timestamp:
        return pd.Timestamp(NOON + second, unit="s", tz="UTC")

    columns = ["event_key", "accepted_region", "region", "accepted", "seen", "lag_ms"]
    frame = pd.DataFrame(
        [
            ("a", US, INDIA, at(0), at(1), 1000.0),
            ("a", US, US, at(0), at(0), 10.0),
            ("b", US, INDIA, at(5), at(9), 4000.0),
            ("c", INDIA, US, at(6), at(7), 500.0),
        ],
        columns=columns,
    )
    lags = measures.lags(frame, [Span(INDIA, NOON + 4, NOON + 8, "gone")])

    values = dict(zip(zip(lags["direction"], lags["time"], strict=True), lags["lag_ms"], strict=True))
    assert values[f"{US} to {INDIA}", at(0)] == 1000
    assert math.isnan(values[f"{US} to {INDIA}", at(5)])
    assert values[f"{INDIA} to {US}", at(6)] == 500
    assert len(values) == 3


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.99, 4.0), (0.25, 1.0)])
def test_quantile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert measures.quantile([1.0, 2.0, 3.0, 4.0], share) == expected
    assert measures.quantile([], share) is None


def test_expected_rto_is_what_the_settings_promise() -> None:
    assert measures.expected_rto_s(load_stage("local")) == 10 * 2 + 10

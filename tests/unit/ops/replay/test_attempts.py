"""However attempts end, each slice is replayed to its end once, and goes on where it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.replay.attempts import ACTIVE, COMPLETED, Attempt, Course, numbers_of
from ops.replay.slices import Slice

START = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def slices(count: int, minutes: int) -> list[Slice]:
    return [Slice(n + 1, START + MINUTE * minutes * n, START + MINUTE * minutes * (n + 1)) for n in range(count)]


def attempt(number: int, state: str, of: int = 1, last: datetime | None = None) -> Attempt:
    begin = START + MINUTE * 10 * (number - 1)
    return Attempt(f"r-{number}-{of}", number, of, state, begin, begin + MINUTE * 10, last)


def test_slice_without_an_attempt_begins_at_its_beginning() -> None:
    course = Course(slices(2, 10))
    assert [course.begin(one) for one in course.to_start] == [START, START + 10 * MINUTE]
    assert [course.next_attempt(1), course.share, course.done] == [1, 0.0, False]


@pytest.mark.parametrize("state", ["CANCELLED", "FAILED"])
def test_slice_that_did_not_complete_goes_on_from_the_minute_of_its_last_event(state: str) -> None:
    last = START + timedelta(minutes=4, seconds=31)
    course = Course(slices(1, 10), [attempt(1, state, last=last)])
    assert course.begin(course.slices[0]) == START + 4 * MINUTE
    assert course.next_attempt(1) == 2
    assert course.share == pytest.approx(271 / 600)


def test_later_attempt_counts_whatever_the_order_they_are_listed_in() -> None:
    course = Course(slices(1, 10), [attempt(1, COMPLETED, 2), attempt(1, "CANCELLED", 1)])
    assert course.done
    assert course.to_start == []


states = st.sampled_from([*ACTIVE, COMPLETED, "CANCELLED", "FAILED"])
histories = st.lists(
    st.tuples(st.integers(1, 5), states, st.integers(1, 4), st.one_of(st.none(), st.integers(-100, 4000))), max_size=20
)


@given(histories)
def test_what_is_to_start_is_never_active_nor_completed_and_lies_in_its_slice(
    history: list[tuple[int, str, int, int | None]],
) -> None:
    attempts = [
        attempt(number, state, of, None if last is None else START + timedelta(seconds=last))
        for number, state, of, last in history
    ]
    course = Course(slices(5, 10), attempts)
    newest = {number: max(of for n, _, of, _ in history if n == number) for number, *_ in history}
    for one in course.to_start:
        assert course.state(one.number) not in (*ACTIVE, COMPLETED)
        assert one.start <= course.begin(one) < one.end
        assert course.begin(one).second == 0
        assert course.next_attempt(one.number) == newest.get(one.number, 0) + 1
    covered = {one.number for one in course.to_start} | {one.number for one in course.active}
    assert covered | {n for n in range(1, 6) if course.state(n) == COMPLETED} == set(range(1, 6))
    assert 0 <= course.share <= 1
    assert course.done is (course.share == 1 and not covered)


def test_numbers_are_read_from_a_replays_name_and_nothing_else() -> None:
    assert numbers_of("atoll-prod-0123456789abcdef-007") == (7, 1)
    assert numbers_of("atoll-prod-0123456789abcdef-107-3") == (107, 3)
    for name in ("atoll-prod-0123456789abcdef", "somebody-elses", "atoll-prod-xyz-001"):
        with pytest.raises(ValueError, match="no replay of a slice"):
            numbers_of(name)

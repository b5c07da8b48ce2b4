"""Slices cover a window exactly, and their replays' names fit EventBridge."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import UsageError
from ops.replay.slices import AUTOMATIC_SLICES, MAX_SLICES, choose_minutes, choose_parallel, cut, replay_name
from ops.stage import Stage

START = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@given(st.integers(1, 20_000), st.integers(1, 3_000))
def test_cut_covers_the_window_exactly_in_whole_minutes_without_overlap(length: int, minutes: int) -> None:
    end = START + length * MINUTE
    if -(-length // minutes) > MAX_SLICES:
        with pytest.raises(UsageError, match=r"slice_minutes: .* accepted: ") as caught:
            cut(START, end, minutes)
        least = re.search(r"accepted: (\d+) and more", str(caught.value))
        assert least is not None
        assert len(cut(START, end, int(least[1]))) <= MAX_SLICES
        return
    slices = cut(START, end, minutes)
    assert (slices[0].start, slices[-1].end) == (START, end)
    assert all(one.end == after.start for one, after in pairwise(slices))
    assert all(1 <= one.minutes <= minutes and one.start.second == 0 for one in slices)
    assert [one.number for one in slices] == list(range(1, len(slices) + 1))


@given(st.integers(1, 60 * 24 * 60), st.one_of(st.none(), st.integers(0, 50_000_000)))
def test_choose_minutes_makes_slices_that_can_be_followed(length: int, events: int | None) -> None:
    end = START + length * MINUTE
    slices = cut(START, end, choose_minutes((START, end), events))
    assert len(slices) <= AUTOMATIC_SLICES


def test_choose_minutes_when_there_are_few_events_makes_one_slice() -> None:
    assert choose_minutes((START, START + 90 * MINUTE), 2_000) == 90
    assert choose_minutes((START, START + 90 * MINUTE), 25_000) == 30
    assert choose_minutes((START, START + 90 * MINUTE), None) == 60


@given(st.integers(1, 500), st.integers(0, 12))
def test_choose_parallel_leaves_others_their_replays(slices: int, running: int) -> None:
    chosen = choose_parallel(slices, running, 10)
    assert 1 <= chosen <= slices
    assert chosen + running <= 10 or chosen == 1


@given(st.integers(1, MAX_SLICES), st.integers(1, 999))
def test_names_are_different_and_at_most_64_characters(number: int, attempt: int) -> None:
    stage = Stage.model_construct(stage="a" * 20)
    name = replay_name(stage, "f" * 16, number, attempt)
    assert len(name) <= 64
    assert re.fullmatch(r"[.\-_A-Za-z0-9]+", name)
    assert name != replay_name(stage, "f" * 16, number, attempt + 1) != replay_name(stage, "f" * 16, number + 1)

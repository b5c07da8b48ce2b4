"""Selections as patterns, and the AND of two patterns: it means what both mean, whichever comes first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import UsageError
from ops.replay.selection import NothingInCommonError, Selection, intersect, make_selection
from tests.unit.ops.patterns import matches

VALUES = st.sampled_from(["order", "order.paid", "order.placed", "user", ""])
MATCHERS = st.one_of(
    VALUES,
    st.booleans(),
    st.builds(lambda value: {"prefix": value}, VALUES),
    st.builds(lambda value: {"suffix": value}, st.sampled_from(["d", "paid", "r"])),
    st.builds(lambda value: {"anything-but": value}, st.lists(VALUES, min_size=1, max_size=2)),
    st.builds(lambda value: {"exists": value}, st.booleans()),
)
FIELD = st.lists(MATCHERS, min_size=1, max_size=3)


def objects(of: Any) -> Any:
    return st.dictionaries(st.sampled_from(["source", "detail-type", "subject"]), of, max_size=3)


PATTERNS = st.builds(lambda top, inner: top | {"detail": inner}, objects(FIELD), objects(FIELD))
EVENTS = st.builds(
    lambda top, inner: top | {"detail": inner},
    objects(st.one_of(VALUES, st.booleans())),
    objects(st.one_of(VALUES, st.booleans())),
)


@given(PATTERNS, PATTERNS, st.lists(EVENTS, min_size=1, max_size=10))
def test_intersect_is_commutative_and_matches_what_both_match(
    first: dict[str, Any], second: dict[str, Any], events: list[dict[str, Any]]
) -> None:
    try:
        met = intersect(first, second)
    except NothingInCommonError:
        assert not any(matches(first, event) and matches(second, event) for event in events)
        with pytest.raises(UsageError):
            intersect(second, first)
        return
    except UsageError:
        with pytest.raises(UsageError):
            intersect(second, first)
        return
    assert intersect(second, first) == met
    for event in events:
        assert matches(met, event) == (matches(first, event) and matches(second, event))


@given(PATTERNS)
def test_intersect_of_a_pattern_with_nothing_is_the_pattern(pattern: dict[str, Any]) -> None:
    assert intersect(pattern, {}) == pattern


VALUE = st.sampled_from(["/shop", "/shop/eu", "order.paid", "s"])
CHOICES = st.lists(st.sampled_from(["/shop", "/sh*", "order.paid", "order*", "*", "s"]), max_size=3)


@given(CHOICES, CHOICES, CHOICES, st.tuples(VALUE, VALUE, VALUE))
def test_a_selections_patterns_match_what_it_takes(
    sources: list[str], types: list[str], subjects: list[str], event: tuple[str, str, str]
) -> None:
    source, kind, subject = event
    selection = make_selection(sources, types, subjects)
    cloudevent = {"detail": {"event": {"source": source, "type": kind, "subject": subject}}}
    envelope = {"source": source, "detail-type": kind, "detail": {"subject": subject}}
    taken = selection.takes(source, kind, subject)
    assert matches(selection.pattern(cloudevents=True), cloudevent) == taken
    assert matches(selection.pattern(cloudevents=False), envelope) == taken
    assert selection.everything == (not [*sources, *types, *subjects])


def test_selection_when_a_star_is_not_at_the_end_names_the_field() -> None:
    with pytest.raises(UsageError, match=r"types: 'a\*b' is no selection"):
        Selection(types=("a*b",))
    with pytest.raises(UsageError, match="sources: '' is no selection"):
        Selection(sources=("",))


def test_intersect_when_one_pattern_cannot_say_it_names_the_field() -> None:
    with pytest.raises(UsageError, match=r"detail\.type: .*cannot be made one pattern"):
        intersect({"detail": {"type": [{"wildcard": "a*b"}]}}, {"detail": {"type": ["ab"]}})
    with pytest.raises(UsageError, match="detail: one pattern asks for its value"):
        intersect({"detail": ["x"]}, {"detail": {"type": ["ab"]}})
    with pytest.raises(UsageError, match=r"source: .*alternative"):
        intersect({"$or": [{"source": ["a"]}, {"detail-type": ["b"]}]}, {"source": ["a"]})

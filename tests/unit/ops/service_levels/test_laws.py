"""What holds whatever the counts: regions and periods add up, and more errors never look better."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ops.service_levels.given import (
    ACCEPTED,
    COUNT,
    ERRORS,
    HOME,
    IN_TIME,
    NOON,
    OTHER,
    QUICK,
    SLOW,
    WAITED,
    evaluate,
    frame,
    hours,
    level,
    series,
)

MINUTES = 480
ORDER = {"ok": 0, "ticket": 1, "page": 2}
counts = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), min_size=1, max_size=90)


def counted(region, each, total, bad):
    return [*series(region, total, [t for t, _ in each]), *series(region, bad, [min(t, b) for t, b in each])]


def minutes(region, each):
    """The same counts as requests with errors, as requests that were slow, and as events that were lost."""
    slow = [min(t, b) for t, b in each]
    return [
        *counted(region, each, COUNT, ERRORS),
        *series(region, SLOW, slow),
        *series(region, QUICK, [t - b for (t, _), b in zip(each, slow, strict=True)]),
        *series(region, ACCEPTED, [t for t, _ in each]),
        *series(region, IN_TIME, [t - b for (t, _), b in zip(each, slow, strict=True)]),
    ]


def by_hour(rows):
    """The sums of the minutes of each whole hour."""
    sums = Counter()
    for time, *what, value in rows:
        sums[(time.replace(minute=0), *what)] += value
    return [(*key, value) for key, value in sums.items()]


@given(counts, counts)
@settings(max_examples=25, deadline=None)
def test_regions_add_up_to_all(home, other):
    found = evaluate(frame([*minutes(HOME, home), *minutes(OTHER, other)]))
    for name in ("availability", "latency", "freshness"):
        of = {one.region: one for one in found if one.name == name}
        assert of["all"].bad == of[HOME].bad + of[OTHER].bad
        assert of["all"].total == of[HOME].total + of[OTHER].total
        assert of["all"].good + of["all"].bad == of["all"].total


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), min_size=MINUTES, max_size=MINUTES))
@settings(max_examples=15, deadline=None)
def test_hours_in_place_of_minutes_give_the_same_budget(each):
    rows = minutes(HOME, each)
    fine = evaluate(frame(rows))
    start = NOON - timedelta(hours=2)
    late = [row for row in rows if row[0] >= start]
    mixed = evaluate(frame(late, start=start), hours(by_hour(rows)))
    assert [(x.bad, x.total, x.budget_left) for x in fine] == [(x.bad, x.total, x.budget_left) for x in mixed]
    # An hour in which something was counted is covered from its begin.
    assert all(timedelta(0) <= m.covered - f.covered < timedelta(hours=1) for f, m in zip(fine, mixed, strict=True))


@given(counts, st.data())
@settings(max_examples=25, deadline=None)
def test_one_more_error_never_improves_the_verdict(each, data):
    place = data.draw(st.integers(0, len(each) - 1))
    total, bad = each[place]
    worse = [*each]
    worse[place] = (total, bad + 1)
    found = [evaluate(frame(minutes(HOME, one))) for one in (each, worse)]
    for before, after in zip(*found, strict=True):
        assert ORDER[after.verdict] >= ORDER[before.verdict]
        assert after.bad >= before.bad
        assert (after.budget_left or 0) <= (before.budget_left or 0)


# Seconds before noon at which an event was accepted, and after how many it was stored; None is never.
events = st.lists(
    st.tuples(st.integers(600, 3600), st.one_of(st.none(), st.floats(0, 55), st.floats(61, 400))), max_size=200
)


@given(events)
@settings(max_examples=40, deadline=None)
def test_bad_events_are_those_not_stored_within_the_threshold(events):
    accepted, in_time, waited = Counter(), Counter(), Counter()
    for ago, took in events:
        accepted[-(-ago // 60)] += 1
        if took is not None and took <= 60:
            in_time[-int(-(ago - took) // 60)] += 1
            waited[-int(-(ago - took) // 60)] += 1000 * took
    rows = [
        row
        for what, found in ((ACCEPTED, accepted), (IN_TIME, in_time), (WAITED, waited))
        for row in series(HOME, what, [found[n] for n in range(61, 0, -1)])
    ]
    found = level("freshness", HOME, frame(rows))
    assert found.total == len(events)
    assert found.bad == sum(took is None or took > 60 for _, took in events)
    if events:
        assert found.attained == pytest.approx(1 - found.bad / len(events))

"""Which line is about which event: by the fields that say so, and never by chance."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ops.trace.logs import Line
from ops.trace.subject import Subject, subject
from ops.trace.tracks import follow, next_terms
from tests.unit.ops.trace.made import AP, AT, CORRELATION, KEY, TRACE, line, lines_of

OTHER = "11111111-1111-5111-8111-111111111111"
OTHER_TRACE = "1-00000000-000000000000000000000001"
SECOND = timedelta(seconds=1)


def followed(lines: list[Line], asked: Subject, **known: set[str]) -> list[tuple[str, str, str]]:
    seen = follow(lines, asked, known).sightings
    return sorted((one.component, one.kind, one.event_key) for one in seen)


EVERYTHING = [
    ("activity", "processed", KEY),
    ("ingest", "accepted", KEY),
    ("ingest", "answered", KEY),
    ("store", "processed", KEY),
]


def test_lines_of_an_event_are_found_from_each_of_its_ids() -> None:
    asked = (subject(event_key=KEY), subject(correlation_id=CORRELATION), subject(trace_id=TRACE))
    assert [followed(lines_of(), one) for one in asked] == [EVERYTHING] * 3


@given(st.permutations(lines_of() + lines_of(OTHER)))
def test_lines_in_any_order_tell_the_same(lines: list[Line]) -> None:
    expected = follow(sorted(lines, key=lambda one: one.time), subject(event_key=KEY), {})
    seen = follow(lines, subject(event_key=KEY), {})
    assert set(seen.sightings) == set(expected.sightings)
    assert (set(seen.events), seen.ids) == (set(expected.events), expected.ids)


def test_line_of_another_event_under_the_same_correlation_id_is_not_the_events() -> None:
    other = line("store", "stored", at=AT, event_key=OTHER, function_request_id="f-2", trace_id=OTHER_TRACE)
    assert followed([*lines_of(), other], subject(event_key=KEY)) == EVERYTHING
    both = followed([*lines_of(), other], subject(correlation_id=CORRELATION))
    assert both == sorted([*EVERYTHING, ("store", "processed", OTHER)])


def test_request_with_other_events_of_the_same_correlation_id_is_not_the_events() -> None:
    retry: dict[str, Any] = {"function_request_id": "f-9", "trace_id": OTHER_TRACE}
    other = line("ingest", "ingested", accepted=1, first_event_keys=[OTHER], at=AT + SECOND, **retry)
    assert followed([*lines_of(), other], subject(event_key=KEY)) == EVERYTHING


def test_event_beyond_the_first_ten_of_a_batch_is_joined_to_its_request_by_both_ids() -> None:
    keys = [str(uuid.UUID(int=number)) for number in range(10)]
    request = line("ingest", "ingested", accepted=12, first_event_keys=keys)
    own = line("store", "stored", event_key=KEY, function_request_id="f-2")
    assert followed([request, own], subject(event_key=KEY)) == [
        ("ingest", "accepted", KEY),
        ("store", "processed", KEY),
    ]
    another = line("store", "stored", event_key=KEY, function_request_id="f-2", trace_id=OTHER_TRACE)
    assert followed([request, another], subject(event_key=KEY)) == [("store", "processed", KEY)]


def test_text_that_only_holds_the_id_is_not_about_it() -> None:
    near = line("store", "stored", event_key=OTHER, correlation_id=f"{CORRELATION}-2", trace_id=OTHER_TRACE)
    assert followed([near], subject(correlation_id=CORRELATION)) == []
    quoting = line("query", "answered", correlation_id=KEY, status=200, trace_id=OTHER_TRACE)
    assert followed([quoting], subject(event_key=KEY)) == []


def test_request_that_was_refused_is_shown_for_its_correlation_id_without_an_event() -> None:
    refused = [
        line("ingest", "ingested", rejected=1, problems={"invalid-event": 1}),
        line("ingest", "answered", status=400, route="POST /events", elapsed_ms=2.0),
    ]
    seen = follow(refused, subject(correlation_id=CORRELATION), {})
    assert seen.events == []
    assert [one.what for one in seen.sightings] == ["not accepted: invalid-event", "POST /events: 400 in 2.0 ms"]


def test_request_is_found_in_the_access_log_by_the_apis_own_id() -> None:
    answered = line("ingest", "answered", status=202, api_request_id="JKJaXmPLvHcESHA=", elapsed_ms=1.0)
    asked = subject(event_key=KEY)
    seen = follow([*lines_of(), answered], asked, {})
    terms, left = next_terms(seen, {KEY}, named=5)
    assert (terms, left) == (sorted({CORRELATION, TRACE, "JKJaXmPLvHcESHA="}), 0)
    access = Line(AT, "us-east-1", "api", {"requestId": "JKJaXmPLvHcESHA=", "status": "202", "latencyMs": "14"})
    stranger = Line(AT, AP, "api", {"requestId": "another", "status": "202", "sourceIp": "203.0.113.9"})
    shown = [
        one for one in follow([*lines_of(), answered, access, stranger], asked, {}).sightings if one.component == "api"
    ]
    assert [(one.region, one.what) for one in shown] == [("us-east-1", "no route: 202, 14 ms")]


def test_ways_that_a_message_came_are_told() -> None:
    came = {"receive_count": "2", "redrives": "1", "replay_name": "atoll-unit-abc-000"}
    (seen,) = follow([line("store", "already stored", event_key=KEY, **came)], subject(event_key=KEY), {}).sightings
    assert (seen.kind, seen.what) == (
        "repeated",
        "stored already: changes nothing (by replay atoll-unit-abc-000, redriven once, received for the 2nd time)",
    )


def test_line_that_nobody_planned_for_is_shown_as_it_is() -> None:
    (seen,) = follow([line("store", "news", event_key=KEY, level="ERROR")], subject(event_key=KEY), {}).sightings
    assert (seen.kind, seen.what) == ("failed", "news")

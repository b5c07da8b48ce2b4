"""Reading the logs: whatever the pages look like, the same lines; bounded, and what is missing is named."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from ops.aws import Cloud
from ops.stage import load_stage
from ops.trace import logs
from tests.unit.ops.trace.made import AP, AT, CORRELATION, KEY, NOW, US, fields, lines_of, log

WINDOW = (AT - timedelta(minutes=1), NOW)


def stub(*pages: list[dict[str, Any]] | Exception, groups: tuple[str, ...] = ("-store",)) -> Any:
    """A cloud of one region whose logs answer page by page, in some of the groups."""
    asked: list[dict[str, Any]] = []

    def filter_log_events(**given: Any) -> dict[str, Any]:
        asked.append(given)
        if not given["logGroupName"].endswith(groups):
            return {"events": []}
        number = int(given.get("nextToken", 0))
        page = pages[min(number, len(pages) - 1)]
        if isinstance(page, Exception):
            raise page
        more = {"nextToken": str(number + 1)} if number + 1 < len(pages) else {}
        return {"events": page, **more}

    client = SimpleNamespace(filter_log_events=filter_log_events)
    stage = load_stage("local").model_copy(update={"regions": [US]})
    return SimpleNamespace(stage=stage, client=lambda service, region: client, asked=asked)


def events(count: int) -> list[dict[str, Any]]:
    return [
        {"timestamp": 0, "message": json.dumps(fields("stored", AT + timedelta(milliseconds=n), event_key=KEY, n=n))}
        for n in range(count)
    ]


@given(st.data())
def test_lines_are_the_same_in_whatever_pages_and_order_they_come(data: st.DataObject) -> None:
    made = events(8)
    shuffled = data.draw(st.permutations(made + made[:3]))  # some come twice
    cuts = sorted(data.draw(st.sets(st.integers(0, len(shuffled)), max_size=5)))
    edges = [0, *cuts, len(shuffled)]
    pages = [shuffled[a:b] for a, b in itertools.pairwise(edges)]  # some of them empty

    found = logs.lines(logs.search(stub(*pages), [KEY], *WINDOW))

    assert [line.fields["n"] for line in found] == list(range(8))


def test_search_asks_every_group_for_the_id_as_it_stands_in_the_document_within_the_window_only() -> None:
    cloud = stub([])
    logs.search(cloud, ['a"b\\c'], *WINDOW)
    assert {one["logGroupName"] for one in cloud.asked} == set(logs.groups(cloud.stage).values())
    assert {one["filterPattern"] for one in cloud.asked} == {r'"a\\\"b\\\\c"'}
    edges = {(one["startTime"], one["endTime"]) for one in cloud.asked}
    assert edges == {tuple(int(edge.timestamp() * 1000) for edge in WINDOW)}


def test_search_when_pages_do_not_end_stops_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "PAGES", 3)
    cloud = stub(*[events(1)] * 9)
    (store,) = [one for one in logs.search(cloud, [KEY], *WINDOW) if one.group.endswith("-store")]
    assert (len(store.lines), store.unread) == (3, "more than 3 pages: make the window smaller")
    assert sum(one["logGroupName"].endswith("-store") for one in cloud.asked) == 3


def test_search_when_there_are_too_many_lines_stops_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LINES", 5)
    (store,) = [one for one in logs.search(stub(*[events(4)] * 9), [KEY], *WINDOW) if one.group.endswith("-store")]
    assert (len(store.lines), store.unread) == (8, "more than 5 lines: make the window smaller")


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ThrottlingException", "Message": "slower"}}, "FilterLogEvents"),
        EndpointConnectionError(endpoint_url="https://logs"),
    ],
)
def test_search_when_a_log_does_not_answer_names_it_and_keeps_what_came_before(error: Exception) -> None:
    (store,) = [one for one in logs.search(stub(events(2), error), [KEY], *WINDOW) if one.group.endswith("-store")]
    assert len(store.lines) == 2
    assert "us-east-1: reading the log /aws/lambda/atoll-local-store" in store.unread


def test_search_when_there_is_no_such_log_takes_it_as_absent() -> None:
    missing = ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no"}}, "FilterLogEvents")
    (store,) = [one for one in logs.search(stub(missing), [KEY], *WINDOW) if one.group.endswith("-store")]
    assert (store.absent, store.unread) == (True, "")


def test_lines_that_are_no_document_are_left_out_and_times_are_the_functions_own() -> None:
    odd = [{"timestamp": 1000, "message": text} for text in ("START RequestId: 1", "{", "[1]", '{"message": "x"}')]
    (plain,) = next(one for one in logs.search(stub(odd), [KEY], *WINDOW) if one.lines).lines
    assert plain.time.timestamp() == 1  # it has none of its own
    (own,) = logs.lines(logs.search(stub(events(1)), [KEY], *WINDOW))
    assert own.time == AT


def test_search_on_a_cloud_finds_the_lines_of_every_region(deployed: Cloud) -> None:
    here = lines_of()
    there = [logs.Line(one.time, AP, one.component, one.fields) for one in here[2:]]
    log(deployed, *here, *there)
    found = logs.lines(logs.search(deployed, [CORRELATION], *WINDOW))
    assert [(one.region, one.component) for one in found] == [
        (US, "ingest"),
        (US, "ingest"),
        (AP, "store"),
        (US, "store"),
        (AP, "activity"),
        (US, "activity"),
    ]

"""From an id to a verdict, over a whole stage in moto's account."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from handlers.core.idempotency import Ledger
from handlers.core.settings import load
from ops import trace
from ops.aws import Cloud
from ops.charts import Chart
from ops.errors import OpsError, UsageError
from ops.record import Check
from ops.replay.archives import Archive
from ops.trace import Clock, Trace, collecting, kept, state, xray
from tests.unit.handlers.support import ENVIRONMENT
from tests.unit.ops.conftest import Calls, Hub
from tests.unit.ops.redrive.letters import given_up
from tests.unit.ops.trace import made
from tests.unit.ops.trace.made import AP, AT, CORRELATION, KEY, NOW, TRACE, US, line, lines_of, log

TRACE_DIGITS = TRACE[2:].replace("-", "")
OTHER = "11111111-1111-5111-8111-111111111111"
START, END = AT - timedelta(minutes=5), NOW + timedelta(minutes=1)


@pytest.fixture
def cloud(deployed: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A stage with tables, archives and logs, in which nothing has happened."""
    monkeypatch.setattr("ops.redrive.receiving.LONG_POLL_S", 0)
    made.tables(deployed)
    for region in deployed.stage.regions:
        for bus in (deployed.stage.bus, deployed.stage.journal_bus):
            arn = f"arn:aws:events:{region}:{deployed.account}:event-bus/{bus}"
            deployed.client("events", region).create_archive(ArchiveName=bus, EventSourceArn=arn, RetentionDays=7)
    log(deployed)
    return deployed


def traced(cloud: Cloud, settle_s: float = 0, clock: Clock = Clock(), **asked: str) -> Trace:  # noqa: B008
    asked = asked or {"event_key": KEY}
    return trace.collect(cloud, trace.subject(**asked), START, END, settle_s=settle_s, clock=clock)


def failing(seen: Trace) -> dict[str, str]:
    return {check.name: check.detail for check in seen.checks() if not check.ok}


def details(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in checks}


@pytest.mark.parametrize(
    "asked",
    [
        {"event_key": KEY},
        {"correlation_id": CORRELATION},
        {"trace_id": TRACE},
        {"trace_id": TRACE[2:].replace("-", "")},
    ],
)
def test_trace_of_an_event_that_is_everywhere_passes_from_each_of_its_ids(
    cloud: Cloud, calls: Calls, asked: dict[str, str]
) -> None:
    made.everywhere(cloud)
    log(cloud, *lines_of())
    calls.clear()

    seen = traced(cloud, **asked)

    assert failing(seen) == {}
    assert seen.events == (KEY,)
    steps = [(one.region, one.component, one.kind) for one in seen.sightings]
    assert steps == [
        (US, "ingest", "answered"),
        (US, "ingest", "accepted"),
        (US, "bus", "accepted"),
        (US, "queue store", "waiting"),
        (US, "queue activity", "waiting"),
        (US, "store", "processed"),
        (AP, "replica", "replicated"),
        (US, "replica", "processed"),
        (US, "activity", "processed"),
    ]
    assert seen.figures() == {
        "events": 1,
        "accepted_to_stored_ms": 200,
        "missing_in_replicas": 0,
        "dead_letters": 0,
        "retries": 0,
        "harmless_repeats": 0,
        "replays": 0,
        "sightings": 9,
    }
    assert {call.split("@")[0] for call in calls.mutating} <= {
        "logs:FilterLogEvents",
        "sqs:ReceiveMessage",
        "sqs:ChangeMessageVisibilityBatch",
    }


def test_trace_shows_a_chart_and_tables_that_number_alike(cloud: Cloud) -> None:
    made.everywhere(cloud)
    log(cloud, *lines_of())
    seen = traced(cloud)
    (chart,) = seen.chart().charts
    assert isinstance(chart, Chart)
    frame = seen.frame()
    assert chart.csv.count("\n") == len(frame) + 1
    assert all(f">{number}<" in chart.svg for number in frame["number"])
    assert list(frame["after_ms"]) == sorted(frame["after_ms"])
    assert [*seen.replicas()["holds_it"]] == [True, True]
    assert len(seen.searched()) == 2 * 5
    assert set(seen.searched()["remark"]) == {""}


def test_trace_of_an_event_in_one_replica_only_fails_and_names_it(cloud: Cloud) -> None:
    made.item(cloud, US)
    made.counts(cloud, US)
    made.record(cloud, US)
    found = failing(traced(cloud))
    assert set(found) == {"in every replica"}
    assert re.fullmatch(rf"{KEY}: in {US} only, [\d,]+ s after it was accepted", found["in every replica"])


def test_trace_of_a_lost_event_fails_although_no_line_says_so(cloud: Cloud) -> None:
    made.record(cloud, US)
    found = failing(traced(cloud))
    assert set(found) == {"in every replica", "exactly as accepted"}
    assert "in no replica" in found["in every replica"]


def test_trace_of_an_event_that_was_claimed_and_not_published_says_so(cloud: Cloud) -> None:
    made.record(cloud, US)
    table: Any = {"TableName": cloud.stage.idempotency_table, "Key": {"id": {"S": f"ingest#{state.digest(KEY)}"}}}
    cloud.client("dynamodb", US).update_item(
        **table,
        UpdateExpression="SET #status = :in REMOVE #data",
        ExpressionAttributeNames={"#status": "status", "#data": "data"},
        ExpressionAttributeValues={":in": {"S": "INPROGRESS"}},
    )
    assert "claimed and never answered as accepted (us-east-1: INPROGRESS)" in failing(traced(cloud))["accepted"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"written_region": AP}, "the replicas differ: us-east-1 has version 1 of us-east-1"),
        ({"payload_digest": "00" * 32}, "the replicas differ"),
        ({"version": "2"}, "the replicas differ"),
    ],
)
def test_trace_of_an_event_that_is_another_elsewhere_fails(cloud: Cloud, change: dict[str, str], said: str) -> None:
    made.everywhere(cloud)
    made.item(cloud, AP, **change)
    assert said in failing(traced(cloud))["exactly as accepted"]


def test_trace_of_an_event_with_another_payload_than_was_accepted_fails(cloud: Cloud) -> None:
    made.everywhere(cloud)
    made.record(cloud, US, payload="00" * 32)
    assert failing(traced(cloud)) == {
        "exactly as accepted": f"{KEY}: the payload is another than the one that {US} accepted"
    }


def test_trace_of_an_event_that_counts_twice_or_not_at_all_fails(cloud: Cloud) -> None:
    for region in cloud.stage.regions:
        made.item(cloud, region)
    assert failing(traced(cloud)) == {"once in effect": f"{KEY}: stored, and in no region among the counts"}
    made.counts(cloud, US)
    made.counts(cloud, AP)  # another region's part of the same bucket
    assert failing(traced(cloud)) == {}
    made.counts(cloud, US, kind="order.paid")
    assert "counted in 2 buckets" in failing(traced(cloud))["once in effect"]


def test_trace_of_a_dead_letter_fails_and_gives_it_back(cloud: Cloud) -> None:
    made.everywhere(cloud)
    sqs, letter = cloud.client("sqs", AP), given_up(CORRELATION_ID=CORRELATION)
    url = sqs.get_queue_url(QueueName="atoll-unit-activity-dlq")["QueueUrl"]
    other = {"ERROR_CODE": {"DataType": "String", "StringValue": "x"}}
    sqs.send_message(QueueUrl=url, MessageBody=letter["Body"], MessageAttributes=letter["MessageAttributes"])
    sqs.send_message(QueueUrl=url, MessageBody="{}", MessageAttributes=other)

    seen = traced(cloud)

    assert failing(seen)["in no dead-letter queue"].startswith(
        f"{KEY} in {AP} atoll-unit-activity-dlq: AccessDeniedException"
    )
    shown = repr(seen.chart()) + seen.frame().to_string() + seen.places().to_string() + repr(seen.checks())
    assert "4111111111111111" not in shown
    assert "PutItem was refused" in shown
    visible = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    assert visible["Attributes"]["ApproximateNumberOfMessages"] == "2"
    assert traced(cloud, correlation_id=CORRELATION).letters.buried == seen.letters.buried


def test_correlation_id_of_several_events_shows_all_of_them(cloud: Cloud) -> None:
    for key in (KEY, OTHER):
        made.everywhere(cloud, key)
    log(cloud, *lines_of(), *lines_of(OTHER)[2:])
    seen = traced(cloud, correlation_id=CORRELATION)
    assert set(seen.events) == {KEY, OTHER}
    assert set(seen.frame()["event_key"]) >= {KEY, OTHER}
    assert details(seen.checks())["in every replica"] == f"all 2 events: in {US}, {AP}"
    cloud.client("dynamodb", AP).delete_item(
        TableName="atoll-unit", Key={"pk": {"S": f"EVENT#{OTHER}"}, "sk": {"S": "EVENT"}}
    )
    seen = traced(cloud, correlation_id=CORRELATION)
    assert failing(seen)["in every replica"].startswith(f"{OTHER}: in {US} only")


def test_request_without_an_accepted_event_fails(cloud: Cloud) -> None:
    refused = line("ingest", "ingested", rejected=1, problems={"invalid-event": 1})
    log(cloud, refused, line("ingest", "answered", status=400, route="POST /events", elapsed_ms=2.0))
    seen = traced(cloud, correlation_id=CORRELATION)
    assert set(failing(seen)) == {"accepted"}
    assert [one.kind for one in seen.sightings] == ["answered", "failed"]


@pytest.mark.parametrize(
    ("asked", "field"), [({"event_key": OTHER}, "event_key"), ({"correlation_id": "nobody"}, "correlation_id")]
)
def test_unknown_id_is_refused_with_the_window_and_how_to_widen_it(
    cloud: Cloud, asked: dict[str, str], field: str
) -> None:
    with pytest.raises(UsageError) as caught:
        traced(cloud, **asked)
    assert str(caught.value).startswith(f"{field}: nothing is known of {asked[field]!r}")
    assert f"{START:%Y-%m-%dT%H:%M:%SZ} to {END:%Y-%m-%dT%H:%M:%SZ}" in str(caught.value)
    assert "us-east-1, ap-south-1" in str(caught.value)
    assert "-p window_start=1d" in caught.value.hint


def test_unknown_id_when_something_did_not_answer_is_no_absence(cloud: Cloud, calls: Calls) -> None:
    def fail() -> None:
        raise EndpointConnectionError(endpoint_url="https://logs")

    calls.on("before", "FilterLogEvents", fail)
    with pytest.raises(OpsError, match="not everything answered") as caught:
        traced(cloud, event_key=OTHER)
    assert not isinstance(caught.value, UsageError)


@pytest.mark.parametrize(
    "operation", ["FilterLogEvents", "BatchGetItem", "Query", "GetQueueUrl", "ListArchives", "ListReplays"]
)
def test_trace_when_something_does_not_answer_fails_and_names_it(cloud: Cloud, calls: Calls, operation: str) -> None:
    made.everywhere(cloud)
    log(cloud, *lines_of())

    def fail() -> None:
        if calls.made[-1].endswith(AP):
            raise EndpointConnectionError(endpoint_url="https://down")

    calls.on("before", operation, fail)
    found = failing(traced(cloud, correlation_id=CORRELATION))
    assert AP in found["everything was looked at"]
    assert set(found) <= {"everything was looked at", "in every replica"}


def test_trace_with_lines_outside_the_window_says_where_to_look(cloud: Cloud) -> None:
    long_ago = NOW - timedelta(days=3)
    for region in cloud.stage.regions:
        made.item(cloud, region, at=long_ago)
    made.counts(cloud, US)
    said = details(traced(cloud).checks())["accepted"]
    assert f"outside the window that was searched for lines: -p window_start={long_ago:%Y-%m-%dT%H:%M:%SZ}" in said


def test_trace_of_an_expired_event_does_not_miss_it(cloud: Cloud) -> None:
    made.record(cloud, US, at=NOW - timedelta(days=31))
    made.item(cloud, US, at=NOW - timedelta(days=31))
    seen = traced(cloud)
    assert failing(seen) == {}
    assert details(seen.checks())["in every replica"].startswith("expired at ")


def test_event_on_its_way_is_waited_for_and_only_so_long(cloud: Cloud) -> None:
    waits: list[float] = []
    at = datetime.now(UTC).replace(microsecond=0)

    def arrive(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            made.item(cloud, AP, at=at)

    made.item(cloud, US, at=at)
    made.counts(cloud, US)
    assert failing(traced(cloud, settle_s=60, clock=Clock(sleep=arrive))) == {}
    assert len(waits) == 3
    cloud.client("dynamodb", AP).delete_item(
        TableName="atoll-unit", Key={"pk": {"S": f"EVENT#{KEY}"}, "sk": {"S": "EVENT"}}
    )
    moments: Iterator[datetime] = iter(at + timedelta(seconds=n) for n in range(1000))
    assert failing(traced(cloud, settle_s=5, clock=Clock(now=lambda: next(moments), sleep=lambda s: None)))


def test_record_of_acceptance_is_read_as_ingest_writes_it(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    settings = load(ENVIRONMENT | {"ATOLL_IDEMPOTENCY_TABLE": cloud.stage.idempotency_table})
    ledger = Ledger(cloud.client("dynamodb", US), settings)
    assert ledger.claim(KEY, made.PAYLOAD, 30_000) is None
    assert failing(traced(cloud))["accepted"].startswith(f"{KEY}: claimed and never answered")
    ledger.complete(KEY, made.PAYLOAD, {"event_key": KEY, "region": US, "accepted_at": made.text_of(AT)})
    (record,) = state.read(cloud, [KEY], lambda: NOW).accepted[KEY].values()
    assert (record.region, record.status, record.accepted_at) == (US, "COMPLETED", AT)
    made.item(cloud, US)
    held = state.read(cloud, [KEY], lambda: NOW).held[KEY][US]
    assert record.agrees(held)


def test_archives_of_an_event_are_its_regions_own_and_the_next_ones_journal(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def archive(region: str, name: str, days: int, created: datetime = AT - timedelta(days=1)) -> Archive:
        return Archive(region, name, "", "", "ENABLED", 0, 0, days, created, "")

    known = [
        archive(US, "atoll-unit", 7),
        archive(AP, "atoll-unit-journal", 0),
        archive(AP, "atoll-unit", 7),
        archive(US, "atoll-unit-journal", 7),
    ]
    late = [archive(US, "atoll-unit", 7, created=NOW), archive(AP, "atoll-unit-journal", 7, created=NOW)]
    made.everywhere(cloud)
    monkeypatch.setattr(kept, "archives", lambda cloud: known)
    places = traced(cloud).places()
    assert [*zip(places["region"], places["place"], strict=True)] == [
        (US, "archive atoll-unit"),
        (AP, "archive atoll-unit-journal"),
    ]
    assert places["what"][1] == "enabled; keeps what it got then for good"
    monkeypatch.setattr(kept, "archives", lambda cloud: late)
    assert len(traced(cloud).places()) == 0


def test_replays_over_the_event_are_shown_and_no_others(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def replay(name: str, archive: str, begin: timedelta, end: timedelta) -> dict[str, Any]:
        return {
            "ReplayName": name,
            "EventSourceArn": f"arn:aws:events:{US}:{cloud.account}:archive/{archive}",
            "State": "COMPLETED",
            "EventStartTime": AT + begin,
            "EventEndTime": AT + end,
            "ReplayStartTime": NOW - timedelta(minutes=1),
            "ReplayEndTime": NOW,
        }

    minute, none = timedelta(minutes=1), timedelta()
    found = [
        replay("over", "atoll-unit", none, minute),
        replay("before", "atoll-unit", -minute, none),
        replay("journal-of-others", "atoll-unit-journal", -minute, minute),
        replay("foreign", "orders", -minute, minute),
    ]
    monkeypatch.setattr(kept, "replays", lambda cloud, region: found if region == US else [])
    made.everywhere(cloud)
    seen = traced(cloud)
    shown = [one.what.partition(" ")[0] for one in seen.sightings if one.kind == "replayed"]
    assert shown == ["over"]
    assert seen.figures()["replays"] == 1
    assert len(seen.chart().charts) == 2  # much later: an axis of its own


def test_segments_are_shown_where_the_stage_traces(cloud: Cloud, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    tracing = cloud.stage.tracing.model_copy(update={"enabled": True})
    monkeypatch.setattr(cloud, "stage", cloud.stage.model_copy(update={"tracing": tracing}))
    begun = AT.timestamp()
    segments = [
        {"name": "atoll-unit-ingest", "origin": "AWS::Lambda::Function", "start_time": begun, "end_time": begun + 0.05},
        {"name": "atoll-unit-store", "start_time": begun + 0.1, "end_time": begun + 0.2, "fault": True},
        {"name": "broken"},
    ]
    answers = [
        {"Segments": [{"Id": str(n), "Document": json.dumps(one)}], "Id": TRACE} for n, one in enumerate(segments)
    ]
    asked: list[Any] = []

    def batch_get_traces(**given: Any) -> dict[str, Any]:
        asked.append(given)
        number = int(given.get("NextToken", 0))
        more = {"NextToken": str(number + 1)} if number + 1 < len(answers) else {}
        return {"Traces": [answers[number]], **more}

    client = type("XRay", (), {"batch_get_traces": staticmethod(batch_get_traces)})
    monkeypatch.setattr(
        cloud, "client", lambda service, region: client if service == "xray" else hub.client(service, region)
    )
    made.everywhere(cloud)

    seen = traced(cloud)

    shown = {(one.component, one.kind, one.what) for one in seen.sightings if one.source == "X-Ray"}
    assert shown == {("ingest", "traced", "AWS::Lambda::Function"), ("store", "failed", "segment: fault")}
    assert {tuple(one["TraceIds"]) for one in asked} == {(TRACE,)}
    assert len(asked) == 2 * 3
    many = {f"1-{n:08x}-{n:024x}": "" for n in range(12)}
    asked.clear()
    xray.look(cloud, many)
    assert max(len(one["TraceIds"]) for one in asked) == xray.BATCH


def test_segments_are_not_asked_for_where_the_stage_does_not_trace(cloud: Cloud, calls: Calls) -> None:
    made.everywhere(cloud)
    calls.clear()
    assert traced(cloud).segments == xray.Segments()
    assert not any(call.startswith("xray:") for call in calls.made)


def test_more_events_than_are_looked_for_are_said(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "NAMED", 1)
    for key in (KEY, OTHER):
        made.everywhere(cloud, key)
    log(cloud, *lines_of(), *lines_of(OTHER)[2:])
    found = failing(traced(cloud, correlation_id=CORRELATION))
    assert found == {
        "everything was looked at": "1 of the events: lines of other requests with them were not looked for"
    }

"""No event lost: the next region keeps what a region accepts and replays it when that is gone; DLQs say why."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.local.conftest import Atoll
from tests.local.platform import ACCOUNT, wait_until

US, INDIA = "us-east-1", "ap-south-1"
BUS, JOURNAL = "atoll-local", "atoll-local-journal"


def archived(atoll: Atoll, region: str, archive: str) -> int:
    return int(atoll.client("events", region).describe_archive(ArchiveName=archive)["EventCount"])


def send(atoll: Atoll, count: int, region: str) -> set[str]:
    """Keys of events that a region accepted."""
    out = atoll.directory / f"journal-{uuid.uuid4()}.jsonl"
    atoll.ops("send", "--count", str(count), "--region", region, "--out", str(out))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["status"] for line in lines] == [202] * count
    return {line["event_key"] for line in lines}


def messages(atoll: Atoll, region: str, queue: str) -> list[tuple[str, dict[str, str]]]:
    """Body and attributes of every message; the queue is empty afterwards."""
    sqs, found = atoll.client("sqs", region), []
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    while received := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=60
    ).get("Messages"):
        for message in received:
            attributes = message.get("MessageAttributes", {})
            found.append((message["Body"], {name: one["StringValue"] for name, one in attributes.items()}))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


@contextmanager
def tap(atoll: Atoll, region: str, bus: str) -> Iterator[str]:
    """A queue that gets every event of a bus for as long as the block runs."""
    events, sqs, name = atoll.client("events", region), atoll.client("sqs", region), f"tap-{bus}"
    arn = f"arn:aws:sqs:{region}:{ACCOUNT}:{name}"
    rule = events.put_rule(Name=name, EventBusName=bus, EventPattern='{"source": ["atoll.events"]}')["RuleArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    url = sqs.create_queue(QueueName=name, Attributes={"Policy": json.dumps({"Statement": [statement]})})["QueueUrl"]
    events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "tap", "Arn": arn}])
    try:
        yield name
    finally:
        events.remove_targets(Rule=name, EventBusName=bus, Ids=["tap"])
        events.delete_rule(Name=name, EventBusName=bus)
        sqs.delete_queue(QueueUrl=url)


def test_each_event_accepted_in_a_region_is_once_in_the_journal_of_the_next_as_it_was(atoll: Atoll) -> None:
    before = {(r, a): archived(atoll, r, a) for r in (US, INDIA) for a in (BUS, JOURNAL)}
    with tap(atoll, US, BUS) as live, tap(atoll, INDIA, JOURNAL) as kept:
        keys = send(atoll, 25, US)
        wait_until(lambda: archived(atoll, INDIA, JOURNAL) - before[INDIA, JOURNAL] >= 25, "25 events in the journal")
        sent = [json.loads(body) for body, _ in messages(atoll, US, live)]
        journaled = [json.loads(body) for body, _ in messages(atoll, INDIA, kept)]
    after = {place: archived(atoll, *place) - count for place, count in before.items()}
    assert after == {(US, BUS): 25, (INDIA, JOURNAL): 25, (US, JOURNAL): 0, (INDIA, BUS): 0}
    assert {event["detail"]["event_key"] for event in journaled} == keys
    fields = ("id", "time", "source", "detail-type", "detail")
    order = [{name: event[name] for name in fields} for event in sorted(sent, key=lambda event: str(event["id"]))]
    assert [
        {name: event[name] for name in fields} for event in sorted(journaled, key=lambda event: str(event["id"]))
    ] == order
    atoll.wait_until_quiet()


def test_replayed_events_are_not_journaled_again(atoll: Atoll) -> None:
    send(atoll, 5, US)
    atoll.wait_until_quiet()
    before = archived(atoll, INDIA, JOURNAL)
    token = atoll.ops("run", "replay", "-p", f"region={US}", "-p", "window_start=5m", "--json").json["plan"]["token"]
    applied = atoll.ops("run", "replay", "--apply", token, "--json").json
    assert applied["verdict"] == "pass"
    assert archived(atoll, INDIA, JOURNAL) == before


def test_status_names_the_journal_archive_and_the_runbook_lists_it(atoll: Atoll) -> None:
    regions = atoll.ops("status", "--json").json["regions"]
    assert [region["journal_archive"] for region in regions] == [JOURNAL, JOURNAL]
    refused = atoll.ops("run", "replay", "-p", "archive=other", expect=2)
    assert f"accepted: {BUS}, {JOURNAL}" in " ".join((refused.err + refused.out).split())


def test_events_of_a_dead_region_are_replayed_from_the_living_ones_journal(atoll: Atoll) -> None:
    atoll.wait_until_quiet()
    atoll.ops("fault", "replication-cut", US, INDIA)
    try:
        keys = send(atoll, 20, US)
        wait_until(lambda: keys <= set(atoll.event_keys(US)), "the events in their own region", timeout_s=60)
        assert keys.isdisjoint(atoll.event_keys(INDIA))
        atoll.ops("fault", "region-down", US)
        journal = ("-p", f"region={INDIA}", "-p", f"archive={JOURNAL}", "-p", "window_start=10m")
        planned = atoll.ops("run", "replay", *journal, "--json").json
        applied = atoll.ops("run", "replay", "--apply", planned["plan"]["token"], "--json").json

        assert applied["verdict"] == "pass"
        assert applied["figures"]["restored"] == 20
        items = [item for item in atoll.items(INDIA) if item.get("event_key", {}).get("S") in keys]
        items = [item for item in items if item["sk"]["S"] == "EVENT"]
        assert len(items) == len(keys)
        assert {item["accepted_region"]["S"] for item in items} == {US}
        assert {item["written_region"]["S"] for item in items} == {INDIA}

        before = atoll.checksum(INDIA)
        token = atoll.ops("run", "replay", *journal, "-p", "repeat=1", "--json").json["plan"]["token"]
        again = atoll.ops("run", "replay", "--apply", token, "--json").json
        assert again["verdict"] == "pass"
        assert atoll.checksum(INDIA) == before
    finally:
        atoll.ops("fault", "heal")
    atoll.wait_until_quiet()
    # What the dead region had written arrives late and is the older version: both end equal.
    assert atoll.checksum(US) == atoll.checksum(INDIA)
    for region in (US, INDIA):
        all_keys = atoll.event_keys(region)
        assert len(all_keys) == len(set(all_keys))


def test_events_accepted_while_the_next_region_is_down_are_in_its_journal_when_it_is_back(atoll: Atoll) -> None:
    before = archived(atoll, INDIA, JOURNAL)
    atoll.ops("fault", "region-down", INDIA)
    try:
        send(atoll, 5, US)
    finally:
        atoll.ops("fault", "heal")
    wait_until(lambda: archived(atoll, INDIA, JOURNAL) == before + 5, "the events in the journal", timeout_s=30)
    assert messages(atoll, US, "atoll-local-journal-dlq") == []
    atoll.wait_until_quiet()


def accepted(name: str, **changes: Any) -> dict[str, Any]:
    """An entry as ingest publishes one."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"specversion": "1.0", "id": name, "source": "/tests/poison", "type": "com.example.poison", "time": now}
    detail = {
        "event_key": str(uuid.uuid4()),
        "tenant": "public",
        "correlation_id": f"poison-{name}",
        "accepted_at": now,
        "accepted_region": US,
        "event": event | changes,
    }
    return {"Source": "atoll.events", "DetailType": event["type"], "Detail": json.dumps(detail), "EventBusName": BUS}


def test_poisoned_event_is_in_the_dlq_with_its_reason_and_its_neighbours_in_the_table(atoll: Atoll) -> None:
    entries = [accepted(str(number)) for number in range(9)]
    entries.insert(4, accepted("bad", type=None))
    keys = [json.loads(entry["Detail"])["event_key"] for entry in entries]
    poisoned = keys.pop(4)
    answer = atoll.client("events", US).put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 0
    wait_until(lambda: set(keys) <= set(atoll.event_keys(US)), "the neighbours in the table", timeout_s=60)
    for processor in ("store", "activity"):
        found: list[tuple[str, dict[str, str]]] = []
        wait_until(
            lambda processor=processor, found=found: (
                found.extend(messages(atoll, US, f"atoll-local-{processor}-dlq")) or found
            ),
            f"the poisoned event in the DLQ of {processor}",
            timeout_s=60,
        )
        ((body, reason),) = found
        assert json.loads(body)["detail"]["event_key"] == poisoned
        assert reason == {
            "ERROR_CODE": "MalformedDeliveryError",
            "ERROR_MESSAGE": "detail.event.type: missing or not a string",
            "FUNCTION": f"atoll-local-{processor}",
            "EVENT_KEY": poisoned,
            "CORRELATION_ID": "poison-bad",
            "RECEIVE_COUNT": "1",
        }
    atoll.wait_until_quiet()
    assert poisoned not in atoll.event_keys(US)


def test_asynchronous_invocation_that_fails_is_retried_and_then_kept(atoll: Atoll) -> None:
    payload = {"Records": None}
    invocation = {"FunctionName": "atoll-local-store", "InvocationType": "Event", "Payload": json.dumps(payload)}
    atoll.client("lambda", US).invoke(**invocation)
    found: list[tuple[str, dict[str, str]]] = []
    wait_until(
        lambda: found.extend(messages(atoll, US, "atoll-local-async-dlq")) or found,
        "the failed invocation in the queue",
        timeout_s=60,
    )
    ((body, _),) = found
    record = json.loads(body)
    assert record["requestPayload"] == payload
    assert record["requestContext"]["approximateInvokeCount"] == 3

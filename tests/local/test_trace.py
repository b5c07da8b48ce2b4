"""Traces on the real local cloud: of an event that went well, of one that was replayed, and of a dead letter."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from ops import trace
from ops.aws import Cloud
from tests.local.conftest import Atoll
from tests.local.platform import wait_until
from tests.local.test_enforcement import without
from tests.local.test_redrive import DEAD_LETTERED_S, depth, run, send
from tests.local.test_replay import put, replay

US, AP = "us-east-1", "ap-south-1"


@pytest.fixture
def cloud(atoll: Atoll, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", atoll.cloud["endpoint_url"])
    return Cloud(atoll.stage, str(atoll.stage.account), boto3.Session(region_name=US))


def traced(cloud: Cloud, **asked: str) -> trace.Trace:
    now = datetime.now(UTC)
    return trace.collect(cloud, trace.subject(**asked), now - timedelta(hours=1), now + timedelta(minutes=1))


def steps(seen: trace.Trace, region: str) -> set[tuple[str, str]]:
    return {(one.component, one.kind) for one in seen.sightings if one.region == region}


def failing(checks: list[Any]) -> list[str]:
    return [check.name for check in checks if not check.ok]


def accept(atoll: Atoll, *names: str, **headers: str) -> dict[str, Any]:
    """Send the events in one request; the answer."""
    events = [{"specversion": "1.0", "id": n, "source": "/tests/trace", "type": "com.example.traced"} for n in names]
    kind = {"content-type": f"application/cloudevents{'-batch' if len(names) > 1 else ''}+json"}
    content = json.dumps(events if len(names) > 1 else events[0])
    url = f"{atoll.cloud['edge_url']}/events"
    answer = httpx.post(url, headers=kind | headers | atoll.bearer(), content=content, timeout=30)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def test_event_is_seen_from_its_acceptance_to_both_replicas_from_each_of_its_ids(atoll: Atoll, cloud: Cloud) -> None:
    digits, correlation = secrets.token_hex(16), f"order {secrets.token_hex(4)}".replace(" ", "-")
    headers = {"traceparent": f"00-{digits}-00f067aa0ba902b7-01", "x-correlation-id": correlation}
    accepted = accept(atoll, digits, **headers)
    home = accepted["region"]
    (other,) = {US, AP} - {home}

    # Without waiting for anything before: what is on its way is waited for.
    seen = traced(cloud, event_key=accepted["event_key"])

    assert failing(seen.checks()) == []
    atoll.wait_until_quiet()
    ids = {"event_key": accepted["event_key"], "correlation_id": correlation, "trace_id": digits}
    for kind, value in ids.items():
        seen = traced(cloud, **{kind: value})
        assert seen.events == (accepted["event_key"],)
        assert failing(seen.checks()) == []
        assert steps(seen, home) == {
            ("ingest", "answered"),
            ("ingest", "accepted"),
            ("bus", "accepted"),
            ("queue store", "waiting"),
            ("queue activity", "waiting"),
            ("store", "processed"),
            ("activity", "processed"),
            ("replica", "processed"),
        }
        assert steps(seen, other) == {("replica", "replicated")}
        copies = {(copy.region, copy.archive) for copy in seen.kept.copies}
        assert copies == {(home, "atoll-local"), (other, "atoll-local-journal")}
    again = accept(atoll, digits, **headers)
    assert again == accepted
    assert ("ingest", "repeated") in steps(traced(cloud, event_key=accepted["event_key"]), home)


def test_runbook_shows_the_events_of_a_request_and_refuses_what_nobody_knows(atoll: Atoll) -> None:
    correlation = secrets.token_hex(8)
    answer = accept(atoll, f"{correlation}-1", f"{correlation}-2", **{"x-correlation-id": correlation})
    keys = {result["event_key"] for result in answer["results"]}
    atoll.wait_until_quiet()

    ran = atoll.ops("run", "trace", "-p", f"correlation_id={correlation}", "--json").json

    assert (ran["verdict"], ran["figures"]["events"], ran["figures"]["missing_in_replicas"]) == ("pass", 2, 0)
    page = sorted(Path(atoll.environment["ATOLL_REPORTS_DIR"]).glob("local/*-trace"))[-1] / "run.html"
    text = page.read_text(encoding="utf-8")
    assert all(key in text for key in keys)
    assert 'aria-label="What happened.' in text
    unknown = atoll.ops("run", "trace", "-p", "correlation_id=nobody", expect=2)
    assert "nothing is known of 'nobody'" in " ".join((unknown.out + unknown.err).split())
    malformed = atoll.ops("run", "trace", "-p", "event_key=order-1", expect=2)
    assert "event_key: 'order-1' is none; accepted: a UUID" in " ".join((malformed.out + malformed.err).split())


def test_replayed_event_shows_its_replay_and_that_it_changed_nothing(atoll: Atoll, cloud: Cloud) -> None:
    (key,) = put(atoll, 1, ago=7)
    wait_until(lambda: key in atoll.event_keys(US), "the event in the table", timeout_s=60)
    atoll.wait_until_quiet()
    result = replay(atoll, "window_start=9m")
    assert result["verdict"] == "pass", result["checks"]

    seen = traced(cloud, event_key=key)

    assert failing(seen.checks()) == []
    # Earlier replays went over the same minutes, when the event was not there yet.
    name = f"{atoll.stage.prefix}-{result['plan']['token']}-001"
    assert name in {one.what.partition(" ")[0] for one in seen.sightings if one.kind == "replayed"}
    repeated = [one for one in seen.sightings if (one.component, one.kind) == ("store", "repeated")]
    assert [one.what for one in repeated] == [f"stored already: changes nothing (by replay {name})"]
    assert "delivered or sent again once without effect" in seen.checks()[3].detail


@pytest.mark.timeout(900)
def test_dead_letter_is_shown_with_its_retries_and_after_a_redrive_where_it_came_to(atoll: Atoll, cloud: Cloud) -> None:
    sqs, name = atoll.client("sqs", US), f"{atoll.stage.prefix}-store-dlq"
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    before = depth(sqs, url)
    with without(atoll, "store", "dynamodb:PutItem"):
        (line,) = send(atoll, 1)
        wait_until(lambda: depth(sqs, url) > before, "the event on the DLQ", timeout_s=DEAD_LETTERED_S)

    seen = traced(cloud, event_key=line["event_key"])

    assert failing(seen.checks()) == ["in every replica", "exactly as accepted", "in no dead-letter queue"]
    assert ("dlq", "dead-lettered") in steps(seen, US)
    assert [one.code for one in seen.letters.buried] == ["AccessDeniedException"]
    retries = [one for one in seen.sightings if (one.component, one.kind) == ("store", "retried")]
    assert len(retries) == atoll.stage.processors.max_receive_count
    assert depth(sqs, url) == before + 1  # it was given back

    bucket = atoll.stage.operations_bucket("000000000000", US)
    assert bucket in {one["Name"] for one in atoll.client("s3", US).list_buckets()["Buckets"]}
    assert run(atoll, name)["verdict"] == "pass"
    seen = traced(cloud, event_key=line["event_key"])
    assert failing(seen.checks()) == []
    (stored,) = [one for one in seen.sightings if (one.component, one.kind) == ("store", "processed")]
    assert stored.what == "stored (redriven once)"
    assert ("store", "dead-lettered") in steps(seen, US)

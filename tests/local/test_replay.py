"""Replay on the real local cloud: proved by key, slice by slice, and nothing temporary stays, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from ops.stage import ROOT
from tests.local.conftest import OPS, Atoll
from tests.local.platform import wait_until

US, INDIA = "us-east-1", "ap-south-1"
BUS, JOURNAL = "atoll-local", "atoll-local-journal"
MINUTE = timedelta(minutes=1)


def put(atoll: Atoll, count: int, *, minutes: int = 1, ago: int = 10, kind: str = "com.example.replayed") -> list[str]:
    """Accepted events of past minutes, as ingest publishes them; their keys."""
    begin = datetime.now(UTC).replace(second=1, microsecond=0) - MINUTE * ago
    keys, entries = [], []
    for number in range(count):
        at = begin + MINUTE * (number % minutes)
        text = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        name = uuid.uuid4()
        event = {"specversion": "1.0", "id": str(name), "source": "/tests/replay", "type": kind, "time": text}
        detail = {
            "event_key": str(name),
            "tenant": "public",
            "correlation_id": f"replay-{number}",
            "accepted_at": text,
            "accepted_region": US,
            "event": event,
        }
        keys.append(str(name))
        entries.append(
            {
                "Source": "atoll.events",
                "DetailType": kind,
                "Detail": json.dumps(detail),
                "EventBusName": BUS,
                "Time": at,
            }
        )
    for start in range(0, count, 10):
        assert atoll.client("events", US).put_events(Entries=entries[start : start + 10])["FailedEntryCount"] == 0
    return keys


def replay(atoll: Atoll, *parameters: str) -> Any:
    """Plan and apply; the result."""
    given = [part for one in parameters for part in ("-p", one)]
    token = atoll.ops("run", "replay", *given, "--json").json["plan"]["token"]
    return atoll.ops("run", "replay", "--apply", token, "--json", expect=None).json


def failing(result: Any) -> list[Any]:
    return [check for check in result["checks"] if not check["ok"]]


def temporaries(atoll: Atoll, region: str = US) -> list[str]:
    """Rules and queues of replays that are there now."""
    events, sqs = atoll.client("events", region), atoll.client("sqs", region)
    rules = [rule["Name"] for bus in (BUS, JOURNAL) for rule in events.list_rules(EventBusName=bus)["Rules"]]
    queues = [url.rpartition("/")[2] for url in sqs.list_queues().get("QueueUrls", [])]
    return [name for name in [*rules, *queues] if name.startswith(f"{BUS}-replay-")]


@contextmanager
def processing_stopped(atoll: Atoll, region: str) -> Iterator[None]:
    """No queue of the region feeds its function for as long as the block runs."""
    functions = atoll.client("lambda", region)

    def switch(on: bool) -> None:
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=on)

    switch(False)
    try:
        yield
    finally:
        switch(True)


@contextmanager
def bus_deleted(atoll: Atoll, region: str, bus: str) -> Iterator[None]:
    """A bus with its rules is gone for as long as the block runs."""
    events = atoll.client("events", region)
    rules = [rule for rule in events.list_rules(EventBusName=bus)["Rules"] if not rule.get("ManagedBy")]
    targets = {
        rule["Name"]: events.list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"] for rule in rules
    }
    for rule in rules:
        ids = [target["Id"] for target in targets[rule["Name"]]]
        events.remove_targets(Rule=rule["Name"], EventBusName=bus, Ids=ids)
        events.delete_rule(Name=rule["Name"], EventBusName=bus)
    events.delete_event_bus(Name=bus)
    try:
        yield
    finally:
        events.create_event_bus(Name=bus)
        for rule in rules:
            known = {name: rule[name] for name in ("Name", "EventPattern", "State", "Description") if name in rule}
            events.put_rule(EventBusName=bus, **known)
            events.put_targets(Rule=rule["Name"], EventBusName=bus, Targets=targets[rule["Name"]])


@contextmanager
def pace(atoll: Atoll, events_per_s: float) -> Iterator[None]:
    """Replays go at this rate for as long as the block runs."""
    url = f"{atoll.cloud['emulator_url']}/_atoll/replays"
    assert httpx.patch(url, json={"events_per_s": events_per_s}).status_code == 200
    try:
        yield
    finally:
        httpx.patch(url, json={"events_per_s": None})


def replays_of(atoll: Atoll, token: str) -> dict[str, str]:
    """Name without what all share -> state."""
    prefix = f"{BUS}-{token}-"
    found = atoll.client("events", US).list_replays(NamePrefix=prefix)["Replays"]
    return {one["ReplayName"].removeprefix(prefix): one["State"] for one in found}


def test_replaying_the_same_hour_leaves_the_tables_identical(atoll: Atoll) -> None:
    keys = put(atoll, 30, minutes=5)
    atoll.ops("send", "--count", "20", "--duplicates", "0.2")
    wait_until(lambda: set(keys) <= set(atoll.event_keys(US)), "the events in the table", timeout_s=60)
    atoll.wait_until_quiet()
    before = [atoll.checksum(region) for region in (US, INDIA)]
    result = replay(atoll, "window_start=1h", "slice_minutes=10", "parallel=3")
    assert failing(result) == []
    figures = result["figures"]
    assert figures["archived"] == figures["already_in_table"] >= 30
    assert (figures["restored"], figures["missing"], figures["removed"]) == (0, 0, 0)
    assert figures["checksum_before"] == figures["checksum_after"]
    assert [atoll.checksum(region) for region in (US, INDIA)] == before
    assert temporaries(atoll) == []


def test_events_of_a_region_whose_bus_is_gone_are_restored_from_the_peers_journal_every_one(atoll: Atoll) -> None:
    atoll.wait_until_quiet()
    sqs = atoll.client("sqs", US)
    with processing_stopped(atoll, US):
        keys = set(put(atoll, 60, minutes=3))
        archived = atoll.client("events", INDIA)
        wait_until(
            lambda: archived.describe_archive(ArchiveName=JOURNAL)["EventCount"] >= 60, "the events in the journal"
        )
        with bus_deleted(atoll, US, BUS):
            for processor in ("store", "activity"):
                sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=f"{BUS}-{processor}")["QueueUrl"])
            for region in (US, INDIA):
                assert keys.isdisjoint(atoll.event_keys(region))
            result = replay(atoll, f"region={INDIA}", f"archive={JOURNAL}", "window_start=20m")
            assert failing(result) == []
            assert result["figures"]["restored"] == 60
    atoll.wait_until_quiet()
    for region in (US, INDIA):
        stored = [key for key in atoll.event_keys(region) if key in keys]
        assert sorted(stored) == sorted(keys)
    assert atoll.checksum(US) == atoll.checksum(INDIA)
    assert temporaries(atoll, INDIA) == []


def test_audit_hears_the_archive_and_touches_no_consumer(atoll: Atoll) -> None:
    keys = put(atoll, 20)
    wait_until(lambda: set(keys) <= set(atoll.event_keys(US)), "the events in the table", timeout_s=60)
    atoll.wait_until_quiet()
    sqs = atoll.client("sqs", US)
    with processing_stopped(atoll, US):
        result = replay(atoll, "window_start=20m", "deliver=false")
        assert failing(result) == []
        assert result["figures"]["archived"] >= 20
        for processor in ("store", "activity"):
            url = sqs.get_queue_url(QueueName=f"{BUS}-{processor}")["QueueUrl"]
            assert sqs.receive_message(QueueUrl=url).get("Messages", []) == []
    assert temporaries(atoll) == []


def test_selection_by_type_delivers_only_that_type_and_leaves_no_rule_behind(atoll: Atoll) -> None:
    atoll.wait_until_quiet()
    sqs = atoll.client("sqs", US)
    with processing_stopped(atoll, US):
        kinds = {kind: set(put(atoll, 12, kind=f"com.example.{kind}")) for kind in ("wanted", "other")}
        stored = atoll.client("events", US)
        wait_until(lambda: stored.describe_archive(ArchiveName=BUS)["EventCount"] >= 24, "the events in the archive")
        for processor in ("store", "activity"):
            sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=f"{BUS}-{processor}")["QueueUrl"])
    result = replay(atoll, "window_start=11m", "types=com.example.wanted")
    assert failing(result) == []
    assert (result["figures"]["archived"], result["figures"]["restored"]) == (12, 12)
    # What was not chosen stays away, although the archive has it.
    assert kinds["wanted"] <= set(atoll.event_keys(US))
    assert kinds["other"].isdisjoint(atoll.event_keys(US))
    assert temporaries(atoll) == []

    after = replay(atoll, "window_start=11m", "types=com.example.other")
    assert (failing(after), after["figures"]["restored"]) == ([], 12)
    atoll.wait_until_quiet()


def start(atoll: Atoll, token: str) -> subprocess.Popen[str]:
    """Apply a plan in a process of its own."""
    return subprocess.Popen(
        [OPS, "run", "replay", "--apply", token],
        cwd=ROOT,
        env={**atoll.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def one_under_way(atoll: Atoll, token: str) -> bool:
    states = list(replays_of(atoll, token).values())
    return "COMPLETED" in states and "RUNNING" in states


def planned(atoll: Atoll) -> str:
    """A plan of slices of one minute each, of which one at a time is replayed."""
    keys = put(atoll, 60, minutes=6, ago=8)
    wait_until(lambda: set(keys) <= set(atoll.event_keys(US)), "the events in the table", timeout_s=60)
    atoll.wait_until_quiet()
    given = ("-p", "window_start=9m", "-p", "slice_minutes=1", "-p", "parallel=1")
    return str(atoll.ops("run", "replay", *given, "--json").json["plan"]["token"])


def test_ctrl_c_cancels_and_cleans_up_and_the_resume_repeats_no_finished_slice(atoll: Atoll) -> None:
    token = planned(atoll)
    with pace(atoll, 5):
        running = start(atoll, token)
        wait_until(lambda: one_under_way(atoll, token), "a slice completed and another under way", timeout_s=120)
        os.killpg(running.pid, signal.SIGINT)
        said = running.communicate(timeout=120)[0]
    assert running.returncode == 3, said
    assert "what was under way is cancelled, and nothing temporary is left" in " ".join(said.split())
    assert f"--apply {token}" in " ".join(said.split())
    stopped = replays_of(atoll, token)
    assert set(stopped.values()) == {"COMPLETED", "CANCELLED"}
    assert temporaries(atoll) == []

    resumed = atoll.ops("run", "replay", "--apply", token, "--json", expect=None).json
    assert failing(resumed) == []
    assert resumed["figures"]["archived"] == resumed["figures"]["already_in_table"] >= 60
    after = replays_of(atoll, token)
    for name, state in stopped.items():
        again = {other for other in after if other.startswith(f"{name}-")}
        assert again == (set() if state == "COMPLETED" else {f"{name}-2"})
    assert temporaries(atoll) == []


def test_run_that_was_killed_is_taken_up_with_its_tap_and_leaves_nothing(atoll: Atoll) -> None:
    token = planned(atoll)
    with pace(atoll, 5):
        running = start(atoll, token)
        wait_until(lambda: one_under_way(atoll, token), "a slice completed and another under way", timeout_s=120)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate(timeout=60)
    assert len(temporaries(atoll)) == 2
    resumed = atoll.ops("run", "replay", "--apply", token, "--json", expect=None).json
    assert failing(resumed) == []
    assert set(replays_of(atoll, token).values()) == {"COMPLETED"}
    assert not any("-" in name for name in replays_of(atoll, token))
    assert temporaries(atoll) == []

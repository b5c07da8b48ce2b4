"""A replay brings each event of its window once, minute by minute, and nothing after it was cancelled."""

from __future__ import annotations

import importlib
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.local.emulator.replays import MAX_CONCURRENT, Replays, in_order
from ops.local.emulator.scopes import Scope, entered

SCOPE = Scope("000000000000", "eu-south-1")
ARN = f"arn:aws:events:{SCOPE.region}:{SCOPE.account}"
QUEUE = f"arn:aws:sqs:{SCOPE.region}:{SCOPE.account}:q"


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited 10 s in vain"
        time.sleep(0.005)


class Bench:
    """An archive of events, one a second from 0 on, and rules that note what they are brought."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.events = importlib.import_module("ministack.services.eventbridge")
        self.brought: list[tuple[str, dict[str, Any]]] = []
        self.replays = Replays(random.Random(1))
        monkeypatch.setattr(
            self.events, "_invoke_target", lambda target, event, rule, view: self.brought.append((rule["Name"], event))
        )
        self.events._create_event_bus({"Name": "bus"})
        self.events._create_archive({"ArchiveName": "kept", "EventSourceArn": f"{ARN}:event-bus/bus"})
        self.events._archives["kept"]["Events"] = [
            {"EventId": str(n), "Source": "s", "DetailType": "d", "Detail": "{}", "EventBusName": "bus", "Time": n}
            for n in range(count)
        ]
        for rule, pattern in (("all", {"source": ["s"]}), ("live", {"replay-name": [{"exists": False}]})):
            self.events._put_rule({"Name": rule, "EventBusName": "bus", "EventPattern": json.dumps(pattern)})
            self.events._put_targets({"Rule": rule, "EventBusName": "bus", "Targets": [{"Id": "1", "Arn": QUEUE}]})

    def start(self, name: str = "again", *, expect: str = "", **changes: Any) -> dict[str, Any]:
        request = {
            "ReplayName": name,
            "EventSourceArn": f"{ARN}:archive/kept",
            "EventStartTime": 0,
            "EventEndTime": 10_000,
            "Destination": {"Arn": f"{ARN}:event-bus/bus"},
        }
        answer: dict[str, Any] = json.loads(self.replays.start(request | changes)[2])
        assert answer.get("__type", "") == expect, answer
        return answer

    def described(self, name: str = "again") -> dict[str, Any]:
        return dict(json.loads(self.replays.describe({"ReplayName": name})[2]))

    def wait(self, state: str, name: str = "again") -> dict[str, Any]:
        eventually(lambda: self.described(name)["State"] == state)
        return self.described(name)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with entered(SCOPE):
        one = Bench(monkeypatch, 180)
        yield one
        one.replays.events_per_s = None
        eventually(lambda: not one.replays.state()["under_way"])
        one.events._delete_event_bus({"Name": "bus"})
        for held in (one.events._archives, one.events._replays, one.events._rules, one.events._targets):
            for name in list(held):
                del held[name]


@given(st.lists(st.integers(0, 600)), st.integers(0, 600), st.integers(0, 600), st.integers())
def test_in_order_is_each_event_of_the_window_once_and_no_minute_before_an_earlier_one(
    times: list[int], start_s: int, end_s: int, seed: int
) -> None:
    played = list(in_order([{"Time": one} for one in times], start_s, end_s, random.Random(seed)))
    assert sorted(one["Time"] for one in played) == sorted(one for one in times if start_s <= one < end_s)
    minutes = [one["Time"] // 60 for one in played]
    assert minutes == sorted(minutes)


def test_replay_brings_the_window_to_the_rules_that_match_and_completes(bench: Bench) -> None:
    assert bench.start(EventStartTime=30, EventEndTime=150)["State"] == "STARTING"
    done = bench.wait("COMPLETED")
    assert {rule for rule, _ in bench.brought} == {"all"}
    assert sorted(event["Time"] for _, event in bench.brought) == list(range(30, 150))
    assert {event["ReplayName"] for _, event in bench.brought} == {"again"}
    assert done["EventLastReplayedTime"] == bench.brought[-1][1]["Time"] >= 120
    assert done["ReplayEndTime"] >= done["ReplayStartTime"]
    order = [event["Time"] for _, event in bench.brought]
    assert order != sorted(order)


def test_replay_to_rules_of_its_filter_leaves_the_others_out(bench: Bench) -> None:
    bench.start(Destination={"Arn": f"{ARN}:event-bus/bus", "FilterArns": [f"{ARN}:rule/bus/live"]})
    bench.wait("COMPLETED")
    assert bench.brought == []


def test_cancelled_replay_delivers_nothing_more(bench: Bench) -> None:
    bench.replays.events_per_s = 200
    bench.start()
    eventually(lambda: len(bench.brought) > 5)
    answer = json.loads(bench.replays.cancel({"ReplayName": "again"})[2])
    assert answer["State"] == "CANCELLING"
    bench.wait("CANCELLED")
    brought = len(bench.brought)
    assert brought < 180
    assert json.loads(bench.replays.cancel({"ReplayName": "again"})[2])["__type"] == "IllegalStatusException"
    bench.replays.events_per_s = None
    bench.start("other", EventEndTime=1)
    bench.wait("COMPLETED", "other")
    assert len(bench.brought) == brought + 1


def test_pace_of_nothing_holds_a_replay_and_lifting_it_lets_it_end(bench: Bench) -> None:
    bench.replays.events_per_s = 0
    bench.start()
    bench.wait("RUNNING")
    assert bench.replays.state() == {"events_per_s": 0, "under_way": 1}
    assert bench.brought == []
    assert "EventLastReplayedTime" not in bench.described()
    bench.replays.events_per_s = None
    bench.wait("COMPLETED")
    assert len(bench.brought) == 180


def test_more_than_ten_replays_under_way_are_refused(bench: Bench) -> None:
    bench.replays.events_per_s = 0
    for number in range(MAX_CONCURRENT):
        bench.start(f"r{number}")
    bench.start("one-too-many", expect="LimitExceededException")
    bench.replays.cancel({"ReplayName": "r0"})
    bench.wait("CANCELLED", "r0")
    bench.start("instead")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ReplayName": "a b"}, "ValidationException"),
        ({"EventSourceArn": f"{ARN}:archive/absent"}, "ResourceNotFoundException"),
        ({"Destination": {"Arn": f"{ARN}:event-bus/other"}}, "ValidationException"),
        ({"EventEndTime": 0}, "ValidationException"),
        ({"EventEndTime": None}, "ValidationException"),
        (
            {"Destination": {"Arn": f"{ARN}:event-bus/bus", "FilterArns": [f"{ARN}:rule/bus/gone"]}},
            "ResourceNotFoundException",
        ),
    ],
)
def test_replay_that_eventbridge_would_refuse_is_refused(bench: Bench, changes: dict[str, Any], code: str) -> None:
    bench.start(expect=code, **changes)


def test_name_of_a_replay_is_taken_for_good(bench: Bench) -> None:
    bench.start()
    bench.wait("COMPLETED")
    bench.start(expect="ResourceAlreadyExistsException")


def test_replay_whose_delivery_breaks_is_failed_with_the_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no way")

    monkeypatch.setattr(bench.events, "_invoke_target", broken)
    bench.start()
    assert bench.wait("FAILED")["StateReason"] == "no way"


def test_list_of_replays_comes_in_pages_with_the_progress_of_each(bench: Bench) -> None:
    for name in ("a", "b", "c"):
        bench.start(name)
        bench.wait("COMPLETED", name)
    names, token = [], {}
    for _ in range(3):
        page = json.loads(bench.replays.list_replays({"Limit": 1, "State": "COMPLETED", **token})[2])
        names += [one["ReplayName"] for one in page["Replays"]]
        assert page["Replays"][0]["EventLastReplayedTime"] >= 120
        token = {"NextToken": page.get("NextToken", "")}
    assert (names, token) == (["a", "b", "c"], {"NextToken": ""})
    assert json.loads(bench.replays.list_replays({"NamePrefix": "b"})[2])["Replays"][0]["ReplayName"] == "b"
    assert json.loads(bench.replays.list_replays({"State": "FAILED"})[2])["Replays"] == []

"""An archive holds what was put on its bus, once, and nothing that was replayed; its description holds counts."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from ops.local.emulator.archives import Archives, event_time_s, size_bytes
from ops.local.emulator.scopes import Scope, entered

SCOPE = Scope("000000000000", "eu-north-1")
BUS = f"arn:aws:events:{SCOPE.region}:{SCOPE.account}:event-bus/bus"


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events = importlib.import_module("ministack.services.eventbridge")
        self.counted: list[tuple[str, str, str]] = []
        self.archives = Archives(lambda scope, metric, rule, bus: self.counted.append((metric, rule, bus)))
        monkeypatch.setattr(self.events, "_archive_event", self.archives.keep)

    def archive(self, name: str, pattern: dict[str, Any] | None = None) -> dict[str, Any]:
        self.events._create_archive(
            {"ArchiveName": name, "EventSourceArn": BUS, "EventPattern": json.dumps(pattern) if pattern else ""}
        )
        archive: dict[str, Any] = self.events._archives[name]
        return archive

    def put(self, *entries: dict[str, Any]) -> dict[str, Any]:
        return dict(json.loads(self.archives.put_events({"Entries": list(entries)})[2]))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with entered(SCOPE):
        one = Bench(monkeypatch)
        yield one
        for name in list(one.events._archives):
            del one.events._archives[name]


def entry(**changes: Any) -> dict[str, Any]:
    return {"Source": "shop", "DetailType": "order", "Detail": "{}", "EventBusName": "bus", **changes}


def test_event_is_kept_by_the_archives_of_its_bus_whose_pattern_it_matches(bench: Bench) -> None:
    everything, orders = bench.archive("everything"), bench.archive("orders", {"detail-type": ["order"]})
    bench.put(entry(), entry(DetailType="visit"), entry(EventBusName="other"))
    assert [one["DetailType"] for one in everything["Events"]] == ["order", "visit"]
    assert [one["DetailType"] for one in orders["Events"]] == ["order"]
    assert (everything["EventCount"], orders["EventCount"]) == (2, 1)
    assert everything["SizeBytes"] == sum(map(size_bytes, everything["Events"])) > 0
    assert bench.counted.count(("Invocations", "Events-Archive-everything", "bus")) == 2
    assert bench.counted.count(("MatchedEvents", "Events-Archive-orders", "bus")) == 1


def test_replayed_event_is_not_archived_again(bench: Bench) -> None:
    archive = bench.archive("again")
    bench.put(entry())
    bench.archives.keep({**archive["Events"][0], "ReplayName": "once"})
    assert archive["EventCount"] == 1


def test_description_of_an_archive_does_not_hold_its_events(bench: Bench) -> None:
    bench.archive("described")
    bench.put(entry())
    described = json.loads(bench.archives.describe({"ArchiveName": "described"})[2])
    assert described["EventCount"] == 1
    assert "Events" not in described
    assert bench.archives.describe({"ArchiveName": "absent"})[0] == 400


def test_put_events_answers_each_entry_and_refuses_an_eleventh(bench: Bench) -> None:
    answer = bench.put(entry(), entry(Source="aws.ec2"))
    assert answer["FailedEntryCount"] == 1
    assert "EventId" in answer["Entries"][0]
    assert answer["Entries"][1]["ErrorCode"] == "NotAuthorizedForSourceException"
    assert bench.archives.put_events({"Entries": [entry()] * 11})[0] == 400


@pytest.mark.parametrize(
    ("given", "time_s"),
    [(None, 1000), (1700000000.9, 1700000000), ("2023-11-14T22:13:20Z", 1700000000)],
)
def test_time_of_an_event_is_that_of_its_entry_in_whole_seconds(given: Any, time_s: int) -> None:
    assert event_time_s(given, 1000.7) == time_s


def test_size_of_an_event_is_counted_in_bytes_of_utf_8() -> None:
    event = {"Source": "é", "DetailType": "ab", "Detail": "{}", "Resources": ["arn"]}
    assert size_bytes(event) == 14 + 2 + 2 + 2 + 3

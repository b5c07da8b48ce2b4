"""Archives are found in every region, and what a lost region accepted is offered where it is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from ops import replay
from ops.aws import Cloud
from tests.unit.ops.replay.stored import AP, US, make_ready


@pytest.fixture
def ready(deployed: Cloud, calls: Any) -> Cloud:
    return make_ready(deployed, calls)


def test_archives_of_every_region_say_whose_events_they_hold_and_the_command(ready: Cloud) -> None:
    found = replay.archives(ready)
    assert [(one.region, one.name, one.holds) for one in found] == [
        (US, "atoll-unit", f"events of {US}"),
        (US, "atoll-unit-journal", f"events of {AP}, kept in {US}"),
        (AP, "atoll-unit", f"events of {AP}"),
        (AP, "atoll-unit-journal", f"events of {US}, kept in {AP}"),
    ]
    frame = replay.archives_frame(found, found[0].created + timedelta(hours=50))  # type: ignore[operator]
    assert frame["age"][0] == "2 d"
    assert frame["command"][3] == (
        f"ops run replay --stage unit -p region={AP} -p archive=atoll-unit-journal -p window_start=2h"
    )


def test_archives_when_a_region_gives_no_answer_offers_its_events_where_they_are_kept(ready: Cloud, calls: Any) -> None:
    def nobody() -> None:
        if calls.made[-1].endswith(f"@{US}"):
            raise EndpointConnectionError(endpoint_url="https://aws.invalid")

    calls.on("before", "ListArchives", nobody)
    row = replay.archives_frame(replay.archives(ready)).iloc[0]
    assert (row["region"], row["archive"], row["state"]) == (US, "", "NO ANSWER")
    assert row["holds"] == f"events of {US}, kept in {AP}"
    assert f"-p region={AP} -p archive=atoll-unit-journal" in row["command"]


def test_archives_when_a_region_has_none_says_so(ready: Cloud) -> None:
    ready.client("events", US).delete_archive(ArchiveName="atoll-unit")
    found = replay.archives(ready)
    assert (found[0].region, found[0].state, found[0].holds) == (US, "NONE", f"events of {US}, kept in {AP}")
    assert len(found) == 4


def test_archives_of_another_bus_are_listed_alone(ready: Cloud) -> None:
    events = ready.client("events", US)
    arn = events.create_event_bus(Name="orders")["EventBusArn"]
    events.create_archive(ArchiveName="kept", EventSourceArn=arn)
    (found,) = replay.archives(ready, bus="orders")
    assert (found.name, found.holds) == ("kept", "events of bus orders")
    assert found.command.endswith(f"-p region={US} -p bus=orders -p archive=kept -p window_start=2h")

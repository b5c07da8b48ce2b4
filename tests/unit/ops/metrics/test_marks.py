"""What happened is marked once, from the services' own records; what could not be looked at is named."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops import charts
from ops.failover import experiments, flag
from ops.metrics import marks
from ops.metrics.marks import Mark, Marks
from ops.stage import Stage
from tests.unit.ops.metrics.made import AP, START, US, frame

HOUR = timedelta(hours=1)


def at(minutes: float) -> Any:
    return START + timedelta(minutes=minutes)


def event(minutes: float, status: str, resource: str = "stack") -> dict[str, Any]:
    return {"Timestamp": at(minutes), "ResourceStatus": status, "PhysicalResourceId": resource, "StackId": "stack"}


class World:
    """CloudFormation, EventBridge, FIS and the flags of a stage, region by region."""

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = stage
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.replays: dict[str, list[dict[str, Any]]] = {}
        self.broken = ""
        self.found = experiments.Found()
        self.flags: dict[str, flag.Flag] = {}
        monkeypatch.setattr(marks.experiments, "look", lambda cloud: self.found)
        monkeypatch.setattr(marks.flag, "read", self._read)

    def _read(self, cloud: Any, region: str) -> flag.Reading:
        return flag.Reading(region, {US: self.flags.get(region)}, {})

    def client(self, service: str, region: str) -> Any:
        def denied(**_: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "X")

        def stack_events(StackName: str, NextToken: str = "0") -> dict[str, Any]:  # noqa: N803
            if region not in self.events:
                error = {"Code": "ValidationError", "Message": f"Stack [{StackName}] does not exist"}
                raise ClientError({"Error": error}, "DescribeStackEvents")
            # A page has two.
            start, newest = int(NextToken), self.events[region][::-1]
            more = {"NextToken": str(start + 2)} if start + 2 < len(newest) else {}
            return {"StackEvents": newest[start : start + 2], **more}

        if service == self.broken:
            return SimpleNamespace(describe_stack_events=denied, list_replays=denied)
        return SimpleNamespace(
            describe_stack_events=stack_events, list_replays=lambda **_: {"Replays": self.replays.get(region, [])}
        )


@pytest.fixture
def world(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(stage, monkeypatch)


def collected(world: World, start: float = 0, end: float = 60) -> Marks:
    return marks.collect(world, at(start), at(end))  # type: ignore[arg-type]


def test_collect_marks_each_deployment_from_its_begin_to_its_end(world: World) -> None:
    world.events[US] = [
        event(-500, "CREATE_IN_PROGRESS"),
        event(-499, "CREATE_COMPLETE", "a function"),
        event(-498, "CREATE_COMPLETE"),
        event(10, "UPDATE_IN_PROGRESS"),
        event(11, "UPDATE_COMPLETE", "a function"),
        event(12, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"),
        event(13, "UPDATE_COMPLETE"),
        event(20, "UPDATE_IN_PROGRESS"),
        event(21, "UPDATE_ROLLBACK_IN_PROGRESS"),
        event(23, "UPDATE_ROLLBACK_COMPLETE"),
        event(50, "UPDATE_IN_PROGRESS"),
    ]
    found = collected(world)
    assert found.marks == (
        Mark(at(10), "deployment", US, "update: done", at(13)),
        Mark(at(20), "deployment", US, "update: rolled back", at(23)),
        Mark(at(50), "deployment", US, "update: under way", None),
    )
    assert found.unread == {}


def test_collect_marks_replays_drills_and_evacuations(world: World, stage: Stage) -> None:
    archive = f"arn:aws:events:{AP}:111122223333:archive/{stage.archive_name}"
    replay = {
        "ReplayName": "r", "State": "COMPLETED", "EventSourceArn": archive,
        "EventStartTime": at(-90), "EventEndTime": at(-60), "ReplayStartTime": at(5), "ReplayEndTime": at(6),
    }  # fmt: skip
    foreign = replay | {"EventSourceArn": "arn:aws:events:ap-south-1:111122223333:archive/another"}
    world.replays[AP] = [replay, foreign, replay | {"ReplayStartTime": at(-9), "ReplayEndTime": at(-8)}]
    drill = experiments.Experiment("e", "t", US, ("api", "calls"), "stopped", "", at(20), at(25))
    world.found = experiments.Found([drill, experiments.Experiment("f", "t", US, ("api",), "failed", "", None, None)])
    world.flags[US] = flag.Flag(US, "fire", at(40).isoformat(), "someone", "run")
    found = collected(world)
    assert [(name, one.kind, one.region, one.text) for name, one in found.named()] == [
        ("R1", "replay", AP, "2026-11-15 22:30 to 23:00: completed"),
        ("F1", "failover", US, "drill of api, calls: stopped"),
        ("F2", "failover", US, "evacuated by someone: fire"),
    ]
    shown = found.frame()
    assert list(shown["mark"]) == ["R1", "F1", "F2"]
    assert list(shown["took_s"])[:2] == [60, 300]


def test_collect_when_a_service_does_not_answer_names_it_and_shows_the_rest(world: World) -> None:
    world.events[US] = [event(10, "UPDATE_IN_PROGRESS")]
    world.broken = "events"
    found = collected(world)
    assert [one.kind for one in found.marks] == ["deployment"]
    assert set(found.unread) == {f"replays in {region}" for region in world.stage.regions}
    assert "AccessDenied" in found.unread[f"replays in {US}"]


def test_marks_stand_on_each_axis_with_their_names(world: World) -> None:
    world.events[US] = [event(3, "UPDATE_IN_PROGRESS"), event(4, "UPDATE_COMPLETE")]
    rows = frame([(n, US, "api", "Count", "Sum", 5.0) for n in range(8)], periods=8)
    panels = [charts.Panel("one", rows), charts.Panel("two", rows)]
    drawn = charts.panels(panels, x="time", y="value", colour="region", marks=collected(world).drawn())
    for chart in drawn.charts:
        assert isinstance(chart, charts.Chart)
        assert ">D1</text>" in chart.svg
        assert "marked: D1 at 16 Nov 00:03" in chart.summary
    outside = charts.panels(panels, x="time", y="value", colour="region", marks=[marks.Drawn(START + HOUR, "D9")])
    assert all("D9" not in repr(chart) for chart in outside.charts)

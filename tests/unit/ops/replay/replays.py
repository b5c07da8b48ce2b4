"""EventBridge's replays, played minute by minute: an archive of events, and replays that advance when they are listed.

moto replays a whole archive at once, whatever the window, the rules or the moment. Here a replay delivers one minute
of its window at each look, to the tap's queue and to whatever ``deliver`` says; CancelReplay stops it; ten run at most.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from ops.aws import Cloud
from ops.plan import Plan, Step
from ops.replay import temporary

US, AP = "us-east-1", "ap-south-1"
ACCOUNT = "123456789012"
START = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Archived:
    """An event that the archive holds."""

    key: uuid.UUID
    time: datetime
    kind: str = "order.placed"

    def envelope(self, replay: str) -> str:
        detail = {"event_key": str(self.key), "event": {"type": self.kind}}
        made = {"id": str(self.key), "time": f"{self.time:%Y-%m-%dT%H:%M:%SZ}", "detail-type": self.kind}
        return json.dumps(made | {"source": "atoll.events", "replay-name": replay, "detail": detail})


def archive_of(count: int, minutes: int = 6) -> list[Archived]:
    """So many events, spread over the minutes from START on."""
    return [Archived(uuid.UUID(int=n + 1), START + MINUTE * (n % minutes), f"type-{n % 2}") for n in range(count)]


@dataclass
class Replays:
    """Stands in for StartReplay, ListReplays and CancelReplay of one region.

    ``deliver`` is told of each event that goes to consumers; ``fail`` names replays that end as FAILED; ``stalled``
    ones stay where they are.
    """

    cloud: Cloud
    archive: list[Archived] = field(default_factory=list)
    deliver: Callable[[Archived], None] = lambda event: None
    fail: set[str] = field(default_factory=set)
    on_look: Callable[[], None] = lambda: None
    replays: dict[str, dict[str, Any]] = field(default_factory=dict)
    started: list[dict[str, Any]] = field(default_factory=list)
    most_active: int = 0
    ends_when_cancelled: bool = True

    def start_replay(self, params: dict[str, Any], **_: Any) -> Any:
        asked = json.loads(params["body"])
        if asked["ReplayName"] in self.replays:
            return _refused("ResourceAlreadyExistsException")
        if sum(one["State"] in ("STARTING", "RUNNING", "CANCELLING") for one in self.replays.values()) >= 10:
            return _refused("LimitExceededException")
        self.started.append(asked)
        self.replays[asked["ReplayName"]] = {
            "ReplayName": asked["ReplayName"],
            "State": "STARTING",
            "EventStartTime": asked["EventStartTime"],
            "EventEndTime": asked["EventEndTime"],
            "filter": asked["Destination"].get("FilterArns"),
        }
        return _answered({"State": "STARTING"})

    def list_replays(self, params: dict[str, Any], **_: Any) -> Any:
        asked = json.loads(params["body"])
        if "State" not in asked:
            self.on_look()
            for replay in self.replays.values():
                self._advance(replay)
        found = [
            {name: _time(name, value) for name, value in one.items() if name not in ("filter", "at")}
            for one in self.replays.values()
            if one["ReplayName"].startswith(asked.get("NamePrefix", ""))
            and asked.get("State", one["State"]) == one["State"]
        ]
        active = sum(one["State"] in ("STARTING", "RUNNING") for one in self.replays.values())
        self.most_active = max(self.most_active, active)
        return _answered({"Replays": found})

    def cancel_replay(self, params: dict[str, Any], **_: Any) -> Any:
        replay = self.replays[json.loads(params["body"])["ReplayName"]]
        if replay["State"] not in ("STARTING", "RUNNING"):
            return _refused("IllegalStatusException")
        replay["State"] = "CANCELLING"
        return _answered({"State": "CANCELLING"})

    def _advance(self, replay: dict[str, Any]) -> None:
        if replay["State"] == "CANCELLING" and self.ends_when_cancelled:
            replay["State"] = "CANCELLED"
        elif replay["State"] == "STARTING":
            replay["State"] = "RUNNING"
        elif replay["State"] == "RUNNING" and replay["ReplayName"] in self.fail:
            replay |= {"State": "FAILED", "StateReason": "on purpose"}
        elif replay["State"] == "RUNNING":
            begin = replay.get("at", replay["EventStartTime"])
            end = min(begin + 60, replay["EventEndTime"])
            for event in self.archive:
                if begin <= event.time.timestamp() < end:
                    self._bring(event, replay)
                    replay["EventLastReplayedTime"] = event.time.timestamp()
            replay["at"] = end
            if end >= replay["EventEndTime"]:
                replay["State"] = "COMPLETED"

    def _bring(self, event: Archived, replay: dict[str, Any]) -> None:
        name = replay["ReplayName"]
        token = name.removeprefix(f"{self.cloud.stage.prefix}-").split("-")[0]
        sqs = self.cloud.client("sqs", US)
        queue = sqs.get_queue_url(QueueName=temporary.tap_name(self.cloud.stage, token))["QueueUrl"]
        sqs.send_message(QueueUrl=queue, MessageBody=event.envelope(name))
        if replay["filter"] is None or any("-replay-" not in arn for arn in replay["filter"]):
            self.deliver(event)


def _time(name: str, value: Any) -> Any:
    """As botocore gives it to its caller."""
    return datetime.fromtimestamp(value, UTC) if name.startswith("Event") else value


def _answered(answer: dict[str, Any]) -> Any:
    return SimpleNamespace(status_code=200), answer


def _refused(code: str) -> Any:
    return SimpleNamespace(status_code=400), {"Error": {"Code": code, "Message": "refused"}}


def plan_of(
    cloud: Cloud,
    *,
    slices: int = 3,
    minutes: int = 2,
    parallel: int = 2,
    deliver: bool = True,
    rules: Sequence[str] | None = None,
    stand_ins: Sequence[dict[str, Any]] = (),
    leftovers: Sequence[dict[str, Any]] = (),
    receivers: Sequence[str] = ("store", "activity"),
    bus: str = "atoll-unit",
    **parameters: Any,
) -> Plan:
    """A plan as the planning makes it, of slices from START on."""
    bus_arn = f"arn:aws:events:{US}:{ACCOUNT}:event-bus/{bus}"
    steps = [Step(action="delete", resource=f"temporary {number}", before=one) for number, one in enumerate(leftovers)]
    steps += [
        Step(action="create", resource="tap queue", after={"queue": None}),
        Step(action="create", resource="tap rule", after={"bus": bus, "pattern": {}, "targets": "tap"}),
    ]
    steps += [
        Step(action="create", resource=f"temporary rule for {one['rule']}", after={"bus": bus, **one})
        for one in stand_ins
    ]
    for number in range(1, slices + 1):
        begin = START + MINUTE * minutes * (number - 1)
        after = {
            "slice": number,
            "archive": f"arn:aws:events:{US}:{ACCOUNT}:archive/{bus}",
            "destination": bus_arn,
            "from": begin.isoformat(),
            "to": (begin + MINUTE * minutes).isoformat(),
            "rules": list(rules) if rules else None,
        }
        steps.append(Step(action="run", resource=f"slice {number} of {slices}", region=US, after=after))
    asked = {"region": US, "archive": bus, "parallel": parallel, "deliver": deliver, "prove": True}
    shown = [
        [f"{bus}-{name}", "ENABLED", f"arn:aws:sqs:{US}:{ACCOUNT}:atoll-unit-{name}", True, True] for name in receivers
    ]
    return Plan(
        runbook="replay",
        stage="unit",
        account=ACCOUNT,
        regions=[US],
        parameters=asked | parameters,
        steps=steps,
        estimates={"receivers": shown},
    )

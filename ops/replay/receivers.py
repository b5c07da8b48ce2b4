"""The rules of a bus and their targets: which of them would receive what is replayed, and which may receive it twice.

EventBridge itself decides (TestEventPattern), on events as the replay would deliver them: with a ``replay-name``, so
that a rule that takes none of those shows as not receiving. Where nobody knows what the events look like, only that
part of a rule's pattern is decided. Reads only.
https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_TestEventPattern.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.aws import Cloud
from ops.replay.archives import Archive
from ops.replay.selection import Selection
from ops.replay.slices import replay_name

MAX_PAGES = 100
# Types and sources of events that each rule is tried on.
MAX_KINDS = 20
YES, MATCHING = "yes", "what its pattern matches"
NO_REPLAYS, NO_MATCH = "no: it takes no replayed events", "no: its pattern takes none of them"
COLUMNS = ("rule", "state", "target", "would_receive", "idempotent")


@dataclass(frozen=True)
class Rule:
    """A rule with its targets as PutTargets takes them. ``would_receive`` begins with ``no`` where it would not."""

    name: str
    arn: str
    state: str
    pattern: dict[str, Any]
    targets: tuple[dict[str, Any], ...]
    would_receive: str = ""

    @property
    def receives(self) -> bool:
        return not self.would_receive.startswith("no")


def find_rules(cloud: Cloud, region: str, bus: str) -> list[Rule]:
    """The rules of a bus that have a pattern, without EventBridge's own and a replay's temporary ones."""
    events: Any = cloud.client("events", region)
    found, request = [], {"EventBusName": bus}
    temporary = f"{cloud.stage.prefix}-replay-"
    for _ in range(MAX_PAGES):
        answer = events.list_rules(**request)
        for rule in answer["Rules"]:
            # EventBridge feeds archives by rules of its own, which take no replayed events.
            if rule.get("ManagedBy") or rule["Name"].startswith(temporary) or not rule.get("EventPattern"):
                continue
            targets = _targets(events, rule["Name"], bus)
            pattern = json.loads(rule["EventPattern"])
            found.append(Rule(rule["Name"], rule["Arn"], rule.get("State", "ENABLED"), pattern, tuple(targets)))
        if not answer.get("NextToken"):
            break
        request["NextToken"] = answer["NextToken"]
    return found


def judge(cloud: Cloud, region: str, rule: Rule, events: Sequence[Mapping[str, Any]], known: bool) -> str:
    """Whether a rule would receive replayed events, in words.

    ``events`` represent what is replayed; ``known``: nothing else is.
    """
    if rule.state == "DISABLED":
        return "no: it is disabled"
    client = cloud.client("events", region)

    def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
        asked = client.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(event))
        return asked["Result"]

    if "replay-name" in rule.pattern and not matches({"replay-name": rule.pattern["replay-name"]}, events[0]):
        return NO_REPLAYS
    taken = [event for event in events if matches(rule.pattern, event)]
    if len(taken) == len(events):
        return YES if known else MATCHING
    if not taken:
        return NO_MATCH if known else MATCHING
    return f"only {', '.join(sorted({event['detail-type'] for event in taken}))}"


def representatives(
    cloud: Cloud, source: Archive, selection: Selection, kinds: Mapping[tuple[str, str], str]
) -> list[dict[str, Any]]:
    """Events as the replay would deliver them, one a type and source: those known, else one as the selection asks."""
    own = source.bus in (cloud.stage.bus, cloud.stage.journal_bus)
    if not kinds:
        kind, origin, subject = (_one(chosen) for chosen in (selection.types, selection.sources, selection.subjects))
        kinds = {(kind, origin): subject}
    known = list(kinds.items())[:MAX_KINDS]
    return [_event(cloud, source, kind, origin, subject, own=own) for (kind, origin), subject in known]


def _one(chosen: Sequence[str]) -> str:
    """A value that the selection takes."""
    return chosen[0].replace("*", "any") if chosen else "com.example.any"


def rows_of(cloud: Cloud, rules: Sequence[Rule]) -> list[list[str]]:
    """A row a target, as a plan's estimates have them."""
    return [
        [rule.name, rule.state, target["Arn"], rule.would_receive, idempotence(cloud, target["Arn"])]
        for rule in rules
        for target in rule.targets
    ]


def idempotence(cloud: Cloud, arn: str) -> str:
    """``yes`` for what is known to do nothing twice: the queues of the stage's processors; ``unknown`` else."""
    stage = cloud.stage
    own = {
        f"arn:aws:sqs:{region}:{cloud.account}:{stage.queue(name)}"
        for region in stage.regions
        for name in stage.processor_names
    }
    return "yes" if arn in own else "unknown"


def _event(cloud: Cloud, source: Archive, kind: str, origin: str, subject: str, *, own: bool) -> dict[str, Any]:
    # TestEventPattern wants every field of the envelope.
    envelope = {
        "version": "0",
        "id": "00000000-0000-4000-8000-000000000000",
        "account": cloud.account,
        "time": "2026-01-01T00:00:00Z",
        "region": source.region,
        "resources": [],
        "replay-name": replay_name(cloud.stage, "0" * 16, 1),
        "detail-type": kind,
    }
    if not own:
        return envelope | {"source": origin, "detail": {"subject": subject}}
    # As ingest publishes an event: docs/events-api.md.
    event = {"specversion": "1.0", "id": "any", "source": origin, "type": kind, "subject": subject}
    detail = {
        "event_key": envelope["id"],
        "tenant": "any",
        "correlation_id": "any",
        "trace_id": "any",
        "accepted_at": envelope["time"],
        "accepted_region": cloud.stage.journaled_region(source.region)
        if source.bus == cloud.stage.journal_bus
        else source.region,
        "event": event,
    }
    return envelope | {"source": "atoll.events", "detail": detail}


def _targets(events: Any, rule: str, bus: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    request = {"Rule": rule, "EventBusName": bus}
    for _ in range(MAX_PAGES):
        answer = events.list_targets_by_rule(**request)
        found += [dict(target) for target in answer["Targets"]]
        if not answer.get("NextToken"):
            break
        request["NextToken"] = answer["NextToken"]
    return found

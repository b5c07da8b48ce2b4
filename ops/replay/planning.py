"""The plan of a replay: what it would deliver, to whom, and what speaks against it. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from ops.aws import Cloud, explained
from ops.plan import Plan, Step
from ops.prices import CUSTOM_EVENT_USD, invocations_per_s
from ops.replay.archives import Archive, find_archive
from ops.replay.attempts import ACTIVE as RUNNING
from ops.replay.counting import PREVIEW_PAGES, count_events
from ops.replay.receivers import find_receivers
from ops.replay.slices import cut, name_prefix
from ops.window import resolve as resolve_window
from ops.window import text_of

RUNBOOK = "replay"
# EventBridge: ten replays at a time in an account and region; events reach the archive up to ten minutes late; counts
# lag by up to a day. https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-replay-archived-event.html
MAX_CONCURRENT = 10
ARCHIVE_DELAY = timedelta(minutes=10)


def plan(
    cloud: Cloud,
    region: str = "",
    window_start: str = "1h",
    window_end: str = "",
    archive: str = "",
    *,
    rules: Sequence[str] = (),
    tenants: Sequence[str] = (),
    slice_minutes: int = 0,
    parallel: int = 0,
    deliver: bool = True,
    prove: bool = True,
    repeat: int = 0,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Plan:
    """What a replay would do; read-only.

    Args:
        region: whose archive; empty is the home region.
        archive: its name; empty is the region's own archive, and the journal's holds what the region before accepted.
        rules: names of the rules that receive the events; empty is all of the bus.
        tenants: whose events the preview counts; empty is everybody's, read from the whole index.
        repeat: raise it to replay the same window once more.

    Raises:
        UsageError: the window, the region or the archive is not one.
    """
    stage = cloud.stage
    region = stage.require_region(region or stage.home_region)
    name, at = archive or stage.archive_name, now()
    start, end = resolve_window(window_start, window_end, at)
    with explained(f"planning a replay in {region}"):
        source = find_archive(cloud, region, name)
        running = _running(cloud, region)
        targets = find_receivers(cloud, region, source.bus, rules)
        # The journal holds what the region before this one accepted.
        accepted_in = stage.journaled_region(region) if source.bus == stage.journal_bus else region
        counted, complete = count_events(cloud, region, accepted_in or region, (start, end), tenants)
    parameters = {
        "region": region,
        "archive": name,
        "window_start": text_of(start),
        "window_end": text_of(end),
        "rules": sorted(rules),
        "slice_minutes": slice_minutes or 60,
        "parallel": parallel or 3,
        "deliver": deliver,
        "prove": prove,
        "repeat": repeat,
    }
    pieces = cut(start, end, slice_minutes or 60)
    bus_arn = source.bus_arn.replace(":event-bus/", ":rule/")
    asked = {
        "archive": source.arn,
        "destination": source.bus_arn,
        "rules": [f"{bus_arn}/{rule}" for rule in sorted(rules)] or None,
    }
    steps = [
        Step(action="create", resource="tap queue", region=region, after={"queue": None}),
        Step(
            action="create",
            resource="tap rule",
            region=region,
            after={"bus": source.bus, "pattern": {}, "targets": "tap"},
        ),
    ]
    steps += [
        Step(
            action="run",
            resource=f"slice {one.number} of {len(pieces)} of archive {name}",
            region=region,
            detail=f"{text_of(one.start)} to {text_of(one.end)}",
            after={"slice": one.number, "from": text_of(one.start), "to": text_of(one.end), **asked},
        )
        for one in pieces
    ]
    steps += _refusals(source, running, targets, rules)
    made = Plan(
        runbook=RUNBOOK, stage=stage.stage, account=cloud.account, regions=[region], parameters=parameters, steps=steps
    )
    with explained(f"looking for an earlier replay in {region}"):
        replays: Any = cloud.client("events", region)
        earlier = replays.list_replays(NamePrefix=name_prefix(stage, made.token))["Replays"]
    return made.model_copy(
        update={
            "estimates": {
                "window_minutes": int((end - start).total_seconds() // 60),
                "events_in_archive": source.events,
                "events_in_window": sum(counted.values()),
                "events_in_window_is_partial": not complete,
                "duration_s": sum(counted.values()) * max(1, len(targets)) / invocations_per_s(region),
                "cost_usd": sum(counted.values()) * CUSTOM_EVENT_USD,
                "by_minute": [[minute, kind, count] for (minute, kind), count in sorted(counted.items())],
                "receivers": targets,
            },
            "warnings": _applied_before(earlier) + _warnings(source, (start, end), at, running, complete),
        }
    )


def preview(plan: Plan) -> pd.DataFrame:
    """Events that the table has of the window, a row a minute and type."""
    frame = pd.DataFrame(plan.estimates.get("by_minute", []), columns=["minute", "type", "events"])
    return frame.assign(minute=pd.to_datetime(frame["minute"], utc=True))


def receivers(plan: Plan) -> pd.DataFrame:
    """The rules and targets that would receive the events."""
    return pd.DataFrame(plan.estimates.get("receivers", []), columns=["rule", "state", "target"])


def _running(cloud: Cloud, region: str) -> list[str]:
    """Replays under way in the region, whoever started them."""
    events: Any = cloud.client("events", region)
    return [
        f"{replay['ReplayName']} ({replay['State']})"
        for state in RUNNING
        for replay in events.list_replays(State=state)["Replays"]
    ]


def _refusals(source: Archive, running: list[str], targets: list[list[str]], rules: Sequence[str]) -> list[Step]:
    resource, reasons = f"replay of archive {source.name}", []
    if source.state != "ENABLED":
        reasons.append(f"the archive is {source.state}")
    if len(running) >= MAX_CONCURRENT:
        reasons.append(f"{len(running)} replays run in {source.region}, and EventBridge allows {MAX_CONCURRENT}")
    unknown = sorted(set(rules) - {target[0] for target in targets})
    if unknown:
        reasons.append(f"the bus has no rule with a target named {', '.join(unknown)}")
    return [Step(action="refuse", resource=resource, region=source.region, detail=reason) for reason in reasons]


def _applied_before(earlier: list[Any]) -> list[str]:
    done = sum(one["State"] == "COMPLETED" for one in earlier)
    if not earlier:
        return []
    return [
        f"this very plan was applied before, and {done} slices are COMPLETED: applying it again repeats none of them; "
        "raise `repeat` to replay the window once more"
    ]


def _warnings(
    source: Archive, window: tuple[datetime, datetime], now: datetime, running: list[str], complete: bool
) -> list[str]:
    (start, end), found = window, []
    if end > now - ARCHIVE_DELAY:
        found.append("the window touches the last 10 minutes: EventBridge may not have archived all of them yet")
    if source.created is not None and source.created > start:
        found.append(f"the archive is younger than the window: it was created at {text_of(source.created)}")
    if source.retention_days and start < now - timedelta(days=source.retention_days):
        found.append(f"the archive keeps {source.retention_days} days: the window begins before that")
    if running:
        found.append(f"other replays are running: {', '.join(running)}")
    if not complete:
        found.append(f"the preview stopped after {PREVIEW_PAGES} pages: there are more events than it counts")
    found.append(
        "the duration is EventBridge's, at the region's default quota of invocations; queues may take longer to drain"
    )
    found.append("the archive's own count of events may lag by up to 24 hours")
    return found

"""Replay archived events onto their bus: preview before, proof after.

EventBridge's replay is blind: it counts nothing, promises no order and proves nothing. Here the window is resolved to
whole minutes and shown, with what the table knows of it, before anything starts; afterwards the table is held, item by
item, against what it was. What always holds: planning only reads; a replay's name is derived from the plan's token,
so that applying one plan twice starts one replay; every wait has a deadline; stopping the watcher stops nothing else.

A notebook calls ``archives_frame(archives(cloud))``, ``plan(cloud, ...)``, ``preview(plan)``, ``receivers(plan)``,
``apply(cloud, plan, token)`` and, of what that returns, ``.frame()`` and ``.checks()``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from botocore.exceptions import ClientError

from ops import queues
from ops.aws import NO_ANSWER, Cloud, explained
from ops.errors import InterruptedRunError, OpsError, UsageError
from ops.fanout import each
from ops.plan import Outcome, Plan, Report, Step, authorize
from ops.prices import CUSTOM_EVENT_USD, invocations_per_s
from ops.provision.desired import TTL_ATTRIBUTE, bus_arn
from ops.record import Check
from ops.stage import Stage
from ops.tablescan import Fingerprint, fingerprint, key_names, key_text, scan_segment
from ops.window import resolve as resolve_window
from ops.window import text_of
from sketch.canonical import Checksum

RUNBOOK = "replay"
# EventBridge: ten replays at a time in an account and region; events reach the archive up to ten minutes late; counts
# lag by up to a day. https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-replay-archived-event.html
MAX_CONCURRENT = 10
ARCHIVE_DELAY = timedelta(minutes=10)
RUNNING = ("STARTING", "RUNNING", "CANCELLING")
# Pages of the index that a preview reads before it says that its count is partial.
PREVIEW_PAGES = 200
SHOWN_KEYS = 20

Progress = Callable[[str], None]


# --- archives ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Archive:
    """One archive of the stage's buses, as EventBridge describes it; without a name where a region gave no answer."""

    region: str
    name: str
    arn: str
    bus_arn: str
    state: str
    events: int
    size_bytes: int
    retention_days: int
    created: datetime | None
    pattern: str

    @property
    def bus(self) -> str:
        """The name of the bus whose events it keeps, and onto which it is replayed."""
        return self.bus_arn.partition(":event-bus/")[2]


def archives(cloud: Cloud, regions: Sequence[str] = ()) -> list[Archive]:
    """All archives whose source is the stage's bus or its journal bus, in every region.

    A region that gives no answer is listed as such: its events are replayed from another's journal.
    """

    def find(region: str) -> list[Archive]:
        events, names = cloud.client("events", region), []
        for bus in (cloud.stage.bus, cloud.stage.journal_bus):
            request = {"EventSourceArn": bus_arn(cloud.account, region, bus)}
            for _ in range(100):
                answer: Any = events.list_archives(**request)  # type: ignore[arg-type]
                names += [archive["ArchiveName"] for archive in answer["Archives"]]
                if not answer.get("NextToken"):
                    break
                request["NextToken"] = answer["NextToken"]
        return [_archive(cloud, region, name) for name in sorted(names)]

    def find_or_say(region: str) -> list[Archive]:
        try:
            return find(region)
        except NO_ANSWER:
            return [Archive(region, "", "", "", "NO ANSWER", 0, 0, 0, None, "")]

    with explained("listing archives"):
        found = each(regions or cloud.stage.regions, find_or_say)
    return [archive for region in found for archive in found[region]]


def _archive(cloud: Cloud, region: str, name: str) -> Archive:
    found = cloud.client("events", region).describe_archive(ArchiveName=name)
    return Archive(
        region=region,
        name=name,
        arn=found["ArchiveArn"],
        bus_arn=found["EventSourceArn"],
        state=found.get("State", "ENABLED"),
        events=found.get("EventCount", 0),
        size_bytes=found.get("SizeBytes", 0),
        retention_days=found.get("RetentionDays", 0),
        created=found["CreationTime"].astimezone(UTC),
        pattern=found.get("EventPattern", ""),
    )


def archives_frame(found: Sequence[Archive]) -> pd.DataFrame:
    """A row an archive."""
    rows = [
        (a.region, a.name, a.state, a.events, a.size_bytes, a.retention_days or "for ever", a.created, a.pattern)
        for a in found
    ]
    columns = ["region", "archive", "state", "events", "size_bytes", "retention_days", "created", "pattern"]
    return pd.DataFrame(rows, columns=columns)


# --- the plan ----------------------------------------------------------------------------------------------------


def plan(
    cloud: Cloud,
    region: str = "",
    window_start: str = "1h",
    window_end: str = "",
    archive: str = "",
    *,
    rules: Sequence[str] = (),
    tenants: Sequence[str] = (),
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
        source = _find_archive(cloud, region, name)
        running = _running(cloud, region)
        targets = _receivers(cloud, region, source.bus, rules)
        # The journal holds what the region before this one accepted.
        accepted_in = stage.journaled_region(region) if source.bus == stage.journal_bus else region
        counted, complete = _count(cloud, region, accepted_in or region, (start, end), tenants)
    parameters = {
        "region": region,
        "archive": name,
        "window_start": text_of(start),
        "window_end": text_of(end),
        "rules": sorted(rules),
        "repeat": repeat,
    }
    window = f"{text_of(start)} to {text_of(end)}"
    asked = {"archive": source.arn, "destination": source.bus_arn, "from": text_of(start), "to": text_of(end)}
    steps = [Step(action="run", resource=f"replay of archive {name}", region=region, detail=window, after=asked)]
    steps += _refusals(source, running, targets, rules)
    made = Plan(
        runbook=RUNBOOK, stage=stage.stage, account=cloud.account, regions=[region], parameters=parameters, steps=steps
    )
    with explained(f"looking for an earlier replay in {region}"):
        earlier = _describe(cloud, region, replay_name(stage, made.token))
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


def replay_name(stage: Stage, token: str) -> str:
    """The one replay that a plan's token stands for (EventBridge allows 64 characters)."""
    return f"{stage.prefix}-{token}"


def preview(plan: Plan) -> pd.DataFrame:
    """Events that the table has of the window, a row a minute and type."""
    frame = pd.DataFrame(plan.estimates.get("by_minute", []), columns=["minute", "type", "events"])
    return frame.assign(minute=pd.to_datetime(frame["minute"], utc=True))


def receivers(plan: Plan) -> pd.DataFrame:
    """The rules and targets that would receive the events."""
    return pd.DataFrame(plan.estimates.get("receivers", []), columns=["rule", "state", "target"])


def _find_archive(cloud: Cloud, region: str, name: str) -> Archive:
    try:
        return _archive(cloud, region, name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        names = ", ".join(a.name for a in archives(cloud, [region])) or "none"
        raise UsageError(
            f"archive: {name!r} does not exist in {region}; accepted: {names}",
            hint=f"An archive is made by: ops run provision --stage {cloud.stage.stage}",
        ) from error


def _running(cloud: Cloud, region: str) -> list[str]:
    """Replays under way in the region, whoever started them."""
    events: Any = cloud.client("events", region)
    return [
        f"{replay['ReplayName']} ({replay['State']})"
        for state in RUNNING
        for replay in events.list_replays(State=state)["Replays"]
    ]


def _receivers(cloud: Cloud, region: str, bus: str, only: Sequence[str]) -> list[list[str]]:
    events: Any = cloud.client("events", region)
    found, request = [], {"EventBusName": bus}
    for _ in range(100):
        answer = events.list_rules(**request)
        for rule in answer["Rules"]:
            # EventBridge itself feeds archives by rules of its own, which take no replayed events.
            if (only and rule["Name"] not in only) or rule.get("ManagedBy"):
                continue
            targets = events.list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"]
            found += [[rule["Name"], rule.get("State", "ENABLED"), target["Arn"]] for target in targets]
        if not answer.get("NextToken"):
            break
        request["NextToken"] = answer["NextToken"]
    return found


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


def _applied_before(earlier: dict[str, Any] | None) -> list[str]:
    if earlier is None:
        return []
    return [
        f"this very plan was applied before, and its replay is {earlier['State']}: applying it again starts nothing; "
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


def _count(
    cloud: Cloud, region: str, accepted_in: str, window: tuple[datetime, datetime], tenants: Sequence[str]
) -> tuple[Counter[tuple[str, str]], bool]:
    """Events of the window that ``accepted_in`` accepted, by (minute, type), as the table's ``by_time`` index in
    ``region`` has them."""
    client: Any = cloud.client("dynamodb", region)
    start, end = window
    names = {"#type": "type", "#region": "accepted_region", "#time": "gsi_sk"}
    values = {":region": {"S": accepted_in}, ":from": {"S": text_of(start)[:19]}, ":to": {"S": text_of(end)[:19]}}
    counted: Counter[tuple[str, str]] = Counter()

    def count(items: list[Any]) -> None:
        for item in items:
            counted[item["gsi_sk"]["S"][:16] + ":00Z", item.get("type", {}).get("S", "")] += 1

    if tenants:
        days = [start + timedelta(days=n) for n in range((end.date() - start.date()).days + 1)]
        for tenant in tenants:
            for day in days:
                pages = client.get_paginator("query").paginate(
                    TableName=cloud.stage.table_name,
                    IndexName="by_time",
                    KeyConditionExpression="#pk = :pk AND #time BETWEEN :from AND :to",
                    FilterExpression="#region = :region",
                    ProjectionExpression="#time, #type",
                    ExpressionAttributeNames=names | {"#pk": "gsi_pk"},
                    ExpressionAttributeValues=values | {":pk": {"S": f"{tenant}#{day:%Y-%m-%d}"}},
                )
                for page in pages:
                    count(page["Items"])
        return counted, True
    where = "#region = :region AND #time BETWEEN :from AND :to"
    pages = scan_segment(
        client,
        cloud.stage.table_name,
        0,
        1,
        IndexName="by_time",
        FilterExpression=where,
        ProjectionExpression="#time, #type",
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
    )
    for number, page in enumerate(pages, start=1):
        count(page.items)
        if number >= PREVIEW_PAGES:
            return counted, False
    return counted, True


# --- apply -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replayed:
    """What a replay did, and what the table looked like before and after it.

    ``added``, ``changed`` and ``removed`` count items of the region's replica; ``restored`` are the events among the
    added. ``others`` says of each other replica whether it is equal to the region's, if it was so before, and
    ``silent`` are the regions that gave no answer, whose replicas were not looked at.
    """

    name: str
    region: str
    state: str
    started_now: bool
    drained: bool
    items_before: int
    items_after: int
    checksum_before: str
    checksum_after: str
    added: int
    restored: int
    changed: int
    changed_events: int
    removed: int
    touched: tuple[str, ...]
    others: dict[str, bool]
    silent: tuple[str, ...]
    dlqs_before: dict[str, int]
    dlqs_after: dict[str, int]
    duration_s: float

    @property
    def identical(self) -> bool:
        return self.checksum_before == self.checksum_after

    def frame(self) -> pd.DataFrame:
        """Before and after, a row a measure."""
        rows = [
            ("items", self.items_before, self.items_after),
            ("checksum", self.checksum_before, self.checksum_after),
            *((f"DLQ {name}", depth, self.dlqs_after.get(name)) for name, depth in self.dlqs_before.items()),
        ]
        return pd.DataFrame([[str(cell) for cell in row] for row in rows], columns=["measure", "before", "after"])

    def figures(self) -> dict[str, Any]:
        return {
            "items": self.items_after,
            "restored": self.restored,
            "changed": self.changed,
            "removed": self.removed,
            "duration_s": round(self.duration_s, 2),
            "replay": self.name,
            "checksum_before": self.checksum_before,
            "checksum_after": self.checksum_after,
        }

    def checks(self) -> list[Check]:
        """The proof."""
        # Counters may grow with the events that came back, and must not without.
        harmless = not self.removed and not self.changed_events and (not self.changed or self.added > 0)
        keys = f" ({'; '.join(self.touched)})" if self.touched else ""
        if self.identical:
            seen = f"{self.items_after:,} items with the same canonical checksum {self.checksum_after}"
        else:
            seen = (
                f"{self.added} items more, {self.restored} of them events that were missing or arrived meanwhile; "
                f"{self.changed} changed, {self.changed_events} of them events; {self.removed} gone{keys}"
            )
        differing = [region for region, same in self.others.items() if not same]
        others = f"not so: {', '.join(differing)}" if differing else ", ".join(self.others) or "there is no other"
        if self.silent:
            others += f"; no answer, so not looked at: {', '.join(self.silent)}"
        grown = [
            f"{name}: {depth} to {self.dlqs_after.get(name, 0)}"
            for name, depth in self.dlqs_before.items()
            if self.dlqs_after.get(name, 0) > depth
        ]
        return [
            Check("replay ended", self.state == "COMPLETED", f"{self.name} in {self.region} is {self.state}"),
            Check("queues drained", self.drained, "empty" if self.drained else "still busy when the deadline passed"),
            Check("table unharmed by the replay", harmless, seen),
            Check("other replicas follow", not differing, others),
            Check("nothing new in the DLQs", not grown, "; ".join(grown) or "as before"),
        ]


@dataclass(frozen=True)
class Waits:
    """Deadlines and how time passes."""

    quiet_s: float = 120
    replay_s: float = 3600
    drain_s: float = 1800
    poll_s: float = 0.5
    settle_s: float = 1.0
    settle_attempts: int = 5
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def apply(
    cloud: Cloud,
    plan: Plan,
    token: str,
    progress: Progress = lambda line: None,
    report: Report = lambda outcome: None,
    *,
    waits: Waits | None = None,
) -> Replayed:
    """Start the plan's replay, or take up the one that it started before; wait for its end; prove what it did.

    Raises:
        RefusedError: the token is not the plan's.
        OpsError: the replay failed, or did not end in time.
        InterruptedRunError: Ctrl-C; the replay goes on without us.
    """
    authorize(plan, token)
    waits = waits or Waits()
    region, name = plan.parameters["region"], replay_name(cloud.stage, token)
    begun = waits.clock()
    silent = [r for r in cloud.stage.regions if r != region and not _answers(cloud, r)]
    others = [r for r in cloud.stage.regions if r != region and r not in silent]
    living = [region, *others]
    with explained(f"replay {name} in {region}"):
        keys = key_names(cloud.client("dynamodb", region), cloud.stage.table_name)
        progress("waiting for the queues to be empty")
        if silent:
            progress(f"no answer from {', '.join(silent)}: going on without")
        if not _drain(cloud, living, waits.quiet_s, waits, progress):
            progress("the queues are not empty: traffic goes on, and the proof will show what it brought")
        before = _fingerprint(cloud, region, keys)
        others_before = each(others, lambda other: _fingerprint(cloud, other, keys).checksum)
        dlqs_before = queues.dlq_depths(queues.depths(cloud, living))
        progress(f"before: {before.checksum.count:,} items, checksum {before.checksum}")
        started_now = _start(cloud, plan, name)
        done = "started" if started_now else "was started before; taken up"
        report(Outcome(plan.steps[0], done, waits.clock() - begun))
        progress(f"replay {name}: {done}")
        state = _await_end(cloud, plan, name, progress, waits)
        drained = _drain(cloud, living, waits.drain_s, waits, progress)
        after = _fingerprint(cloud, region, keys)
        wanted = {
            # A replica that was equal must become equal again; one that was not is the divergence runbook's business.
            other: {after.checksum} if checksum == before.checksum else {after.checksum, checksum}
            for other, checksum in others_before.items()
        }
        follow = _follow(cloud, wanted, keys, waits)
        dlqs_after = queues.dlq_depths(queues.depths(cloud, living))
    progress(f"after: {after.checksum.count:,} items, checksum {after.checksum}")
    added = after.digests.keys() - before.digests.keys()
    removed = before.digests.keys() - after.digests.keys() - before.expired
    changed = [k for k, d in after.digests.items() if before.digests.get(k, d) != d]
    return Replayed(
        name=name,
        region=region,
        state=state,
        started_now=started_now,
        drained=drained,
        items_before=before.checksum.count,
        items_after=after.checksum.count,
        checksum_before=str(before.checksum),
        checksum_after=str(after.checksum),
        added=len(added),
        restored=sum(map(_is_event, added)),
        changed=len(changed),
        changed_events=sum(map(_is_event, changed)),
        removed=len(removed),
        touched=tuple(key_text(key, keys) for key in sorted([*changed, *removed])[:SHOWN_KEYS]),
        others=follow,
        silent=tuple(silent),
        dlqs_before=dlqs_before,
        dlqs_after=dlqs_after,
        duration_s=waits.clock() - begun,
    )


def _is_event(key: bytes) -> bool:
    return b'"EVENT#' in key


def _fingerprint(cloud: Cloud, region: str, keys: list[str]) -> Fingerprint:
    client = cloud.client("dynamodb", region)
    # What expires within the hour may be deleted while the replay runs.
    soon = time.time() + 3600
    return fingerprint(client, cloud.stage.table_name, keys, expiry=TTL_ATTRIBUTE, expired_before=soon)


def _answers(cloud: Cloud, region: str) -> bool:
    """Whether a region can be read; one that is down must not keep another from replaying its events."""
    try:
        cloud.client("dynamodb", region).describe_table(TableName=cloud.stage.table_name)
    except NO_ANSWER:
        return False
    return True


def _drain(cloud: Cloud, regions: Sequence[str], deadline_s: float, waits: Waits, progress: Progress) -> bool:
    return queues.drain(
        cloud,
        regions,
        deadline_s=deadline_s,
        poll_s=waits.poll_s,
        progress=progress,
        sleep=waits.sleep,
        clock=waits.clock,
    )


def _follow(cloud: Cloud, wanted: dict[str, set[Checksum]], keys: list[str], waits: Waits) -> dict[str, bool]:
    """Whether each other replica has, or comes to have, one of the checksums wanted of it."""
    same = dict.fromkeys(wanted, False)
    for attempt in range(waits.settle_attempts):
        if attempt:
            waits.sleep(waits.settle_s)
        open_ = [region for region, ok in same.items() if not ok]
        found = each(open_, lambda region: _fingerprint(cloud, region, keys).checksum)
        same |= {region: checksum in wanted[region] for region, checksum in found.items()}
        if all(same.values()):
            break
    return same


def _start(cloud: Cloud, plan: Plan, name: str) -> bool:
    """Start the replay unless it exists; tells whether it was started now."""
    region = plan.parameters["region"]
    if _describe(cloud, region, name) is not None:
        return False
    after = plan.steps[0].after
    end = min(datetime.fromisoformat(after["to"]), datetime.now(UTC))
    destination: dict[str, Any] = {"Arn": after["destination"]}
    if plan.parameters["rules"]:
        prefix = f"{after['destination'].replace(':event-bus/', ':rule/')}/"
        destination["FilterArns"] = [prefix + rule for rule in plan.parameters["rules"]]
    try:
        cloud.client("events", region).start_replay(
            ReplayName=name,
            Description=f"Atoll {plan.stage}, plan {plan.token}",
            EventSourceArn=after["archive"],
            EventStartTime=datetime.fromisoformat(after["from"]),
            EventEndTime=end,
            Destination=destination,  # type: ignore[arg-type]
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceAlreadyExistsException":
            return False
        raise
    return True


def _describe(cloud: Cloud, region: str, name: str) -> dict[str, Any] | None:
    try:
        return dict(cloud.client("events", region).describe_replay(ReplayName=name))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise


def _await_end(cloud: Cloud, plan: Plan, name: str, progress: Progress, waits: Waits) -> str:
    region, end, shown = plan.parameters["region"], waits.clock() + waits.replay_s, ""
    cancel = f"aws events cancel-replay --replay-name {name} --region {region}"
    try:
        while True:
            replay = _describe(cloud, region, name) or {"State": "ABSENT"}
            state, last = replay["State"], replay.get("EventLastReplayedTime")
            line = f"replay {name} is {state}{f', at events of {text_of(last)}' if last else ''}"
            if line != shown:
                progress(line)
                shown = line
            if state not in RUNNING:
                break
            if waits.clock() >= end:
                raise OpsError(
                    f"replay {name}: still {state} after {waits.replay_s:.0f} s",
                    hint=f"Apply the same token to watch on, or stop it: {cancel}",
                )
            waits.sleep(waits.poll_s)
    except KeyboardInterrupt as stop:
        raise InterruptedRunError(
            f"replay {name}: it goes on without this run; what it delivers is processed as usual",
            hint=f"Apply the same token to watch on, or stop it: {cancel}",
        ) from stop
    if state != "COMPLETED":
        raise OpsError(
            f"replay {name}: ended as {state}: {replay.get('StateReason', 'no reason given')}",
            hint="Raise `repeat` to replay the window once more.",
        )
    return str(state)

"""The global resources of a stage: what no regional stack may own, brought to what the stage file says.

Covers the global table with its replicas, time to live, point-in-time recovery and deletion protection, the archive
of each region's bus, the hosted zone, a health check per region and the latency records. What always holds: the plan
is made by reading only; every step of an apply reads again before it writes; a resource is never deleted and created
anew under its readers (a health check that cannot be changed is replaced first, then removed); a second plan after an
apply has nothing to change; an apply that was interrupted anywhere is continued by the next plan.

A notebook calls ``plan(cloud)``, then ``apply(cloud, plan, token)``, then ``verify(cloud)``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from botocore.exceptions import ClientError

from ops import stack
from ops.aws import Cloud, explained
from ops.errors import OpsError
from ops.fanout import each
from ops.plan import Action, Plan, Step, authorize
from ops.record import Check
from ops.stage import Stage

RUNBOOK = "provision"
EVENT_PATTERN = {"source": ["atoll.events"]}
TTL_ATTRIBUTE = "expires_at"
STATUS_PATH = "/status"
KEYS = {"pk": "HASH", "sk": "RANGE"}
INDEXES = {"by_time": {"gsi_pk": "HASH", "gsi_sk": "RANGE"}}

# A replica in one of these states becomes ACTIVE without us.
_COMING_UP = {"CREATING", "UPDATING"}

# Sent with every write and not compared: Route 53 has it on unless told otherwise, and an API needs it.
_SNI = {"EnableSNI": True}

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Waits:
    """How an apply waits for what AWS does in its own time. A deadline that passes is an error that says what to do."""

    deadline_s: float = 1800
    poll_s: float = 0.2
    poll_max_s: float = 10
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def until(self, what: str, ready: Callable[[], bool]) -> None:
        """Poll ``ready``, less and less often, until it is true.

        Raises:
            OpsError: the deadline passed.
        """
        end, pause = self.clock() + self.deadline_s, self.poll_s
        while not ready():
            if self.clock() >= end:
                raise OpsError(
                    f"{what}: not ready after {self.deadline_s:.0f} s",
                    hint="It may still come up by itself: plan again, and apply what is left.",
                )
            self.sleep(pause)
            pause = min(pause * 1.5, self.poll_max_s)


# --- what is there -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """One region's replica, in the terms in which it is desired."""

    status: str
    keys: dict[str, str]
    indexes: dict[str, dict[str, str]]
    billing: str
    stream: str | None
    deletion_protection: bool
    replicas: dict[str, str]
    ttl: str | None
    recovery: bool

    def shape(self) -> dict[str, Any]:
        return {"keys": self.keys, "indexes": self.indexes, "billing": self.billing, "stream": self.stream}


@dataclass(frozen=True)
class Archive:
    state: str
    bus_arn: str
    pattern: Any
    retention_days: int


@dataclass(frozen=True)
class HealthCheck:
    id: str
    number: int
    name: str
    config: dict[str, Any]


@dataclass(frozen=True)
class RegionState:
    """What one region has. ``domain`` is None when the regional stack does not serve; ``stack`` says why."""

    stack: str
    domain: str | None
    table: Table | None
    archive: Archive | None


@dataclass(frozen=True)
class World:
    """Everything that provisioning looks at, read once."""

    account: str
    regions: dict[str, RegionState]
    zones: list[str]
    health_checks: dict[str, list[HealthCheck]]
    records: dict[str, dict[str, Any]]


def observe(cloud: Cloud) -> World:
    """Read all that the desired state speaks of; changes nothing."""
    stage = cloud.stage
    with explained(f"reading what stage {stage.stage!r} has"):
        regions = each(stage.regions, lambda region: _observe_region(cloud, region))
        zones = _find_zones(cloud)
        return World(
            account=cloud.account,
            regions=regions,
            zones=zones,
            health_checks=_find_health_checks(cloud),
            records=_find_records(cloud, zones[0]) if zones else {},
        )


def _observe_region(cloud: Cloud, region: str) -> RegionState:
    found = stack.read(cloud, region)
    domain = f"{found.api_id}.execute-api.{region}.amazonaws.com" if found.serving and found.api_id else None
    return RegionState(found.status, domain, _find_table(cloud, region), _find_archive(cloud, region))


def _find_table(cloud: Cloud, region: str) -> Table | None:
    dynamodb, name = cloud.client("dynamodb", region), cloud.stage.table_name
    try:
        table = dynamodb.describe_table(TableName=name)["Table"]
        ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    except ClientError as error:
        if _code(error) in ("ResourceNotFoundException", "TableNotFoundException"):
            return None
        raise
    stream = table.get("StreamSpecification", {})
    recovery = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    return Table(
        status=table["TableStatus"],
        keys={k["AttributeName"]: k["KeyType"] for k in table["KeySchema"]},
        indexes={
            index["IndexName"]: {k["AttributeName"]: k["KeyType"] for k in index["KeySchema"]}
            for index in table.get("GlobalSecondaryIndexes", [])
        },
        billing=table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
        stream=stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
        deletion_protection=bool(table.get("DeletionProtectionEnabled")),
        replicas={r["RegionName"]: r.get("ReplicaStatus", "ACTIVE") for r in table.get("Replicas", [])},
        ttl=ttl.get("AttributeName") if ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") else None,
        recovery=recovery == "ENABLED",
    )


def _find_archive(cloud: Cloud, region: str) -> Archive | None:
    try:
        found = cloud.client("events", region).describe_archive(ArchiveName=cloud.stage.archive_name)
    except ClientError as error:
        if _code(error) == "ResourceNotFoundException":
            return None
        raise
    return Archive(
        state=found.get("State", "ENABLED"),
        bus_arn=found["EventSourceArn"],
        pattern=json.loads(found["EventPattern"]) if found.get("EventPattern") else None,
        retention_days=found.get("RetentionDays", 0),
    )


def _find_zones(cloud: Cloud) -> list[str]:
    route53, name = cloud.client("route53", cloud.stage.home_region), f"{cloud.stage.dns.zone}."
    answer = route53.list_hosted_zones_by_name(DNSName=name, MaxItems="100")
    return [
        zone["Id"].rpartition("/")[2]
        for zone in answer["HostedZones"]
        if zone["Name"] == name and not zone.get("Config", {}).get("PrivateZone")
    ]


def _find_health_checks(cloud: Cloud) -> dict[str, list[HealthCheck]]:
    """Ours by caller reference ``<prefix>/<region>/<number>``, the newest last."""
    route53 = cloud.client("route53", cloud.stage.home_region)
    found: dict[str, list[HealthCheck]] = {}
    for page in route53.get_paginator("list_health_checks").paginate():
        for check in page["HealthChecks"]:
            prefix, _, rest = check["CallerReference"].partition("/")
            region, _, number = rest.partition("/")
            if prefix != cloud.stage.prefix or not number.isdecimal():
                continue
            tags = route53.list_tags_for_resource(ResourceType="healthcheck", ResourceId=check["Id"])
            names = [t["Value"] for t in tags["ResourceTagSet"].get("Tags", []) if t["Key"] == "Name"]
            config = _probe_of(dict(check["HealthCheckConfig"]))
            found.setdefault(region, []).append(HealthCheck(check["Id"], int(number), "".join(names), config))
    return {region: sorted(checks, key=lambda check: check.number) for region, checks in found.items()}


def _find_records(cloud: Cloud, zone: str) -> dict[str, dict[str, Any]]:
    """The CNAME records of the stage's name, by set identifier ("" for a simple one)."""
    route53, name = cloud.client("route53", cloud.stage.home_region), f"{cloud.stage.dns.record}."
    # One page holds 300 records, and a name has one for each region.
    answer = route53.list_resource_record_sets(
        HostedZoneId=zone, StartRecordName=name, StartRecordType="CNAME", MaxItems="300"
    )
    return {
        record.get("SetIdentifier", ""): {
            "region": record.get("Region"),
            "ttl_s": record.get("TTL"),
            "value": ", ".join(v["Value"].removesuffix(".") for v in record.get("ResourceRecords", [])),
            "health_check": record.get("HealthCheckId"),
        }
        for record in answer["ResourceRecordSets"]
        if record["Name"] == name and record["Type"] == "CNAME"
    }


# --- what it should be -------------------------------------------------------------------------------------------


def desired_shape() -> dict[str, Any]:
    """The table as :meth:`Table.shape` describes one."""
    return {"keys": KEYS, "indexes": INDEXES, "billing": "PAY_PER_REQUEST", "stream": "NEW_AND_OLD_IMAGES"}


def desired_probe(stage: Stage, domain: str) -> dict[str, Any]:
    """The health check of a region whose API has this domain."""
    return {
        "Type": "HTTPS",
        "FullyQualifiedDomainName": domain,
        "Port": 443,
        "ResourcePath": STATUS_PATH,
        "RequestInterval": stage.health_check.interval_s,
        "FailureThreshold": stage.health_check.failure_threshold,
        "Inverted": False,
        "Disabled": False,
    }


def _probe_of(config: dict[str, Any]) -> dict[str, Any]:
    """The same fields of a health check that exists, with Route 53's defaults for those it leaves out."""
    defaults = {
        "Type": None,
        "FullyQualifiedDomainName": None,
        "Port": 443,
        "ResourcePath": None,
        "RequestInterval": 30,
        "FailureThreshold": 3,
        "Inverted": False,
        "Disabled": False,
    }
    return {name: config.get(name, default) for name, default in defaults.items()}


# --- the plan ----------------------------------------------------------------------------------------------------


def plan(cloud: Cloud) -> Plan:
    """What would be created, changed or deleted to make the world what the stage file says; read-only."""
    return decide(cloud.stage, observe(cloud))


def decide(stage: Stage, world: World) -> Plan:
    """The plan for a world that was read; a pure function."""
    steps = [
        *_stack_steps(stage, world),
        *_table_steps(stage, world),
        *_archive_steps(stage, world),
        *_dns_steps(stage, world),
    ]
    result = Plan(runbook=RUNBOOK, stage=stage.stage, account=world.account, regions=stage.regions, steps=steps)
    new_replicas = sum(step.action == "create" and step.resource.startswith("replica ") for step in steps)
    return result.model_copy(
        update={
            "estimates": {"changes": len(result.changes), "new_replicas": new_replicas},
            "warnings": _warnings(stage, world),
        }
    )


def _stack_steps(stage: Stage, world: World) -> list[Step]:
    steps = []
    for region in stage.regions:
        state = world.regions[region]
        if state.domain:
            steps.append(Step(action="keep", resource=f"stack {stage.stack}", region=region, detail=state.stack))
        else:
            detail = f"the regional stack is {state.stack}; run: ops deploy --stage {stage.stage} --region {region}"
            steps.append(Step(action="refuse", resource=f"stack {stage.stack}", region=region, detail=detail))
    return steps


def _step(resource: str, region: str | None, before: Any, after: Any, detail: str = "") -> Step:
    """Create what is absent (``before`` None), change what differs, keep what is equal."""
    action: Action = "keep" if before == after else "create" if before is None else "change"
    if action == "keep":
        return Step(action=action, resource=resource, region=region)
    if action == "change":
        detail = _difference(before, after)
    return Step(action=action, resource=resource, region=region, detail=detail, before=before, after=after)


def _table_steps(stage: Stage, world: World) -> list[Step]:
    name, home = stage.table_name, stage.home_region
    tables = {region: state.table for region, state in world.regions.items()}
    own = tables[home]
    refused = _table_refusals(stage, tables)
    if refused:
        return refused
    shape = None
    if own is not None:
        # Indexes that are not ours are none of our business.
        shape = own.shape() | {"indexes": {i: k for i, k in own.indexes.items() if i in INDEXES}}
    steps = [_step(f"table {name}", home, shape, desired_shape(), "on demand, with streams")]
    steps.append(_step(f"ttl {name}", home, {"attribute": own.ttl} if own else None, {"attribute": TTL_ATTRIBUTE}))
    for region in stage.regions:
        if region != home:
            status = own.replicas.get(region) if own else None
            steps.append(_step(f"replica {name}", region, status, "ACTIVE", f"of the table in {home}"))
    for region in stage.regions:
        table = tables[region]
        wanted = {"deletion_protection": stage.table.deletion_protection}
        before = {"deletion_protection": table.deletion_protection} if table else {"deletion_protection": False}
        steps.append(_step(f"protection {name}", region, before, wanted))
        wanted = {"point_in_time_recovery": stage.table.point_in_time_recovery}
        before = {"point_in_time_recovery": table.recovery if table else False}
        steps.append(_step(f"recovery {name}", region, before, wanted))
    return steps


def _table_refusals(stage: Stage, tables: dict[str, Table | None]) -> list[Step]:
    """What no API call can bring to the desired state without losing data."""
    name, home = stage.table_name, stage.home_region
    own, refused = tables[home], []

    def refuse(region: str, detail: str, before: Any = None, after: Any = None) -> None:
        refused.append(
            Step(action="refuse", resource=f"table {name}", region=region, detail=detail, before=before, after=after)
        )

    if own is not None and own.keys != KEYS:
        refuse(home, "its key schema is another, and a key schema cannot be changed", own.keys, KEYS)
    for index, keys in INDEXES.items():
        if own is not None and own.indexes.get(index, keys) != keys:
            refuse(home, f"index {index} has other keys; delete the index, then plan again", own.indexes[index], keys)
    for region, table in tables.items():
        status = own.replicas.get(region) if own else None
        if region == home:
            continue
        if table is not None and status is None:
            refuse(region, f"a table of this name stands alone here; it is no replica of the one in {home}")
        elif status is not None and status != "ACTIVE" and status not in _COMING_UP:
            refuse(region, f"the replica is {status}; see the divergence runbook before you touch it")
    return refused


def _archive_steps(stage: Stage, world: World) -> list[Step]:
    steps = []
    for region in stage.regions:
        state, archive = world.regions[region], world.regions[region].archive
        if state.domain is None:
            continue
        bus = _bus_arn(stage, world.account, region)
        wanted = {"bus": bus, "pattern": EVENT_PATTERN, "retention_days": stage.archive.retention_days}
        before = None
        if archive is not None:
            before = {"bus": archive.bus_arn, "pattern": archive.pattern, "retention_days": archive.retention_days}
        if archive is not None and (archive.bus_arn != bus or archive.state.endswith("FAILED")):
            detail = f"it is {archive.state} and belongs to {archive.bus_arn}; delete it, then plan again"
            resource = f"archive {stage.archive_name}"
            steps.append(Step(action="refuse", resource=resource, region=region, detail=detail, before=before))
        else:
            steps.append(_step(f"archive {stage.archive_name}", region, before, wanted, "platform events only"))
    return steps


def _dns_steps(stage: Stage, world: World) -> list[Step]:
    zone, record = stage.dns.zone, stage.dns.record
    if len(world.zones) > 1:
        detail = f"{len(world.zones)} public hosted zones have this name: {', '.join(world.zones)}; delete all but one"
        return [Step(action="refuse", resource=f"zone {zone}", detail=detail)]
    if record == zone:
        detail = "latency records are CNAMEs, which DNS forbids at the top of a zone; set dns.record below dns.zone"
        return [Step(action="refuse", resource=f"record {record}", detail=detail)]
    steps = [_step(f"zone {zone}", None, {"public": True} if world.zones else None, {"public": True})]
    checks, records, obsolete = [], [], []
    for region in stage.regions:
        domain = world.regions[region].domain
        if domain is None:
            continue
        ours = world.health_checks.get(region, [])
        wanted = desired_probe(stage, domain)
        current = _current(ours, wanted)
        before = {"name": current.name} | current.config if current else None
        checks.append(
            _step(f"health-check {record}", region, before, {"name": _check_name(stage, region)} | wanted, domain)
        )
        obsolete += [
            Step(action="delete", resource=f"health-check {record}", region=region, before={"id": c.id} | c.config)
            for c in ours
            if c is not current
        ]
        found = world.records.get(region)
        if found is not None and current is not None and found["health_check"] == current.id:
            found = found | {"health_check": _check_name(stage, region)}
        records.append(_step(f"record {record}", region, found, _desired_record(stage, region, domain), domain))
    return [*steps, *checks, *records, *obsolete]


def _current(ours: list[HealthCheck], wanted: dict[str, Any]) -> HealthCheck | None:
    """The health check to go on with: Route 53 changes neither type nor interval of one that exists."""
    fit = [c for c in ours if all(c.config[f] == wanted[f] for f in ("Type", "RequestInterval"))]
    return fit[-1] if fit else None


def _check_name(stage: Stage, region: str) -> str:
    return f"{stage.prefix} {region}"


def _desired_record(stage: Stage, region: str, domain: str) -> dict[str, Any]:
    check = _check_name(stage, region)
    return {"region": region, "ttl_s": stage.dns.ttl_s, "value": domain, "health_check": check}


def _bus_arn(stage: Stage, account: str, region: str) -> str:
    return f"arn:aws:events:{region}:{account}:event-bus/{stage.bus}"


def _warnings(stage: Stage, world: World) -> list[str]:
    strangers = [name or "(simple)" for name in world.records if name not in stage.regions]
    found = [f"record {stage.dns.record}: {name} is no region of the stage; it is left alone" for name in strangers]
    own = world.regions[stage.home_region].table
    for region in sorted(set(own.replicas) - set(stage.regions)) if own else []:
        found.append(
            f"table {stage.table_name}: it has a replica in {region}, no region of the stage; it is left alone"
        )
    if not stage.table.deletion_protection:
        found.append(f"table {stage.table_name}: deletion protection is off for this stage")
    return found


# --- apply -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """One step that was applied. ``done`` is what was needed when it was its turn."""

    step: Step
    done: str
    duration_s: float


@dataclass(frozen=True)
class Applied:
    """What an apply did, in order."""

    outcomes: list[Outcome] = field(default_factory=list)

    def frame(self) -> pd.DataFrame:
        rows = [(o.step.resource, o.step.region or "global", o.done, round(o.duration_s, 1)) for o in self.outcomes]
        return pd.DataFrame(rows, columns=["resource", "region", "done", "duration_s"])


def apply(
    cloud: Cloud, plan: Plan, token: str, progress: Progress = lambda line: None, waits: Waits | None = None
) -> Applied:
    """Carry out a plan, step by step, each reading before it writes.

    Raises:
        RefusedError: the token is not the plan's, or the plan holds a refusal. Nothing was changed.
        OpsError: a step failed; those before it are done, and the next plan goes on from there.
    """
    authorize(plan, token)
    waits = waits or Waits()
    outcomes = []
    for number, step in enumerate(plan.changes, start=1):
        kind = step.resource.partition(" ")[0]
        where = f"{step.resource}{f' in {step.region}' if step.region else ''}"
        progress(f"[{number}/{len(plan.changes)}] {step.action} {where}")
        begun = waits.clock()
        try:
            with explained(f"{step.action} {where}"):
                done = _WRITERS[kind](cloud, step, waits)
        except OpsError as error:
            error.hint = error.hint or f"Plan again, and apply what is left: ops run {RUNBOOK} --stage {plan.stage}"
            raise
        outcomes.append(Outcome(step, done, waits.clock() - begun))
    return Applied(outcomes)


def _table_ready(cloud: Cloud, region: str) -> bool:
    """ACTIVE, its indexes and its replicas too: only then does DynamoDB take the next change."""
    try:
        table = cloud.client("dynamodb", region).describe_table(TableName=cloud.stage.table_name)["Table"]
    except ClientError as error:
        if _code(error) in ("ResourceNotFoundException", "TableNotFoundException"):
            return False
        raise
    states: list[str] = [table["TableStatus"]]
    states += [index.get("IndexStatus", "ACTIVE") for index in table.get("GlobalSecondaryIndexes", [])]
    states += [r.get("ReplicaStatus", "ACTIVE") for r in table.get("Replicas", []) if r["RegionName"] != region]
    return all(state == "ACTIVE" for state in states)


def _await_table(cloud: Cloud, region: str, waits: Waits) -> None:
    waits.until(f"table {cloud.stage.table_name} in {region}", lambda: _table_ready(cloud, region))


def _key_schema(keys: dict[str, str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()]


def _index(name: str) -> dict[str, Any]:
    return {"IndexName": name, "KeySchema": _key_schema(INDEXES[name]), "Projection": {"ProjectionType": "ALL"}}


def _attributes(*names: dict[str, str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": "S"} for keys in names for name in keys]


def _write_table(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, home = cloud.stage, cloud.stage.home_region
    dynamodb: Any = cloud.client("dynamodb", home)
    found = _find_table(cloud, home)
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    done = "already so"
    if found is None:
        dynamodb.create_table(
            TableName=stage.table_name,
            AttributeDefinitions=_attributes(KEYS, *INDEXES.values()),
            KeySchema=_key_schema(KEYS),
            GlobalSecondaryIndexes=[_index(name) for name in INDEXES],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification=stream,
            DeletionProtectionEnabled=stage.table.deletion_protection,
            Tags=_tags(stage),
        )
        _await_table(cloud, home, waits)
        return "created"
    # DynamoDB takes one kind of change at a time.
    if found.billing != "PAY_PER_REQUEST":
        _await_table(cloud, home, waits)
        dynamodb.update_table(TableName=stage.table_name, BillingMode="PAY_PER_REQUEST")
        done = "changed"
    if found.stream != "NEW_AND_OLD_IMAGES":
        _await_table(cloud, home, waits)
        if found.stream is not None:
            dynamodb.update_table(TableName=stage.table_name, StreamSpecification={"StreamEnabled": False})
            _await_table(cloud, home, waits)
        dynamodb.update_table(TableName=stage.table_name, StreamSpecification=stream)
        done = "changed"
    for name in INDEXES.keys() - found.indexes.keys():
        _await_table(cloud, home, waits)
        dynamodb.update_table(
            TableName=stage.table_name,
            AttributeDefinitions=_attributes(KEYS, INDEXES[name]),
            GlobalSecondaryIndexUpdates=[{"Create": _index(name)}],
        )
        done = "changed"
    _await_table(cloud, home, waits)
    return done


def _write_ttl(cloud: Cloud, step: Step, waits: Waits) -> str:
    home, name = cloud.stage.home_region, cloud.stage.table_name
    found = _find_table(cloud, home)
    if found is not None and found.ttl == TTL_ATTRIBUTE:
        return "already so"
    dynamodb = cloud.client("dynamodb", home)
    if found is not None and found.ttl is not None:
        dynamodb.update_time_to_live(
            TableName=name, TimeToLiveSpecification={"Enabled": False, "AttributeName": found.ttl}
        )
    dynamodb.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
    )
    return "changed"


def _write_replica(cloud: Cloud, step: Step, waits: Waits) -> str:
    home, name, region = cloud.stage.home_region, cloud.stage.table_name, _region(step)
    _await_table(cloud, home, waits)
    found = _find_table(cloud, home)
    done = "already so"
    if found is not None and region not in found.replicas:
        cloud.client("dynamodb", home).update_table(TableName=name, ReplicaUpdates=[{"Create": {"RegionName": region}}])
        done = "created"
    _await_table(cloud, home, waits)
    _await_table(cloud, region, waits)
    return done


def _write_protection(cloud: Cloud, step: Step, waits: Waits) -> str:
    region, wanted = _region(step), cloud.stage.table.deletion_protection
    _await_table(cloud, region, waits)
    found = _find_table(cloud, region)
    if found is not None and found.deletion_protection == wanted:
        return "already so"
    cloud.client("dynamodb", region).update_table(TableName=cloud.stage.table_name, DeletionProtectionEnabled=wanted)
    _await_table(cloud, region, waits)
    return "changed"


def _write_recovery(cloud: Cloud, step: Step, waits: Waits) -> str:
    region, wanted = _region(step), cloud.stage.table.point_in_time_recovery
    _await_table(cloud, region, waits)
    found = _find_table(cloud, region)
    if found is not None and found.recovery == wanted:
        return "already so"

    def enabled() -> bool:
        try:
            cloud.client("dynamodb", region).update_continuous_backups(
                TableName=cloud.stage.table_name,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": wanted},
            )
        except ClientError as error:
            # A table that was just made has no backups yet.
            if _code(error) == "ContinuousBackupsUnavailableException":
                return False
            raise
        return True

    waits.until(f"point-in-time recovery of {cloud.stage.table_name} in {region}", enabled)
    return "changed"


def _write_archive(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, region = cloud.stage, _region(step)
    events, pattern = cloud.client("events", region), json.dumps(EVENT_PATTERN)
    found, days = _find_archive(cloud, region), stage.archive.retention_days
    if found is None:
        events.create_archive(
            ArchiveName=stage.archive_name,
            EventSourceArn=_bus_arn(stage, cloud.account, region),
            Description=f"Platform events of bus {stage.bus}, for the replay runbook",
            EventPattern=pattern,
            RetentionDays=days,
        )
        done = "created"
    elif found.pattern != EVENT_PATTERN or found.retention_days != days:
        events.update_archive(ArchiveName=stage.archive_name, EventPattern=pattern, RetentionDays=days)
        done = "changed"
    else:
        return "already so"

    def enabled() -> bool:
        archive = _find_archive(cloud, region)
        return archive is not None and archive.state == "ENABLED"

    waits.until(f"archive {stage.archive_name} in {region}", enabled)
    return done


def _write_zone(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage = cloud.stage
    if _find_zones(cloud):
        return "already so"
    route53 = cloud.client("route53", stage.home_region)
    answer = route53.create_hosted_zone(
        Name=f"{stage.dns.zone}.",
        # A reference is good for one zone only: one that was deleted must not stand in the way of the next.
        CallerReference=f"{stage.prefix}/{time.time_ns()}",
        HostedZoneConfig={"Comment": f"Stage {stage.stage} of Atoll"},
    )
    _await_dns(cloud, answer["ChangeInfo"]["Id"], waits)
    return "created"


def _write_health_check(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, region = cloud.stage, _region(step)
    route53: Any = cloud.client("route53", stage.home_region)
    ours = _find_health_checks(cloud).get(region, [])
    if step.action == "delete":
        return _delete_health_check(cloud, step, ours)
    wanted = {key: value for key, value in step.after.items() if key != "name"}
    current, done = _current(ours, wanted), "already so"
    if current is None:
        identifier, done = _create_health_check(route53, stage, region, ours, wanted), "created"
    else:
        identifier = current.id
        if current.config != wanted:
            settable = {key: value for key, value in wanted.items() if key not in ("Type", "RequestInterval")}
            route53.update_health_check(HealthCheckId=identifier, **settable, **_SNI)
            done = "changed"
    if current is None or current.name != _check_name(stage, region):
        tags = [{"Key": "Name", "Value": _check_name(stage, region)}, *_tags(stage)]
        route53.change_tags_for_resource(ResourceType="healthcheck", ResourceId=identifier, AddTags=tags)
        done = "changed" if done == "already so" else done
    return done


def _create_health_check(
    route53: Any, stage: Stage, region: str, ours: list[HealthCheck], wanted: dict[str, Any]
) -> str:
    first = max((check.number for check in ours), default=0) + 1
    for number in range(first, first + 50):
        try:
            answer = route53.create_health_check(
                CallerReference=f"{stage.prefix}/{region}/{number}", HealthCheckConfig=wanted | _SNI
            )
        except ClientError as error:
            # Route 53 remembers the reference of a health check that was deleted.
            if _code(error) == "HealthCheckAlreadyExists":
                continue
            raise
        return str(answer["HealthCheck"]["Id"])
    raise OpsError(f"health check of {region}: fifty caller references from {first} on are taken")


def _delete_health_check(cloud: Cloud, step: Step, ours: list[HealthCheck]) -> str:
    identifier = step.before["id"]
    if identifier not in {check.id for check in ours}:
        return "already so"
    for zone in _find_zones(cloud):
        for name, record in _find_records(cloud, zone).items():
            if record["health_check"] == identifier:
                raise OpsError(f"health check {identifier}: record {name} still uses it")
    cloud.client("route53", cloud.stage.home_region).delete_health_check(HealthCheckId=identifier)
    return "deleted"


def _write_record(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, region = cloud.stage, _region(step)
    zones, ours = _find_zones(cloud), _find_health_checks(cloud).get(region, [])
    domain = step.after["value"]
    check = _current(ours, desired_probe(stage, domain))
    if not zones or check is None:
        raise OpsError(f"record {stage.dns.record} of {region}: its zone or its health check has gone")
    if _find_records(cloud, zones[0]).get(region) == step.after | {"health_check": check.id}:
        return "already so"
    route53: Any = cloud.client("route53", stage.home_region)
    answer = route53.change_resource_record_sets(
        HostedZoneId=zones[0],
        ChangeBatch={
            "Comment": f"Atoll stage {stage.stage}",
            "Changes": [
                {
                    "Action": "UPSERT",
                    "ResourceRecordSet": {
                        "Name": f"{stage.dns.record}.",
                        "Type": "CNAME",
                        "SetIdentifier": region,
                        "Region": region,
                        "TTL": stage.dns.ttl_s,
                        "ResourceRecords": [{"Value": domain}],
                        "HealthCheckId": check.id,
                    },
                }
            ],
        },
    )
    _await_dns(cloud, answer["ChangeInfo"]["Id"], waits)
    return "created" if step.action == "create" else "changed"


def _await_dns(cloud: Cloud, change: str, waits: Waits) -> None:
    route53 = cloud.client("route53", cloud.stage.home_region)
    waits.until("the DNS change", lambda: route53.get_change(Id=change)["ChangeInfo"]["Status"] == "INSYNC")


_WRITERS: dict[str, Callable[[Cloud, Step, Waits], str]] = {
    "table": _write_table,
    "ttl": _write_ttl,
    "replica": _write_replica,
    "protection": _write_protection,
    "recovery": _write_recovery,
    "archive": _write_archive,
    "zone": _write_zone,
    "health-check": _write_health_check,
    "record": _write_record,
}


# --- verify ------------------------------------------------------------------------------------------------------


def verify(cloud: Cloud) -> list[Check]:
    """Hold the world against the stage file: a check for each resource, and for each replica's own state."""
    world = observe(cloud)
    checks = []
    for step in decide(cloud.stage, world).steps:
        name = f"{step.resource}{f' in {step.region}' if step.region else ''}"
        checks.append(Check(name, step.action == "keep", _seen(step)))
    for region, state in world.regions.items():
        table = state.table
        ok = table is not None and table.status == "ACTIVE" and table.ttl == TTL_ATTRIBUTE
        ok = ok and table is not None and INDEXES.items() <= table.indexes.items() and table.keys == KEYS
        seen = f"{table.status}, TTL on {table.ttl}, indexes {', '.join(table.indexes)}" if table else "absent"
        checks.append(Check(f"data of table {cloud.stage.table_name} in {region}", ok, seen))
    return checks


def _seen(step: Step) -> str:
    if step.action == "keep":
        return step.detail or "as the stage file says"
    if step.action == "create":
        return "absent"
    if step.action == "delete":
        return f"not wanted: {step.before}"
    return step.detail if step.action == "refuse" else _difference(step.before, step.after)


def _difference(before: Any, after: Any) -> str:
    """The fields that differ, with both values."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return f"is {before}, should be {after}"
    names = [name for name in after if before.get(name) != after[name]]
    return "; ".join(f"{name} is {before.get(name)}, should be {after[name]}" for name in names)


def _region(step: Step) -> str:
    if step.region is None:
        raise OpsError(f"{step.resource}: the step names no region")
    return step.region


def _tags(stage: Stage) -> list[dict[str, str]]:
    return [{"Key": "atoll:stage", "Value": stage.stage}, {"Key": "atoll:owner", "Value": RUNBOOK}]


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))

"""Destroy: everything global of a stage taken away, as a plan of its own that is read and applied like any other.

What always holds: only what is ours goes, found by the same names, caller references and set identifiers by which it is
made; what is not ours is named in the plan and looked at again afterwards. Nothing goes while the stage file or the
table protects it, nor a table with items or a bucket with objects unless their loss is asked for. The order is safe at
each step: first what answers (records, names), then what watches (alarms, topic, health checks), then the zone, and
what holds data last (archives, buckets, replicas, table), so that an interrupted destroy is continued by the next plan.

It comes before the regional stacks are removed, not after: EventBridge deletes no bus that has rules, and each archive
has one on its bus. Meanwhile the regions' APIs answer 5xx, which the plan warns of.
https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_DeleteEventBus.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code, explained
from ops.divergence.reserved import is_heartbeat
from ops.errors import OpsError
from ops.plan import Plan, Step
from ops.prices import HOSTED_ZONE_USD_PER_MONTH, alarm_usd_per_month, health_check_usd_per_month
from ops.provision.alarms import METRICS_REGION, topic_name
from ops.provision.alerting import delete_alarm, delete_topic
from ops.provision.desired import KEYS, RUNBOOK
from ops.provision.dns import await_dns, change, delete_health_check, delete_step, is_calculated
from ops.provision.storage import delete_bucket, end_steps, held
from ops.provision.table.desired import STRONG
from ops.provision.table.scaling import remove_scaling, usd_per_month
from ops.provision.table.world import find_table
from ops.provision.waits import Waits
from ops.provision.world import World, find_archive, find_zones, observe
from ops.record import Check
from ops.stage import Stage

# Of a zone's own name; Route 53 makes and deletes them with the zone.
_OF_THE_ZONE = ("NS", "SOA")
_SHOWN = 5
# What a deletion usually takes on AWS, in seconds: see ``planning``.
_USUAL_S = {"replica": 300, "replicas": 300, "table": 60, "zone": 60, "name": 60, "record": 60}
_CALL_S = 5


@dataclass(frozen=True)
class Remains:
    """What is there to destroy. ``items`` are DynamoDB's own counts, hours old; ``holding`` are regions that hold any
    item now; ``events`` are an archive's own count, by region and name, up to a day old; ``keeping`` are regions whose
    operations bucket holds any object."""

    world: World
    zone_is_ours: bool
    record_sets: list[dict[str, Any]]
    items: dict[str, int]
    holding: list[str]
    archives: dict[tuple[str, str], int]
    foreign_checks: list[str]
    keeping: dict[str, list[str]] = field(default_factory=dict)


def plan_destroy(cloud: Cloud, discard_data: bool = False) -> Plan:
    """What would be deleted, and what stands in the way; read-only."""
    return decide_destroy(cloud.stage, look(cloud), discard_data)


def look(cloud: Cloud) -> Remains:
    """Read all that a destroy speaks of; changes nothing."""
    world, stage = observe(cloud), cloud.stage
    with explained(f"reading what stage {stage.stage!r} has"):
        archives = {
            (region, name): count
            for region in stage.regions
            for name in (stage.archive_name, stage.journal_bus)
            if (count := _archived(cloud, region, name)) is not None
        }
        tables = [region for region, state in world.regions.items() if state.table is not None]
        return Remains(
            world=world,
            zone_is_ours=bool(world.zones) and _is_ours(cloud, world.zones[0]),
            record_sets=_record_sets(cloud, world.zones[0]) if world.zones else [],
            items={region: _count(cloud, region) for region in tables},
            holding=[region for region in tables if _holds_items(cloud, region)],
            archives=archives,
            foreign_checks=_foreign_checks(cloud),
            keeping={
                region: folders
                for region, state in world.regions.items()
                if state.bucket is not None
                and not state.bucket.foreign
                and state.bucket.region == region
                and (folders := held(cloud, region))
            },
        )


def decide_destroy(stage: Stage, remains: Remains, discard_data: bool) -> Plan:
    """The plan for a world that was read; a pure function."""
    steps = [
        *_refusals(stage, remains, discard_data),
        *_dns_steps(stage, remains),
        *_alarm_steps(stage, remains.world),
        *_check_steps(stage, remains),
        *_zone_steps(stage, remains),
        *_archive_steps(stage, remains),
        *end_steps(stage, remains.world, remains.keeping, discard_data),
        *_table_steps(stage, remains.world, discard_data),
    ]
    plan = Plan(
        runbook=RUNBOOK,
        stage=stage.stage,
        account=remains.world.account,
        regions=stage.regions,
        parameters={"destroy": True, "discard_data": discard_data},
        steps=steps,
        warnings=_warnings(stage, remains),
    )
    kinds = [step.resource.partition(" ")[0] for step in plan.changes]
    estimates = {
        "changes": len(plan.changes),
        "items": max(remains.items.values(), default=0),
        "archived_events": sum(remains.archives.values()),
        "duration_s": sum(_USUAL_S.get(kind, _CALL_S) for kind in kinds),
        "cost_usd_per_month": -sum(map(_monthly, plan.changes)),
    }
    return plan.model_copy(update={"estimates": estimates})


def verify_destroyed(cloud: Cloud, plan: Plan) -> list[Check]:
    """Read anew: nothing of the plan's is left, and what is not ours is as it was."""
    remains = look(cloud)
    now = decide_destroy(cloud.stage, remains, discard_data=True)
    left = {(step.resource, step.region): step for step in now.steps if step.action != "keep"}
    named = {(step.resource, step.region): step for step in plan.changes}
    checks = [
        Check(
            f"{resource}{f' in {region}' if region else ''}",
            (resource, region) not in left,
            "still there" if (resource, region) in left else "gone",
        )
        for resource, region in {**named, **left}
    ]
    if not checks:
        checks.append(Check("global resources", True, "nothing is left"))
    return checks + list(_foreign_as_before(plan, now))


def _foreign_as_before(plan: Plan, now: Plan) -> Iterator[Check]:
    after = {step.resource: step.before for step in now.steps if step.resource.startswith("foreign ")}
    for step in plan.steps:
        if step.resource.startswith("foreign "):
            gone = [one for one in step.before if one not in after.get(step.resource, [])]
            detail = f"changed or gone: {', '.join(gone[:_SHOWN])}" if gone else f"{len(step.before)}, as before"
            yield Check(step.resource, not gone, detail)


# --- the plan ----------------------------------------------------------------------------------------------------


def _refusals(stage: Stage, remains: Remains, discard_data: bool) -> Iterator[Step]:
    name, tables = f"table {stage.table_name}", {r: s.table for r, s in remains.world.regions.items() if s.table}
    apply_first = f"ops run {RUNBOOK} --stage {stage.stage}, and apply its plan"
    if tables and stage.table.deletion_protection:
        detail = (
            f"deletion protection is on in {stage.shown_file}; set table.deletion_protection to false there, "
            f"{apply_first}, then plan again"
        )
        yield Step(action="refuse", resource=name, detail=detail)
    for region, table in tables.items():
        if table.deletion_protection and not stage.table.deletion_protection:
            detail = f"deletion protection is on in DynamoDB, and off in the stage file: {apply_first}, then plan again"
            yield Step(action="refuse", resource=name, region=region, detail=detail)
    if remains.holding and not discard_data:
        detail = (
            f"it holds items in {', '.join(remains.holding)}; with -p discard_data=true they are deleted, and are in "
            "no backup but those that you made"
        )
        yield Step(action="refuse", resource=name, detail=detail)
    own = tables.get(stage.home_region)
    for region in sorted(set(own.replicas) - set(stage.regions)) if own else []:
        detail = "a replica in a region that the stage does not have; add the region to the stage file, or remove it"
        yield Step(action="refuse", resource=name, region=region, detail=detail)
    for region in tables:
        if region != stage.home_region and (own is None or region not in own.replicas):
            detail = f"it stands alone here, and is no replica of one in {stage.home_region}; look at it, delete it"
            yield Step(action="refuse", resource=name, region=region, detail=detail)
    if len(remains.world.zones) > 1:
        zones = ", ".join(remains.world.zones)
        detail = f"{len(remains.world.zones)} public hosted zones have this name: {zones}; delete all but one"
        yield Step(action="refuse", resource=f"zone {stage.dns.zone}", detail=detail)


def _dns_steps(stage: Stage, remains: Remains) -> Iterator[Step]:
    world = remains.world
    for region in stage.regions:
        if region in world.records:
            yield _gone(f"record {stage.dns.record}", region, world.records[region])
    for region, record in world.names.items():
        yield _gone(f"name {stage.regional_host(region)}", region, record)


def _alarm_steps(stage: Stage, world: World) -> Iterator[Step]:
    # A composite before what it looks at: CloudWatch refuses to delete an alarm that a composite needs.
    for name, alarm in sorted(world.alarms.items(), key=lambda one: ("rule" not in one[1].spec, one[0])):
        yield _gone(f"alarm {name}", METRICS_REGION, alarm.spec)
    if world.topic is not None:
        yield _gone(f"topic {topic_name(stage)}", METRICS_REGION, {"policy": world.topic.policy})


def _check_steps(stage: Stage, remains: Remains) -> Iterator[Step]:
    """Parents before children; a check that a record of someone else uses stays, with its children."""
    ours = [(slot, check) for slot, checks in remains.world.health_checks.items() for check in checks]
    foreign = [one for one in remains.record_sets if not _record_is_ours(stage, one)]
    used = {one.get("HealthCheckId") for one in foreign}
    used |= {child for _, check in ours if check.id in used for child in check.children}
    for slot, check in sorted(ours, key=lambda one: not is_calculated(one[1])):
        step = delete_step(stage, slot, check)
        if check.id in used:
            step = step.model_copy(
                update={"action": "keep", "detail": f"{check.id}: a record that is not ours uses it"}
            )
        yield step
    yield Step(action="keep", resource="foreign health checks", before=remains.foreign_checks, detail="not ours")


def _zone_steps(stage: Stage, remains: Remains) -> Iterator[Step]:
    if not remains.world.zones:
        return
    foreign = sorted(_digest(one) for one in remains.record_sets if not _record_is_ours(stage, one))
    resource = f"zone {stage.dns.zone}"
    if not remains.zone_is_ours:
        yield Step(action="keep", resource=resource, detail="it was there before the stage, or someone else made it")
    elif foreign:
        names = ", ".join(foreign[:_SHOWN])
        yield Step(
            action="keep", resource=resource, detail=f"it holds {len(foreign)} records that are not ours: {names}"
        )
    else:
        yield _gone(resource, None, {"public": True})
    yield Step(action="keep", resource=f"foreign records of {stage.dns.zone}", before=foreign, detail="not ours")


def _archive_steps(stage: Stage, remains: Remains) -> Iterator[Step]:
    for region, name in remains.archives:
        yield _gone(f"archive {name}", region, {"archive": name})


def _table_steps(stage: Stage, world: World, discard_data: bool) -> Iterator[Step]:
    own, home = world.regions[stage.home_region].table, stage.home_region
    if own is None:
        return
    for region in stage.regions:
        # What scales a replica is left behind by its deletion.
        if (scaled := world.regions[region].scaling) is not None:
            yield _gone(f"scaling {stage.table_name}", region, scaled)
    if own.replicas and own.consistency == STRONG:
        yield _gone(f"replicas {stage.table_name}", home, {"group": own.group(), "discard_data": discard_data})
        yield _gone(f"table {stage.table_name}", home, {"keys": own.keys, "discard_data": discard_data})
        return
    for region in stage.regions:
        if region != home and region in own.replicas:
            before = {"replica_of": home, "discard_data": discard_data}
            yield _gone(f"replica {stage.table_name}", region, before)
    yield _gone(f"table {stage.table_name}", home, {"keys": own.keys, "discard_data": discard_data})


def _gone(resource: str, region: str | None, before: Any) -> Step:
    return Step(action="delete", resource=resource, region=region, before=before)


def _warnings(stage: Stage, remains: Remains) -> list[str]:
    found = []
    serving = [region for region, state in remains.world.regions.items() if state.domain]
    if serving:
        found.append(
            f"the regional stacks are still deployed in {', '.join(serving)}: without the table their APIs answer 5xx, "
            "and events under way end in the dead-letter queues; stop the traffic first, and remove the stacks after"
        )
    found += [
        f"archive {name} in {region}: the {count:,} events that it holds go with it"
        for (region, name), count in remains.archives.items()
        if count
    ]
    if remains.holding:
        count = max(remains.items.values())
        found.append(f"table {stage.table_name}: about {count:,} items go with it (DynamoDB's count is hours old)")
    found += [
        f"bucket {stage.operations_bucket(remains.world.account, region)} in {region}: what it holds in "
        f"{', '.join(folders)} goes with it"
        for region, folders in remains.keeping.items()
    ]
    if remains.world.topic is not None:
        found.append(f"topic {topic_name(stage)}: its subscriptions go with it")
    return found


def _monthly(step: Step) -> float:
    kind = step.resource.partition(" ")[0]
    if kind == "zone":
        return HOSTED_ZONE_USD_PER_MONTH
    if kind == "health-check":
        return health_check_usd_per_month(step.before)
    if kind == "scaling":
        return usd_per_month(step.before)
    return alarm_usd_per_month(step.before) if kind == "alarm" else 0.0


# --- reading -----------------------------------------------------------------------------------------------------


def _is_ours(cloud: Cloud, zone: str) -> bool:
    """Whether provisioning made the zone: by its caller reference, as Route 53 keeps it."""
    route53 = cloud.client("route53", cloud.stage.home_region)
    listed = route53.list_hosted_zones_by_name(DNSName=f"{cloud.stage.dns.zone}.", MaxItems="100")["HostedZones"]
    references = {one["Id"].rpartition("/")[2]: one["CallerReference"] for one in listed}
    return references.get(zone, "").startswith(f"{cloud.stage.prefix}/")


def _record_sets(cloud: Cloud, zone: str) -> list[dict[str, Any]]:
    """All of the zone, but those that it is born with."""
    route53: Any = cloud.client("route53", cloud.stage.home_region)
    pages = route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone)
    top = f"{cloud.stage.dns.zone}."
    return [
        dict(one)
        for page in pages
        for one in page["ResourceRecordSets"]
        if not (one["Name"] == top and one["Type"] in _OF_THE_ZONE)
    ]


def _record_is_ours(stage: Stage, one: dict[str, Any]) -> bool:
    if one["Type"] != "CNAME":
        return False
    if one["Name"] == f"{stage.dns.record}.":
        return one.get("SetIdentifier") in stage.regions
    return one["Name"] in {f"{host}." for host in map(stage.regional_host, stage.regions) if host is not None}


def _digest(one: dict[str, Any]) -> str:
    text = json.dumps(one, sort_keys=True, default=str)
    words = (one["Name"].rstrip("."), one["Type"], one.get("SetIdentifier", ""))
    return f"{' '.join(filter(None, words))} ({hashlib.sha256(text.encode()).hexdigest()[:8]})"


def _foreign_checks(cloud: Cloud) -> list[str]:
    route53 = cloud.client("route53", cloud.stage.home_region)
    return sorted(
        check["Id"]
        for page in route53.get_paginator("list_health_checks").paginate()
        for check in page["HealthChecks"]
        if check["CallerReference"].partition("/")[0] != cloud.stage.prefix
    )


def _archived(cloud: Cloud, region: str, name: str) -> int | None:
    try:
        return int(cloud.client("events", region).describe_archive(ArchiveName=name).get("EventCount", 0))
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise


def _count(cloud: Cloud, region: str) -> int:
    return int(cloud.client("dynamodb", region).describe_table(TableName=cloud.stage.table_name)["Table"]["ItemCount"])


def _holds_items(cloud: Cloud, region: str) -> bool:
    """Whether a replica holds any item now; DynamoDB's own count may be six hours old. A page of it may be empty.
    Heartbeats that a killed probe left are nobody's data: there is one a region at the most.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html
    """
    dynamodb = cloud.client("dynamodb", region)
    try:
        pages = dynamodb.get_paginator("scan").paginate(
            TableName=cloud.stage.table_name, ProjectionExpression=", ".join(KEYS), PaginationConfig={"PageSize": 1}
        )
        return any(not is_heartbeat(item, list(KEYS)) for page in pages for item in page["Items"])
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return False
        raise


# --- deleting ----------------------------------------------------------------------------------------------------


def _delete_record(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, name = cloud.stage, f"{step.resource.partition(' ')[2]}."
    for zone in find_zones(cloud):
        for one in _record_sets(cloud, zone):
            of_the_step = one.get("SetIdentifier", step.region) == step.region or not one.get("SetIdentifier")
            if one["Name"] == name and of_the_step and _record_is_ours(stage, one):
                change(cloud, zone, "DELETE", one, waits)
                return "deleted"
    return "already so"


def _delete_zone(cloud: Cloud, step: Step, waits: Waits) -> str:
    zones = find_zones(cloud)
    if not zones:
        return "already so"
    if not _is_ours(cloud, zones[0]) or _record_sets(cloud, zones[0]):
        raise OpsError(f"{step.resource}: since the plan it holds records again, or is another; plan again")
    answer = cloud.client("route53", cloud.stage.home_region).delete_hosted_zone(Id=zones[0])
    await_dns(cloud, answer["ChangeInfo"]["Id"], waits)
    return "deleted"


def _delete_archive(cloud: Cloud, step: Step, waits: Waits) -> str:
    region, name = str(step.region), step.resource.partition(" ")[2]
    if find_archive(cloud, region, name) is None:
        return "already so"
    cloud.client("events", region).delete_archive(ArchiveName=name)
    waits.until(f"the end of archive {name} in {region}", lambda: find_archive(cloud, region, name) is None)
    return "deleted"


def _delete_scaling(cloud: Cloud, step: Step, waits: Waits) -> str:
    return "deleted" if remove_scaling(cloud, str(step.region)) else "already so"


def _delete_replica(cloud: Cloud, step: Step, waits: Waits) -> str:
    """A replica goes by way of the table in the home region, which has to be ACTIVE for it and afterwards."""
    home, name, region = cloud.stage.home_region, cloud.stage.table_name, str(step.region)
    found = find_table(cloud, home)
    if found is None or region not in found.replicas:
        return "already so"
    _require_no_items(cloud, step, region)
    waits.until(f"table {name} in {home}", lambda: _status(cloud, home) == "ACTIVE")
    if found.replicas[region] != "DELETING":
        dynamodb: Any = cloud.client("dynamodb", home)
        dynamodb.update_table(TableName=name, ReplicaUpdates=[{"Delete": {"RegionName": region}}])

    def gone() -> bool:
        table = find_table(cloud, home)
        without = table is not None and region not in table.replicas and table.status == "ACTIVE"
        return without and find_table(cloud, region) is None

    waits.until(f"the end of the replica of {name} in {region}", gone)
    return "deleted"


def _delete_group(cloud: Cloud, step: Step, waits: Waits) -> str:
    """All replicas of a strongly consistent table and its witness in one call: DynamoDB takes no single one out of it.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DeleteGlobalTableWitnessGroupMemberAction.html
    """
    home, name = cloud.stage.home_region, cloud.stage.table_name
    found = find_table(cloud, home)
    if found is None or not found.replicas:
        return "already so"
    others = [region for region in found.replicas if region != home]
    for region in others:
        _require_no_items(cloud, step, region)
    waits.until(f"table {name} in {home}", lambda: _status(cloud, home) == "ACTIVE")
    if not any(found.replicas[region] == "DELETING" for region in others):
        dynamodb: Any = cloud.client("dynamodb", home)
        witness = {"GlobalTableWitnessUpdates": [{"Delete": {"RegionName": found.witness}}]} if found.witness else {}
        dynamodb.update_table(
            TableName=name, ReplicaUpdates=[{"Delete": {"RegionName": region}} for region in others], **witness
        )

    def gone() -> bool:
        table = find_table(cloud, home)
        alone = table is not None and not table.replicas and table.status == "ACTIVE"
        return alone and all(find_table(cloud, region) is None for region in others)

    waits.until(f"the end of the replicas of {name}", gone)
    return "deleted"


def _delete_table(cloud: Cloud, step: Step, waits: Waits) -> str:
    home, name = cloud.stage.home_region, cloud.stage.table_name
    status = _status(cloud, home)
    if status is None:
        return "already so"
    if status != "DELETING":
        _require_no_items(cloud, step, home)
        waits.until(f"table {name} in {home}", lambda: _status(cloud, home) == "ACTIVE")
        cloud.client("dynamodb", home).delete_table(TableName=name)
    waits.until(f"the end of table {name} in {home}", lambda: _status(cloud, home) is None)
    return "deleted"


def _status(cloud: Cloud, region: str) -> str | None:
    table = find_table(cloud, region)
    return table.status if table else None


def _require_no_items(cloud: Cloud, step: Step, region: str) -> None:
    if not step.before["discard_data"] and _holds_items(cloud, region):
        raise OpsError(
            f"{step.resource} in {region}: since the plan it holds items",
            hint="Stop the traffic; to delete them: -p destroy=true -p discard_data=true",
        )


DESTROYERS: dict[str, Callable[[Cloud, Step, Waits], str]] = {
    "record": _delete_record,
    "name": _delete_record,
    "alarm": delete_alarm,
    "topic": delete_topic,
    "health-check": delete_health_check,
    "zone": _delete_zone,
    "archive": _delete_archive,
    "bucket": delete_bucket,
    "scaling": _delete_scaling,
    "replica": _delete_replica,
    "replicas": _delete_group,
    "table": _delete_table,
}

"""The hosted zone, the health checks and the records: their part of the plan, and how each is written.

A health check is replaced before it is removed, and what answers is never led to a probe that has no data yet: a
record, or a calculated check that is in use, waits until an evacuation probe has settled (``healthchecks.settled_at``).
"""

from __future__ import annotations

import time
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.errors import OpsError
from ops.plan import Step
from ops.provision.desired import RUNBOOK, desired_name, desired_record
from ops.provision.healthchecks import (
    COMBINED,
    CREATED_TAG,
    PLATFORM,
    HealthCheck,
    current_checks,
    desired_checks,
    evacuation,
    find_health_checks,
    named,
    names_of,
    region_of,
    routing,
    settled_at,
    slot_name,
    usable,
)
from ops.provision.steps import difference, step_for
from ops.provision.waiting import Waits
from ops.provision.world import World, find_domains, find_names, find_records, find_zones
from ops.stage import Stage

# Sent with every write of a probe and not compared: Route 53 has it on unless told otherwise, and an API needs it.
_SNI = {"EnableSNI": True}


# --- the plan ----------------------------------------------------------------------------------------------------


def dns_steps(stage: Stage, world: World) -> list[Step]:
    zone, record = stage.dns.zone, stage.dns.record
    if len(world.zones) > 1:
        detail = f"{len(world.zones)} public hosted zones have this name: {', '.join(world.zones)}; delete all but one"
        return [Step(action="refuse", resource=f"zone {zone}", detail=detail)]
    if record == zone:
        detail = "latency records are CNAMEs, which DNS forbids at the top of a zone; set dns.record below dns.zone"
        return [Step(action="refuse", resource=f"record {record}", detail=detail)]
    steps = [step_for(f"zone {zone}", None, {"public": True} if world.zones else None, {"public": True})]
    domains = {region: state.domain for region, state in world.regions.items() if state.domain}
    wanted = desired_checks(stage, domains)
    current = current_checks(world.health_checks, wanted)
    known = names_of(stage, current)
    names, records = [], []
    for region, domain in domains.items():
        target, own = world.regions[region].target, world.regions[region].own_target
        if own is not None:
            names.append(step_for(f"name {domain}", region, world.names.get(region), desired_name(stage, own), own))
        found = world.records.get(region)
        if found is not None:
            found = found | {"health_check": known.get(found["health_check"], found["health_check"])}
        check = slot_name(stage, routing(stage, region))
        records.append(
            step_for(f"record {record}", region, found, desired_record(stage, region, str(target), check), str(target))
        )
    there = world.health_checks
    checks = [_check_step(stage, slot, config, there.get(slot, []), known) for slot, config in wanted.items()]
    # A health check of a name that leads nowhere yet would fail first.
    return [*steps, *names, *checks, *records, *_obsolete(stage, world, current)]


def resource_of(stage: Stage, slot: str) -> str:
    """What a step calls a health check: the region is the step's own."""
    role = slot if slot == PLATFORM else slot.partition("/")[2]
    return f"health-check {stage.dns.record} {role}".rstrip()


def slot_of(step: Step) -> str:
    """The slot of the health check that a step speaks of."""
    role = step.resource.split()[2:]
    if role == [PLATFORM]:
        return PLATFORM
    return "/".join([str(step.region), *role])


def _check_step(
    stage: Stage, slot: str, wanted: dict[str, Any], ours: list[HealthCheck], known: dict[str, str]
) -> Step:
    current = usable(ours, wanted)
    before = {"name": current.name} | named(current.config, known) if current else None
    after = {"name": slot_name(stage, slot)} | wanted
    detail = wanted.get("FullyQualifiedDomainName", "") + wanted.get("ResourcePath", "")
    if wanted["Type"] == "CALCULATED":
        detail = f"{wanted['HealthThreshold']} of {', '.join(wanted['ChildHealthChecks'])}"
    if current is None and ours:
        detail = f"in the place of {ours[-1].id}: {difference(ours[-1].config, wanted)}"
    return step_for(resource_of(stage, slot), region_of(slot), before, after, detail)


def _obsolete(stage: Stage, world: World, current: dict[str, HealthCheck]) -> list[Step]:
    """What is ours and no longer used, parents before their children. Those of other regions are left alone."""
    if any(state.domain is None for state in world.regions.values()):
        return []  # what is wanted there is not known
    kept = {check.id for check in current.values()}
    ours = [
        (slot, check)
        for slot, checks in world.health_checks.items()
        if region_of(slot) in (None, *stage.regions)
        for check in checks
        if check.id not in kept
    ]
    ours.sort(key=lambda one: not is_calculated(one[1]))
    return [delete_step(stage, slot, check) for slot, check in ours]


def is_calculated(check: HealthCheck) -> bool:
    return bool(check.config["Type"] == "CALCULATED")


def delete_step(stage: Stage, slot: str, check: HealthCheck, detail: str = "") -> Step:
    before = {"id": check.id} | check.config
    return Step(
        action="delete", resource=resource_of(stage, slot), region=region_of(slot), before=before, detail=detail
    )


# --- writing -----------------------------------------------------------------------------------------------------


def write_zone(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage = cloud.stage
    if find_zones(cloud):
        return "already so"
    route53 = cloud.client("route53", stage.home_region)
    answer = route53.create_hosted_zone(
        Name=f"{stage.dns.zone}.",
        # A reference is good for one zone only: one that was deleted must not stand in the way of the next.
        CallerReference=f"{stage.prefix}/{time.time_ns()}",
        HostedZoneConfig={"Comment": f"Stage {stage.stage} of Atoll"},
    )
    await_dns(cloud, answer["ChangeInfo"]["Id"], waits)
    return "created"


def write_health_check(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, slot = cloud.stage, slot_of(step)
    route53: Any = cloud.client("route53", stage.home_region)
    if step.action == "delete":
        return delete_health_check(cloud, step, waits)
    found, current = _checks_now(cloud)
    ids = {name: identifier for identifier, name in names_of(stage, current).items()}
    wanted = {key: value for key, value in step.after.items() if key != "name"}
    if absent := sorted(set(wanted.get("ChildHealthChecks", [])) - set(ids)):
        raise OpsError(f"{step.resource}: its children have gone since the plan: {', '.join(absent)}")
    if "ChildHealthChecks" in wanted:
        wanted["ChildHealthChecks"] = sorted(ids[name] for name in wanted["ChildHealthChecks"])
    check, done = current.get(slot), "already so"
    if check is None:
        identifier, done = _create_health_check(route53, stage, slot, found.get(slot, []), wanted), "created"
    else:
        identifier = check.id
        if check.config != wanted:
            _settle(cloud, slot, current, waits)
            settable = {key: value for key, value in wanted.items() if key not in ("Type", "RequestInterval")}
            route53.update_health_check(HealthCheckId=identifier, **_sent(wanted, settable))
            done = "changed"
    if check is None or check.name != slot_name(stage, slot):
        named_so = {"Name": slot_name(stage, slot), "atoll:stage": stage.stage, "atoll:owner": RUNBOOK}
        if check is None or check.created is None:
            named_so[CREATED_TAG] = str(int(waits.now()))
        tags = [{"Key": key, "Value": value} for key, value in named_so.items()]
        route53.change_tags_for_resource(ResourceType="healthcheck", ResourceId=identifier, AddTags=tags)
        done = "changed" if done == "already so" else done
    return done


def _checks_now(cloud: Cloud) -> tuple[dict[str, list[HealthCheck]], dict[str, HealthCheck]]:
    """All of ours by slot, and those to go on with."""
    found = find_health_checks(cloud)
    return found, current_checks(found, desired_checks(cloud.stage, find_domains(cloud)))


def _settle(cloud: Cloud, slot: str, current: dict[str, HealthCheck], waits: Waits) -> None:
    """Before something that is in use comes to depend on an evacuation probe, wait until that has data."""
    region, _, role = slot.partition("/")
    probe = current.get(evacuation(region))
    if role == COMBINED and probe is not None:
        waits.settle(settled_at(cloud.stage, probe, waits.now()))


def _sent(wanted: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return fields if wanted["Type"] == "CALCULATED" else fields | _SNI


def _create_health_check(route53: Any, stage: Stage, slot: str, ours: list[HealthCheck], wanted: dict[str, Any]) -> str:
    first = max((check.number for check in ours), default=0) + 1
    for number in range(first, first + 50):
        try:
            answer = route53.create_health_check(
                CallerReference=f"{stage.prefix}/{slot}/{number}", HealthCheckConfig=_sent(wanted, wanted)
            )
        except ClientError as error:
            # Route 53 remembers the reference of a health check that was deleted.
            if error_code(error) == "HealthCheckAlreadyExists":
                continue
            raise
        return str(answer["HealthCheck"]["Id"])
    raise OpsError(f"health check {slot}: fifty caller references from {first} on are taken")


def delete_health_check(cloud: Cloud, step: Step, waits: Waits) -> str:
    """Delete a check that nothing uses any more.

    Raises:
        OpsError: a record or a calculated check uses it; Route 53 itself would let either stand without it.
    """
    identifier = step.before["id"]
    ours = [check for checks in find_health_checks(cloud).values() for check in checks]
    if identifier not in {check.id for check in ours}:
        return "already so"
    for zone in find_zones(cloud):
        for name, record in find_records(cloud, zone).items():
            if record["health_check"] == identifier:
                raise OpsError(f"health check {identifier}: record {name} still uses it")
    for check in ours:
        if identifier in check.children:
            raise OpsError(f"health check {identifier}: {check.name or check.id} still counts it")
    cloud.client("route53", cloud.stage.home_region).delete_health_check(HealthCheckId=identifier)
    return "deleted"


def write_name(cloud: Cloud, step: Step, waits: Waits) -> str:
    zones = find_zones(cloud)
    if not zones:
        raise OpsError(f"{step.resource}: its zone has gone")
    if find_names(cloud, zones[0]).get(_region(step)) == step.after:
        return "already so"
    change(cloud, zones[0], "UPSERT", {"Name": f"{step.resource.partition(' ')[2]}.", **_cname(step)}, waits)
    return "created" if step.action == "create" else "changed"


def write_record(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, region = cloud.stage, _region(step)
    zones, (_, current) = find_zones(cloud), _checks_now(cloud)
    slot = routing(stage, region)
    check = current.get(slot)
    if not zones or check is None:
        raise OpsError(f"record {stage.dns.record} of {region}: its zone or its health check has gone")
    found = find_records(cloud, zones[0]).get(region)
    if found == step.after | {"health_check": check.id}:
        return "already so"
    if found is not None and found["health_check"] != check.id:
        _settle(cloud, slot, current, waits)
    latency = {"SetIdentifier": region, "Region": region, "HealthCheckId": check.id}
    change(cloud, zones[0], "UPSERT", {"Name": f"{stage.dns.record}.", **_cname(step), **latency}, waits)
    return "created" if step.action == "create" else "changed"


def _cname(step: Step) -> dict[str, Any]:
    return {"Type": "CNAME", "TTL": step.after["ttl_s"], "ResourceRecords": [{"Value": step.after["value"]}]}


def change(cloud: Cloud, zone: str, action: str, record: dict[str, Any], waits: Waits) -> None:
    """Write or delete one record set, and wait until it is known everywhere."""
    route53: Any = cloud.client("route53", cloud.stage.home_region)
    batch = {
        "Comment": f"Atoll stage {cloud.stage.stage}",
        "Changes": [{"Action": action, "ResourceRecordSet": record}],
    }
    answer = route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
    await_dns(cloud, answer["ChangeInfo"]["Id"], waits)


def await_dns(cloud: Cloud, change_id: str, waits: Waits) -> None:
    route53 = cloud.client("route53", cloud.stage.home_region)
    waits.until("the DNS change", lambda: route53.get_change(Id=change_id)["ChangeInfo"]["Status"] == "INSYNC")


def _region(step: Step) -> str:
    if step.region is None:
        raise OpsError(f"{step.resource}: the step names no region")
    return step.region

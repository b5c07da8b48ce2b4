"""One function for each kind of resource: it reads what is there now, and writes what is still needed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.errors import OpsError
from ops.plan import Step
from ops.provision.desired import check_name, desired_archives, desired_encryption, desired_probe
from ops.provision.keys import AWS_OWNED
from ops.provision.planning import usable
from ops.provision.steps import region_of as _region
from ops.provision.steps import tags as _tags
from ops.provision.table.writers import TABLE_WRITERS
from ops.provision.table.writers import own_key as _own_key
from ops.provision.waits import Waits
from ops.provision.world import (
    HealthCheck,
    find_archive,
    find_health_checks,
    find_names,
    find_records,
    find_zones,
)
from ops.stage import Stage

# Sent with every write and not compared: Route 53 has it on unless told otherwise, and an API needs it.
_SNI = {"EnableSNI": True}


def _write_archive(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, region, name = cloud.stage, _region(step), step.resource.partition(" ")[2]
    events, wanted = cloud.client("events", region), desired_archives(stage, cloud.account, region)[name]
    found, pattern, days = find_archive(cloud, region, name), json.dumps(wanted["pattern"]), wanted["retention_days"]
    wanted |= {"encryption": desired_encryption(_own_key(cloud, region), found.encryption if found else None)}
    # Left out, it means EventBridge's own key: an update of anything else names the key that is there.
    key = {} if wanted["encryption"] == AWS_OWNED else {"KmsKeyIdentifier": wanted["encryption"]}
    if found is None:
        events.create_archive(
            ArchiveName=name,
            EventSourceArn=wanted["bus"],
            Description=f"Platform events of bus {name}, for the replay runbook",
            EventPattern=pattern,
            RetentionDays=days,
            **key,
        )
        done = "created"
    elif found.shape() != wanted:
        events.update_archive(ArchiveName=name, EventPattern=pattern, RetentionDays=days, **key)
        done = "changed"
    else:
        return "already so"

    def enabled() -> bool:
        archive = find_archive(cloud, region, name)
        return archive is not None and archive.state == "ENABLED"

    waits.until(f"archive {name} in {region}", enabled)
    return done


def _write_zone(cloud: Cloud, step: Step, waits: Waits) -> str:
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
    _await_dns(cloud, answer["ChangeInfo"]["Id"], waits)
    return "created"


def _write_health_check(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, region = cloud.stage, _region(step)
    route53: Any = cloud.client("route53", stage.home_region)
    ours = find_health_checks(cloud).get(region, [])
    if step.action == "delete":
        return _delete_health_check(cloud, step, ours)
    wanted = {key: value for key, value in step.after.items() if key != "name"}
    current, done = usable(ours, wanted), "already so"
    if current is None:
        identifier, done = _create_health_check(route53, stage, region, ours, wanted), "created"
    else:
        identifier = current.id
        if current.config != wanted:
            settable = {key: value for key, value in wanted.items() if key not in ("Type", "RequestInterval")}
            route53.update_health_check(HealthCheckId=identifier, **settable, **_SNI)
            done = "changed"
    if current is None or current.name != check_name(stage, region):
        tags = [{"Key": "Name", "Value": check_name(stage, region)}, *_tags(stage)]
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
            if error_code(error) == "HealthCheckAlreadyExists":
                continue
            raise
        return str(answer["HealthCheck"]["Id"])
    raise OpsError(f"health check of {region}: fifty caller references from {first} on are taken")


def _delete_health_check(cloud: Cloud, step: Step, ours: list[HealthCheck]) -> str:
    identifier = step.before["id"]
    if identifier not in {check.id for check in ours}:
        return "already so"
    for zone in find_zones(cloud):
        for name, record in find_records(cloud, zone).items():
            if record["health_check"] == identifier:
                raise OpsError(f"health check {identifier}: record {name} still uses it")
    cloud.client("route53", cloud.stage.home_region).delete_health_check(HealthCheckId=identifier)
    return "deleted"


def _write_name(cloud: Cloud, step: Step, waits: Waits) -> str:
    zones = find_zones(cloud)
    if not zones:
        raise OpsError(f"{step.resource}: its zone has gone")
    if find_names(cloud, zones[0]).get(_region(step)) == step.after:
        return "already so"
    _upsert(cloud, zones[0], {"Name": f"{step.resource.partition(' ')[2]}.", **_cname(step)}, waits)
    return "created" if step.action == "create" else "changed"


def _write_record(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, region = cloud.stage, _region(step)
    zones, ours = find_zones(cloud), find_health_checks(cloud).get(region, [])
    # Only type and interval of the probe decide which health check is the one to use.
    check = usable(ours, desired_probe(stage, step.after["value"]))
    if not zones or check is None:
        raise OpsError(f"record {stage.dns.record} of {region}: its zone or its health check has gone")
    if find_records(cloud, zones[0]).get(region) == step.after | {"health_check": check.id}:
        return "already so"
    latency = {"SetIdentifier": region, "Region": region, "HealthCheckId": check.id}
    _upsert(cloud, zones[0], {"Name": f"{stage.dns.record}.", **_cname(step), **latency}, waits)
    return "created" if step.action == "create" else "changed"


def _cname(step: Step) -> dict[str, Any]:
    return {"Type": "CNAME", "TTL": step.after["ttl_s"], "ResourceRecords": [{"Value": step.after["value"]}]}


def _upsert(cloud: Cloud, zone: str, record: dict[str, Any], waits: Waits) -> None:
    """Write one record set and wait until it is known everywhere."""
    route53: Any = cloud.client("route53", cloud.stage.home_region)
    change = {"Action": "UPSERT", "ResourceRecordSet": record}
    batch = {"Comment": f"Atoll stage {cloud.stage.stage}", "Changes": [change]}
    answer = route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
    _await_dns(cloud, answer["ChangeInfo"]["Id"], waits)


def _await_dns(cloud: Cloud, change: str, waits: Waits) -> None:
    route53 = cloud.client("route53", cloud.stage.home_region)
    waits.until("the DNS change", lambda: route53.get_change(Id=change)["ChangeInfo"]["Status"] == "INSYNC")


WRITERS: dict[str, Callable[[Cloud, Step, Waits], str]] = {
    **TABLE_WRITERS,
    "archive": _write_archive,
    "zone": _write_zone,
    "health-check": _write_health_check,
    "name": _write_name,
    "record": _write_record,
}

"""One function for each kind of resource: it reads what is there now, and writes what is still needed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.errors import OpsError
from ops.plan import Step
from ops.provision.desired import (
    INDEXES,
    KEYS,
    RUNBOOK,
    TTL_ATTRIBUTE,
    check_name,
    desired_archives,
    desired_encryption,
    desired_probe,
)
from ops.provision.keys import AWS_OWNED, find_key
from ops.provision.planning import usable
from ops.provision.world import (
    HealthCheck,
    find_archive,
    find_health_checks,
    find_names,
    find_records,
    find_table,
    find_zones,
)
from ops.stage import Stage

# Sent with every write and not compared: Route 53 has it on unless told otherwise, and an API needs it.
_SNI = {"EnableSNI": True}


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


def _table_ready(cloud: Cloud, region: str) -> bool:
    """ACTIVE, its indexes and its replicas too, and no change of keys under way (which leaves the table ACTIVE): only
    then does DynamoDB take the next change."""
    try:
        table = cloud.client("dynamodb", region).describe_table(TableName=cloud.stage.table_name)["Table"]
    except ClientError as error:
        if error_code(error) in ("ResourceNotFoundException", "TableNotFoundException"):
            return False
        raise
    states: list[str] = [table["TableStatus"]]
    states += [index.get("IndexStatus", "ACTIVE") for index in table.get("GlobalSecondaryIndexes", [])]
    states += [r.get("ReplicaStatus", "ACTIVE") for r in table.get("Replicas", []) if r["RegionName"] != region]
    return all(state == "ACTIVE" for state in states) and table.get("SSEDescription", {}).get("Status") != "UPDATING"


def _await_table(cloud: Cloud, region: str, waits: Waits) -> None:
    waits.until(f"table {cloud.stage.table_name} in {region}", lambda: _table_ready(cloud, region))


def _own_key(cloud: Cloud, region: str) -> str | None:
    """The ARN of the stage's own key, or None where the stage asks for none.

    Raises:
        OpsError: since the plan, the key has gone or was disabled.
    """
    key = find_key(cloud, region)
    if cloud.stage.key_alias is not None and (key is None or not key.usable):
        raise OpsError(f"key {cloud.stage.key_alias} in {region}: {key.state if key else 'absent'} since the plan")
    return key.arn if key else None


def _sse(key: str | None) -> dict[str, Any]:
    return {"SSESpecification": {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}} if key else {}


def _key_schema(keys: dict[str, str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()]


def _index(name: str) -> dict[str, Any]:
    return {"IndexName": name, "KeySchema": _key_schema(INDEXES[name]), "Projection": {"ProjectionType": "ALL"}}


def _attributes(*names: dict[str, str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": "S"} for keys in names for name in keys]


def _write_table(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, home = cloud.stage, cloud.stage.home_region
    dynamodb: Any = cloud.client("dynamodb", home)
    found = find_table(cloud, home)
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
            **_sse(_own_key(cloud, home)),
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
    found = find_table(cloud, home)
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


def _write_encryption(cloud: Cloud, step: Step, waits: Waits) -> str:
    """Bring the table and its replicas under the stage's own keys, in place.

    A global table takes other keys through ReplicaUpdates only, with every replica named, the table's own region
    included; it answers "KMSMasterKeyId must be specified for each replica" to less, and to keys that it has already.
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateReplicationGroupMemberAction.html
    """
    home, name, regions = cloud.stage.home_region, cloud.stage.table_name, list(step.after)
    dynamodb: Any = cloud.client("dynamodb", home)

    def held() -> dict[str, str | None]:
        return {region: table.encryption for region in regions if (table := find_table(cloud, region))}

    for region in regions:
        _await_table(cloud, region, waits)
    wanted = {region: _own_key(cloud, region) for region in regions}
    if held() == wanted:
        return "already so"
    table = find_table(cloud, home)
    if table is not None and set(table.replicas) - {home}:
        keys = [{"Update": {"RegionName": region, "KMSMasterKeyId": key}} for region, key in wanted.items()]
        dynamodb.update_table(TableName=name, ReplicaUpdates=keys)
    else:
        dynamodb.update_table(TableName=name, **_sse(wanted[home]))
    waits.until(f"the keys of {name}", lambda: held() == wanted)
    for region in regions:
        _await_table(cloud, region, waits)
    return "changed"


def _write_replica(cloud: Cloud, step: Step, waits: Waits) -> str:
    home, name, region = cloud.stage.home_region, cloud.stage.table_name, _region(step)
    _await_table(cloud, home, waits)
    found = find_table(cloud, home)
    done = "already so"
    if found is not None and region not in found.replicas:
        dynamodb, key = cloud.client("dynamodb", home), _own_key(cloud, region)
        create: Any = {"RegionName": region, **({"KMSMasterKeyId": key} if key else {})}
        dynamodb.update_table(TableName=name, ReplicaUpdates=[{"Create": create}])
        done = "created"
    _await_table(cloud, home, waits)
    _await_table(cloud, region, waits)
    return done


def _write_protection(cloud: Cloud, step: Step, waits: Waits) -> str:
    region, wanted = _region(step), cloud.stage.table.deletion_protection
    _await_table(cloud, region, waits)
    found = find_table(cloud, region)
    if found is not None and found.deletion_protection == wanted:
        return "already so"
    cloud.client("dynamodb", region).update_table(TableName=cloud.stage.table_name, DeletionProtectionEnabled=wanted)
    _await_table(cloud, region, waits)
    return "changed"


def _write_recovery(cloud: Cloud, step: Step, waits: Waits) -> str:
    region, wanted = _region(step), cloud.stage.table.point_in_time_recovery
    _await_table(cloud, region, waits)
    found = find_table(cloud, region)
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
            if error_code(error) == "ContinuousBackupsUnavailableException":
                return False
            raise
        return True

    waits.until(f"point-in-time recovery of {cloud.stage.table_name} in {region}", enabled)
    return "changed"


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
    "table": _write_table,
    "ttl": _write_ttl,
    "encryption": _write_encryption,
    "replica": _write_replica,
    "protection": _write_protection,
    "recovery": _write_recovery,
    "archive": _write_archive,
    "zone": _write_zone,
    "health-check": _write_health_check,
    "name": _write_name,
    "record": _write_record,
}


def _region(step: Step) -> str:
    if step.region is None:
        raise OpsError(f"{step.resource}: the step names no region")
    return step.region


def _tags(stage: Stage) -> list[dict[str, str]]:
    return [{"Key": "atoll:stage", "Value": stage.stage}, {"Key": "atoll:owner", "Value": RUNBOOK}]

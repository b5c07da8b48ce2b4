"""One function for each kind of resource: it reads what is there now, and writes what is still needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.errors import OpsError
from ops.plan import Step
from ops.provision.alerting import write_alarm, write_topic
from ops.provision.desired import (
    INDEXES,
    KEYS,
    RUNBOOK,
    TTL_ATTRIBUTE,
    desired_archives,
    desired_encryption,
)
from ops.provision.dns import write_health_check, write_name, write_record, write_zone
from ops.provision.keys import AWS_OWNED, find_key
from ops.provision.waiting import Waits
from ops.provision.world import find_archive, find_table
from ops.stage import Stage

__all__ = ["WRITERS", "Waits"]


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


WRITERS: dict[str, Callable[[Cloud, Step, Waits], str]] = {
    "table": _write_table,
    "ttl": _write_ttl,
    "encryption": _write_encryption,
    "replica": _write_replica,
    "protection": _write_protection,
    "recovery": _write_recovery,
    "archive": _write_archive,
    "zone": write_zone,
    "health-check": write_health_check,
    "name": write_name,
    "record": write_record,
    "topic": write_topic,
    "alarm": write_alarm,
}


def _region(step: Step) -> str:
    if step.region is None:
        raise OpsError(f"{step.resource}: the step names no region")
    return step.region


def _tags(stage: Stage) -> list[dict[str, str]]:
    return [{"Key": "atoll:stage", "Value": stage.stage}, {"Key": "atoll:owner", "Value": RUNBOOK}]

"""One function for each kind of step about the table: it reads what is there now, and writes what is still needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.errors import OpsError
from ops.plan import Step
from ops.provision.desired import INDEXES, KEYS
from ops.provision.keys import find_key
from ops.provision.steps import region_of, tags
from ops.provision.table import leaving
from ops.provision.table.desired import (
    ON_DEMAND,
    PROVISIONED,
    STREAM,
    STRONG,
    desired_billing,
    desired_group,
    desired_ttl,
    is_strong,
    other_regions,
)
from ops.provision.table.scaling import find_scaling, first_capacity, remove_scaling, write_scaling
from ops.provision.table.world import Table, find_table, holds_items, is_ready
from ops.provision.waits import Waits
from ops.stage import Stage


def await_table(cloud: Cloud, region: str, waits: Waits) -> None:
    waits.until(f"table {cloud.stage.table_name} in {region}", lambda: is_ready(cloud, region))


def own_key(cloud: Cloud, region: str) -> str | None:
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


def _index(name: str, throughput: dict[str, Any]) -> dict[str, Any]:
    schema, projection = _key_schema(INDEXES[name]), {"ProjectionType": "ALL"}
    return {"IndexName": name, "KeySchema": schema, "Projection": projection, **throughput}


def _attributes(*names: dict[str, str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": "S"} for keys in names for name in keys]


def _throughput(stage: Stage) -> dict[str, Any]:
    """What DynamoDB wants to be told of a table or an index as it is made; nothing on demand."""
    return {} if desired_billing(stage) == ON_DEMAND else {"ProvisionedThroughput": first_capacity(stage)}


def write_table(cloud: Cloud, step: Step, waits: Waits) -> str:
    stage, home = cloud.stage, cloud.stage.home_region
    dynamodb: Any = cloud.client("dynamodb", home)
    found = find_table(cloud, home)
    stream = {"StreamEnabled": True, "StreamViewType": STREAM}
    throughput = _throughput(stage)
    if found is None:
        dynamodb.create_table(
            TableName=stage.table_name,
            AttributeDefinitions=_attributes(KEYS, *INDEXES.values()),
            KeySchema=_key_schema(KEYS),
            GlobalSecondaryIndexes=[_index(name, throughput) for name in INDEXES],
            BillingMode=desired_billing(stage),
            StreamSpecification=stream,
            DeletionProtectionEnabled=stage.table.deletion_protection,
            Tags=tags(stage),
            **throughput,
            **_sse(own_key(cloud, home)),
        )
        await_table(cloud, home, waits)
        return "created"
    done = "already so"
    # DynamoDB takes one kind of change at a time.
    if found.billing != desired_billing(stage):
        await_table(cloud, home, waits)
        dynamodb.update_table(TableName=stage.table_name, **_billing_change(stage, found))
        done = "changed"
    if found.stream != STREAM:
        await_table(cloud, home, waits)
        if found.stream is not None:
            dynamodb.update_table(TableName=stage.table_name, StreamSpecification={"StreamEnabled": False})
            await_table(cloud, home, waits)
        dynamodb.update_table(TableName=stage.table_name, StreamSpecification=stream)
        done = "changed"
    for name in INDEXES.keys() - found.indexes.keys():
        await_table(cloud, home, waits)
        dynamodb.update_table(
            TableName=stage.table_name,
            AttributeDefinitions=_attributes(KEYS, INDEXES[name]),
            GlobalSecondaryIndexUpdates=[{"Create": _index(name, throughput)}],
        )
        done = "changed"
    await_table(cloud, home, waits)
    return done


def _billing_change(stage: Stage, found: Table) -> dict[str, Any]:
    """One call for the table and every index it has, ours or not: DynamoDB wants a capacity for each."""
    if desired_billing(stage) == ON_DEMAND:
        return {"BillingMode": ON_DEMAND}
    throughput = _throughput(stage)
    indexes = [{"Update": {"IndexName": name, **throughput}} for name in found.indexes]
    updates = {"GlobalSecondaryIndexUpdates": indexes} if indexes else {}
    return {"BillingMode": PROVISIONED, **throughput, **updates}


def write_scaling_of(cloud: Cloud, step: Step, waits: Waits) -> str:
    region = region_of(step)
    if step.action == "delete":
        table = find_table(cloud, region)
        if table is not None and table.billing == PROVISIONED:
            raise OpsError(f"{step.resource} in {region}: the table is provisioned again since the plan")
        return "deleted" if remove_scaling(cloud, region) else "already so"
    # A target is of a table or an index that is there.
    await_table(cloud, region, waits)
    before = find_scaling(cloud, region)
    if not write_scaling(cloud, region):
        return "already so"
    return "created" if before is None else "changed"


def write_ttl(cloud: Cloud, step: Step, waits: Waits) -> str:
    home, name, wanted = cloud.stage.home_region, cloud.stage.table_name, desired_ttl(cloud.stage)
    found = find_table(cloud, home)
    held = found.ttl if found is not None else None
    if held == wanted:
        return "already so"
    dynamodb = cloud.client("dynamodb", home)
    if held is not None:
        off: Any = {"Enabled": False, "AttributeName": held}
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=off)
    if wanted is not None:
        on: Any = {"Enabled": True, "AttributeName": wanted}
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=on)
    return "changed"


def write_encryption(cloud: Cloud, step: Step, waits: Waits) -> str:
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
        await_table(cloud, region, waits)
    wanted = {region: own_key(cloud, region) for region in regions}
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
        await_table(cloud, region, waits)
    return "changed"


def _replica(cloud: Cloud, region: str) -> dict[str, Any]:
    key = own_key(cloud, region)
    return {"Create": {"RegionName": region, **({"KMSMasterKeyId": key} if key else {})}}


def write_group(cloud: Cloud, step: Step, waits: Waits) -> str:
    """Make a strongly consistent table of an empty one: its replicas and its witness in one call.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html (MultiRegionConsistency)

    Raises:
        OpsError: since the plan, the table was written to or given other replicas.
    """
    stage, home = cloud.stage, cloud.stage.home_region
    await_table(cloud, home, waits)
    found = find_table(cloud, home)
    group, done = (found.group() if found else None), "already so"
    if group is None:
        if holds_items(cloud, home):
            raise OpsError(f"table {stage.table_name} in {home}: it was written to since the plan; it has to be empty")
        dynamodb: Any = cloud.client("dynamodb", home)
        witness = [{"Create": {"RegionName": stage.table.witness}}] if stage.table.witness else None
        dynamodb.update_table(
            TableName=stage.table_name,
            ReplicaUpdates=[_replica(cloud, region) for region in other_regions(stage)],
            MultiRegionConsistency=STRONG,
            **({"GlobalTableWitnessUpdates": witness} if witness else {}),
        )
        done = "created"
    elif group != desired_group(stage):
        raise OpsError(f"table {stage.table_name}: its replicas are {group} since the plan")
    for region in stage.regions:
        await_table(cloud, region, waits)
    return done


def write_replica(cloud: Cloud, step: Step, waits: Waits) -> str:
    if step.action == "delete":
        return leaving.remove(cloud, step, waits)
    stage, home, region = cloud.stage, cloud.stage.home_region, region_of(step)
    await_table(cloud, home, waits)
    found = find_table(cloud, home)
    done = "already so"
    if found is not None and region not in found.replicas:
        if is_strong(stage):
            raise OpsError(f"replica {stage.table_name} in {region}: it has gone, and a strong table takes no other")
        update: Any = [_replica(cloud, region)]
        cloud.client("dynamodb", home).update_table(TableName=stage.table_name, ReplicaUpdates=update)
        done = "created"
    await_table(cloud, home, waits)
    await_table(cloud, region, waits)
    return done


def write_protection(cloud: Cloud, step: Step, waits: Waits) -> str:
    region, wanted = region_of(step), cloud.stage.table.deletion_protection
    await_table(cloud, region, waits)
    found = find_table(cloud, region)
    if found is not None and found.deletion_protection == wanted:
        return "already so"
    cloud.client("dynamodb", region).update_table(TableName=cloud.stage.table_name, DeletionProtectionEnabled=wanted)
    await_table(cloud, region, waits)
    return "changed"


def write_recovery(cloud: Cloud, step: Step, waits: Waits) -> str:
    region, wanted = region_of(step), cloud.stage.table.point_in_time_recovery
    await_table(cloud, region, waits)
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


TABLE_WRITERS: dict[str, Callable[[Cloud, Step, Waits], str]] = {
    "table": write_table,
    "scaling": write_scaling_of,
    "ttl": write_ttl,
    "encryption": write_encryption,
    "replicas": write_group,
    "replica": write_replica,
    "protection": write_protection,
    "recovery": write_recovery,
}

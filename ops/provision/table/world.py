"""The table of one region as it is, read without a change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.provision.keys import AWS_OWNED, identify
from ops.provision.table.desired import EVENTUAL, PROVISIONED

# A replica in one of these states becomes ACTIVE without us.
COMING_UP = {"CREATING", "UPDATING"}
ABSENT = ("ResourceNotFoundException", "TableNotFoundException")


@dataclass(frozen=True)
class Table:
    """One region's replica, in the terms in which it is desired. ``replicas`` are the *other* members of its group.

    ``items`` and ``size_bytes`` are what DescribeTable says, which DynamoDB refreshes about every six hours.
    """

    status: str
    keys: dict[str, str]
    indexes: dict[str, dict[str, str]]
    billing: str
    stream: str | None
    deletion_protection: bool
    replicas: dict[str, str]
    ttl: str | None
    recovery: bool
    encryption: str = AWS_OWNED  # the key's ARN, or one of the constants in ``keys``
    consistency: str = EVENTUAL
    witness: str | None = None
    local_indexes: tuple[str, ...] = ()
    partial_indexes: tuple[str, ...] = ()  # those that do not project every attribute
    items: int = 0
    size_bytes: int = 0

    def shape(self) -> dict[str, Any]:
        return {"keys": self.keys, "indexes": self.indexes, "billing": self.billing, "stream": self.stream}

    def group(self) -> dict[str, Any] | None:
        if not self.replicas:
            return None
        return {"consistency": self.consistency, "replicas": sorted(self.replicas), "witness": self.witness}


def find_table(cloud: Cloud, region: str) -> Table | None:
    dynamodb, name = cloud.client("dynamodb", region), cloud.stage.table_name
    try:
        table = dynamodb.describe_table(TableName=name)["Table"]
        ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    except ClientError as error:
        if error_code(error) in ABSENT:
            return None
        raise
    stream, sse = table.get("StreamSpecification", {}), table.get("SSEDescription", {})
    recovery = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    indexes: list[Any] = list(table.get("GlobalSecondaryIndexes", []))
    replicas = {r["RegionName"]: r.get("ReplicaStatus", "ACTIVE") for r in table.get("Replicas", [])}
    return Table(
        status=table["TableStatus"],
        keys={k["AttributeName"]: k["KeyType"] for k in table["KeySchema"]},
        indexes={
            index["IndexName"]: {k["AttributeName"]: k["KeyType"] for k in index["KeySchema"]} for index in indexes
        },
        billing=table.get("BillingModeSummary", {}).get("BillingMode", PROVISIONED),
        stream=stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
        deletion_protection=bool(table.get("DeletionProtectionEnabled")),
        # AWS lists the region that was asked among the members of the group.
        replicas={member: status for member, status in replicas.items() if member != region},
        ttl=ttl.get("AttributeName") if ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") else None,
        recovery=recovery == "ENABLED",
        encryption=identify(cloud, region, sse.get("KMSMasterKeyArn") if sse.get("Status") != "DISABLED" else None),
        consistency=table.get("MultiRegionConsistency", EVENTUAL),
        witness=next((witness["RegionName"] for witness in table.get("GlobalTableWitnesses", [])), None),
        local_indexes=tuple(index["IndexName"] for index in table.get("LocalSecondaryIndexes", [])),
        partial_indexes=tuple(i["IndexName"] for i in indexes if i["Projection"].get("ProjectionType") != "ALL"),
        items=table.get("ItemCount", 0),
        size_bytes=table.get("TableSizeBytes", 0),
    )


def holds_items(cloud: Cloud, region: str) -> bool:
    """Whether there is an item in the table of a region, now: its description is hours old."""
    found = cloud.client("dynamodb", region).scan(TableName=cloud.stage.table_name, Limit=1, ConsistentRead=True)
    return bool(found["Items"])


def is_ready(cloud: Cloud, region: str) -> bool:
    """ACTIVE, its indexes, replicas and witness too, and no change of keys under way (which leaves the table ACTIVE):
    only then does DynamoDB take the next change."""
    try:
        table = cloud.client("dynamodb", region).describe_table(TableName=cloud.stage.table_name)["Table"]
    except ClientError as error:
        if error_code(error) in ABSENT:
            return False
        raise
    states: list[str] = [table["TableStatus"]]
    states += [index.get("IndexStatus", "ACTIVE") for index in table.get("GlobalSecondaryIndexes", [])]
    states += [r.get("ReplicaStatus", "ACTIVE") for r in table.get("Replicas", []) if r["RegionName"] != region]
    states += [witness.get("WitnessStatus", "ACTIVE") for witness in table.get("GlobalTableWitnesses", [])]
    return all(state == "ACTIVE" for state in states) and table.get("SSEDescription", {}).get("Status") != "UPDATING"

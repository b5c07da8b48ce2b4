"""What each replica tells of itself: status, key, indexes, capacity, time to live, backups and who may not replicate.

What always holds: nothing is written; what cannot be read is told as not known, with the reason, and stops nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ops.aws import CONFIG, Cloud, error_code
from ops.divergence.replicas import Described, Replica, client
from ops.fanout import each

AWS_OWNED = "AWS's own"
NONE, UNKNOWN = "none", "not known"
# The role that DynamoDB replicates with, and the service principal behind it.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/globaltables-security.html
_REPLICATOR = ("AWSServiceRoleForDynamoDBReplication", "replication.dynamodb.amazonaws.com")
_REPLICATING = ("dynamodb:*", "*")


@dataclass(frozen=True)
class Settings:
    """One replica as it is set up. Texts are for people; a setting that is not there is ``none``.

    Attributes
    ----------
    key, key_state
        The KMS key's ARN or :data:`AWS_OWNED`, and KMS's word for its state; empty for AWS's own.
    inaccessible_since
        When DynamoDB found that it cannot use the key.
    writes
        Of ``capacity``, what replicas must have in common.
    denial
        The statement of the resource policy that keeps DynamoDB from replicating, as FIS pauses it; empty: none.
    """

    label: str
    region: str
    status: str
    indexes: Mapping[str, str]
    ttl: str
    key: str
    key_state: str
    inaccessible_since: datetime | None
    billing: str
    capacity: str
    writes: str
    recovery: str
    stream: str
    table_class: str
    deletion_protection: str
    denial: str
    version: str
    settings_mode: str
    items: int
    size_bytes: int


def read(cloud: Cloud, described: Mapping[Replica, Described]) -> dict[Replica, Settings]:
    """The settings of every replica."""
    return each(described, lambda replica: _read(cloud, replica, described[replica]))


def service(cloud: Cloud, replica: Replica, name: str) -> Any:
    """The client of another service than DynamoDB, with the credentials that read the replica."""
    if not replica.profile:
        return cloud.client(name, replica.region)  # type: ignore[call-overload]
    return boto3.Session(profile_name=replica.profile).client(name, region_name=replica.region, config=CONFIG)  # type: ignore[call-overload]


def _read(cloud: Cloud, replica: Replica, found: Described) -> Settings:
    table, dynamodb = found.raw, client(cloud, replica)
    encryption, stream = table.get("SSEDescription") or {}, table.get("StreamSpecification") or {}
    key = str(encryption.get("KMSMasterKeyArn") or "") if encryption.get("Status") != "DISABLED" else ""
    return Settings(
        label=replica.label,
        region=replica.region,
        status=str(table.get("TableStatus", UNKNOWN)),
        indexes=_indexes(table),
        ttl=found.ttl_attribute or NONE,
        key=key or AWS_OWNED,
        key_state=_told(lambda: _key_state(service(cloud, replica, "kms"), key)) if key else "",
        inaccessible_since=encryption.get("InaccessibleEncryptionDateTime"),
        billing=str((table.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED")),
        capacity=_capacity(table, "{reads} read, {writes} write units{most}"),
        writes=_capacity(table, "{writes} write units{most}"),
        recovery=_told(lambda: _recovery(dynamodb.describe_continuous_backups(TableName=replica.table))),
        stream=str(stream.get("StreamViewType", "on")) if stream.get("StreamEnabled") else NONE,
        table_class=str((table.get("TableClassSummary") or {}).get("TableClass", "STANDARD")),
        deletion_protection="on" if table.get("DeletionProtectionEnabled") else "off",
        denial=_told(lambda: _denial(dynamodb, str(table.get("TableArn", replica.table)))),
        version=str(table.get("GlobalTableVersion") or NONE),
        settings_mode=str(table.get("GlobalTableSettingsReplicationMode") or ""),
        items=found.items,
        size_bytes=found.size_bytes,
    )


def _told(ask: Callable[[], str]) -> str:
    """What is asked for, or that it is not known and why."""
    try:
        return ask()
    except ClientError as error:
        return f"{UNKNOWN}: {error_code(error)}"
    except BotoCoreError as error:
        return f"{UNKNOWN}: {type(error).__name__}"


def _key_state(kms: Any, key: str) -> str:
    found = kms.describe_key(KeyId=key)["KeyMetadata"]
    state = str(found["KeyState"])
    return f"{state}, deleted on {found['DeletionDate']:%Y-%m-%d}" if found.get("DeletionDate") else state


def _recovery(answer: Mapping[str, Any]) -> str:
    found = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if found.get("PointInTimeRecoveryStatus") != "ENABLED":
        return "off"
    earliest = found.get("EarliestRestorableDateTime")
    return f"on, since {earliest:%Y-%m-%d %H:%M}Z" if earliest else "on"


def _indexes(table: Mapping[str, Any]) -> dict[str, str]:
    found = {
        str(index["IndexName"]): str(index.get("IndexStatus", "ACTIVE"))
        + (", backfilling" if index.get("Backfilling") else "")
        for index in table.get("GlobalSecondaryIndexes") or []
    }
    return found | {str(index["IndexName"]): "local" for index in table.get("LocalSecondaryIndexes") or []}


def _capacity(table: Mapping[str, Any], form: str) -> str:
    """Units that are provisioned, or the most that may be used on demand; of each index, where it has its own."""
    parts = [_units(table, form)]
    for index in table.get("GlobalSecondaryIndexes") or []:
        own = _units(index, form)
        parts += [f"{index['IndexName']}: {own}"] if own else []
    return "; ".join(part for part in parts if part) or "no limit"


def _units(of: Mapping[str, Any], form: str) -> str:
    provisioned, on_demand = of.get("ProvisionedThroughput") or {}, of.get("OnDemandThroughput") or {}
    for found, before, after, most in (
        (provisioned, "", "CapacityUnits", ""),
        (on_demand, "Max", "RequestUnits", " at most"),
    ):
        reads, writes = (found.get(f"{before}{kind}{after}", 0) or 0 for kind in ("Read", "Write"))
        if reads > 0 or writes > 0:
            return form.format(reads=reads, writes=writes, most=most)
    return ""


# --- the policy of the table -------------------------------------------------------------------------------------


def _denial(dynamodb: Any, arn: str) -> str:
    try:
        text = dynamodb.get_resource_policy(ResourceArn=arn)["Policy"]
    except ClientError as error:
        if error_code(error) in ("PolicyNotFoundException", "ResourceNotFoundException"):
            return ""
        raise
    return denial_of(text)


def denial_of(policy: str) -> str:
    """The statement of a resource policy that denies replication, by its Sid; empty when none does."""
    try:
        statements = json.loads(policy).get("Statement", [])
    except (ValueError, AttributeError):
        return ""
    for number, one in enumerate(_listed(statements), start=1):
        if one.get("Effect") == "Deny" and _of_replicator(one.get("Principal")) and _of_replication(one):
            return str(one.get("Sid") or f"statement {number}")
    return ""


def _of_replicator(principal: Any) -> bool:
    named = (
        [principal] if isinstance(principal, str) else [one for v in (principal or {}).values() for one in _listed(v)]
    )
    return any(one == "*" or any(name in str(one) for name in _REPLICATOR) for one in named)


def _of_replication(statement: Mapping[str, Any]) -> bool:
    condition = json.dumps(statement.get("Condition") or {})
    named = _listed(statement.get("Principal"))
    if named == ["*"] and statement.get("Condition") and not any(name in condition for name in _REPLICATOR):
        return False  # of everybody, but under a condition that has nothing to do with replication
    actions = [str(one) for one in _listed(statement.get("Action"))]
    return bool(statement.get("NotAction")) or any(
        one in _REPLICATING or one.startswith("dynamodb:") for one in actions
    )


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]

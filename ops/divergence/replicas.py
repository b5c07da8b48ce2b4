"""Which tables are compared: their addresses, their clients and descriptions, and whether they can be compared at all.

A replica is written ``REGION``, ``REGION/TABLE``, or as a table's ARN (DynamoDB takes it in the place of a name, in
another account too, where that table's resource policy allows it); ``@PROFILE`` behind it reads it with that AWS
profile's credentials. What always holds: nothing is written, and what cannot be compared is refused with the reason
before an item is read.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/rbac-cross-account-access.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError, ProfileNotFound

from ops.aws import CONFIG, Cloud, error_code, explained
from ops.errors import RefusedError, UsageError
from ops.fanout import each

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

TABLE = r"[A-Za-z0-9_.-]{3,255}"
_REGION = r"[a-z]{2}(?:-[a-z]+){1,3}-\d"
TABLE_ARN = rf"arn:[a-z-]+:dynamodb:(?P<at>{_REGION}):\d{{12}}:table/(?P<named>{TABLE})"
_ADDRESS = re.compile(
    rf"(?:(?P<region>{_REGION})(?:/(?P<table>{TABLE}))?"
    rf"|(?P<arn>{TABLE_ARN}))"
    r"(?:@(?P<profile>[^@\s]+))?"
)
NONE = "none"
TTL_DIFFERS = "Items expire in some replicas only, and differ then: set the same attribute in all"
INDEXES_DIFFER = "Items are compared all the same; what queries an index needs it in all"
ACCEPTED = "REGION, REGION/TABLE or a table's ARN, each with @PROFILE behind it where it needs other credentials"


@dataclass(frozen=True, order=True)
class Replica:
    """One table to compare.

    Attributes
    ----------
    table
        What DynamoDB is told as TableName: a name or an ARN.
    label
        What pages and messages call it; unique among those compared together.
    profile
        The AWS profile whose credentials read it; empty: those of the run.
    """

    label: str
    region: str
    table: str
    profile: str = ""


@dataclass(frozen=True)
class Schema:
    """The key of a table: attribute names and types (``S``, ``N`` or ``B``), partition key first."""

    names: tuple[str, ...]
    types: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(f"{name} ({kind})" for name, kind in zip(self.names, self.types, strict=True))


@dataclass(frozen=True)
class Described:
    """A table as DescribeTable and DescribeTimeToLive tell of it.

    ``items`` and ``size_bytes`` are what DynamoDB counted last, about six hours ago at most. ``raw`` is the description
    itself (``Replicas``, ``SSEDescription``, ``ProvisionedThroughput``, ...).
    """

    replica: Replica
    schema: Schema
    items: int
    size_bytes: int
    ttl_attribute: str
    indexes: frozenset[str]
    raw: Mapping[str, Any]


def resolve(
    cloud: Cloud, table: str = "", regions: Sequence[str] = (), replicas: Sequence[str] = ()
) -> tuple[Replica, ...]:
    """The tables to compare, in the order given; by default the stage's table in each of its regions.

    Args:
        table: the name for those of ``regions`` and ``replicas`` that give none; empty: the stage's table.
        regions: where ``table`` is compared; not together with ``replicas``.
        replicas: addresses, as the module's docstring has them.

    Raises:
        UsageError: fewer than two, one of them twice, or one is no address.
    """
    if regions and replicas:
        raise UsageError("replicas: give either regions or replicas, not both")
    name = table or cloud.stage.table_name
    found = [_parsed(text, name) for text in (replicas or regions or cloud.stage.regions)]
    plain = len({one["region"] for one in found}) == len(found) and len({one["short"] for one in found}) == 1
    made = tuple(
        Replica(
            one["region"] if plain else f"{one['region']}/{one['short']}" + (f"@{one['by']}" if one["by"] else ""),
            one["region"],
            one["table"],
            one["profile"],
        )
        for one in found
    )
    if len(made) < 2:
        raise UsageError(f"replicas: a comparison needs two or more, got {[one.label for one in made]}")
    twice = sorted({one.label for one in made if [other.label for other in made].count(one.label) > 1})
    if twice:
        raise UsageError(f"replicas: {', '.join(twice)} is named more than once")
    return made


def _parsed(text: str, name: str) -> dict[str, str]:
    found = _ADDRESS.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"replicas: {text!r} is no replica; accepted: {ACCEPTED}")
    profile, arn = found["profile"] or "", found["arn"] or ""
    if arn:
        return {
            "region": found["at"],
            "table": arn,
            "short": found["named"],
            "by": profile or arn.split(":")[4],
            "profile": profile,
        }
    table = found["table"] or name
    return {"region": found["region"], "table": table, "short": table, "by": profile, "profile": profile}


def client(cloud: Cloud, replica: Replica) -> DynamoDBClient:
    """The client that reads a replica.

    Raises:
        UsageError: there is no such profile.
    """
    return _of_profile(replica.profile, replica.region) if replica.profile else cloud.client("dynamodb", replica.region)


def credentials(cloud: Cloud, replica: Replica) -> Any:
    """The credentials, botocore's, that read a replica; where they can, they refresh themselves.

    Raises:
        UsageError: there is no such profile, or it has none.
    """
    found = _session(replica.profile).get_credentials() if replica.profile else cloud.credentials
    if found is None:
        raise UsageError(
            f"replicas: there are no credentials for {replica.label}", hint="Set AWS_PROFILE, or name one: @PROFILE"
        )
    return found


@cache
def _of_profile(profile: str, region: str) -> DynamoDBClient:
    return _session(profile).client("dynamodb", region_name=region, config=CONFIG)


@cache
def _session(profile: str) -> boto3.Session:
    try:
        return boto3.Session(profile_name=profile)
    except ProfileNotFound as error:
        raise UsageError(
            f"replicas: there is no AWS profile {profile!r}", hint="Profiles are listed by: aws configure list-profiles"
        ) from error


def describe(cloud: Cloud, replicas: Sequence[Replica]) -> dict[Replica, Described | None]:
    """Each table's description; None where there is no such table."""

    def look(replica: Replica) -> Described | None:
        asked = client(cloud, replica)
        try:
            table = asked.describe_table(TableName=replica.table)["Table"]
            ttl = asked.describe_time_to_live(TableName=replica.table)["TimeToLiveDescription"]
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise
        keys = sorted(table["KeySchema"], key=lambda key: key["KeyType"])  # HASH before RANGE
        types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
        names = tuple(key["AttributeName"] for key in keys)
        return Described(
            replica=replica,
            schema=Schema(names, tuple(types[name] for name in names)),
            items=table.get("ItemCount", 0),
            size_bytes=table.get("TableSizeBytes", 0),
            ttl_attribute=ttl.get("AttributeName", "") if ttl.get("TimeToLiveStatus") == "ENABLED" else "",
            indexes=frozenset(index["IndexName"] for index in table.get("GlobalSecondaryIndexes", []))
            | frozenset(index["IndexName"] for index in table.get("LocalSecondaryIndexes", [])),
            raw=table,
        )

    with explained(f"reading the descriptions of {', '.join(one.label for one in replicas)}"):
        return each(replicas, look)


def agree(described: Mapping[Replica, Described | None]) -> tuple[Schema, list[str]]:
    """The key schema that all share, and what else differs between the tables though it stops nothing.

    Raises:
        RefusedError: a table is missing, or its key schema is another.
    """
    found = {replica: one for replica, one in described.items() if one is not None}
    missing = [replica for replica in described if replica not in found]
    if missing:
        names = ", ".join(f"{one.table} in {one.region}" for one in missing)
        raise RefusedError(f"replicas: there is no table {names}", hint="Name those that are there: -p replicas=...")
    if len({one.schema for one in found.values()}) > 1:
        seen = "; ".join(f"{replica.label}: {one.schema}" for replica, one in found.items())
        raise RefusedError(
            f"replicas: their key schemas differ, so no item of one is an item of the other: {seen}",
            hint="Name tables whose keys have the same attributes of the same types: -p replicas=REGION/TABLE,...",
        )
    settings = (
        ("time-to-live attributes", TTL_DIFFERS, {one.label: of.ttl_attribute for one, of in found.items()}),
        ("indexes", INDEXES_DIFFER, {one.label: ", ".join(sorted(of.indexes)) for one, of in found.items()}),
    )
    warnings = [
        f"{what} differ: {'; '.join(f'{label}: {value or NONE}' for label, value in values.items())}. {so}"
        for what, so, values in settings
        if len(set(values.values())) > 1
    ]
    return next(iter(found.values())).schema, warnings

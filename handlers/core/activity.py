"""Activity: how many events of each type happened in each minute, exact under any duplication, in every region.

A bucket holds the *set* of event keys it has seen, not a number. Each region writes only its own items, so regions
never overwrite each other, and a reader unites the sets of all regions: an event counted in two regions counts once.
Adding to a set commutes and repeats harmlessly, so order and redelivery do not matter either.

The bucket follows from the event alone: its ``time``, or for an event without one, its key.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from handlers.core import timestamps
from handlers.core.delivery import Delivery

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

    from handlers.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where an event is counted: one item a region under ``pk``, its sort key ``<prefix><region>``."""

    pk: str
    prefix: str
    tenant: str
    type: str
    minute: str | None  # RFC 3339, None for events without a time


@dataclass(frozen=True, slots=True)
class Counted:
    """What counting a bucket's deliveries did."""

    new: int
    known: int


def hour_pk(tenant: str, hour: datetime) -> str:
    return f"ACTIVITY#{tenant}#{timestamps.format_ms(hour)[:13]}"


def undated_pk(tenant: str, two_hex: str) -> str:
    return f"ACTIVITY#{tenant}#undated-{two_hex}"


def bucket_of(delivery: Delivery) -> Bucket:
    """The bucket of one event; the first hex digit of its key spreads a busy minute over 16 items."""
    key, kind = delivery.event_key, delivery.type
    if delivery.time is None:
        prefix = f"{kind}#{key[2:4]}#{key[0]}#"
        return Bucket(undated_pk(delivery.tenant, key[:2]), prefix, delivery.tenant, kind, None)
    minute = timestamps.format_ms(timestamps.floor(delivery.time, timedelta(minutes=1)))
    prefix = f"{kind}#{minute[14:16]}#{key[0]}#"
    return Bucket(hour_pk(delivery.tenant, delivery.time), prefix, delivery.tenant, kind, minute[:19] + "Z")


def group(deliveries: Iterable[Delivery]) -> dict[Bucket, list[Delivery]]:
    """Deliveries by bucket, so that each bucket is written once a batch."""
    buckets: dict[Bucket, list[Delivery]] = {}
    for delivery in deliveries:
        buckets.setdefault(bucket_of(delivery), []).append(delivery)
    return buckets


def key_bytes(event_key: str) -> bytes:
    return uuid.UUID(event_key).bytes


def count(client: DynamoDBClient, bucket: Bucket, deliveries: list[Delivery], settings: Settings) -> Counted:
    """Add the deliveries' keys to this region's item of the bucket, unless some region has them already."""
    seen, expires_at = _read(client, bucket, settings)
    given = {key_bytes(delivery.event_key) for delivery in deliveries}
    new = given - seen
    if new:
        _add(client, bucket, new, max(expires_at, _expiry(deliveries, new, settings)), settings)
    return Counted(new=len(new), known=len(deliveries) - len(new))


def _expiry(deliveries: list[Delivery], new: set[bytes], settings: Settings) -> int:
    """As long as the longest-lived of the events that are added."""
    latest = max(delivery.accepted_at for delivery in deliveries if key_bytes(delivery.event_key) in new)
    return int((latest + timedelta(days=settings.event_retention_days)).timestamp())


def _read(client: DynamoDBClient, bucket: Bucket, settings: Settings) -> tuple[set[bytes], int]:
    """The keys that any region has seen, and when this region's item expires (0 when there is none)."""
    seen: set[bytes] = set()
    expires_at = 0
    pages = client.get_paginator("query").paginate(
        TableName=settings.table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
        ExpressionAttributeValues={":pk": {"S": bucket.pk}, ":prefix": {"S": bucket.prefix}},
        ConsistentRead=True,
    )
    for page in pages:
        for item in page["Items"]:
            # A type may itself contain '#', and its items then share the prefix of a shorter one.
            if item["type"]["S"] != bucket.type:
                continue
            seen.update(item["seen"]["BS"])
            if item["region"]["S"] == settings.region:
                expires_at = int(item["expires_at"]["N"])
    return seen, expires_at


def _add(client: DynamoDBClient, bucket: Bucket, keys: set[bytes], expires_at: int, settings: Settings) -> None:
    values: dict[str, Any] = {
        ":keys": {"BS": sorted(keys)},
        ":one": {"N": "1"},
        ":tenant": {"S": bucket.tenant},
        ":type": {"S": bucket.type},
        ":region": {"S": settings.region},
        ":expires": {"N": str(expires_at)},
        ":now": {"S": timestamps.format_ms(timestamps.now())},
    }
    assignments = ["#tenant = :tenant", "#type = :type", "#region = :region", "written_region = :region"]
    assignments += ["expires_at = :expires", "written_at = :now"]
    names = {"#tenant": "tenant", "#type": "type", "#region": "region"}
    if bucket.minute is not None:
        assignments.append("#minute = :minute")
        names["#minute"] = "minute"
        values[":minute"] = {"S": bucket.minute}
    client.update_item(
        TableName=settings.table,
        Key={"pk": {"S": bucket.pk}, "sk": {"S": bucket.prefix + settings.region}},
        UpdateExpression=f"SET {', '.join(assignments)} ADD seen :keys, version :one",
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
    )


def hours_of(start: datetime, end: datetime) -> list[datetime]:
    """The hours that a window touches, its end excluded."""
    hours = [timestamps.floor(start.astimezone(UTC), timedelta(hours=1))]
    while (following := hours[-1] + timedelta(hours=1)) < end:
        hours.append(following)
    return hours


def tally(items: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str | None], int]:
    """Events by type and minute, regions united. Items come in key order, so that a bucket's regions stand together
    and one bucket at a time is held in memory."""
    counts: dict[tuple[str, str | None], int] = {}
    for (kind, minute, _), members in groupby(items, _bucket_of_item):
        seen: set[bytes] = set().union(*(member["seen"]["BS"] for member in members))
        counts[kind, minute] = counts.get((kind, minute), 0) + len(seen)
    return counts


def _bucket_of_item(item: Mapping[str, Any]) -> tuple[str, str | None, str]:
    minute = item["minute"]["S"] if "minute" in item else None
    return item["type"]["S"], minute, item["sk"]["S"].rpartition("#")[0]

"""Activity: how many events of each type happened in each minute, exact under any duplication, in every region.

A bucket holds the *set* of event keys it has seen, not a number. Each region writes only its own items, so regions
never overwrite each other, and a reader unites the sets of all regions: an event counted in two regions counts once.
Adding to a set commutes and repeats harmlessly, so order and redelivery do not matter either.

The bucket follows from the event alone: its ``time``, or for an event without one, its key.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from handlers.core import retention, timestamps
from handlers.core.delivery import Delivery

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

    from handlers.core.settings import Settings

MAX_KEYS = 100  # of one BatchGetItem
_ATTEMPTS = 6  # 100 items of 400 KB need three answers of 16 MB even when nothing is throttled
_FIRST_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where an event is counted: one item a region under ``pk``, its sort key ``<prefix><region>``."""

    pk: str
    prefix: str
    tenant: str
    type: str
    minute: str | None  # RFC 3339, None for events without a time


@dataclass(frozen=True, slots=True)
class Known:
    """What a bucket holds already, less what has expired.

    ``seen`` are the keys that any region has; ``expires_at`` is when this region's item expires (0: there is none);
    ``is_over``: there is one, but it has expired and waits for its deletion.
    """

    seen: set[bytes]
    expires_at: int
    is_over: bool = False


Found = Known | Exception  # what reading a bucket ended with


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


def read(
    client: DynamoDBClient, buckets: Sequence[Bucket], settings: Settings, sleep: Callable[[float], None] | None = None
) -> dict[Bucket, Found]:
    """What all regions have of each bucket, read strongly from this region's replica; or why it could not be read.

    The regions of the stage give the keys, so a batch of messages is one call. A region that is not (or no longer)
    among them is merely not seen here: its keys may be added once more, and count once all the same.
    """
    found: dict[Bucket, Found] = {}
    size = max(1, MAX_KEYS // len(settings.regions))
    for start in range(0, len(buckets), size):
        part = buckets[start : start + size]
        try:
            found.update(_read(client, part, settings, sleep or time.sleep))
        except Exception as error:  # noqa: BLE001 kept, and raised again for each bucket of the call
            found.update(dict.fromkeys(part, error))
    return found


def count(
    client: DynamoDBClient, bucket: Bucket, deliveries: list[Delivery], known: Found, settings: Settings
) -> Counted:
    """Add the deliveries' keys to this region's item of the bucket, unless some region has them already.

    Raises:
        Exception: what reading the bucket ended with, or what adding does.
    """
    if isinstance(known, Exception):
        raise known
    given = {key_bytes(delivery.event_key) for delivery in deliveries}
    new = given - known.seen
    if new:
        latest = max(delivery.accepted_at for delivery in deliveries if key_bytes(delivery.event_key) in new)
        # As long as the longest-lived of the events in it.
        expires_at = max(known.expires_at, retention.expiry_s(latest, settings))
        _add(client, bucket, new, expires_at, is_over=known.is_over, settings=settings)
    return Counted(new=len(new), known=len(deliveries) - len(new))


def _read(
    client: DynamoDBClient, buckets: Sequence[Bucket], settings: Settings, sleep: Callable[[float], None]
) -> dict[Bucket, Found]:
    keys: list[Any] = [
        {"pk": {"S": bucket.pk}, "sk": {"S": bucket.prefix + region}}
        for bucket in buckets
        for region in settings.regions
    ]
    items, unread = _batch_get(client, keys, settings.table, sleep)
    now_s = retention.now_s()
    found: dict[Bucket, Found] = {}
    for bucket in buckets:
        places = [(bucket.pk, bucket.prefix + region) for region in settings.regions]
        if unread.intersection(places):
            found[bucket] = ClientError(
                {"Error": {"Code": "UnprocessedKeys", "Message": "the table did not answer for all keys"}},
                "BatchGetItem",
            )
            continue
        live = [items[place] for place in places if place in items and retention.lives(items[place], now_s)]
        seen = {key for item in live for key in item["seen"]["BS"]}
        own = items.get((bucket.pk, bucket.prefix + settings.region))
        is_over = own is not None and own not in live
        found[bucket] = Known(seen, int(own["expires_at"]["N"]) if own and not is_over else 0, is_over)
    return found


def _batch_get(
    client: DynamoDBClient, keys: list[Any], table: str, sleep: Callable[[float], None]
) -> tuple[dict[tuple[str, str], Any], set[tuple[str, str]]]:
    """The items by key, and the keys that DynamoDB left aside until the attempts were used up."""
    items: dict[tuple[str, str], Any] = {}
    for attempt in range(_ATTEMPTS):
        if attempt:
            pause_s = _FIRST_PAUSE_S * 2**attempt
            sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 jitter, not a secret
        answer: Any = client.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
        for item in answer["Responses"].get(table, []):
            items[_place(item)] = item
        keys = answer["UnprocessedKeys"].get(table, {}).get("Keys", [])
        if not keys:
            break
    return items, {_place(key) for key in keys}


def _place(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _add(
    client: DynamoDBClient, bucket: Bucket, keys: set[bytes], expires_at: int, *, is_over: bool, settings: Settings
) -> None:
    """Add keys to this region's item, or to an item that is over begin anew: what expired in it must not come back."""
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
    adding = "seen :keys, version :one"
    condition: Any = {}
    if is_over:
        # Of two batches that begin anew, one is refused; its messages come back and find the item alive.
        assignments.append("seen = :keys")
        adding = "version :one"
        condition = {"ConditionExpression": "attribute_not_exists(pk) OR expires_at <= :cutoff"}
        values[":cutoff"] = {"N": str(retention.now_s())}
    client.update_item(
        TableName=settings.table,
        Key={"pk": {"S": bucket.pk}, "sk": {"S": bucket.prefix + settings.region}},
        UpdateExpression=f"SET {', '.join(assignments)} ADD {adding}",
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
        **condition,
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

"""Where events count in one region's replica: strong reads of its activity items.

An activity item is the set of the event keys (16 bytes each) that one region has seen of a tenant, a type, a minute and
a shard. The region is the last part of its sort key, and readers unite the sets of all regions, so that the sets
without the region are the buckets in which an event counts. A key in exactly one bucket was counted exactly once.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ops.aws import Cloud, explained
from ops.errors import OpsError
from ops.fanout import each

MAX_PAGES = 10_000


def partition(tenant: str, event_key: str, time: datetime | None) -> str:
    """The partition of the activity items that an event counts in: its tenant's hour, or its undated events."""
    when = f"undated-{event_key[:2]}" if time is None else hour(time)
    return f"ACTIVITY#{tenant}#{when}"


def hour(time: datetime) -> str:
    """An hour as partitions name it, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H}"


def of_events(
    cloud: Cloud, region: str, events: Mapping[str, tuple[str, datetime | None]]
) -> dict[str, frozenset[str]]:
    """Event key -> the buckets that hold it, of events of which tenant and time are known.

    Raises:
        OpsError: the table cannot be read.
    """
    partitions = {partition(tenant, key, time) for key, (tenant, time) in events.items()}
    return buckets(cloud, region, partitions, events)


def buckets(cloud: Cloud, region: str, partitions: Iterable[str], keys: Container[str]) -> dict[str, frozenset[str]]:
    """The same, of those of ``keys`` that are in these partitions.

    Raises:
        OpsError: the table cannot be read, or a partition has more than ``MAX_PAGES`` pages.
    """

    def read(one: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for item in _items(cloud, region, one):
            bucket = f"{one} {item['sk']['S'].rpartition('#')[0]}"
            for raw in item.get("seen", {}).get("BS", ()):
                key = str(uuid.UUID(bytes=bytes(raw)))
                if key in keys:
                    found.setdefault(key, set()).add(bucket)
        return found

    united: dict[str, set[str]] = {}
    with explained(f"{region}: reading table {cloud.stage.table_name}"):
        for found in each(sorted(partitions), read, workers=4).values():
            for key, held in found.items():
                united.setdefault(key, set()).update(held)
    return {key: frozenset(held) for key, held in united.items()}


def _items(cloud: Cloud, region: str, one: str) -> Iterable[Any]:
    client: Any = cloud.client("dynamodb", region)
    request: dict[str, Any] = {
        "TableName": cloud.stage.table_name,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": one}},
        "ProjectionExpression": "sk, seen",
        "ConsistentRead": True,
    }
    for _ in range(MAX_PAGES):
        page = client.query(**request)
        yield from page["Items"]
        if not page.get("LastEvaluatedKey"):
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    raise OpsError(f"{region}: partition {one} of table {cloud.stage.table_name} has more than {MAX_PAGES} pages")

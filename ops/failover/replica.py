"""What one region's replica holds of a run: its event items, and where its events are counted. Strong reads of the
base table, but for the search for items that nobody knows of: that one asks the index ``by_time``, which follows within
moments.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ops import arrival, effects
from ops.aws import Cloud, explained
from ops.errors import OpsError
from ops.load import EventId, LoadRecord, sources_of
from ops.tablescan import scan_segment
from sketch.canonical import item_digest

INDEX = "by_time"
MAX_PAGES = 10_000
# How far the clock that stamps ``accepted_at`` may be from ours.
CLOCKS_APART = timedelta(minutes=5)


@dataclass(frozen=True)
class Replica:
    """One region's part in the proof.

    ``digests``: accepted event key -> digest of its item. ``buckets``: accepted event key -> the buckets that hold it.
    ``of_run``: event key -> event, of every item of the run's sources.
    """

    region: str
    digests: Mapping[str, bytes] = field(default_factory=dict)
    buckets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    of_run: Mapping[str, EventId] = field(default_factory=dict)


def read(cloud: Cloud, region: str, record: LoadRecord) -> Replica:
    """Read it all.

    Raises:
        OpsError: the table cannot be read, or has more pages than are read.
    """
    found = arrival.items(cloud, region, record.accepted)
    tenants = sorted({item["tenant"]["S"] for item in found.values()})
    table = cloud.stage.table_name
    with explained(f"{region}: reading table {table}"):
        return Replica(
            region,
            {key: item_digest(item) for key, item in found.items()},
            _buckets(cloud, region, record, tenants),
            {
                item["event_key"]["S"]: EventId(item["source"]["S"], item["id"]["S"])
                for item in _of_run(cloud, region, record, tenants)
            },
        )


def _buckets(cloud: Cloud, region: str, record: LoadRecord, tenants: list[str]) -> dict[str, frozenset[str]]:
    """Where each accepted event counts: in the partitions of the hours of the run, and of the one before and after."""
    if not record.attempts:
        return {}
    step = timedelta(hours=1)
    first, last = (_utc(edge) for edge in _span(record))
    begin = (first - step).replace(minute=0, second=0, microsecond=0)
    hours = [begin + number * step for number in range(int((last + step - begin) / step) + 1)]
    # Every event of a run bears its time, so that none counts as undated.
    partitions = {effects.partition(tenant, "", one) for tenant in tenants for one in hours}
    return effects.buckets(cloud, region, partitions, record.accepted)


def _of_run(cloud: Cloud, region: str, record: LoadRecord, tenants: list[str]) -> Iterator[Any]:
    """The items of the run's sources; with no accepted event to tell the tenant, from the whole table."""
    options: dict[str, Any] = {
        "FilterExpression": "begins_with(#source, :sources)",
        "ProjectionExpression": "event_key, #source, id",
        "ExpressionAttributeNames": {"#source": "source"},
    }
    sources = {":sources": {"S": sources_of(record.run)}}
    if not tenants:
        options["ExpressionAttributeValues"] = sources
        client = cloud.client("dynamodb", region)
        for page in scan_segment(client, cloud.stage.table_name, 0, 1, max_pages=MAX_PAGES, **options):
            yield from page.items
        return
    first, last = _utc(_span(record)[0]) - CLOCKS_APART, _utc(max(_span(record)[1], time.time())) + CLOCKS_APART
    for tenant in tenants:
        for days in range((last.date() - first.date()).days + 1):
            yield from _query(
                cloud,
                region,
                IndexName=INDEX,
                KeyConditionExpression="gsi_pk = :partition AND gsi_sk BETWEEN :first AND :last",
                **options,
                ExpressionAttributeValues={
                    **sources,
                    ":partition": {"S": f"{tenant}#{first.date() + timedelta(days=days)}"},
                    ":first": {"S": f"{first:%Y-%m-%dT%H:%M:%S}"},
                    ":last": {"S": f"{last:%Y-%m-%dT%H:%M:%S}~"},
                },
            )


def _query(cloud: Cloud, region: str, **request: Any) -> Iterator[Any]:
    client: Any = cloud.client("dynamodb", region)
    table = cloud.stage.table_name
    for _ in range(MAX_PAGES):
        page = client.query(TableName=table, **request)
        yield from page["Items"]
        if not page.get("LastEvaluatedKey"):
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    raise OpsError(f"{region}: table {table} has more than {MAX_PAGES} pages of the run's hours")


def _span(record: LoadRecord) -> tuple[float, float]:
    """From when on events were due to when the last attempt ended."""
    times = [min(one.started, one.due or one.started) for one in record.attempts]
    return min(times, default=0.0), max((one.ended for one in record.attempts), default=0.0)


def _utc(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)

"""Reading whole tables: bounded parallel scans, and keys packed small enough to hold many of them.

A scan gives pages of DynamoDB JSON as the service returns them; nothing is kept here. A packed key is a few bytes that
give the key back, with numbers in one spelling, so that equal keys of two replicas pack equally.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from ops.errors import OpsError
from sketch.canonical import Checksum, canonical_number, item_digest

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

Item = Mapping[str, Any]
MAX_PAGES = 100_000


@dataclass(frozen=True)
class Page:
    items: list[Any]
    read_units: float


def scan_segment(
    client: DynamoDBClient,
    table: str,
    segment: int,
    segments: int,
    *,
    consistent: bool = False,
    max_pages: int = MAX_PAGES,
    **options: Any,
) -> Iterator[Page]:
    """The pages of one segment of a parallel Scan. ``options`` go to Scan (index, filter, projection).

    Raises:
        OpsError: the segment has more than ``max_pages`` pages.
    """
    scan: Any = client.scan
    request = {
        "TableName": table,
        "Segment": segment,
        "TotalSegments": segments,
        "ConsistentRead": consistent,
        "ReturnConsumedCapacity": "TOTAL",
        **options,
    }
    for _ in range(max_pages):
        answer = scan(**request)
        yield Page(answer["Items"], float(answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0)))
        if not answer.get("LastEvaluatedKey"):
            return
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
    raise OpsError(
        f"table {table}: segment {segment} of {segments} has more than {max_pages} pages (about 1 MB each)",
        hint="Scan with more segments.",
    )


def key_names(client: DynamoDBClient, table: str) -> list[str]:
    """The names of the table's key attributes, partition key first."""
    schema = client.describe_table(TableName=table)["Table"]["KeySchema"]
    return [key["AttributeName"] for key in sorted(schema, key=lambda key: key["KeyType"])]


def pack_key(item: Item, names: list[str]) -> bytes:
    """The key of an item as bytes; equal keys pack equally."""
    parts: list[str] = []
    for name in names:
        ((kind, value),) = item[name].items()
        if kind == "N":
            value = plain_number(value)
        elif kind == "B":
            value = base64.b64encode(bytes(value)).decode()
        parts += (kind, value)
    return orjson.dumps(parts)


def plain_number(text: str) -> str:
    """A number as DynamoDB itself writes it, without exponent: ``1.5``, ``-20``; equal numbers are spelled equally."""
    return format(Decimal(canonical_number(text)), "f")


def unpack_key(packed: bytes, names: list[str]) -> dict[str, Any]:
    """The key as DynamoDB JSON, ready for a read."""
    parts = orjson.loads(packed)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {
        name: {kind: base64.b64decode(value) if kind == "B" else value}
        for name, (kind, value) in zip(names, pairs, strict=True)
    }


def key_text(packed: bytes, names: list[str]) -> str:
    """The key for people: ``pk=EVENT#1, sk=EVENT``; binary as base64."""
    return ", ".join(f"{name}={value}" for name, value in zip(names, orjson.loads(packed)[1::2], strict=True))


@dataclass(frozen=True)
class Fingerprint:
    """A table at one time: the digest of each item by packed key, their checksum, and the keys of expired items.

    DynamoDB deletes expired items when it gets to it, so that their absence later says nothing.
    """

    digests: dict[bytes, bytes]
    checksum: Checksum
    expired: frozenset[bytes]


def fingerprint(
    client: DynamoDBClient,
    table: str,
    names: list[str],
    *,
    expiry: str = "",
    expired_before: float = 0,
    segments: int = 4,
    max_pages: int = MAX_PAGES,
) -> Fingerprint:
    """Read every item strongly and keep its digest.

    Args:
        expiry: the time-to-live attribute; empty when nothing expires.
        expired_before: items whose ``expiry`` is below this (epoch seconds) count as expired.
    """

    def read(segment: int) -> tuple[dict[bytes, bytes], list[bytes]]:
        digests, expired = {}, []
        for page in scan_segment(client, table, segment, segments, consistent=True, max_pages=max_pages):
            for item in page.items:
                key = pack_key(item, names)
                digests[key] = item_digest(item)
                if expiry and float(item.get(expiry, {}).get("N", "inf")) < expired_before:
                    expired.append(key)
        return digests, expired

    digests: dict[bytes, bytes] = {}
    expired: list[bytes] = []
    with ThreadPoolExecutor(max_workers=segments, thread_name_prefix="atoll-scan") as pool:
        for part, over in pool.map(read, range(segments)):
            digests.update(part)
            expired += over
    return Fingerprint(digests, Checksum.of(digests.values()), frozenset(expired))

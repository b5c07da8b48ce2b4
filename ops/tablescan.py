"""Reading whole tables: bounded parallel scans, and fingerprints of what they found.

A scan gives pages of DynamoDB JSON as the service returns them; nothing is kept here. A fingerprint keeps digests
only, in arrays: 100,000 items are 3.3 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ops.errors import OpsError
from sketch.canonical import DIGEST_BYTES, Checksum, item_digest, key_digest
from sketch.keys import pack

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


# numpy compares these whole, and drops trailing zeros from single elements only: `split` takes them out.
DIGESTS = np.dtype(f"S{DIGEST_BYTES}")
Digests = npt.NDArray[np.bytes_]


def digests_of(raw: bytes | bytearray) -> Digests:
    """Sixteen-byte values, one after the other, as a sorted array without duplicates."""
    return np.unique(np.frombuffer(bytes(raw), dtype=DIGESTS))


def split(values: Digests) -> list[bytes]:
    """The values as bytes, each of its full length."""
    raw = values.tobytes()
    return [raw[start : start + DIGEST_BYTES] for start in range(0, len(raw), DIGEST_BYTES)]


@dataclass(frozen=True)
class Fingerprint:
    """A table at one time, in 33 bytes an item, ordered by key.

    Attributes
    ----------
    keys, digests
        Of each item: the digest of its key, or the name it was given in its place; and of the whole item.
    named
        The names that were given, sorted.
    expired
        Whether an item counted as expired. DynamoDB deletes those when it gets to it: their absence later says nothing.
    members
        What ``members`` found in the items, sorted, each once.
    """

    keys: Digests
    digests: Digests
    named: Digests
    expired: npt.NDArray[np.bool_]
    members: Digests
    checksum: Checksum


@dataclass(frozen=True)
class Difference:
    """Keys of the items that one fingerprint has more, differently and no longer, against an earlier one."""

    added: Digests
    changed: Digests
    removed: Digests


class _Part:
    """What one segment adds to a fingerprint; grows by a few bytes an item."""

    def __init__(self) -> None:
        self.keys, self.digests, self.named, self.expired = bytearray(), bytearray(), bytearray(), bytearray()
        self.members: set[bytes] = set()
        self.checksum = Checksum()


def fingerprint(
    client: DynamoDBClient,
    table: str,
    names: list[str],
    *,
    expiry: str = "",
    expired_before: float = 0,
    name: Callable[[Item], bytes | None] = lambda item: None,
    members: Callable[[Item], Iterable[bytes]] = lambda item: (),
    passing: Callable[[Item], bool] = lambda item: False,
    segments: int = 4,
    max_pages: int = MAX_PAGES,
) -> Fingerprint:
    """Read every item strongly, and keep digests only.

    Args:
        expiry: the time-to-live attribute; empty when nothing expires.
        expired_before: items whose ``expiry`` is below this (epoch seconds) count as expired.
        name: sixteen bytes that an item is known by, in the place of its key's digest; None: its key's digest.
        members: values of sixteen bytes within an item that are to be collected.
        passing: whether an item is there for moments only and is no part of the table's content.
    """

    def read(segment: int) -> _Part:
        part = _Part()
        for page in scan_segment(client, table, segment, segments, consistent=True, max_pages=max_pages):
            digests = []
            for item in page.items:
                if passing(item):
                    continue
                given = name(item)
                digests.append(item_digest(item))
                part.keys += given or key_digest(item, names)
                part.named += given or b""
                part.expired.append(bool(expiry) and float(item.get(expiry, {}).get("N", "inf")) < expired_before)
                part.members.update(members(item))
            part.digests += b"".join(digests)
            part.checksum += Checksum.of(digests)
        return part

    with ThreadPoolExecutor(max_workers=segments, thread_name_prefix="atoll-scan") as pool:
        parts = list(pool.map(read, range(segments)))
    keys = np.frombuffer(b"".join(part.keys for part in parts), dtype=DIGESTS)
    order = np.argsort(keys, kind="stable")
    return Fingerprint(
        keys=keys[order],
        digests=np.frombuffer(b"".join(part.digests for part in parts), dtype=DIGESTS)[order],
        named=digests_of(b"".join(part.named for part in parts)),
        expired=np.frombuffer(b"".join(part.expired for part in parts), dtype=np.bool_)[order],
        members=digests_of(b"".join(member for part in parts for member in part.members)),
        checksum=sum((part.checksum for part in parts), Checksum()),
    )


def difference(before: Fingerprint, after: Fingerprint) -> Difference:
    """What became of a table; items that had expired by the first look are not missed."""
    _, left, right = np.intersect1d(before.keys, after.keys, assume_unique=True, return_indices=True)
    differs = before.digests[left] != after.digests[right]
    return Difference(
        added=np.setdiff1d(after.keys, before.keys, assume_unique=True),
        changed=after.keys[right[differs]],
        removed=np.setdiff1d(before.keys[~before.expired], after.keys, assume_unique=True),
    )


def find_keys(
    client: DynamoDBClient,
    table: str,
    names: list[str],
    wanted: Digests,
    *,
    limit: int,
    name: Callable[[Item], bytes | None] = lambda item: None,
) -> list[bytes]:
    """The packed keys of up to ``limit`` of the items that a fingerprint knows by these; reads until it has them."""
    looked_for, found = set(split(wanted)), []
    for page in scan_segment(client, table, 0, 1, consistent=True) if looked_for else ():
        for item in page.items:
            if (name(item) or key_digest(item, names)) in looked_for:
                found.append(pack(item, names))
                if len(found) == min(limit, len(looked_for)):
                    return found
    return found

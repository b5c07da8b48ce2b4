"""Reading one slice of a table in every replica, and holding the replicas against each other in it.

A slice is one segment of a parallel Scan of very many segments: the way DynamoDB offers to read a part of a table that
is neither chosen by its keys nor cut through a partition key.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html#Scan.ParallelScan
What always holds: reads are strong; an item of a slice that is missing anywhere is found whichever replica has it; what
looks unlike is read again by its key in every replica before it is called a suspect.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ops.aws import Cloud
from ops.divergence.replicas import Replica, Schema, client
from ops.divergence.rereading import strongly
from ops.divergence.reserved import is_heartbeat
from ops.divergence.survey import Suspicion
from ops.errors import OpsError
from sketch import keys
from sketch.canonical import Checksum, item_digest

# Segments of a parallel Scan, at the most.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html
MAX_SLICES = 1_000_000
# Pages that DynamoDB may give for one slice, empty ones included, before something is wrong.
MAX_PAGES = 10_000


@dataclass(frozen=True)
class Slice:
    """What was read of one slice.

    Attributes
    ----------
    items
        That any replica has, up to the limit that was set; ``beyond`` says that there are more.
    """

    number: int
    items: int
    suspects: tuple[Suspicion, ...]
    beyond: bool


@dataclass
class Tally:
    """What reading slices took in one replica; reading items again by their keys is not in it."""

    items: int = 0
    size_bytes: int = 0
    pages: int = 0
    read_units: float = 0.0
    checksum: Checksum = field(default_factory=Checksum)

    def add(self, other: Tally) -> None:
        self.items += other.items
        self.size_bytes += other.size_bytes
        self.pages += other.pages
        self.read_units += other.read_units
        self.checksum += other.checksum


class Slicer:
    """The slices of one table in all its replicas. ``tallies`` are in the order of ``replicas``."""

    def __init__(
        self,
        cloud: Cloud,
        replicas: Sequence[Replica],
        schema: Schema,
        total: int,
        *,
        ignore: Collection[str] = (),
        only: Collection[str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.replicas, self.schema, self.total = tuple(replicas), schema, total
        self._cloud = cloud
        self._clients: list[Any] = [client(cloud, replica) for replica in replicas]
        self._ignore = frozenset(ignore) - frozenset(schema.names)
        self._only = None if only is None else frozenset(only) | frozenset(schema.names)
        self._sleep = sleep
        self.tallies = [Tally() for _ in replicas]

    def read(self, numbers: Sequence[int], limit: int, pool: ThreadPoolExecutor) -> list[Slice]:
        """These slices, in this order; of each, no more than ``limit`` items a replica."""
        found = []
        for one, tallies in pool.map(lambda number: self._read(number, limit), numbers):
            for tally, part in zip(self.tallies, tallies, strict=True):
                tally.add(part)
            found.append(one)
        return found

    def again(self, suspects: Sequence[Suspicion]) -> dict[bytes, Suspicion | None]:
        """Each suspect by its key, read once more; None: the replicas agree on it now."""
        seen = self._by_key([one.key for one in suspects])
        return {key: None if _alike(digests) else Suspicion(key, digests) for key, digests in seen.items()}

    def _read(self, number: int, limit: int) -> tuple[Slice, list[Tally]]:
        tallies = [Tally() for _ in self.replicas]
        sides, beyond = [], False
        for place in range(len(self.replicas)):
            side, more = self._side(place, number, limit, tallies[place])
            sides.append(side)
            beyond |= more
        union = dict.fromkeys(key for side in sides for key in side)
        unlike = [key for key in union if not _alike([side.get(key) for side in sides])]
        seen = self._by_key(unlike)
        gone = sum(1 for digests in seen.values() if all(digest is None for digest in digests))
        suspects = tuple(Suspicion(key, digests) for key, digests in seen.items() if not _alike(digests))
        return Slice(number, min(len(union) - gone, limit), suspects, beyond), tallies

    def _side(self, place: int, number: int, limit: int, tally: Tally) -> tuple[dict[bytes, bytes], bool]:
        """Packed key -> digest of the slice's items in one replica, and whether there are more than ``limit``."""
        request: dict[str, Any] = {
            "TableName": self.replicas[place].table,
            "Segment": number,
            "TotalSegments": self.total,
            "ConsistentRead": True,
            "ReturnConsumedCapacity": "TOTAL",
            "Limit": limit + 1,
        }
        found: dict[bytes, bytes] = {}
        for _ in range(MAX_PAGES):
            answer = self._clients[place].scan(**request)
            tally.pages += 1
            tally.read_units += _units(answer)
            tally.size_bytes += _length(answer)
            for item in answer["Items"]:
                if not is_heartbeat(item, self.schema.names) and len(found) < limit:
                    found[keys.pack(item, self.schema.names)] = self._digest(item)
            last = answer.get("LastEvaluatedKey")
            if last is None or len(answer["Items"]) > limit or len(found) >= limit:
                tally.items += len(found)
                tally.checksum += Checksum.of(found.values())
                return found, last is not None
            request["ExclusiveStartKey"] = last
        raise OpsError(f"{self.replicas[place].label}: slice {number} of {self.total} has more than {MAX_PAGES} pages")

    def _by_key(self, wanted: Sequence[bytes]) -> dict[bytes, tuple[bytes | None, ...]]:
        """The digest of each key's item in every replica, read strongly."""
        read = strongly(self._cloud, self.replicas, self.schema, wanted, sleep=self._sleep)
        return {key: tuple(None if one is None else self._digest(one) for one in images) for key, images in read}

    def _digest(self, item: Mapping[str, Any]) -> bytes:
        return item_digest(item, ignore=self._ignore, only=self._only)


def _alike(digests: Iterable[bytes | None]) -> bool:
    return len(set(digests)) <= 1


def _units(answer: Mapping[str, Any]) -> float:
    return float((answer.get("ConsumedCapacity") or {}).get("CapacityUnits", 0))


def _length(answer: Mapping[str, Any]) -> int:
    return int(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("content-length", 0))

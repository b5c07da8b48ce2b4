"""Tables that scan in segments, replicate after a while or not at all, and throttle: what moto does not do."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops.divergence.replicas import Described, Replica, Schema
from sketch import keys

US, AP, EU = (Replica(region, region, "t") for region in ("us-east-1", "ap-south-1", "eu-west-1"))
SCHEMA = Schema(("pk", "sk"), ("S", "S"))


def refused(code: str, operation: str = "Operation") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)


def described(
    replica: Replica, *, items: int = 0, size_bytes: int = 0, ttl: str = "", schema: Schema = SCHEMA, **raw: Any
) -> Described:
    """A table's description; ``raw`` takes the place of what a sound replica would tell."""
    table = {
        "TableName": replica.table,
        "TableArn": f"arn:aws:dynamodb:{replica.region}:123456789012:table/{replica.table}",
        "TableStatus": "ACTIVE",
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "GlobalTableVersion": "2019.11.21",
        "Replicas": [{"RegionName": one.region, "ReplicaStatus": "ACTIVE"} for one in (US, AP, EU)],
    }
    return Described(replica, schema, items, size_bytes, ttl, frozenset(), table | raw)


@dataclass
class Table:
    """One replica. ``problems``: operation -> errors that its next calls end with."""

    schema: Schema = SCHEMA
    items: dict[bytes, dict[str, Any]] = field(default_factory=dict)
    problems: dict[str, list[ClientError]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    leave_out: int = 0  # keys of the next BatchGetItem that it does not get to
    shift: int = 0  # how its segments are cut, against those of others
    cut: dict[tuple[int, int], dict[int, list[bytes]]] = field(default_factory=dict)

    def put(self, items: Iterable[Mapping[str, Any]]) -> None:
        for item in items:
            self.items[keys.pack(item, self.schema.names)] = dict(item)

    def begin(self, operation: str) -> None:
        self.calls.append(operation)
        if self.problems.get(operation):
            raise self.problems[operation].pop(0)

    def segment(self, packed: bytes, total: int) -> int:
        # By the partition key alone: all items of one lie in the same segment.
        partition = next(iter(keys.unpack(packed, self.schema.names).values()))
        return (zlib.crc32(repr(partition).encode()) + self.shift) % total

    def segments(self, total: int) -> dict[int, list[bytes]]:
        """The keys of each segment; cut anew when there are more or fewer items."""
        version = (total, len(self.items))
        if version not in self.cut:
            made: dict[int, list[bytes]] = {}
            for packed in sorted(self.items):
                made.setdefault(self.segment(packed, total), []).append(packed)
            self.cut[version] = made
        return self.cut[version]

    def scan(self, **asked: Any) -> dict[str, Any]:
        self.begin("Scan")
        assert asked["ConsistentRead"]
        own = self.segments(asked["TotalSegments"]).get(asked["Segment"], [])
        if "ExclusiveStartKey" in asked:
            start = keys.pack(asked["ExclusiveStartKey"], self.schema.names)
            own = [packed for packed in own if packed > start]
        page = own[: asked["Limit"]]
        answer: dict[str, Any] = {"Items": [deepcopy(self.items[packed]) for packed in page]}
        if len(page) == asked["Limit"]:
            answer["LastEvaluatedKey"] = keys.unpack(page[-1], self.schema.names)
        return answer | {"ConsumedCapacity": {"CapacityUnits": max(1.0, len(page) / 10)}}

    def batch_get_item(self, **asked: Any) -> dict[str, Any]:
        self.begin("BatchGetItem")
        ((name, wanted),) = asked["RequestItems"].items()
        assert wanted["ConsistentRead"]
        assert len(wanted["Keys"]) <= 100
        split = len(wanted["Keys"]) - self.leave_out
        self.leave_out = 0
        packed = [keys.pack(key, self.schema.names) for key in wanted["Keys"][:split]]
        left = wanted["Keys"][split:]
        return {
            "Responses": {name: [deepcopy(self.items[one]) for one in packed if one in self.items]},
            "UnprocessedKeys": {name: {"Keys": left, "ConsistentRead": True}} if left else {},
            "ConsumedCapacity": [{"CapacityUnits": float(len(packed))}],
        }


class GlobalTable:
    """Replicas that get what is written in another at their ``reads``-th read of it; ``cut`` pairs never do."""

    def __init__(self, *replicas: Replica, reads: int = 3, schema: Schema = SCHEMA) -> None:
        self.tables = {replica: Table(schema) for replica in replicas}
        self.reads, self.cut = reads, set[tuple[str, str]]()
        self.pending: dict[tuple[Replica, bytes], list[Any]] = {}
        self.lock = threading.Lock()

    def client(self, cloud: Any, replica: Replica) -> Any:
        return _Client(self, replica)

    def use(self, monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
        for module in modules:
            monkeypatch.setattr(f"ops.divergence.{module}.client", self.client)


class _Client:
    def __init__(self, group: GlobalTable, replica: Replica) -> None:
        self.group, self.replica, self.table = group, replica, group.tables[replica]
        self.scan, self.batch_get_item = self.table.scan, self.table.batch_get_item

    def get_item(self, **asked: Any) -> dict[str, Any]:
        with self.group.lock:
            self.table.begin("GetItem")
            assert asked["ConsistentRead"]
            key = keys.pack(asked["Key"], self.table.schema.names)
            waiting = self.group.pending.get((self.replica, key))
            if waiting is not None:
                waiting[0] -= 1
                if waiting[0] <= 0:
                    self._set(key, waiting[1])
                    del self.group.pending[self.replica, key]
            found = self.table.items.get(key)
            return {} if found is None else {"Item": deepcopy(found)}

    def put_item(self, **asked: Any) -> dict[str, Any]:
        with self.group.lock:
            self.table.begin("PutItem")
            key = keys.pack(asked["Item"], self.table.schema.names)
            self._hold(key, asked, absent_is_fine=True)
            self._write(key, deepcopy(asked["Item"]))
            return {}

    def delete_item(self, **asked: Any) -> dict[str, Any]:
        with self.group.lock:
            self.table.begin("DeleteItem")
            key = keys.pack(asked["Key"], self.table.schema.names)
            self._hold(key, asked, absent_is_fine=False)
            old = self.table.items[key]
            self._write(key, None)
            return {"Attributes": old}

    def _hold(self, key: bytes, asked: Mapping[str, Any], absent_is_fine: bool) -> None:
        held = self.table.items.get(key)
        mark = asked["ExpressionAttributeNames"]["#mark"]
        own = (
            held is not None
            and held.get(mark, {}).get("M", {}).get("run") == asked["ExpressionAttributeValues"][":run"]
        )
        if not own and not (held is None and absent_is_fine):
            raise refused("ConditionalCheckFailedException")

    def _write(self, key: bytes, item: Any) -> None:
        self._set(key, item, self.table)
        for replica in self.group.tables:
            if replica != self.replica and (self.replica.label, replica.label) not in self.group.cut:
                self.group.pending[replica, key] = [self.group.reads, item]

    def _set(self, key: bytes, item: Any, table: Table | None = None) -> None:
        items = (table or self.table).items
        if item is None:
            items.pop(key, None)
        else:
            items[key] = item

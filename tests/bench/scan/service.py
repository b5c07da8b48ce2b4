"""What the stub answers to each operation, and the faults that it is told to have."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson

from tests.bench.scan.tables import NAMES, TYPES, Shape, Table

TABLE = "bench"


@dataclass
class Faults:
    """What goes wrong: every how many Scans (0: never), or from which Scan on."""

    throttle_every: int = 0
    fail_every: int = 0
    reset_every: int = 0
    truncate_every: int = 0
    crc_every: int = 0
    expired_from: int = 0
    hold_from: int = 0
    latency_ms: float = 0


class RefusedError(Exception):
    """An error answer of the service."""

    def __init__(self, kind: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.kind, self.status = kind, status


class Service:
    """The tables, and what was asked of them."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.tables = {region: Table(shape, region) for region in shape.regions}
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def control(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Set the faults, begin counting again where they are set; the counts so far."""
        with self._lock:
            found = {**self.counts, "cpu_s": time.process_time()}
            if "faults" in asked:
                self.faults = Faults(**asked["faults"])
                self.counts.clear()
        return found

    def count(self, operation: str) -> int:
        with self._lock:
            self.counts[operation] += 1
            return self.counts[operation]

    def due(self, name: str, number: int) -> bool:
        """Whether a fault strikes the Scan of this number."""
        every = getattr(self.faults, f"{name}_every")
        if every and number % every == 0:
            self.count(name)
            return True
        return False

    def table(self, region: str, name: str) -> Table:
        if region not in self.tables or name.rpartition("/")[2] != TABLE:
            raise RefusedError(
                "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "Requested resource not found"
            )
        return self.tables[region]

    def describe(self, region: str, asked: dict[str, Any]) -> bytes:
        table = self.table(region, asked["TableName"])
        items = table.shape.items
        described = {
            "TableName": TABLE,
            "TableArn": f"arn:aws:dynamodb:{region}:000000000000:table/{TABLE}",
            "TableStatus": "ACTIVE",
            "KeySchema": [
                {"AttributeName": name, "KeyType": kind} for name, kind in zip(NAMES, ("HASH", "RANGE"), strict=True)
            ],
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": kind} for name, kind in zip(NAMES, TYPES, strict=True)
            ],
            "ItemCount": items,
            "TableSizeBytes": items * 424,
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        }
        return orjson.dumps({"Table": described})

    def get(self, region: str, asked: dict[str, Any]) -> bytes:
        found = self.table(region, asked["TableName"]).get(asked["Key"])
        return b"{}" if found is None else b'{"Item":' + found + b"}"

    def batch_get(self, region: str, asked: dict[str, Any]) -> bytes:
        parts = []
        for name, wanted in asked["RequestItems"].items():
            table = self.table(region, name)
            items = (table.get(key) for key in wanted["Keys"])
            parts.append(orjson.dumps(name) + b":[" + b",".join(item for item in items if item is not None) + b"]")
        return b'{"Responses":{' + b",".join(parts) + b'},"UnprocessedKeys":{}}'

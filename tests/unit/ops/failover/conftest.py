"""A table of moto's in two regions, records made by hand, and what processors would have written for them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ops.aws import Cloud, connect
from ops.load import EDGE, Attempt, LoadRecord
from ops.stage import load_stage

US, INDIA = "us-east-1", "ap-south-1"
REGIONS = (US, INDIA)
TABLE = "atoll-dev"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


def key_of(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))


def attempt(serial: int, /, **changes: Any) -> Attempt:
    """A first attempt through the edge that was accepted, ``serial`` seconds after noon."""
    at = changes.pop("at", NOON + serial)
    values: dict[str, Any] = {
        "source": "/drills/run/london",
        "id": f"{int(at * 1000):x}-{serial}",
        "event_key": key_of(serial),
        "city": "London",
        "number": 1,
        "via": EDGE,
        "region": US,
        "status": 202,
        "started": at,
        "ended": at + 0.1,
        "due": at,
    }
    return Attempt(**values | changes)


def record(*attempts: Attempt) -> LoadRecord:
    return LoadRecord("run", attempts)


@dataclass
class Tables:
    """Writes what the processors write."""

    cloud: Cloud

    def item(self, one: Attempt, regions: Iterable[str] = REGIONS, **changes: str) -> None:
        """The event's item, the same in each of these regions but for ``changes``."""
        at = datetime.fromtimestamp(one.ended, UTC).isoformat(timespec="milliseconds")[:23] + "Z"
        key = changes.pop("event_key", one.event_key or "")
        texts = {
            "pk": f"EVENT#{key}",
            "sk": "EVENT",
            "gsi_pk": f"acme#{at[:10]}",
            "gsi_sk": f"{at}#{key}",
            "tenant": "acme",
            "event_key": key,
            "source": one.source,
            "id": one.id,
            "written_region": one.region or US,
            **changes,
        }
        for region in regions:
            self.put(region, {name: {"S": value} for name, value in texts.items()})

    def count(self, keys: Iterable[str], minute: str = "00", regions: Iterable[str] = REGIONS, by: str = US) -> None:
        """An activity item of region ``by`` that holds these events."""
        seen = [uuid.UUID(key).bytes for key in keys]
        sk = f"com.example.order.placed#{minute}#0#{by}"
        for region in regions:
            self.put(region, {"pk": {"S": "ACTIVITY#acme#2026-03-01T12"}, "sk": {"S": sk}, "seen": {"BS": seen}})

    def put(self, region: str, item: dict[str, Any]) -> None:
        self.cloud.client("dynamodb", region).put_item(TableName=TABLE, Item=item)

    def whole(self, made: LoadRecord) -> None:
        """Everything as it should be."""
        self.items(made)
        self.count(made.accepted)

    def items(self, made: LoadRecord, regions: Iterable[str] = REGIONS) -> None:
        """The items of what was accepted."""
        for one in made.attempts:
            if one.ok:
                self.item(one, regions)


@pytest.fixture
def tables() -> Iterator[Tables]:
    with mock_aws():
        for region in REGIONS:
            boto3.client("dynamodb", region_name=region).create_table(
                TableName=TABLE,
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                AttributeDefinitions=[
                    {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "gsi_pk", "gsi_sk")
                ],
                GlobalSecondaryIndexes=[
                    {
                        "IndexName": "by_time",
                        "KeySchema": [
                            {"AttributeName": "gsi_pk", "KeyType": "HASH"},
                            {"AttributeName": "gsi_sk", "KeyType": "RANGE"},
                        ],
                        "Projection": {"ProjectionType": "ALL"},
                    }
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        yield Tables(connect(load_stage("dev")))

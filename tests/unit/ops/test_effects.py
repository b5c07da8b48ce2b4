"""Where events count in a replica."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ops import effects
from ops.aws import Cloud
from ops.errors import OpsError
from ops.stage import Stage

US = "us-east-1"
KEY, OTHER = "0f8fad5b-d9cb-569f-a165-70867728950e", "1f8fad5b-d9cb-569f-a165-70867728950e"
NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def cloud(stage: Stage) -> Iterator[Cloud]:
    with mock_aws():
        made = Cloud(stage, "123456789012", boto3.Session())
        made.client("dynamodb", US).create_table(
            TableName=stage.table_name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        yield made


def seen(cloud: Cloud, pk: str, sk: str, *keys: str) -> None:
    item: Any = {"pk": {"S": pk}, "sk": {"S": sk}, "seen": {"BS": [uuid.UUID(key).bytes for key in keys]}}
    cloud.client("dynamodb", US).put_item(TableName=cloud.stage.table_name, Item=item)


def test_partition_of_an_event_is_its_tenants_hour_in_utc_or_the_undated_ones() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert effects.partition("acme", KEY, NOON) == effects.partition("acme", KEY, east) == "ACTIVITY#acme#2026-03-01T12"
    assert effects.partition("acme", KEY, None) == "ACTIVITY#acme#undated-0f"


def test_of_events_when_two_regions_saw_one_is_one_bucket(cloud: Cloud) -> None:
    for region in (US, "ap-south-1"):
        seen(cloud, "ACTIVITY#acme#2026-03-01T12", f"order#30#0#{region}", KEY)
    assert effects.of_events(cloud, US, {KEY: ("acme", NOON)}) == {
        KEY: frozenset({"ACTIVITY#acme#2026-03-01T12 order#30#0"})
    }


def test_of_events_when_one_is_in_two_minutes_has_both_and_others_are_left_out(cloud: Cloud) -> None:
    for minute in ("30", "31"):
        seen(cloud, "ACTIVITY#acme#2026-03-01T12", f"order#{minute}#0#{US}", KEY, OTHER)
    found = effects.of_events(cloud, US, {KEY: ("acme", NOON)})
    assert [len(found[KEY]), OTHER in found] == [2, False]


def test_of_events_of_another_hour_or_tenant_finds_nothing(cloud: Cloud) -> None:
    seen(cloud, "ACTIVITY#acme#2026-03-01T12", f"order#30#0#{US}", KEY)
    assert effects.of_events(cloud, US, {KEY: ("other", NOON)}) == {}
    assert effects.of_events(cloud, US, {KEY: ("acme", NOON + timedelta(hours=1))}) == {}


def test_buckets_when_a_partition_has_too_many_pages_says_which(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "MAX_PAGES", 0)
    with pytest.raises(OpsError, match=r"partition ACTIVITY#acme#x .* has more than 0 pages"):
        effects.buckets(cloud, US, ["ACTIVITY#acme#x"], {KEY})

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from ops import arrival
from ops.aws import Cloud, connect
from ops.errors import OpsError
from ops.stage import load_stage


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with mock_aws():
        for region in ("us-east-1", "ap-south-1"):
            boto3.client("dynamodb", region_name=region).create_table(
                TableName="atoll-dev",
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                AttributeDefinitions=[
                    {"AttributeName": "pk", "AttributeType": "S"},
                    {"AttributeName": "sk", "AttributeType": "S"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        yield connect(load_stage("dev"))


def put(cloud: Cloud, region: str, *keys: str) -> None:
    for key in keys:
        cloud.client("dynamodb", region).put_item(
            TableName="atoll-dev", Item={"pk": {"S": f"EVENT#{key}"}, "sk": {"S": "EVENT"}, "event_key": {"S": key}}
        )


def test_present_with_more_keys_than_one_call_takes_finds_all(cloud: Cloud) -> None:
    keys = [f"k{number}" for number in range(150)]
    put(cloud, "us-east-1", *keys)

    assert arrival.present(cloud, "us-east-1", [*keys, "absent"]) == set(keys)


def test_wait_when_all_arrive_meanwhile_ends(cloud: Cloud) -> None:
    put(cloud, "us-east-1", "a", "b")
    put(cloud, "ap-south-1", "a")
    seen: list[dict[str, int]] = []

    arrival.wait(cloud, ["a", "b"], progress=seen.append, sleep=lambda _: put(cloud, "ap-south-1", "b"))

    assert seen == [{"us-east-1": 0, "ap-south-1": 1}, {"us-east-1": 0, "ap-south-1": 0}]


def test_wait_when_the_time_is_over_says_what_is_missing_where(cloud: Cloud) -> None:
    put(cloud, "us-east-1", "a")
    ticks = iter(range(100))

    with pytest.raises(OpsError, match="after 2 s events are still missing: ap-south-1 lacks 1"):
        arrival.wait(cloud, ["a"], timeout_s=2, clock=lambda: next(ticks), sleep=lambda _: None)


def test_present_without_the_table_says_where(cloud: Cloud) -> None:
    cloud.client("dynamodb", "us-east-1").delete_table(TableName="atoll-dev")

    with pytest.raises(OpsError, match="us-east-1: reading table atoll-dev: ResourceNotFoundException"):
        arrival.present(cloud, "us-east-1", ["a"])

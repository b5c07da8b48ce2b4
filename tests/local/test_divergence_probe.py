"""Mode ``probe`` and ``sample`` on the local cloud: replication that is cut is named and that is healed is timed; a
sample finds what many items differ in, and bounds what it did not see.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from ops import divergence
from ops.aws import Cloud
from ops.divergence import beating, probing
from ops.divergence.heartbeats import find_left
from ops.divergence.replicas import Described, Replica, Schema
from ops.divergence.sampling import sample
from tests.local.conftest import Atoll

US, AP = "us-east-1", "ap-south-1"
ITEMS = 4000
Tables = dict[Replica, Described]


@pytest.fixture
def cloud(atoll: Atoll, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    for name, value in atoll.environment.items():
        if name.startswith(("AWS_", "ATOLL_")):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", atoll.cloud["endpoint_url"])
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=US)
    return Cloud(atoll.stage, str(atoll.stage.account), session)


@pytest.fixture
def tables(cloud: Cloud) -> tuple[Schema, Tables]:
    found = divergence.describe(cloud, divergence.resolve(cloud))
    schema, warnings = divergence.agree(found)
    assert warnings == []
    return schema, {replica: one for replica, one in found.items() if one is not None}


@pytest.fixture
def healed(atoll: Atoll) -> Iterator[None]:
    yield
    atoll.ops("fault", "heal")


@pytest.mark.usefixtures("healed")
def test_heartbeats_name_the_direction_that_is_cut_and_time_it_when_it_is_healed(
    atoll: Atoll, cloud: Cloud, tables: tuple[Schema, Tables]
) -> None:
    schema, described = tables
    atoll.ops("fault", "replication-cut", US, AP)
    plan = beating.plan(cloud, schema, described, rounds=3, deadline_s=5.0)
    assert find_left(cloud, list(described), schema) == []
    cut = beating.apply(cloud, plan, plan.token, schema, described, rounds=3, deadline_s=5.0)
    failing = {check.name: check.detail for check in cut.checks() if not check.ok}
    assert set(failing) == {f"heartbeats from {US} to {AP}", f"heartbeats from {AP} to {US}"}
    assert all("never arrived within 5 s" in detail for detail in failing.values())

    atoll.ops("fault", "heal")
    plan = beating.plan(cloud, schema, described, rounds=5)
    timed = beating.apply(cloud, plan, plan.token, schema, described, rounds=5)
    assert [check for check in timed.checks() if not check.ok] == []
    lag_ms = cloud.stage.local_cloud.replication_lag_ms if cloud.stage.local_cloud else 0
    frame = timed.frame()
    assert len(frame) == 10
    # The lag, and what the emulator takes to deliver; less what the acknowledgement, from which both figures count,
    # took to arrive on a busy machine.
    assert (frame["latency_ms"] >= lag_ms / 2).all()
    assert (frame["at_least_ms"] < lag_ms + 2000).all()
    assert find_left(cloud, list(described), schema) == []


def test_probe_sees_both_replicas_and_says_nothing_is_wrong(cloud: Cloud, tables: tuple[Schema, Tables]) -> None:
    found = probing.probe(cloud, tables[1])
    assert {check.name: check.detail for check in found.checks() if not check.ok} == {}
    assert {(one.source, one.target) for one in found.latencies} == {(US, AP), (AP, US)}


@pytest.fixture
def pair(cloud: Cloud) -> Iterator[tuple[list[Replica], Schema]]:
    """Two tables that hold the same, and do not replicate."""
    name = "sampled"
    for region in (US, AP):
        client: Any = cloud.client("dynamodb", region)
        client.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for start in range(0, ITEMS, 25):
            puts = [{"PutRequest": {"Item": item(n)}} for n in range(start, start + 25)]
            assert not client.batch_write_item(RequestItems={name: puts})["UnprocessedItems"]
    yield [Replica(region, region, name) for region in (US, AP)], Schema(("id",), ("S",))
    for region in (US, AP):
        cloud.client("dynamodb", region).delete_table(TableName=name)


def item(number: int, **more: Any) -> dict[str, Any]:
    return {"id": {"S": f"order-{number}"}, "amount": {"N": str(number)}, **more}


def test_sample_bounds_equal_tables_and_finds_what_many_items_differ_in(
    cloud: Cloud, pair: tuple[list[Replica], Schema]
) -> None:
    replicas, schema = pair

    def run(per_million: float) -> Any:
        found = {one: table for one, table in divergence.describe(cloud, replicas).items() if table is not None}
        assert {table.items for table in found.values()} == {ITEMS}
        return sample(cloud, replicas, schema, found, per_million=per_million, seed=5, settle_s=0.1)

    equal = run(60_000)
    said = equal.conclude([])
    assert equal.survey.suspects == ()
    assert all(check.ok for check in said.checks())
    assert len(equal.slices) < equal.design.total

    changed = random.Random(1).sample(range(ITEMS), ITEMS // 5)
    for number in changed:
        cloud.client("dynamodb", AP).put_item(TableName="sampled", Item=item(number, late={"BOOL": True}))
    differing = run(60_000)
    said = differing.conclude({one.key for one in differing.survey.suspects})
    assert {one.key for one in differing.survey.suspects} <= {b"S" + packed(number) for number in changed}
    low, high = said.interval_per_million
    assert low < 200_000 < high
    assert not any(check.ok for check in said.checks())


def packed(number: int) -> bytes:
    name = f"order-{number}".encode()
    return len(name).to_bytes(2, "big") + name

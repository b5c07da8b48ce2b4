"""Repair and undo on the local cloud: replication is cut and loses writes, items differ in every class, the newest are
brought about everywhere, and undo brings back what was there before, byte for byte.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from ops import divergence
from ops.aws import Cloud
from ops.divergence import Finding, Findings, repair
from ops.divergence.findings import save, wire
from ops.errors import RefusedError
from sketch import keys
from tests.bench.divergence import EndpointCloud
from tests.local.conftest import Atoll
from tests.local.mortal import Point, killed, mend
from tests.local.test_divergence_scan import create, direct, write
from tests.planted import TTL_ATTRIBUTE, text
from tests.planted import plant as planted_among

US, AP = "us-east-1", "ap-south-1"
EXPIRED = "1500000000"


@pytest.fixture
def cloud(atoll: Atoll, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    for name, value in atoll.environment.items():
        if name.startswith(("AWS_", "ATOLL_")):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", atoll.cloud["endpoint_url"])
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=US)
    yield Cloud(atoll.stage, str(atoll.stage.account), session)
    atoll.ops("fault", "heal")


def item(number: int, version: int, region: str, **more: Any) -> dict[str, Any]:
    stamps = {"version": {"N": str(version)}, "written_region": {"S": region}}
    at = {"S": f"2026-03-01T12:00:{version:02d}.000Z"}
    return {"pk": {"S": f"REPAIR#{number}"}, "sk": {"S": "EVENT"}, **stamps, "written_at": at, **more}


def plant(cloud: Cloud) -> None:
    """Missing on either side, stale on either side in every type, conflicting, expired."""
    deep = {"M": {"list": {"L": [{"B": b"\x00\xff"}, {"NULL": True}, {"BOOL": False}]}}}
    planted: dict[str, list[dict[str, Any]]] = {
        US: [
            item(1, 1, US, amount={"N": "12345678901234567890.5"}, deep=deep),
            item(3, 2, US, tags={"SS": ["a", "b"]}, raw={"BS": [b"x", b"\x80"]}),
            item(4, 1, AP, gone={"S": ""}),
            item(5, 2, US, side={"S": "us"}),
            item(6, 1, US, expires_at={"N": EXPIRED}),
        ],
        AP: [
            item(2, 1, AP, raw={"B": b"\x01\x02"}, empty={"L": []}),
            item(3, 1, US, tags={"SS": ["a"]}, old={"N": "1"}),
            item(4, 2, AP, deep=deep),
            item(5, 2, AP, side={"S": "ap"}),
        ],
    }
    for region, items in planted.items():
        for one in items:
            cloud.client("dynamodb", region).put_item(TableName=cloud.stage.table_name, Item=one)


def held(cloud: Cloud) -> dict[str, dict[bytes, Any]]:
    """All items of each region, with sets in one order."""
    found: dict[str, dict[bytes, Any]] = {}
    for region in (US, AP):
        items = cloud.client("dynamodb", region).scan(TableName=cloud.stage.table_name, ConsistentRead=True)["Items"]
        own = [one for one in items if one["pk"]["S"].startswith("REPAIR#")]
        found[region] = {
            keys.pack(one, ("pk", "sk")): {name: _sorted(value) for name, value in one.items()} for one in own
        }
    return found


def _sorted(value: Any) -> Any:
    ((kind, content),) = value.items()
    return {kind: sorted(content) if kind in ("SS", "NS", "BS") else content}


def findings(cloud: Cloud) -> Findings:
    compared = divergence.compare(cloud, "", [US, AP], settle_s=0.3)
    assert {one.kind for one in compared.differences} == {"missing", "stale", "conflicting", "expired"}
    names = compared.subject.schema.names
    every = tuple(
        Finding(
            wire(keys.unpack(one.key, names)), one.kind, {k: v.hex() if v else None for k, v in one.digests.items()}
        )
        for one in compared.confirmed
    )
    return Findings(
        run="20260301T120000Z-divergence",
        stage=cloud.stage.stage,
        account=cloud.account,
        table=cloud.stage.table_name,
        replicas=compared.subject.replicas,
        schema=compared.subject.schema,
        ignore=(),
        only=None,
        made=datetime.now(UTC),
        findings=every,
    )


def test_repair_mends_what_a_cut_lost_and_undo_brings_it_back_byte_for_byte(atoll: Atoll, cloud: Cloud) -> None:
    atoll.ops("fault", "replication-cut", US, AP, "--lose")
    plant(cloud)
    before = held(cloud)
    found = findings(cloud)
    assert len(found.findings) == 5

    made = repair.plan(cloud, found, "newest", force="replication", settle_s=0.3)
    assert made.refusals == []
    assert held(cloud) == before
    with pytest.raises(RefusedError):
        repair.apply(cloud, made, "0" * 16)
    done = repair.apply(cloud, made, made.token)
    assert [check for check in [*done.checks(), *repair.prove(cloud, done).checks()] if not check.ok] == []
    assert done.figures()["written"] == 4

    # The one that neither region's stamp decides is a person's.
    assert [row.text for row in made.undecided] == ["pk=REPAIR#5, sk=EVENT"]
    ours = repair.plan(cloud, found, f"region:{AP}", force="replication", settle_s=0.3)
    assert repair.apply(cloud, ours, ours.token).figures()["mended"] == 1
    after = held(cloud)
    differing = {key for key in {*after[US], *after[AP]} if after[US].get(key) != after[AP].get(key)}
    assert differing == {keys.pack(item(6, 1, US), ("pk", "sk"))}  # expired: nobody's to mend

    for token in (ours.token, made.token):
        back = repair.plan_undo(cloud, token, force="replication")
        assert repair.apply(cloud, back, back.token).checks()[0].ok
    assert held(cloud) == before

    # Replicating again, the newest of each arrives where it was lacking, by one write.
    atoll.ops("fault", "heal")
    made = repair.plan(cloud, found, "newest", settle_s=0.3)
    done = repair.apply(cloud, made, made.token)
    proof = repair.prove(cloud, done)
    assert [check for check in proof.checks() if not check.ok] == []
    assert proof.keys == 4
    assert repair.plan_undo(cloud, made.token).refusals


def test_repair_killed_again_and_again_ends_as_if_it_had_not_been_and_undo_knows_all_of_it(
    atoll: Atoll, tmp_path: Path
) -> None:
    """Every planted difference, in two tables that nothing replicates; all are to hold what one of them does."""
    cloud, rng, table = EndpointCloud(atoll.cloud["endpoint_url"]), random.Random(12), "mended"
    made = planted_among(300, seed=12)
    clients = {region: direct(atoll, region) for region in (US, AP)}
    for region, client in clients.items():
        create(client, table, made)
        write(client, table, made.items[region])
        enabled = {"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
        client.update_time_to_live(TableName=table, TimeToLiveSpecification=enabled)

    def differing(region: str) -> dict[str, Any]:
        pages = clients[region].get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        items = [one for page in pages for one in page["Items"]]
        named = {text(one, made.names): {name: _sorted(value) for name, value in one.items()} for one in items}
        return {name: one for name, one in named.items() if name in made.differing}

    before = {region: differing(region) for region in (US, AP)}
    comparison = divergence.compare(cloud, table, [US, AP], settle_s=0.3)
    assert {one.text for one in comparison.confirmed} == set(made.differing)
    found = comparison.findings("20260301T120000Z-divergence", cloud.stage.stage, cloud.account)
    save(cloud, found, tmp_path)
    (path,) = tmp_path.glob("*.json")
    options: dict[str, Any] = {"found": str(path), "policy": f"region:{US}", "settle_s": 0.3}

    for point in (
        Point.anywhere(rng, "PutObject", 2, 4),
        Point.anywhere(rng, "UpdateItem", 1, 20),
        Point.anywhere(rng, "UpdateItem", 1, 20),
        Point.anywhere(rng, "DeleteItem", 1, 1),
    ):
        killed(atoll.cloud["endpoint_url"], "repair", point, **options)
    plan, done = mend(cloud, **options)

    assert [check for check in [*done.checks(), *repair.prove(cloud, done).checks()] if not check.ok] == []
    assert differing(US) == differing(AP) == before[US]
    back = repair.plan_undo(cloud, plan.token)
    assert repair.apply(cloud, back, back.token).checks()[0].ok
    assert {region: differing(region) for region in (US, AP)} == before
    for client in clients.values():
        client.delete_table(TableName=table)

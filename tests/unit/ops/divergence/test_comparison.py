"""Divergence: true differences are named, everything else is not, whatever happens during the check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops.aws import Cloud
from ops.divergence import Comparison, Pace, compare
from ops.divergence.reserved import heartbeat_key
from ops.errors import OpsError, RefusedError, UsageError

US, AP = "us-east-1", "ap-south-1"
NOW = 1_800_000_000.0
# The scan does not wait for its budget, so that what sleeps is the reading of suspects.
FAST = Pace(segments=4, read_units_per_s=1e9)


def make(cloud: Cloud, *regions: str, **key: str) -> None:
    key = key or {"pk": "S", "sk": "S"}
    kinds = ("HASH", "RANGE")
    for region in regions or (US, AP):
        cloud.client("dynamodb", region).create_table(
            TableName="pair",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in key.items()],  # type: ignore[typeddict-item]
            KeySchema=[{"AttributeName": n, "KeyType": k} for n, k in zip(key, kinds, strict=False)],  # type: ignore[typeddict-item]
            BillingMode="PAY_PER_REQUEST",
        )


def item(key: str, **attributes: Any) -> dict[str, Any]:
    return {"pk": {"S": key}, "sk": {"S": "EVENT"}, **attributes}


def put(cloud: Cloud, region: str, *items: dict[str, Any]) -> None:
    for one in items:
        cloud.client("dynamodb", region).put_item(TableName="pair", Item=one)


def check(cloud: Cloud, sleep: Any = lambda seconds: None, **options: Any) -> Comparison:
    return compare(cloud, "pair", pace=FAST, sleep=sleep, clock=lambda: NOW, **options)


def test_compare_when_items_mean_the_same_finds_nothing(account: Cloud, calls: Any) -> None:
    make(account)
    for n in range(40):
        tags, count = (["a", "b"], "1.50") if n % 2 else (["b", "a"], "1.5")
        put(account, US, item(f"k{n}", tags={"SS": ["a", "b"]}, count={"N": "1.5"}))
        put(account, AP, item(f"k{n}", count={"N": count}, tags={"SS": tags}))
    calls.clear()
    found = check(account)
    assert found.equal
    assert found.judged.suspects == 0
    assert [side.items for side in found.survey.sides] == [40, 40]
    assert len({side.checksum for side in found.survey.sides}) == 1
    assert found.check().ok
    assert calls.mutating == []


def test_compare_when_items_are_missing_or_changed_names_exactly_those(account: Cloud, calls: Any) -> None:
    make(account)
    stamp = {"written_region": {"S": US}, "written_at": {"S": "2026-11-01T10:00:00Z"}, "version": {"N": "1"}}
    newer = stamp | {"written_at": {"S": "2026-11-01T10:00:05Z"}, "version": {"N": "2"}}
    same = [item(f"k{n}", **stamp) for n in range(30)]
    put(account, US, *same, item("gone", **stamp), item("stale", amount={"N": "2"}, **newer))
    put(account, AP, *same, item("stale", amount={"N": "1"}, **stamp), item("extra", **stamp))
    calls.clear()
    found = check(account)
    assert {(d.text, d.kind, d.missing_in) for d in found.differences} == {
        ("pk=gone, sk=EVENT", "missing", (AP,)),
        ("pk=extra, sk=EVENT", "missing", (US,)),
        ("pk=stale, sk=EVENT", "stale", ()),
    }
    stale = next(d for d in found.differences if d.kind == "stale")
    assert stale.newest == (US,)
    assert stale.explanation.startswith(
        f"{AP} never got the write of version 2 in {US} at 2026-11-01T10:00:05.000Z; {AP} still holds version 1"
    )
    assert {a.path: a.values for a in stale.attributes}["amount"] == {US: "2", AP: "1"}
    assert not found.equal
    assert "3 items differ" in found.check().detail
    assert set(found.frame()["key"]) == {d.text for d in found.differences}
    assert list(found.attributes_frame().columns) == ["key", "attribute", US, AP]
    assert calls.mutating == []


def test_compare_when_replication_arrives_meanwhile_calls_it_in_flight(account: Cloud) -> None:
    make(account)
    put(account, US, item("late"), item("lost"))

    def replicate(seconds: float) -> None:
        put(account, AP, item("late"))

    found = check(account, replicate)
    assert [d.text for d in found.differences] == ["pk=lost, sk=EVENT"]
    assert (found.judged.suspects, found.judged.counts["in flight"]) == (2, 1)


def test_compare_when_an_item_changes_in_one_region_only_confirms_it(account: Cloud) -> None:
    make(account)
    put(account, US, item("hot", n={"N": "0"}))
    put(account, AP, item("hot", n={"N": "-1"}))
    written = iter(range(1, 100))
    found = check(account, lambda seconds: put(account, US, item("hot", n={"N": str(next(written))})))
    assert [d.text for d in found.differences] == ["pk=hot, sk=EVENT"]


def test_compare_when_an_item_changes_everywhere_does_not_judge_it(account: Cloud) -> None:
    make(account)
    put(account, US, item("hot", n={"N": "1"}))
    put(account, AP, item("hot", n={"N": "0"}))
    written = iter(range(2, 100))

    def write_and_replicate(seconds: float) -> None:
        n = next(written)
        put(account, US, item("hot", n={"N": str(n)}))
        put(account, AP, item("hot", n={"N": str(n - 1)}))

    found = check(account, write_and_replicate)
    assert found.equal
    assert found.unsettled == ("pk=hot, sk=EVENT",)
    assert "not judged" in found.check().detail


def test_compare_when_confirmed_early_does_not_use_all_attempts(account: Cloud) -> None:
    make(account)
    put(account, US, item("lost"))
    slept: list[float] = []
    assert not check(account, slept.append, attempts=50, settle_s=0.25).equal
    assert slept == [0.25, 0.25]


def test_compare_when_item_expired_does_not_count_it(account: Cloud) -> None:
    make(account)
    client = account.client("dynamodb", US)
    client.update_time_to_live(
        TableName="pair", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
    )
    put(account, US, item("old", expires_at={"N": str(int(NOW) - 5)}), item("new", expires_at={"N": str(int(NOW) + 5)}))
    found = check(account)
    assert {d.text: d.kind for d in found.differences} == {"pk=old, sk=EVENT": "expired", "pk=new, sk=EVENT": "missing"}
    assert [d.text for d in found.confirmed] == ["pk=new, sk=EVENT"]


def test_compare_when_attributes_are_ignored_does_not_see_them(account: Cloud) -> None:
    make(account)
    put(account, US, item("a", seen={"S": "1"}))
    put(account, AP, item("a", seen={"S": "2"}))
    assert check(account, ignore=["seen"]).equal
    assert not check(account).equal


def test_compare_when_keys_are_binary_and_numbers_reads_them_back(account: Cloud) -> None:
    make(account, n="N", id="B")
    put(account, US, {"id": {"B": b"\x00\xff"}, "n": {"N": "-1.5"}, "x": {"S": "1"}})
    put(account, AP, {"id": {"B": b"\x00\xff"}, "n": {"N": "-1.5"}, "x": {"S": "2"}})
    assert [(d.text, d.kind) for d in check(account).differences] == [("n=-1.5, id=AP8=", "conflicting")]


def test_compare_when_a_read_leaves_keys_unprocessed_asks_again(account: Cloud, hub: Any) -> None:
    make(account)
    put(account, US, *(item(f"k{n}") for n in range(5)))
    throttled = [3]

    def leave_one(parsed: dict[str, Any], **_: Any) -> None:
        found = parsed["Responses"].get("pair", [])
        if throttled[0] and found:
            throttled[0] -= 1
            last = found.pop()
            parsed["UnprocessedKeys"] = {
                "pair": {"Keys": [{"pk": last["pk"], "sk": last["sk"]}], "ConsistentRead": True}
            }

    client = account.client("dynamodb", US)
    client.meta.events.register("after-call.dynamodb.BatchGetItem", leave_one, unique_id="leave-one")
    try:
        assert len(check(account).differences) == 5
    finally:
        client.meta.events.unregister("after-call.dynamodb.BatchGetItem", unique_id="leave-one")
    assert throttled == [0]


def test_compare_when_suspects_cannot_be_read_again_keeps_what_was_read(
    account: Cloud, calls: Any, tmp_path: Path
) -> None:
    make(account)
    put(account, US, item("a"))
    path = tmp_path / "kept"

    def expired() -> Any:
        raise ClientError({"Error": {"Code": "ExpiredTokenException"}}, "BatchGetItem")

    calls.on("before", "BatchGetItem", expired)
    with pytest.raises(OpsError, match="the credentials have expired") as stopped:
        check(account, checkpoint=path)
    assert f"What was read is kept: the same again with checkpoint {path}" in stopped.value.hint
    calls.clear()
    lines: list[str] = []
    found = check(account, checkpoint=path, progress=lines.append)
    assert [one.text for one in found.confirmed] == ["pk=a, sk=EVENT"]
    assert f"going on from {path}: 4 of 4 segments were read" in lines
    assert not path.exists()


def test_compare_when_a_replica_is_absent_is_refused(account: Cloud) -> None:
    make(account, US)
    with pytest.raises(RefusedError, match="there is no table pair in ap-south-1"):
        check(account)


def test_compare_when_key_schemas_differ_is_refused(account: Cloud) -> None:
    make(account, US)
    make(account, AP, pk="S")
    with pytest.raises(RefusedError, match=r"key schemas differ.*us-east-1: pk \(S\), sk \(S\); ap-south-1: pk \(S\)"):
        check(account)


def test_compare_when_there_is_one_region_is_refused(account: Cloud) -> None:
    with pytest.raises(UsageError, match="two or more"):
        compare(account, "pair", [US])


def test_compare_when_tables_are_empty_finds_nothing(account: Cloud) -> None:
    make(account)
    found = check(account)
    assert found.equal
    assert found.check().detail.endswith(f"; not one item was read of {US} and {AP}")


def test_compare_when_one_table_is_empty_says_so_beside_what_is_missing(account: Cloud) -> None:
    make(account)
    put(account, US, item("a"), item("b"))
    found = check(account)
    assert [one.missing_in for one in found.confirmed] == [(AP,), (AP,)]
    assert found.check().detail.endswith(f"; not one item was read of {AP}")


def test_compare_when_a_heartbeat_is_under_way_leaves_it_out(account: Cloud) -> None:
    make(account)
    put(account, US, item("same"), heartbeat_key(("pk", "sk"), ("S", "S"), US))
    put(account, AP, item("same"))
    slept: list[float] = []
    found = check(account, slept.append)
    assert found.equal
    assert found.differences == ()
    assert found.judged.counts["excluded"] == 1
    assert slept == []

"""Mode export: exports that are there, whole or damaged, and what a comparison of them names."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.divergence.exports import survey
from ops.divergence.survey import Survey
from ops.errors import OpsError, RefusedError, UsageError
from sketch import keys
from tests.planted import ordinary, plant
from tests.unit.ops.divergence.exported import BUCKET, SCHEMA, World, files, md5

US, AP = "us-east-1", "ap-south-1"
PLANTED = plant(400, copies=2)


def whole(form: str = "DYNAMODB_JSON", other: str = "") -> World:
    world = World()
    for region, as_what in ((US, form), (AP, other or form)):
        items = PLANTED.items[region]
        world.write(region, files(items if region == US else items[::-1], as_what), outputFormat=as_what)
    return world


def compare(world: World, **options: Any) -> Survey:
    quick: dict[str, Any] = {"sleep": lambda seconds: None}
    return survey(world.cloud, world.replicas, SCHEMA, world.described, world.exports, **quick | options)


def named(found: Survey) -> set[str]:
    return {keys.text(one.key, SCHEMA.names) for one in found.suspects}


@pytest.mark.parametrize(
    ("form", "other"), [("DYNAMODB_JSON", ""), ("ION", ""), ("ION", "DYNAMODB_JSON")], ids=["json", "ion", "both"]
)
def test_exports_name_exactly_the_planted_differences(form: str, other: str) -> None:
    found = compare(whole(form, other))
    assert named(found) == set(PLANTED.differing) | PLANTED.expired
    assert found.figures["complete"] is True
    assert [one.items for one in found.sides] == [len(PLANTED.items[region]) for region in (US, AP)]
    assert found.settled_at == 1795168800.0


def test_more_differences_than_the_sketch_holds_are_read_again_into_a_larger_one() -> None:
    found = compare(whole(), cells=9)
    assert named(found) == set(PLANTED.differing) | PLANTED.expired
    assert found.figures["times_read"] > 1


def test_more_differences_than_can_be_named_are_told_as_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.divergence.exports.surveying.MEMORY_BYTES", 20_000)
    found = compare(whole(), cells=9)
    assert found.figures["complete"] is False
    assert found.figures["differ_about"] > 10


def test_attributes_that_do_not_count_are_left_out() -> None:
    world = World()
    item = ordinary(1, random.Random(1))
    world.write(US, files([item], count=1))
    world.write(AP, files([{**item, "subject": {"S": "other"}}], count=1))
    assert len(compare(world).suspects) == 1
    assert compare(world, ignore=("subject",)).suspects == ()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=4))
def test_file_that_breaks_off_is_taken_up_where_it_broke(breaks: list[int]) -> None:
    world = whole()
    world.bucket.breaks = breaks
    assert named(compare(world)) == set(PLANTED.differing) | PLANTED.expired


def test_file_that_breaks_off_again_and_again_is_an_error() -> None:
    world = whole()
    world.bucket.breaks = [10] * 100
    with pytest.raises(OpsError, match=r"file\d\.json\.gz: the connection broke 6 times"):
        compare(world, workers=1)


def _first(world: World) -> str:
    return f"{world.folder(US)}/data/file0.json.gz"


def _cut(world: World) -> None:
    world.bucket.objects[_first(world)] = world.bucket.objects[_first(world)][:-20]


def _flipped(world: World) -> None:
    body = bytearray(world.bucket.objects[_first(world)])
    body[len(body) // 2] ^= 1
    world.bucket.objects[_first(world)] = bytes(body)


def _another(world: World) -> None:
    world.bucket.objects[_first(world)] = gzip.compress(b'{"Item":{"pk":{"S":"1"},"sk":{"S":"1"}}}\n')


def _gone(world: World) -> None:
    del world.bucket.objects[_first(world)]


def _emptied(world: World) -> None:
    world.bucket.objects[_first(world)] = b""


def _no_summary(world: World) -> None:
    del world.bucket.objects[f"{world.folder(US)}/manifest-summary.json"]


def _no_checksum(world: World) -> None:
    del world.bucket.objects[f"{world.folder(US)}/manifest-files.md5"]


def _manifest_changed(world: World) -> None:
    world.bucket.objects[f"{world.folder(US)}/manifest-files.json"] += b" "


def _entries(world: World) -> list[dict[str, Any]]:
    return [json.loads(one) for one in world.bucket.objects[f"{world.folder(US)}/manifest-files.json"].splitlines()]


def _twice(world: World) -> None:
    entries = _entries(world)
    world.manifest(US, [*entries, entries[0]], {})


def _more_items(world: World) -> None:
    world.manifest(US, _entries(world), {"itemCount": 7})


def _one_item_more(world: World) -> None:
    entries = _entries(world)
    entries[0]["itemCount"] += 1
    world.manifest(US, entries, {})


def _no_gzip(world: World) -> None:
    entries, body = _entries(world), b"no gzip at all, whatever"
    world.bucket.objects[_first(world)] = body
    entries[0]["md5Checksum"] = md5(body)
    world.manifest(US, entries, {})


def _no_item(world: World) -> None:
    entries, body = _entries(world), gzip.compress(b'{"Item":{"pk":1}}\n')
    world.bucket.objects[_first(world)] = body
    entries[0]["md5Checksum"] = md5(body)
    world.manifest(US, entries, {})


def _list(world: World) -> None:
    world.put(f"{world.folder(US)}/manifest-summary", b"[]")


def _garbage(world: World) -> None:
    world.put(f"{world.folder(US)}/manifest-files", b"\xff\xfe\n")


DAMAGES = [
    (_cut, r"file0\.json\.gz is damaged or cut short: the MD5 of its [\d,]+ bytes is \S+, expected \S+, and it ends"),
    (_flipped, r"file0\.json\.gz is damaged or cut short: .* expected \S+"),
    (_another, r"file0\.json\.gz is damaged or cut short: .* expected \S+"),
    (_gone, r"file0\.json\.gz is missing; the manifest lists it"),
    (_emptied, r"file0\.json\.gz is damaged or cut short: the MD5 of its 0 bytes"),
    (_no_summary, r"manifest-summary\.json is missing"),
    (_no_checksum, r"manifest-files\.md5 is missing, so s3://exports/\S+ cannot be verified"),
    (_manifest_changed, r"manifest-files\.json is damaged: its MD5 is \S+, expected \S+"),
    (_twice, r"manifest-files\.json, line 4: \S+file0\.json\.gz is listed a second time"),
    (_more_items, r"itemCount is 7, and the 3 files of \S+ have \d+"),
    (_one_item_more, r"file0\.json\.gz has 130 items, and the manifest says 131"),
    (_no_gzip, r"file0\.json\.gz is no gzip: .* though its MD5 is as expected"),
    (_no_item, r"file0\.json\.gz holds what is no item: .* though its MD5 is as expected"),
    (_list, r"manifest-summary\.json: expected a JSON object, found list"),
    (_garbage, r"manifest-files\.json, line 1: is no JSON"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=[one.__name__.strip("_") for one, _ in DAMAGES])
def test_damage_is_told_with_the_file_and_what_was_expected(damage: Any, message: str) -> None:
    world = whole()
    damage(world)
    with pytest.raises(OpsError, match=message):
        compare(world)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputFormat": "CSV"}, "outputFormat is 'CSV'"),
        ({"exportType": "HALF"}, "exportType is 'HALF'"),
        ({"itemCount": -1}, "itemCount is -1; expected a number of 0 or more"),
        ({"itemCount": True}, "itemCount is True"),
        ({"tableArn": ""}, "tableArn is ''; expected a text"),
        ({"exportTime": "yesterday"}, "exportTime is 'yesterday'; expected a time"),
        ({"exportTime": "2026-11-20T10:00:00"}, "it has no zone"),
        ({"manifestFilesS3Key": None}, "manifestFilesS3Key is None"),
    ],
)
def test_manifest_that_says_nonsense_is_refused_with_its_field(changes: dict[str, Any], message: str) -> None:
    world = whole()
    world.manifest(US, _entries(world), changes)
    with pytest.raises(OpsError, match=message):
        compare(world)


def test_exports_that_do_not_belong_together_are_refused() -> None:
    world = whole()
    with pytest.raises(UsageError, match=f"there is none of {AP}"):
        survey(world.cloud, world.replicas, SCHEMA, world.described, world.exports[:1])
    world.manifest(AP, [], {"tableArn": world.arn(US)})
    with pytest.raises(UsageError, match=f"are both of {US}"):
        compare(world)
    world.manifest(AP, [], {"tableArn": world.arn("eu-west-1")})
    with pytest.raises(UsageError, match="none of the replicas"):
        compare(world)
    world.manifest(AP, [], {"exportTime": "2026-11-20T10:00:01.000Z"})
    with pytest.raises(RefusedError, match="not of the same second"):
        compare(world)
    world.manifest(AP, [], INCREMENTAL)
    with pytest.raises(RefusedError, match="full and incremental"):
        compare(world)


INCREMENTAL = {
    "version": "2023-08-01",
    "exportType": "INCREMENTAL_EXPORT",
    "exportFromTime": "2026-11-20T09:00:00.000Z",
    "exportToTime": "2026-11-20T10:00:00.000Z",
    "outputView": "NEW_AND_OLD_IMAGES",
}


def _change(number: int, at: int, new: str | None) -> str:
    key = {"pk": {"S": f"k{number}"}, "sk": {"S": "s"}}
    record: dict[str, Any] = {"Metadata": {"WriteTimestampMicros": {"N": str(at)}}, "Keys": key}
    record |= {"OldImage": {**key, "value": {"S": "old"}}}
    record |= {} if new is None else {"NewImage": {**key, "value": {"S": new}}}
    return json.dumps(record) + "\n"


def test_incremental_exports_name_the_keys_that_were_left_differently() -> None:
    world = World()
    world.write(US, [[_change(1, 1, "a"), _change(2, 1, "a"), _change(3, 1, None), _change(4, 1, None)]], **INCREMENTAL)
    world.write(
        AP, [[_change(4, 9, "a"), _change(3, 9, None)], [_change(2, 9, "b"), _change(1, 9, "a")]], **INCREMENTAL
    )
    found = compare(world)
    assert named(found) == {"pk=k2, sk=s", "pk=k4, sk=s"}
    assert found.figures["incremental"] is True


def test_empty_exports_are_equal() -> None:
    world = World()
    for region in (US, AP):
        world.write(region, [[], []])
    found = compare(world)
    assert (found.suspects, found.figures["complete"]) == ((), True)


def test_text_that_is_no_export_is_refused() -> None:
    world = World()
    with pytest.raises(UsageError, match="exports: 's3://exports/x' is no export; accepted: ARNs"):
        survey(world.cloud, world.replicas, SCHEMA, world.described, [f"s3://{BUCKET}/x"])

"""A comparison of exports that was stopped goes on from its checkpoint, with the answer of one that was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.divergence import checkpoint as checkpoints
from ops.divergence.exports import survey
from ops.divergence.survey import Survey
from ops.errors import InterruptedRunError, OpsError, RefusedError, UsageError
from tests.planted import Planted, plant
from tests.unit.ops.divergence.exported import SCHEMA, Bucket, World, files

US, AP = "us-east-1", "ap-south-1"
PLANTED = plant(200)


@dataclass
class Expiring(Bucket):
    """Credentials that expire after so many data files."""

    left: int = 1 << 30

    def get_object(self, **asked: Any) -> dict[str, Any]:
        if "/data/" in asked["Key"]:
            if self.left <= 0:
                raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "expired"}}, "GetObject")
            self.left -= 1
        return super().get_object(**asked)

    @property
    def read(self) -> Counter[str]:
        return Counter(one["Key"] for one in self.asked if "/data/" in one["Key"])


def exported(left: int = 1 << 30, planted: Planted = PLANTED) -> tuple[World, Expiring]:
    bucket = Expiring(left=left)
    world = World(bucket=bucket)
    world.write(US, files(planted.items[US], count=5))
    world.write(AP, files(planted.items[AP][::-1], "ION", count=4), outputFormat="ION")
    return world, bucket


def compare(world: World, checkpoint: Path | None = None, **options: Any) -> Survey:
    quick: dict[str, Any] = {"sleep": lambda seconds: None, "workers": 2, "checkpoint": checkpoint}
    return survey(world.cloud, world.replicas, SCHEMA, world.described, world.exports, **quick | options)


def told(found: Survey) -> Survey:
    """All of it but the time that it took."""
    sides = tuple(replace(one, duration_s=0.0) for one in found.sides)
    return replace(found, sides=sides, duration_s=0.0)


UNDISTURBED = {cells: told(compare(exported()[0], cells=cells)) for cells in (99, 16_383)}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=4), st.sampled_from(sorted(UNDISTURBED)))
def test_comparison_that_is_resumed_gives_the_answer_of_an_undisturbed_one(stops: list[int], cells: int) -> None:
    world, bucket = exported()
    with TemporaryDirectory() as directory:
        path = Path(directory) / "kept" / "table.checkpoint"
        for left in stops:
            bucket.left = left
            try:
                found = compare(world, path, cells=cells)
            except OpsError:
                assert path.is_file()
            else:
                assert told(found) == UNDISTURBED[cells]
        bucket.left = 1 << 30
        for _ in range(2):  # until it is judged, what was read is there
            assert told(compare(world, path, cells=cells)) == UNDISTURBED[cells]


def test_files_that_are_done_are_not_read_again(tmp_path: Path) -> None:
    world, bucket = exported(4, plant(200, long_keys=False))  # long keys would be looked for in all files
    expired = r"reading s3://exports/\S+/data/file\d\.\S+\.gz: the credentials have expired \(ExpiredToken\)"
    with pytest.raises(OpsError, match=expired) as raised:
        compare(world, tmp_path / "kept", workers=1)
    assert (raised.value.hint or "").startswith("Sign in again")
    assert f"-p mode=export -p exports={','.join(world.exports)} -p resume={tmp_path / 'kept'}" in (
        raised.value.hint or ""
    )
    bucket.left = 1 << 30
    lines: list[str] = []
    for _ in range(2):
        compare(world, tmp_path / "kept", workers=1, progress=lines.append)
    assert sorted(bucket.read.values()) == [1] * 9
    assert any("4 of 9 files were read" in line for line in lines)


def test_every_checkpoint_that_was_ever_written_leads_to_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    save: Callable[[Path, checkpoints.State], None] = checkpoints.save

    def saving(path: Path, state: checkpoints.State) -> None:
        save(path, state)
        written.append(path.read_bytes())

    monkeypatch.setattr(checkpoints, "save", saving)
    monkeypatch.setattr("ops.divergence.exports.surveying.CHECKPOINT_S", 0.0)
    monkeypatch.setattr("ops.divergence.exports.reading.LOOK_S", 0.001)
    world, _ = exported()
    compare(world, tmp_path / "first", cells=99, clock=lambda: 0.0, workers=1)
    assert len(written) > 3
    path = tmp_path / "killed"
    for raw in written[:]:
        path.write_bytes(raw)
        assert told(compare(world, path, cells=99)) == UNDISTURBED[99]


def test_operator_who_stops_it_is_told_how_to_go_on(tmp_path: Path) -> None:
    world, _ = exported()

    def stop(line: str) -> None:
        if "items/s" in line:
            raise KeyboardInterrupt

    path = tmp_path / "kept"
    with pytest.raises(InterruptedRunError, match="9 of 9 files were read") as raised:
        compare(world, path, progress=stop)
    assert f"-p resume={path}" in (raised.value.hint or "")
    assert told(compare(world, path)) == UNDISTURBED[16_383]


def test_exports_that_were_replaced_since_are_refused(tmp_path: Path) -> None:
    world, bucket = exported(left=3)
    with pytest.raises(OpsError):
        compare(world, tmp_path / "kept")
    bucket.left = 1 << 30
    world.exports.clear()
    for region in (US, AP):
        world.write(region, files(PLANTED.items[region]))
    with pytest.raises(RefusedError, match="another comparison: exports was"):
        compare(world, tmp_path / "kept")


def test_checkpoint_that_is_damaged_is_refused(tmp_path: Path) -> None:
    world, _ = exported(left=3)
    path = tmp_path / "kept"
    with pytest.raises(OpsError):
        compare(world, path)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(UsageError, match="is damaged"):
        compare(world, path)

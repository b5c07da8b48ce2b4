"""How fast exports are compared, against DuckDB: a full outer join of the same gzip files on the key.

Both run in processes of their own on the same files, which are made ahead; S3 is the file system. DuckDB compares what
it read as it is spelled, so it would find what is only written otherwise too; these files have nothing of that kind.
``python -m tests.bench.exports --items 500000`` prints both.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from ops.divergence.exports import survey
from ops.divergence.replicas import Described, Replica, Schema
from tests.planted import ordinary, wire

REGIONS = ("us-east-1", "ap-south-1")
BUCKET, FILES = "exports", 4
SCHEMA = Schema(("pk", "sk"), ("S", "S"))


class Files:
    """Stands in for the client of S3: objects are files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        try:
            return {"Body": (self._directory / Key).open("rb"), "ETag": ""}
        except FileNotFoundError:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject") from None


def arn(region: str) -> str:
    return f"arn:aws:dynamodb:{region}:123456789012:table/bench"


@contextmanager
def written(items: int, differences: int) -> Iterator[Path]:
    """The exports of two replicas of ``items`` each, which differ in so many, in orders of their own."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        # A hundred bodies, each item with a key of its own: what differs between items does not change the speed.
        bodies = [json.dumps(wire(ordinary(number, rng)), separators=(",", ":")) for number in range(100)]
        changed = set(rng.sample(range(items), differences))
        for region in REGIONS:
            order = list(range(items))
            random.Random(region).shuffle(order)
            keys = [f"{region}/data/{part}.json.gz" for part in range(FILES)]
            entries = [_file(directory, key, order[part::FILES], bodies, changed) for part, key in enumerate(keys)]
            _manifests(directory, region, entries, items)
        yield directory


def _file(directory: Path, key: str, numbers: list[int], bodies: list[str], changed: set[int]) -> dict[str, Any]:
    path = directory / key
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb", compresslevel=6) as out:
        for number in numbers:
            old = f"EVENT#{number % 100:012x}"
            text = bodies[number % 100].replace(old, f"EVENT#{number:012x}")
            if number in changed and key.startswith(REGIONS[1]):
                text = text.replace('"order ', '"ORDER ')
            out.write(f'{{"Item":{text}}}\n'.encode())
    return {"itemCount": len(numbers), "md5Checksum": _md5(path.read_bytes()), "dataFileS3Key": key}


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _manifests(directory: Path, region: str, entries: list[dict[str, Any]], items: int) -> None:
    summary = {
        "tableArn": arn(region),
        "exportTime": "2026-11-20T10:00:00Z",
        "manifestFilesS3Key": f"{region}/manifest-files.json",
        "itemCount": items,
        "outputFormat": "DYNAMODB_JSON",
    }
    listed = "".join(json.dumps(entry) + "\n" for entry in entries)
    for name, text in (("manifest-files", listed), ("manifest-summary", json.dumps(summary))):
        (directory / region / f"{name}.json").write_text(text)
        (directory / region / f"{name}.md5").write_text(_md5(text.encode()))


def ours(directory: Path) -> int:
    """How many items differ, by mode export."""
    s3 = Files(directory)
    cloud: Any = SimpleNamespace(stage=SimpleNamespace(home_region=REGIONS[0]), client=lambda service, region: s3)
    replicas = [Replica(region, region, "bench") for region in REGIONS]
    described: dict[Replica, Described | None] = {
        one: Described(one, SCHEMA, 0, 0, "", frozenset(), {"TableArn": arn(one.region)}) for one in replicas
    }
    exports = [f"s3://{BUCKET}/{region}/manifest-summary.json" for region in REGIONS]
    return len(survey(cloud, replicas, SCHEMA, described, exports, workers=2).suspects)


def duckdb(directory: Path) -> int:
    """The same by a full outer join."""
    import duckdb

    sides = " FULL OUTER JOIN ".join(
        f"""(SELECT Item.pk.S AS pk, Item.sk.S AS sk, Item AS item
             FROM read_json('{directory}/{region}/data/*.json.gz', format = 'newline_delimited'))"""
        for region in REGIONS
    )
    query = f"SELECT count(*) FROM {sides.replace(' FULL', ' AS a FULL', 1)} AS b USING (pk, sk)"
    connection = duckdb.connect(config={"threads": 2})
    found = connection.execute(f"{query} WHERE a.item IS DISTINCT FROM b.item").fetchone()
    return int(found[0]) if found else -1


WAYS = {"ours": ours, "duckdb": duckdb}


def took(way: str, directory: Path) -> dict[str, Any]:
    """What one way took, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.exports", "--way", way, "--directory", str(directory)]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def items_per_s(way: str, directory: Path) -> float:
    """Of both replicas together."""
    listed = (directory / region / "manifest-summary.json" for region in REGIONS)
    items = sum(json.loads(path.read_text())["itemCount"] for path in listed)
    return float(items / took(way, directory)["wall_s"])


def peak_mb(way: str, directory: Path) -> float:
    """Of its process, imports included."""
    return float(took(way, directory)["peak_mb"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--differences", type=int, default=1_000)
    parser.add_argument("--way", choices=[*WAYS])
    parser.add_argument("--directory", type=Path)
    asked = parser.parse_args()
    if asked.way:
        begun = time.perf_counter()
        differ = WAYS[asked.way](asked.directory)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(  # noqa: T201
            json.dumps(
                {
                    "way": asked.way,
                    "differ": differ,
                    "wall_s": round(time.perf_counter() - begun, 2),
                    "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
                    "peak_mb": round(usage.ru_maxrss / 1024, 1),
                }
            )
        )
        return
    with written(asked.items, asked.differences) as directory:
        for way in WAYS:
            print(took(way, directory))  # noqa: T201


if __name__ == "__main__":
    main()

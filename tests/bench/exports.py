"""How fast exports are compared, against DuckDB: a full outer join on the key of the same gzip files.

Both run in processes of their own, as they come: ours with its defaults, DuckDB with a thread a processor. The files
have every planted case of ``tests.planted``, and another order of attributes and set members in each region. Ours must
name exactly what was planted. DuckDB is given what it does best with: columns whose types it detects itself, sets
sorted, a hash of them joined instead of themselves. What it names then is printed beside: an attribute of another type
than in the rows that it looked at is nothing to it, so it finds fewer. Not among its ways here:

- declared types, slower; whole structs, slower and twice the memory: every item with a set in another order differs;
- a hash of the line or of its JSON, which is faster by far as lines: every item with its attributes in another order
  differs, and so all of them.

``python -m tests.bench.exports --items 1000000`` prints the table, with CPU seconds, which hold on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from rich.table import Table

from ops.divergence.exports import survey
from ops.divergence.replicas import Described, Replica
from tests.bench.divergence import SCHEMA, expected, peak_mb, replicas, shaped, suspected
from tests.bench.exportfiles import Directory, arn, data_files, manifest, write
from tests.bench.scan import Shape

ROUNDS = 3
HASH = """hash(Item.version.N, Item.written_region.S, Item.written_at.S, Item.amount.N, Item.live."BOOL",
    list_sort(Item.tags.SS), list_sort(Item.sizes.NS), Item.raw.B, Item.subject.S, Item."event".M.id.S,
    Item."event".M.data.S, Item."event".M.lines, Item.expires_at.N)"""


@dataclass(frozen=True)
class Took:
    """What a comparison took. ``peak_mb`` is of the process, its imports included."""

    differ: int
    wall_s: float
    cpu_s: float
    peak_mb: float


def ours(shape: Shape, bucket: Path) -> int:
    """How many keys differ.

    Raises:
        RuntimeError: it did not name exactly what was planted.
    """
    s3, sides = Directory(bucket), replicas(shape)
    cloud: Any = SimpleNamespace(stage=SimpleNamespace(home_region=shape.regions[0]), client=lambda service, region: s3)
    described: dict[Replica, Described | None] = {
        one: Described(one, SCHEMA, 0, 0, "", frozenset(), {"TableArn": arn(one.region)}) for one in sides
    }
    found = suspected(survey(cloud, sides, SCHEMA, described, [manifest(region) for region in shape.regions]))
    if found != expected(shape):
        raise RuntimeError(f"planted {len(expected(shape)):,} keys; named {len(found):,}, and not the same")
    return len(found)


def duckdb(shape: Shape, bucket: Path) -> int:
    """The same by a full outer join; whatever it finds."""
    import duckdb as engine

    first, second = (
        f"""SELECT Item.pk.S AS pk, Item.sk.S AS sk, {HASH} AS hash
        FROM read_json({data_files(region, bucket)}, format = 'newline_delimited', compression = 'gzip')"""
        for region in shape.regions
    )
    connection = engine.connect(config={"threads": os.cpu_count() or 1})
    connection.execute("SET preserve_insertion_order = false")
    found = connection.execute(
        f"SELECT count(*) FROM ({first}) AS a FULL OUTER JOIN ({second}) AS b USING (pk, sk) "
        "WHERE a.hash IS DISTINCT FROM b.hash"
    ).fetchone()
    assert found is not None
    return int(found[0])


WAYS: dict[str, Callable[[Shape, Path], int]] = {"ours": ours, "duckdb": duckdb}


def compared(items: int, differences: int = 1_000, rounds: int = ROUNDS) -> Table:
    """Both ways in turn on the same files, made first; medians."""
    shape = shaped(items, differences)
    with tempfile.TemporaryDirectory() as directory:
        write(shape, Path(directory))
        took = [{way: _alone(way, shape, directory) for way in WAYS} for _ in range(rounds)]
    table = Table(
        "",
        "items read/s",
        "CPU-s/million",
        "peak MB",
        f"named, of {len(expected(shape)):,} planted",
        title=f"exports of two replicas of {items:,} items, gzip: medians of {rounds}",
    )
    for way, named in (("ours", "mode export"), ("duckdb", "DuckDB: full outer join on the key")):
        runs = [one[way] for one in took]
        table.add_row(
            named,
            f"{_median([2 * items / run.wall_s for run in runs]):,.0f}",
            f"{_median([run.cpu_s / items / 2 * 1e6 for run in runs]):.2f}",
            f"{_median([run.peak_mb for run in runs]):.0f}",
            f"{runs[0].differ:,}",
        )
    table.add_row(
        "ratio",
        f"{_median([one['duckdb'].wall_s / one['ours'].wall_s for one in took]):.2f}",
        f"{_median([one['duckdb'].cpu_s / one['ours'].cpu_s for one in took]):.2f}",
        f"{_median([one['duckdb'].peak_mb / one['ours'].peak_mb for one in took]):.2f}",
        "",
    )
    return table


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _alone(way: str, shape: Shape, directory: str) -> Took:
    command = [sys.executable, "-m", "tests.bench.exports", "--way", way, "--shape", shape.to_json()]
    done = subprocess.run([*command, "--directory", directory], stdout=subprocess.PIPE, text=True, check=True)
    return Took(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare exports of two replicas, and say what it took.")
    parser.add_argument("--items", type=int, default=500_000, help="of each replica")
    parser.add_argument("--differences", type=int, default=1_000, help="planted, at least so many")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--way", choices=[*WAYS], help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.way:
        Console().print(compared(asked.items, asked.differences, asked.rounds))
        return
    begun, cpu = time.perf_counter(), time.process_time()
    differ = WAYS[asked.way](Shape.from_json(asked.shape), asked.directory)
    took = Took(differ, time.perf_counter() - begun, time.process_time() - cpu, peak_mb())
    sys.stdout.write(json.dumps(asdict(took)))


if __name__ == "__main__":
    main()

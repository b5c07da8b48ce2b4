"""How fast exports are compared, against DuckDB: a full outer join on the key of the same gzip files.

All run in processes of their own, as they come: ours with its defaults, DuckDB with a thread a processor. The files
have every planted case of ``tests.planted``, and another order of attributes and set members in each region. Ours must
name exactly what was planted.

Of DuckDB's ways the baseline is the one whose answer can be used, as it misses nothing: the types of all attributes are
declared, sets are sorted, an attribute that may be of any type is left as JSON, and a hash of all that is joined
instead of itself. It needs a query made for the table, and still names what is only spelled otherwise. Beside it is the
fastest that is not nonsense: the same with types that DuckDB detects itself. An attribute of another type than in the
rows that it looked at is nothing to it, so most of what differs is not found. Not among its ways here: a hash of the
line or of its JSON as it is, since every item with its attributes in another order then differs, and so all of them.

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
from sketch import keys
from tests.bench.divergence import SCHEMA, expected, peak_mb, replicas, shaped, suspected
from tests.bench.exportfiles import Directory, arn, data_files, manifest, write
from tests.bench.scan import Shape
from tests.bench.scan.tables import NAMES

ROUNDS = 3
_N, _S = "STRUCT(N VARCHAR)", "STRUCT(S VARCHAR)"
DECLARED = f"""STRUCT(pk {_S}, sk {_S}, version {_N}, written_region {_S}, written_at {_S}, amount {_N},
    live STRUCT("BOOL" BOOLEAN), tags STRUCT(SS VARCHAR[]), sizes STRUCT(NS VARCHAR[]), raw STRUCT(B VARCHAR),
    subject {_S}, "event" STRUCT(M STRUCT(id {_S}, data {_S}, lines STRUCT(L JSON))), expires_at {_N}, planted JSON)"""
HASHED = """Item.version.N, Item.written_region.S, Item.written_at.S, Item.amount.N, Item.live."BOOL",
    list_sort(Item.tags.SS), list_sort(Item.sizes.NS), Item.raw.B, Item.subject.S, Item."event".M.id.S,
    Item."event".M.data.S, Item."event".M.lines, Item.expires_at.N"""


@dataclass(frozen=True)
class Took:
    """What a comparison took, and how many keys it named: of the planted ones, and of others.

    ``peak_mb`` is of the process, its imports included.
    """

    planted: int
    others: int
    wall_s: float
    cpu_s: float
    peak_mb: float


def ours(shape: Shape, bucket: Path) -> set[str]:
    """The keys that differ.

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
    return found


def declared(shape: Shape, bucket: Path) -> set[str]:
    """The same by a full outer join that knows the table.

    Raises:
        RuntimeError: it missed something, and is no baseline.
    """
    found = _joined(shape, bucket, f"{HASHED}, Item.planted", f", columns = {{Item: '{DECLARED}'}}")
    if missed := expected(shape) - found:
        raise RuntimeError(f"planted {len(expected(shape)):,} keys; DuckDB missed {len(missed):,}")
    return found


def detected(shape: Shape, bucket: Path) -> set[str]:
    """The same with the types that DuckDB detects; whatever it finds."""
    return _joined(shape, bucket, HASHED, "")


def _joined(shape: Shape, bucket: Path, hashed: str, columns: str) -> set[str]:
    import duckdb

    first, second = (
        f"""SELECT Item.pk.S AS pk, Item.sk.S AS sk, hash({hashed}) AS hash
        FROM read_json({data_files(region, bucket)}, format = 'newline_delimited', compression = 'gzip'{columns})"""
        for region in shape.regions
    )
    connection = duckdb.connect(config={"threads": os.cpu_count() or 1})
    connection.execute("SET preserve_insertion_order = false")
    found = connection.execute(
        f"SELECT pk, sk FROM ({first}) AS a FULL OUTER JOIN ({second}) AS b USING (pk, sk) "
        "WHERE a.hash IS DISTINCT FROM b.hash"
    ).fetchall()
    return {keys.text(keys.pack({"pk": {"S": pk}, "sk": {"S": sk}}, NAMES), NAMES) for pk, sk in found}


OURS = "ours"
WAYS: dict[str, Callable[[Shape, Path], set[str]]] = {OURS: ours, "declared": declared, "detected": detected}
NAMED = {
    OURS: "mode export",
    "declared": "DuckDB, types declared",
    "detected": "DuckDB, types detected",
}


def compared(items: int, differences: int = 1_000, rounds: int = ROUNDS) -> Table:
    """Both ways in turn on the same files, made first; medians."""
    shape = shaped(items, differences)
    with tempfile.TemporaryDirectory() as directory:
        write(shape, Path(directory))
        took = [{way: _alone(way, shape, directory) for way in WAYS} for _ in range(rounds)]
    table = Table(
        "",
        *("items read/s", "CPU-s/million", "peak MB", "planted", "others"),
        *("time, of ours", "CPU, of ours", "MB, of ours"),
        title=f"exports of two replicas of {items:,} items, gzip; DuckDB by full outer join: medians of {rounds}",
        caption=f"Named: of {len(expected(shape)):,} planted keys, and of others that are equal.",
    )
    for way, named in NAMED.items():
        runs = [one[way] for one in took]
        table.add_row(
            named,
            f"{_median([2 * items / run.wall_s for run in runs]):,.0f}",
            f"{_median([run.cpu_s / items / 2 * 1e6 for run in runs]):.2f}",
            f"{_median([run.peak_mb for run in runs]):.0f}",
            *(f"{runs[0].planted:,}", f"{runs[0].others:,}"),
            *(
                f"{_median([getattr(one[way], figure) / getattr(one[OURS], figure) for one in took]):.2f}"
                for figure in ("wall_s", "cpu_s", "peak_mb")
            ),
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
    shape = Shape.from_json(asked.shape)
    begun, cpu = time.perf_counter(), time.process_time()
    found = WAYS[asked.way](shape, asked.directory)
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    planted = len(found & expected(shape))
    sys.stdout.write(json.dumps(asdict(Took(planted, len(found) - planted, wall_s, cpu_s, peak_mb()))))


if __name__ == "__main__":
    main()

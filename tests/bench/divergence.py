"""How fast two replicas are compared, against the loop that one writes first: every item of one in a dict, by key, and
each item of the other looked up in it.

Both read the same stub (``tests.bench.scan``), a process of its own on the same cores. Items per second are items read,
of both replicas together. ``python -m tests.bench.divergence --items 10000000 --differences 1000`` compares that many
a replica and prints what it took.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3

from ops.aws import CONFIG, Cloud
from ops.divergence import Replica, Schema, Survey
from ops.divergence import compare as run
from ops.divergence.scanning import Pace, scan
from ops.stage import load_stage
from sketch import implementation, keys
from tests.bench.scan import TABLE, Shape, Stub, server
from tests.bench.scan.tables import NAMES, TYPES
from tests.planted import cases

SCHEMA = Schema(NAMES, TYPES)
# What the stub serves is no table's budget.
UNITS_PER_S = 1e9


@dataclass(frozen=True)
class Took:
    """What a comparison took. ``peak_mb`` is of the process, its imports included."""

    items: int
    differences: int
    items_per_s: float
    wall_s: float
    cpu_s: float
    server_cpu_s: float
    peak_mb: float
    before_mb: float
    implementation: str


class EndpointCloud(Cloud):
    """AWS at another address, as one stage sees it."""

    def __init__(self, endpoint: str, authority: str = "") -> None:
        made = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test")
        super().__init__(load_stage("local"), "000000000000", made)
        self._made, self._endpoint, self._verify = made, endpoint, authority or None

    def client(self, service: Any, region: str) -> Any:
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = self._made.client(
                    service, region_name=region, endpoint_url=self._endpoint, verify=self._verify, config=CONFIG
                )
            return self._clients[service, region]


def replicas(shape: Shape) -> list[Replica]:
    return [Replica(region, region, TABLE) for region in shape.regions]


@contextmanager
def trusted(stub: Stub) -> Iterator[None]:
    """The environment in which the stub's certificate is accepted."""
    before = os.environ.get("AWS_CA_BUNDLE")
    os.environ["AWS_CA_BUNDLE"] = stub.authority
    try:
        yield
    finally:
        if before is None:
            del os.environ["AWS_CA_BUNDLE"]
        else:
            os.environ["AWS_CA_BUNDLE"] = before


def compare(stub: Stub, *, tls: bool = False, pace: Pace | None = None) -> Survey:
    """Through the engine, as a run does it."""
    cloud = EndpointCloud(stub.tls_endpoint if tls else stub.endpoint, stub.authority)
    with trusted(stub):
        return scan(cloud, replicas(stub.shape), SCHEMA, pace=pace or Pace(read_units_per_s=UNITS_PER_S))


def naive(stub: Stub, *, tls: bool = False) -> tuple[int, int]:
    """Items read, and keys that the loop says differ: sets and numbers that mean the same among them."""
    cloud = EndpointCloud(stub.tls_endpoint if tls else stub.endpoint, stub.authority)
    first, second = (cloud.client("dynamodb", region).get_paginator("scan") for region in stub.shape.regions)
    held = {
        (item["pk"]["S"], item["sk"]["S"]): item for page in first.paginate(TableName=TABLE) for item in page["Items"]
    }
    count, differing = len(held), 0
    for page in second.paginate(TableName=TABLE):
        for item in page["Items"]:
            count += 1
            differing += held.pop((item["pk"]["S"], item["sk"]["S"]), None) != item
    return count, differing + len(held)


def naive_per_s(stub: Stub, *, tls: bool = False) -> float:
    """Items per second of the loop."""
    begun = time.perf_counter()
    count, _ = naive(stub, tls=tls)
    return count / (time.perf_counter() - begun)


def must_show(items: int) -> str:
    """Compare two replicas with every planted case, and with items in flight, as a run does: what it found, in words.

    Raises:
        RuntimeError: it named anything but exactly the planted differences, each in its class.
    """
    shape = Shape(items, copies=3, in_flight=20)
    with server(shape) as stub:
        cloud = EndpointCloud(stub.endpoint)
        begun = time.perf_counter()
        found = run(
            cloud,
            TABLE,
            shape.regions,
            pace=Pace(read_units_per_s=UNITS_PER_S),
            settle_s=1,
            sleep=lambda seconds: None,
        )
        wall_s = time.perf_counter() - begun
    made = shape.planted()
    named = {one.text: one.kind for one in found.differences}
    if named != {**made.differing, **dict.fromkeys(made.expired, "expired")} or found.figures()["in_flight"] != 20:
        raise RuntimeError(f"planted {len(made.differing):,} differences: {found.check().detail}")
    return (
        f"{items:,} items a replica, every planted case three times: {len(found.confirmed):,} differences named, each "
        f"in its class, and none of the {len(made.lookalikes):,} that only look different; "
        f"{len(made.expired):,} expired, 20 in flight; {wall_s:.1f} s"
    )


def suspected(survey: Survey) -> set[str]:
    """The keys that a survey suspects, as text."""
    return {keys.text(one.key, NAMES) for one in survey.suspects}


def expected(shape: Shape) -> set[str]:
    """The keys that it has to suspect."""
    made = shape.planted()
    return set(made.differing) | made.expired


def measured(stub: Stub, *, tls: bool = False) -> Took:
    """One comparison through the engine.

    Raises:
        RuntimeError: it did not find exactly what was planted.
    """
    before_mb, server_before = peak_mb(), float(stub.counts()["cpu_s"])
    begun, cpu = time.perf_counter(), time.process_time()
    survey = compare(stub, tls=tls)
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    found, wanted = suspected(survey), expected(stub.shape)
    if found != wanted:
        raise RuntimeError(
            f"planted {len(wanted):,} keys, {len(found - wanted):,} more and {len(wanted - found):,} less"
        )
    count = sum(side.items for side in survey.sides)
    return Took(
        items=count,
        differences=len(found),
        items_per_s=count / wall_s,
        wall_s=wall_s,
        cpu_s=cpu_s,
        server_cpu_s=float(stub.counts()["cpu_s"]) - server_before,
        peak_mb=peak_mb(),
        before_mb=before_mb,
        implementation=implementation(),
    )


def peak_mb() -> float:
    """The most memory that this process has had.

    Where Linux tells it, of this program alone: ``ru_maxrss`` begins with that of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(found.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def alone(items: int, differences: int, *, tls: bool = False) -> Took:
    """The same in a process of its own, for its memory."""
    command = [sys.executable, "-m", "tests.bench.divergence", "--items", str(items), "--json"]
    command += ["--differences", str(differences), *(["--tls"] if tls else [])]
    return Took(**json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def shaped(items: int, differences: int) -> Shape:
    """Tables that differ in about so many items: each planted case as often as that takes."""
    each = len(expected(Shape(items, copies=1, long_keys=False)))
    most = items // len(cases(TYPES, long_keys=False))
    return Shape(items, copies=min(-(-differences // each), most), long_keys=False)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare two replicas that a stub serves, and say what it took.")
    parser.add_argument("--items", type=int, default=1_000_000, help="of each replica")
    parser.add_argument("--differences", type=int, default=1_000, help="planted, at least so many")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    with server(shaped(asked.items, asked.differences)) as stub:
        took = measured(stub, tls=asked.tls)
    if asked.json:
        sys.stdout.write(json.dumps(asdict(took)))
        return
    per_million = 1e6 / took.items
    sys.stdout.write(
        f"{took.items:,} items of two replicas in {took.wall_s:.1f} s: {took.items_per_s:,.0f} items/s, "
        f"{took.differences:,} differing keys, all found and no other; {took.implementation}\n"
        f"CPU: {took.cpu_s * per_million:.2f} s per million items, the server's {took.server_cpu_s * per_million:.2f}; "
        f"memory: {took.peak_mb:.0f} MB at most, {took.before_mb:.0f} before\n"
    )


if __name__ == "__main__":
    main()

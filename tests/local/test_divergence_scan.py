"""Tables on the local cloud that differ in known items: a run names exactly those, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ops.divergence import Comparison, Pace, compare
from ops.stage import ROOT
from tests.bench.divergence import EndpointCloud
from tests.local.conftest import Atoll
from tests.local.platform import wait_until
from tests.planted import REGIONS, TTL_ATTRIBUTE, Planted, plant, text

ITEMS, BUSY_ITEMS, HOT_ITEMS = 20_000, 4_000, 40
TABLE, BUSY = "planted", "busy"
SEGMENTS = 12
# A scan that keeps and tells what it read after each page, as a long one does every few seconds.
SCAN = """
import sys
from pathlib import Path
from ops.divergence import lockstep, look, scanning, telling
from tests.bench.divergence import EndpointCloud
scanning.CHECKPOINT_S = lockstep.KEEP_S = telling.EVERY_S = 0
lockstep.TICK_S = 0.02
endpoint, table, checkpoint, segments = sys.argv[1:]
cloud = EndpointCloud(endpoint)
subject = look(cloud, table, ["us-east-1", "ap-south-1"])
scanning.scan(
    cloud, subject.replicas, subject.schema, pace=scanning.Pace(segments=int(segments), workers=4),
    checkpoint=Path(checkpoint), progress=lambda line: print(line, flush=True),
)
"""


@pytest.fixture(scope="module")
def planted(atoll: Atoll) -> Iterator[Planted]:
    """Two tables that nothing replicates, with every planted case among their items."""
    made = plant(ITEMS, seed=6)
    for region, items in made.items.items():
        client = direct(atoll, region)
        create(client, TABLE, made)
        write(client, TABLE, items)
        enabled = {"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
        client.update_time_to_live(TableName=TABLE, TimeToLiveSpecification=enabled)
    yield made
    for region in REGIONS:
        direct(atoll, region).delete_table(TableName=TABLE)


@pytest.fixture
def busy(atoll: Atoll) -> Iterator[list[dict[str, Any]]]:
    """The items of a global table."""
    made = plant(BUSY_ITEMS, seed=7)
    home = direct(atoll, REGIONS[0])
    create(home, BUSY, made, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    home.update_table(TableName=BUSY, ReplicaUpdates=[{"Create": {"RegionName": REGIONS[1]}}])
    write(home, BUSY, made.items[REGIONS[0]])
    settled(atoll)
    yield made.items[REGIONS[0]]
    settled(atoll)
    home.update_table(TableName=BUSY, ReplicaUpdates=[{"Delete": {"RegionName": REGIONS[1]}}])
    home.delete_table(TableName=BUSY)


def direct(atoll: Atoll, region: str) -> Any:
    """A client that does not pass through what plays faults, which takes its time over each call."""
    made = EndpointCloud(atoll.cloud["emulator_url"])
    return made.client("dynamodb", region)


def create(client: Any, table: str, made: Planted, **options: Any) -> None:
    client.create_table(
        TableName=table,
        KeySchema=[
            {"AttributeName": name, "KeyType": kind} for name, kind in zip(made.names, ("HASH", "RANGE"), strict=True)
        ],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind} for name, kind in zip(made.names, made.types, strict=True)
        ],
        BillingMode="PAY_PER_REQUEST",
        **options,
    )


def write(client: Any, table: str, items: list[dict[str, Any]]) -> None:
    def put(start: int) -> None:
        waiting = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
        for _ in range(10):
            if not waiting:
                return
            waiting = client.batch_write_item(RequestItems={table: waiting})["UnprocessedItems"].get(table, [])
        raise AssertionError("the local cloud did not take a batch in ten attempts")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(0, len(items), 25)))


def settled(atoll: Atoll) -> None:
    idle = f"{atoll.cloud['emulator_url']}/_atoll/replication/idle"
    wait_until(lambda: httpx.get(idle).json()["idle"], "replication to settle", timeout_s=60)


def found(atoll: Atoll, table: str, **options: Any) -> Comparison:
    cloud = EndpointCloud(atoll.cloud["endpoint_url"])
    return compare(cloud, table, list(REGIONS), settle_s=0.5, pace=Pace(segments=SEGMENTS, workers=4), **options)


def test_run_names_exactly_the_planted_differences(atoll: Atoll, planted: Planted) -> None:
    told = atoll.ops("run", "divergence", "-p", f"tables={TABLE}", "-p", "settle_s=0.5", "--json", expect=1).json
    figures = told["figures"]

    assert told["verdict"] == "fail"
    kept = json.loads((Path(told["directory"]) / "findings.json").read_text())["findings"]["findings"]
    assert {text(one["key"], planted.names): one["kind"] for one in kept} == planted.differing
    assert figures["differences"] == len(planted.differing)
    # Time to live may have deleted them everywhere by now.
    assert figures["expired"] <= len(planted.deletable)
    counted = {kind: count for kind, count in figures["classes"].items() if kind != "expired"}
    assert counted == Counter(planted.differing.values())


@pytest.mark.parametrize("seed", range(2))
def test_scan_killed_and_resumed_names_the_same(atoll: Atoll, planted: Planted, tmp_path: Path, seed: int) -> None:
    checkpoint = tmp_path / "checkpoint"
    told = killed(atoll, checkpoint, after=random.Random(seed).randrange(1_000, 35_000))
    lines: list[str] = []
    comparison = found(atoll, TABLE, checkpoint=checkpoint, progress=lines.append)

    assert any(line.startswith("going on from") for line in lines), told
    assert {one.text: one.kind for one in comparison.confirmed} == planted.differing
    assert [side.items for side in comparison.survey.sides] == [
        pytest.approx(len(planted.items[region]), abs=len(planted.deletable)) for region in REGIONS
    ]
    assert not checkpoint.exists()


def killed(atoll: Atoll, checkpoint: Path, after: int) -> str:
    """Begin a scan in a process of its own, and kill it when it has told of so many items; what it told last."""
    command = [sys.executable, "-c", SCAN, atoll.cloud["endpoint_url"], TABLE, str(checkpoint), str(SEGMENTS)]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            read = re.match(r"([\d,]+) items read", line)
            if read and int(read[1].replace(",", "")) >= after:
                process.kill()
                break
    assert process.returncode == -9, line
    return line


def test_writer_that_keeps_changing_items_makes_no_difference(atoll: Atoll, busy: list[dict[str, Any]]) -> None:
    stop, written = threading.Event(), 0

    def change() -> None:
        nonlocal written
        rng = random.Random(8)
        clients = [direct(atoll, region) for region in REGIONS]
        while not stop.is_set():
            # Each item is changed in one region only, the few hot ones again and again.
            number = rng.randrange(HOT_ITEMS if rng.random() < 0.3 else len(busy))
            key = {name: busy[number][name] for name in ("pk", "sk")}
            clients[number % 2].update_item(
                TableName=BUSY,
                Key=key,
                UpdateExpression="SET subject = :new",
                ExpressionAttributeValues={":new": {"S": f"change {written}"}},
            )
            written += 1

    writer = threading.Thread(target=change)
    writer.start()
    try:
        wait_until(lambda: written > 50, "the writer to write")
        comparison = found(atoll, BUSY)
        during = written
    finally:
        stop.set()
        writer.join()

    assert comparison.equal, comparison.check().detail
    assert comparison.judged.suspects > 0, f"{during} items were changed meanwhile, and none was caught in flight"
    settled(atoll)
    assert found(atoll, BUSY).judged.suspects == 0

"""``make bench``: what we do, as a ratio to a named baseline that runs side by side in the same process or in turn.

Each pair is measured several times, alternating, and the median of the ratios is printed: it holds when the machine's
speed drifts. Nothing here needs a network or the local cloud; a redrive's server is a process on this machine, which
answers at once, or as late as SQS does, and so is that of a comparison, which serves pages made ahead.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from sketch.canonical import item_digest
from tests.bench import divergence, exports, metrics, redrive
from tests.bench.scan import Shape, Stub, server
from tests.unit.handlers.support import ENVIRONMENT

ITEMS = 5_000
ROUNDS = 7
REDRIVEN = 3_000
# Items of each replica; the loop's speed does not depend on their number, its patience does.
COMPARED, COMPARED_BY_LOOP, COMPARISONS = 1_000_000, 12_000, 3
PLANTED = 2_000_000
# Items of each replica's export.
EXPORTED = 300_000
LARGE = int(os.environ.get("ATOLL_BENCH_ITEMS", "10_000_000"))

BARE_HANDLER = """
import boto3
events, dynamodb = boto3.client("events"), boto3.client("dynamodb")
def handler(event, context): ...
"""
INGEST = "from handlers import ingest"
TIMED = "import time; begun = time.perf_counter()\n{}\nprint(time.perf_counter() - begun)"


def main() -> None:
    table = Table(
        "what", "baseline", "ours", "baseline's", "ratio", title=f"medians of {ROUNDS}; comparisons: of {COMPARISONS}"
    )
    items = [_item(number) for number in range(ITEMS)]
    table.add_row(
        "canonical digest of an item (µs)",
        "json.dumps(sort_keys) + SHA-256: not canonical",
        *_pair(
            lambda: _timed(lambda: [item_digest(item) for item in items]) / ITEMS * 1e6,
            lambda: _timed(lambda: [_sorted_digest(item) for item in items]) / ITEMS * 1e6,
        ),
    )
    table.add_row(
        "init of ingest: imports and clients (ms)",
        "a bare handler with the same two boto3 clients",
        *_pair(lambda: _started(INGEST) * 1e3, lambda: _started(BARE_HANDLER) * 1e3),
    )
    for latency_ms in (0, 5):
        with redrive.server(latency_ms) as endpoint:
            pair = _redrives(redrive.Bench(endpoint))
        table.add_row(
            f"redrive, each call answered after {latency_ms} ms (messages/s)",
            "receive ten, then send and delete each",
            *pair,
        )
    with server(Shape(COMPARED, copies=1, long_keys=False)) as large, server(Shape(COMPARED_BY_LOOP)) as small:
        for tls in (False, True):
            table.add_row(
                f"compare two replicas over {'TLS' if tls else 'HTTP'} (items read/s)",
                "boto3 paginator and a dict of items",
                *_pair(
                    partial(_compared, large, tls),
                    partial(divergence.naive_per_s, small, tls=tls),
                    rounds=COMPARISONS,
                ),
            )
    with metrics.server() as endpoint:
        asked = metrics.Bench(endpoint)
        table.add_row(
            f"a day of metrics, {len(metrics.REGIONS)} regions x {metrics.METRICS}, of a stub (s)",
            "a call a metric, one after another",
            *_pair(asked.ours, asked.loop, rounds=1),
        )
    console = Console()
    console.print(table)
    console.print(_memory())
    console.print(exports.compared(EXPORTED))
    console.print(divergence.must_show(PLANTED))


def _compared(stub: Stub, tls: bool) -> float:
    return divergence.measured(stub, tls=tls).items_per_s


def _memory() -> Table:
    """Of comparisons in processes of their own; the last one of as many items as ``ATOLL_BENCH_ITEMS`` says."""
    table = Table(
        "items a replica", "differences", "items read/s", "CPU-s/million", "peak MB", "of it imports", title="memory"
    )
    for items in (LARGE // 10, LARGE):
        took = divergence.alone(items, 1_000)
        numbers = (took.items_per_s, took.cpu_s / took.items * 1e6, took.peak_mb, took.before_mb)
        shown = zip(numbers, (",.0f", ".2f", ".0f", ".0f"), strict=True)
        table.add_row(f"{items:,}", f"{took.differences:,}", *(format(value, spec) for value, spec in shown))
    return table


def _redrives(bench: redrive.Bench) -> tuple[str, str, str]:
    """Faster is more here: the ratio is of ours to the baseline's all the same."""

    def ours() -> float:
        bench.fill(REDRIVEN)
        return bench.redrive()

    def naive() -> float:
        bench.fill(REDRIVEN // 20)
        return bench.naive()

    return _pair(ours, naive)


def _pair(ours: Callable[[], float], baseline: Callable[[], float], rounds: int = ROUNDS) -> tuple[str, str, str]:
    ours(), baseline()  # warm
    pairs = [(ours(), baseline()) for _ in range(rounds)]
    ratio = statistics.median(one / other for one, other in pairs)
    medians = (statistics.median(values) for values in zip(*pairs, strict=True))
    return (*(f"{value:.1f}" for value in medians), f"{ratio:.2f}")


def _timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _started(source: str) -> float:
    """Seconds a new interpreter takes to run ``source``, its own start not counted."""
    environment = {**os.environ, **ENVIRONMENT, "AWS_LAMBDA_FUNCTION_NAME": "bench", "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(source)], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def _sorted_digest(item: dict[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(item, sort_keys=True).encode()).digest()


def _item(number: int) -> dict[str, Any]:
    """An item of about 400 bytes, like an event's."""
    rng = random.Random(number)
    return {
        "pk": {"S": f"EVENT#{number:08x}"},
        "sk": {"S": "EVENT"},
        "version": {"N": str(rng.randrange(1, 9))},
        "amount": {"N": f"{rng.randrange(10**6)}.{rng.randrange(100):02}"},
        "tags": {"SS": [f"tag-{rng.randrange(1000)}" for _ in range(4)]},
        "event": {"M": {f"attribute_{n}": {"S": f"{rng.getrandbits(64):016x}"} for n in range(8)}},
        "accepted_at": {"S": "2026-11-20T10:15:30.123Z"},
    }


if __name__ == "__main__":
    main()

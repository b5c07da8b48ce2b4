"""Where, when and between which replicas the differences of a table lie, as charts.

Over the key space it shows whether one kind of item, or one partition, is hit; over write time, whether the lost writes
are of one stretch (an outage); by class and pair, which direction of replication lost them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import permutations
from typing import Any

import pandas as pd

from ops import charts
from ops.charts import Chart, NoData
from ops.divergence.classes import KINDS
from ops.divergence.judging import Difference
from sketch import keys

BUCKETS, PREFIXES, BINS = 32, 12, 60
OTHERS = "others"
_SEPARATORS = "#:/|"
_STEPS_S = (1, 5, 15, 60, 300, 900, 3600, 21_600, 86_400, 604_800)


def by_prefix(differences: Sequence[Difference], names: Sequence[str]) -> Chart | NoData:
    """By the beginning of the partition key: up to its first separator."""
    counted = Counter((_prefix(_partition(one, names)), one.kind) for one in differences)
    totals = Counter[str]()
    for (prefix, _), count in counted.items():
        totals[prefix] += count
    shown = [prefix for prefix, _ in totals.most_common(PREFIXES)]
    merged = Counter[tuple[str, str]]()
    for (prefix, kind), count in counted.items():
        merged[prefix if prefix in shown else OTHERS, kind] += count
    rows = [
        {"prefix": prefix, "class": kind, "items": merged[prefix, kind]}
        for prefix in [*shown, OTHERS]
        for kind in KINDS
        if merged[prefix, kind]
    ]
    return charts.bars(
        rows,
        x="prefix",
        y="items",
        colour="class",
        title="Differences by the beginning of the partition key",
        x_title=f"{names[0]} begins with",
        y_title="items",
    )


def by_hash(differences: Sequence[Difference], names: Sequence[str]) -> Chart | NoData:
    """By a hash of the partition key: even where writes were lost at random, one bar where one partition key is hit."""
    counted = Counter((_bucket(_partition(one, names)), one.kind) for one in differences)
    rows = [
        {"bucket": f"{bucket + 1}", "class": kind, "items": counted[bucket, kind]}
        for bucket in range(BUCKETS)
        for kind in KINDS
        if counted[bucket, kind] or (counted and kind == differences[0].kind)
    ]
    return charts.bars(
        rows,
        x="bucket",
        y="items",
        colour="class",
        title="Differences over the key space",
        x_title=f"hash of {names[0]}, in {BUCKETS} equal ranges",
        y_title="items",
    )


def by_write_time(differences: Sequence[Difference]) -> Chart | NoData:
    """By when the write was made that some replica lacks, as its stamp says; what bears none is not in it."""
    title = "Differences over the time of the write that was lost"
    timed = [(one.lost.at, one.kind) for one in differences if one.lost is not None]
    if not timed:
        return NoData(title, "no stamp of an item that differs tells when" if differences else "nothing differs")
    first, last = min(at for at, _ in timed), max(at for at, _ in timed)
    step_s = next((step for step in _STEPS_S if (last - first).total_seconds() / step <= BINS), _STEPS_S[-1])
    counted = Counter((int(at.timestamp()) // step_s, kind) for at, kind in timed)
    rows = [
        {"time": datetime.fromtimestamp(place * step_s, UTC), "class": kind, "items": count}
        for (place, kind), count in sorted(counted.items())
    ]
    unit = _words(timedelta(seconds=step_s))
    return charts.bars(rows, x="time", y="items", colour="class", title=title, y_title=f"items per {unit}")


def by_pair(differences: Sequence[Difference]) -> Chart | NoData:
    """By class, and by which replica has what which other lacks; both ways where the stamps do not tell."""
    counted: Counter[tuple[str, str]] = Counter()
    for one in differences:
        for has, lacks in _pairs(one):
            counted[f"{has} to {lacks}", one.kind] += 1
    pairs = sorted({pair for pair, _ in counted})
    kinds = [kind for kind in KINDS if any(counted[pair, kind] for pair in pairs)]
    rows = [{"pair": pair, "class": kind, "items": counted[pair, kind]} for pair in pairs for kind in kinds]
    return charts.heatmap(
        rows,
        x="class",
        y="pair",
        value="items",
        title="Differences by class, and by what did not arrive from where to where",
        x_title="class",
        y_title=" ",
        unit="items",
    )


def pairs_frame(differences: Sequence[Difference]) -> pd.DataFrame:
    """The same as figures: a row a class and pair."""
    counted = Counter((one.kind, has, lacks) for one in differences for has, lacks in _pairs(one))
    return pd.DataFrame(
        [(kind, has, lacks, count) for (kind, has, lacks), count in sorted(counted.items())],
        columns=["class", "held by", "not arrived in", "items"],
    )


def _pairs(one: Difference) -> list[tuple[str, str]]:
    """(has, lacks) of one difference; of one that was deleted, what is lacking is the deletion."""
    if one.deleted_in:
        return [(gone, held) for gone in one.deleted_in for held in one.digests if held not in one.missing_in]
    if one.newest:
        return [(has, lacks) for has in one.newest for lacks in one.digests if lacks not in one.newest]
    holders = [label for label in one.digests if label not in one.missing_in]
    if one.missing_in:
        return [(has, lacks) for has in holders for lacks in one.missing_in]
    return [(a, b) for a, b in permutations(one.digests, 2) if one.digests[a] != one.digests[b]]


def _partition(one: Difference, names: Sequence[str]) -> tuple[str, Any]:
    ((kind, value),) = keys.unpack(one.key, names)[names[0]].items()
    return kind, value


def _prefix(partition: tuple[str, Any]) -> str:
    kind, value = partition
    if kind != "S":
        return "numbers" if kind == "N" else f"0x{bytes(value)[:1].hex()}"
    end = next((place for place, letter in enumerate(value) if letter in _SEPARATORS), None)
    return str(value[: min(end + 1, 16)] if end is not None else value[:2]) or "(empty)"


def _bucket(partition: tuple[str, Any]) -> int:
    kind, value = partition
    raw = bytes(value) if kind == "B" else str(value).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=4).digest(), "big") * BUCKETS >> 32


def _words(step: timedelta) -> str:
    seconds = int(step.total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            count = seconds // size
            return unit if count == 1 else f"{count} {unit}s"
    return "second" if seconds == 1 else f"{seconds} seconds"

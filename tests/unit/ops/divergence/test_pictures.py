"""Charts of differences: each difference is in each chart once, where it belongs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.charts import Chart, NoData
from ops.divergence import Difference, pictures
from ops.divergence.explaining import Stamp
from sketch import keys

US, AP, EU = "us-east-1", "ap-south-1", "eu-west-1"
NAMES = ("pk",)
AT = datetime(2026, 11, 20, 14, 2, tzinfo=UTC)


def difference(
    key: Any, kind: Any = "stale", *, second: int | None = 0, newest: Sequence[str] = (US,), **more: Any
) -> Difference:
    packed = keys.pack({"pk": key}, NAMES)
    stamp = None if second is None else Stamp(US, AT + timedelta(seconds=second), 1)
    held: dict[str, Any] = {US: b"1", AP: b"2"} | more.pop("digests", {})
    return Difference(
        key=packed,
        text=keys.text(packed, NAMES),
        kind=kind,
        digests=held,
        images={},
        missing_in=tuple(label for label, digest in held.items() if digest is None),
        attributes=(),
        newest=tuple(newest),
        lost=stamp,
        written={},
        explanation="",
    )


def rows(chart: Chart | NoData) -> list[dict[str, str]]:
    assert isinstance(chart, Chart)
    return list(csv.DictReader(io.StringIO(chart.csv)))


BURST = [difference({"S": f"ORDER#{number}"}, second=number) for number in range(40)]


def test_by_write_time_when_writes_were_lost_in_a_burst_shows_it_by_the_second() -> None:
    found = rows(pictures.by_write_time(BURST))
    assert sum(int(row["items"]) for row in found) == 40
    assert min(row["time"] for row in found) == "2026-11-20T14:02:00+00:00"
    assert max(row["time"] for row in found) == "2026-11-20T14:02:39+00:00"


@pytest.mark.parametrize("span_s", [1, 59, 600, 86_400, 40_000_000])
def test_by_write_time_keeps_to_a_readable_number_of_bars(span_s: int) -> None:
    spread = [difference({"S": str(number)}, second=span_s * number // 200) for number in range(201)]
    found = rows(pictures.by_write_time(spread))
    assert len(found) <= pictures.BINS + 1 or span_s > 600_000 * pictures.BINS
    assert sum(int(row["items"]) for row in found) == 201


def test_by_write_time_when_nothing_is_stamped_says_so() -> None:
    chart = pictures.by_write_time([difference({"S": "a"}, second=None)])
    assert isinstance(chart, NoData)
    assert chart.reason == "no stamp of an item that differs tells when"


def test_by_prefix_when_many_kinds_of_keys_differ_merges_the_rare_ones() -> None:
    many = [difference({"S": f"kind{number}#x"}) for number in range(30)]
    found = {row["prefix"]: int(row["items"]) for row in rows(pictures.by_prefix([*BURST, *many], NAMES))}
    assert found["ORDER#"] == 40
    assert found["others"] == 30 - pictures.PREFIXES + 1
    assert sum(found.values()) == 70


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ({"S": "ORDER#1"}, "ORDER#"),
        ({"S": "plain"}, "pl"),
        ({"S": "#"}, "#"),
        ({"N": "12"}, "numbers"),
        ({"B": b"\xff\x01"}, "0xff"),
        ({"S": "x" * 400 + "#"}, "x" * 16),
    ],
)
def test_by_prefix_reads_every_kind_of_key(key: Any, prefix: str) -> None:
    assert [row["prefix"] for row in rows(pictures.by_prefix([difference(key)], NAMES))] == [prefix]


def test_by_hash_when_one_partition_is_hit_shows_one_bar_among_all_ranges() -> None:
    found = rows(pictures.by_hash([difference({"S": "same"})] * 9, NAMES))
    assert len(found) == pictures.BUCKETS
    assert sorted(int(row["items"]) for row in found)[-2:] == [0, 9]


def test_by_pair_counts_from_who_has_it_to_who_lacks_it() -> None:
    found = [
        difference({"S": "a"}),
        difference({"S": "b"}, "missing", newest=(), digests={US: None}),
        difference({"S": "c"}, "conflicting", newest=()),
        difference({"S": "d"}, newest=(US, EU), digests={EU: b"1"}),
        replace(difference({"S": "e"}, "missing", digests={EU: None, AP: b"1"}), deleted_in=(EU,)),
    ]
    frame = pictures.pairs_frame(found)
    assert {tuple(row) for row in frame.itertuples(index=False)} == {
        ("stale", US, AP, 2),
        ("stale", EU, AP, 1),
        ("missing", AP, US, 1),
        ("conflicting", US, AP, 1),
        ("conflicting", AP, US, 1),
        ("missing", EU, US, 1),
        ("missing", EU, AP, 1),
    }
    assert sum(int(row["items"]) for row in rows(pictures.by_pair(found))) == 8


def test_charts_when_nothing_differs_are_no_error() -> None:
    for chart in (
        pictures.by_write_time([]),
        pictures.by_prefix([], NAMES),
        pictures.by_hash([], NAMES),
        pictures.by_pair([]),
    ):
        assert isinstance(chart, NoData)

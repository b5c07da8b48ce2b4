"""A scan names exactly the keys that differ, whatever the cut, the faults and the interruptions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.aws import Cloud
from ops.divergence import checkpoint, lockstep, scanning
from ops.divergence import pace as pacing
from ops.divergence.pace import MOST_SEGMENTS, Pace, segments_for
from ops.divergence.replicas import Replica, Schema
from ops.divergence.scanning import scan
from ops.divergence.survey import Survey
from ops.divergence.wire import ATTEMPTS
from ops.errors import InterruptedRunError, OpsError, RefusedError, UsageError
from ops.stage import Stage
from sketch import keys
from sketch.canonical import Checksum, item_digest
from tests.unit.ops.divergence.loopback import (
    BROKEN,
    EXPIRED,
    THROTTLE,
    Fault,
    Item,
    Server,
    Table,
    item,
    items,
    serving,
)

pytestmark = pytest.mark.enable_socket
US, AP, EU = "us-east-1", "ap-south-1", "eu-west-1"
SCHEMA = Schema(("pk", "sk"), ("S", "S"))
FAST = Pace(read_units_per_s=1e9, workers=4)
DENIED: Fault = (400, {"__type": "x#AccessDeniedException", "message": "no"})

SAVE = checkpoint.save

Run = Callable[..., Survey]
Serve = Callable[..., AbstractContextManager[tuple[Server, Run]]]


@pytest.fixture
def serve(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Tables by region, and what scans them."""
    monkeypatch.setattr(lockstep, "TICK_S", 0.002)

    @contextmanager
    def served(schema: Schema = SCHEMA, **tables: Table) -> Iterator[tuple[Server, Run]]:
        regions = [name.replace("_", "-") for name in tables]
        with serving({(region, "t"): table for region, table in zip(regions, tables.values(), strict=True)}) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            cloud = Cloud(stage, "123456789012", boto3.Session("test", "test"))
            replicas = [Replica(region, region, "t") for region in regions]

            def run(**options: Any) -> Survey:
                asked: dict[str, Any] = {"pace": FAST, "sleep": lambda seconds: None} | options
                return scan(cloud, replicas, schema, **asked)

            yield server, run

    return served


def pair(left: list[Item], right: list[Item], **settings: Any) -> dict[str, Table]:
    return {"us_east_1": Table(left, **settings), "ap_south_1": Table(right, **settings)}


def suspects(found: Survey, names: tuple[str, ...] = ("pk", "sk")) -> set[str]:
    return {keys.text(one.key, names) for one in found.suspects}


def text(number: int) -> str:
    return f"pk=P#{number % 7}, sk={number:05}"


def planted(count: int) -> tuple[list[Item], list[Item], set[str]]:
    """Two replicas and the keys on which they differ: missing on either side, changed. Others only look different."""
    left, right = items(count), items(count)
    right[3] = item(3, n={"N": "3.00"})
    right[4] = {name: right[4][name] for name in reversed(right[4])}
    left[5]["tags"], right[5]["tags"] = {"SS": ["a", "b"]}, {"SS": ["b", "a"]}
    right[10] = item(10, n={"N": "11"})
    left[11]["list"] = {"L": []}
    right[12]["n"] = {"S": "12"}
    del left[20], right[30]
    # Index 30 of the whole right one is item 30; of the left one item 20 is gone.
    return left, right, {text(number) for number in (10, 11, 12, 20, 30)}


def test_scan_names_exactly_what_differs(serve: Serve) -> None:
    left, right, differing = planted(200)
    with serve(**pair(left, right)) as (server, run):
        found = run()
    assert suspects(found) == differing
    assert found.mode == "scan"
    assert [one.label for one in found.sides] == [US, AP]
    assert [one.items for one in found.sides] == [199, 199]
    assert [one.checksum for one in found.sides] == [str(Checksum.of(map(item_digest, one))) for one in (left, right)]
    assert found.figures["complete"]
    assert found.figures["differ_about"] == 5
    by_key = {keys.text(one.key, SCHEMA.names): one.digests for one in found.suspects}
    assert by_key[text(20)] == (None, item_digest(item(20)))
    assert by_key[text(10)] == (item_digest(item(10)), item_digest(item(10, n={"N": "11"})))
    assert sum(one.pages for one in found.sides) == len(server.scans)
    assert sum(one.read_units for one in found.sides) >= 199


def test_scan_of_equal_replicas_finds_nothing_and_the_checksums_agree(serve: Serve) -> None:
    with serve(**pair(items(150), items(150)[::-1])) as (_, run):
        found = run()
    assert found.suspects == ()
    assert len({one.checksum for one in found.sides}) == 1


@pytest.mark.parametrize(
    ("left", "right", "differing"),
    [([], [], set()), (items(1), [], {text(0)}), ([], items(1), {text(0)}), (items(1), items(1), set())],
)
def test_scan_of_nearly_nothing(serve: Serve, left: list[Item], right: list[Item], differing: set[str]) -> None:
    with serve(**pair(left, right)) as (_, run):
        found = run()
    assert suspects(found) == differing
    assert found.figures["complete"]


def test_scan_of_a_hot_partition_and_pages_without_items(serve: Serve) -> None:
    def hot(number: int) -> Item:
        return {"pk": {"S": "same"}, "sk": {"S": f"{number:04}"}}

    left = [hot(number) for number in range(120)]
    tables = pair(left, left[1:], page=10, empty=True)
    with serve(**tables) as (server, run):
        found = run()
        pages = [len(table.emptied) for table in server.tables.values()]
    assert suspects(found) == {"pk=same, sk=0000"}
    assert min(pages) > 12


def test_scan_of_several_replicas_compares_all_with_the_first(serve: Serve) -> None:
    third = items(60)
    third[7] = item(7, n={"N": "0.5"})
    with serve(us_east_1=Table(items(60)), ap_south_1=Table(items(59)), eu_west_1=Table(third)) as (_, run):
        found = run()
    same, other = item_digest(item(7)), item_digest(third[7])
    last = item_digest(item(59))
    assert {keys.text(one.key, SCHEMA.names): one.digests for one in found.suspects} == {
        text(7): (same, same, other),
        text(59): (last, None, last),
    }


def test_scan_when_replicas_cut_their_segments_differently(serve: Serve) -> None:
    left, right, differing = planted(300)
    with serve(us_east_1=Table(left), ap_south_1=Table(right, salt="other")) as (_, run):
        found = run()
    assert suspects(found) == differing


def test_scan_of_some_attributes_only(serve: Serve) -> None:
    left, right, _ = planted(100)
    with serve(**pair(left, right)) as (_, run):
        assert suspects(run(ignore=["n", "list"])) == {text(20), text(30)}
        assert suspects(run(only=["list"])) == {text(11), text(20), text(30)}


def test_scan_of_number_and_binary_keys(serve: Serve) -> None:
    schema = Schema(("id", "raw"), ("N", "B"))
    left = [{"id": {"N": str(n % 3)}, "raw": {"B": "AP8" + "ABCD"[n % 4] * 4 + "="}} for n in range(4)]
    tables = pair(left, left[:-1], names=schema.names, types=schema.types)
    with serve(schema, **tables) as (_, run):
        found = run()
    assert [keys.unpack(one.key, schema.names)["id"] for one in found.suspects] == [{"N": "0"}]
    assert keys.unpack(found.suspects[0].key, schema.names)["raw"]["B"].startswith(b"\x00\xff")


def test_scan_of_keys_at_their_longest_finds_them_by_a_second_look(serve: Serve) -> None:
    def long(number: int) -> Item:
        return {"pk": {"S": f"{number}" + "p" * 2047}, "sk": {"S": "é" * 512}, "n": {"N": str(number)}}

    left = [long(number) for number in range(6)]
    right = [*left[:4], long(4) | {"n": {"N": "0"}}]
    with serve(**pair(left, right, page=2)) as (server, run):
        found = run()
        looked = [one for one in server.scans if "ProjectionExpression" in one]
    assert {one.key for one in found.suspects} == {keys.pack(left[number], SCHEMA.names) for number in (4, 5)}
    assert found.figures["differ_about"] == 2
    assert looked


def test_scan_when_a_long_key_is_deleted_before_the_second_look_does_not_suspect_it(serve: Serve) -> None:
    gone = {"pk": {"S": "p" * 2048}, "sk": {"S": "s" * 1024}}
    left = [*items(20), gone]
    with serve(**pair(left, items(20))) as (server, run):

        def fault(number: int, asked: Mapping[str, Any]) -> Fault:
            if "ProjectionExpression" in asked and gone in left:
                left.remove(gone)
            return None

        server.fault = fault
        found = run()
    assert found.suspects == ()
    assert found.figures["differ_about"] == 0
    assert found.figures["complete"]


# --- when much differs ---------------------------------------------------------------------------------------------


def test_scan_when_more_differs_than_sketches_hold_reads_those_segments_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "CELLS", 48)
    left, right = items(400), [item(number, n={"N": "-1"}) for number in range(400)]
    lines: list[str] = []
    with serve(**pair(left, right)) as (_, run):
        found = run(progress=lines.append)
    assert suspects(found) == {text(number) for number in range(400)}
    assert [one.items for one in found.sides] == [400, 400]
    assert found.figures["segments_read_again"] > 0
    assert any("again, in which more differs" in line for line in lines)


def test_scan_when_too_much_differs_says_about_how_much(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "CELLS", 48)
    monkeypatch.setattr(pacing, "MEMORY_BYTES", 1)
    left, right = items(400), [item(number, n={"N": "-1"}) for number in range(400)]
    with serve(**pair(left, right)) as (_, run):
        found = run()
    assert not found.figures["complete"]
    assert 200 <= found.figures["differ_about"] <= 800


# --- faults, interruptions, resuming -------------------------------------------------------------------------------


def test_scan_through_faults_gives_the_same_answer(serve: Serve) -> None:
    left, right, differing = planted(300)
    kinds: list[Fault] = [THROTTLE, None, BROKEN, None, "reset", None, "truncate", "corrupt", None, None]
    asked_before = Counter[str]()

    def fault(number: int, asked: Mapping[str, Any]) -> Fault:
        # No page meets a fault as often as a reader asks for it, however the workers take turns.
        asked_before[str(asked)] += 1
        return kinds[number % len(kinds)] if asked_before[str(asked)] < ATTEMPTS else None

    with serve(**pair(left, right, page=10)) as (server, run):
        server.fault = fault
        found = run()
    assert suspects(found) == differing
    assert min(found.figures["throttles"].values()) > 0
    assert min(found.figures["latency_p95_ms"].values()) > 0
    assert [one.items for one in found.sides] == [299, 299]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_scan_killed_and_resumed_at_random_points_gives_the_same_answer(
    serve: Serve, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Killed: nothing is written after some point, whatever was read since."""
    left, right, differing = planted(300)
    path = tmp_path_factory.mktemp("kept") / "t.checkpoint"
    hints: list[str] = []
    cells = data.draw(st.sampled_from([12, 1023]), "cells")
    with serve(**pair(left, right, page=8)) as (server, run), pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "CELLS", cells)
        patch.setattr(scanning, "CHECKPOINT_S", 0.0)
        patch.setattr(lockstep, "KEEP_S", 0.0)
        for _ in range(data.draw(st.integers(1, 3), "kills")):
            last = len(server.scans) + data.draw(st.integers(1, 70), "requests before the kill")
            server.fault = lambda number, asked, last=last: DENIED if number > last else None
            with pytest.MonkeyPatch.context() as killed:
                if data.draw(st.booleans(), "killed hard"):
                    killed.setattr(checkpoint, "save", lambda *a, last=last: len(server.scans) <= last and SAVE(*a))
                try:
                    found = run(checkpoint=path)
                    break
                except OpsError as error:
                    hints.append(error.hint)
        else:
            server.fault = lambda number, asked: None
            found = run(checkpoint=path)
        # Until it is judged, what was read is there.
        before = len(server.scans)
        assert run(checkpoint=path).suspects == found.suspects
        assert len(server.scans) == before
    assert all(f"-p resume={path}" in hint for hint in hints)
    assert suspects(found) == differing
    assert [one.items for one in found.sides] == [299, 299]
    assert [one.checksum for one in found.sides] == [str(Checksum.of(map(item_digest, one))) for one in (left, right)]


def test_scan_resumed_does_not_read_again_what_was_read(serve: Serve, tmp_path: Path) -> None:
    left, right, differing = planted(300)
    path = tmp_path / "t.checkpoint"
    with serve(**pair(left, right, page=10)) as (server, run):
        server.fault = lambda number, asked: DENIED if number > 40 else None
        with pytest.raises(OpsError, match="AccessDenied"):
            run(checkpoint=path)
        server.fault = lambda number, asked: None
        before = len(server.scans)
        lines: list[str] = []
        found = run(checkpoint=path, progress=lines.append)
        whole = sum(one.pages for one in found.sides)
        assert len(server.scans) - before == whole - 40
    assert suspects(found) == differing
    assert any(line.startswith(f"going on from {path}") for line in lines)


def test_scan_stopped_by_the_operator_says_how_to_go_on(serve: Serve, tmp_path: Path) -> None:
    left, right, differing = planted(300)
    path = tmp_path / "t.checkpoint"

    def stop(line: str) -> None:
        if "items read" in line:
            raise KeyboardInterrupt

    ticking = itertools.count(step=10)
    with serve(**pair(left, right, page=1)) as (server, run):
        with pytest.raises(InterruptedRunError, match=r"the scan was stopped: .* of 4 segments were read") as stopped:
            run(checkpoint=path, progress=stop, clock=lambda: float(next(ticking)))
        assert stopped.value.hint == f"To go on from there: the same again with -p resume={path}"
        assert len(server.scans) < 598
        assert suspects(run(checkpoint=path)) == differing


def test_scan_resumed_as_another_comparison_is_refused(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "t.checkpoint"
    with serve(**pair(items(50), items(50))) as (server, run):
        server.fault = lambda number, asked: DENIED
        with pytest.raises(OpsError):
            run(checkpoint=path)
        with pytest.raises(RefusedError, match=r"another comparison: ignore was \[\] and is \['n'\]"):
            run(checkpoint=path, ignore=["n"])


def test_scan_whose_credentials_expire_on_the_way_says_so_and_goes_on_with_new_ones(
    serve: Serve, tmp_path: Path
) -> None:
    left, right, differing = planted(300)
    path = tmp_path / "t.checkpoint"
    with serve(**pair(left, right, page=5)) as (server, run):
        server.fault = lambda number, asked: EXPIRED if number >= 40 else None
        with pytest.raises(OpsError, match=r": the credentials expired while t was read \(ExpiredToken") as stopped:
            run(checkpoint=path)
        assert stopped.value.hint == f"Sign in again. To go on from there: the same again with -p resume={path}"
        server.fault = lambda number, asked: None
        assert suspects(run(checkpoint=path)) == differing


def test_scan_past_its_threshold_of_throttles_stops_and_says_how_to_go_on(serve: Serve, tmp_path: Path) -> None:
    with serve(**pair(items(50), items(50))) as (server, run):
        server.fault = lambda number, asked: THROTTLE
        pace = Pace(read_units_per_s=1e9, max_throttles=3, workers=2)
        with pytest.raises(OpsError, match=r"stopped, as \d requests were throttled within a minute") as stopped:
            run(pace=pace, checkpoint=tmp_path / "c")
    assert "-p resume=" in stopped.value.hint
    assert "read_units_per_s" in stopped.value.hint


def test_scan_keeps_to_its_budget(serve: Serve) -> None:
    waits: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    with serve(**pair(items(100), items(100))) as (_, run):
        found = run(pace=Pace(read_units_per_s=10, workers=1), sleep=sleep, clock=lambda: now[0])
    # The first page is expected to take a whole megabyte's units; from then on what they took is known.
    units = max(one.read_units for one in found.sides)
    assert sum(waits) >= units / 10 - 2


def test_scan_of_a_page_that_is_none_says_where(serve: Serve) -> None:
    with serve(**pair(items(5), items(5))) as (server, run):
        server.tables[AP, "t"].items = [{"pk": {"X": "1"}, "sk": {"S": "1"}}]
        with pytest.raises(OpsError, match=f"{AP}: a page of segment .* of t is not what Scan answers"):
            run()


def test_progress_tells_items_rate_and_time_left(serve: Serve) -> None:
    lines: list[str] = []
    ticking = itertools.count(step=3)
    with serve(**pair(items(100), items(100), page=1, count=1000)) as (_, run):
        run(progress=lines.append, clock=lambda: float(next(ticking)))
    assert lines[0] == f"{US}: at most 1,000,000,000 read units per second, as asked"
    assert any("items read" in line and "of about 2,000" in line and "left" in line for line in lines)
    assert lines[-1].startswith("200 items read")


# --- pace ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "segments"),
    [(0, 4), (9_000, 4), (25_000, 10), (1_000_000, 16), (30_000_000, 300), (10**12, MOST_SEGMENTS)],
)
def test_segments_suit_the_size_of_the_table(count: int, segments: int) -> None:
    assert segments_for(count) == segments


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"segments": -1}, "segments: -1 is not between 0 and 1,000,000"),
        ({"workers": 0}, "workers: 0 is not between 1 and 64"),
        ({"read_units_per_s": -1.0}, "read_units_per_s: -1.0 is no number"),
        ({"max_latency_ms": float("nan")}, "max_latency_ms: nan is no number"),
    ],
)
def test_pace_that_is_not_possible_is_refused(asked: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        Pace(**asked)

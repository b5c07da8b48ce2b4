"""The function that reads a segment: what it reads, how it goes on, what it keeps to, and what it refuses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from handlers import sketch as function
from handlers.core import aws, pages, segment
from handlers.core.segment import NoCapacityError, Order, OrderError, Reader
from sketch import Layout, Sketch
from sketch.portion import Portion
from tests.unit.handlers.support import ENVIRONMENT, Cloud, Context

BUCKET, TABLE = ENVIRONMENT["ATOLL_OPERATIONS_BUCKET"], ENVIRONMENT["ATOLL_TABLE"]
FOREVER = 4e9
LAYOUT = Layout(("pk", "sk"), cells=999)
THROTTLED = {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "slower"}, "ResponseMetadata": {}}


def order(lap: int = 0, **changes: Any) -> dict[str, Any]:
    """An invocation's event."""
    layout = {"names": ["pk", "sk"], "ignore": [], "only": None, "cells": 999}
    run = {"segments": 1, "layout": layout, "prefix": "fleet/unit/999", "read_units_per_s": 0, "until": FOREVER}
    own = {"segment": 0, "lap": lap} | {name: changes.pop(name) for name in ("segment",) if name in changes}
    return own | {"run": run | changes}


def begun(**changes: Any) -> Portion:
    """What an invocation leaves that read nothing."""
    fields: dict[str, Any] = {
        "segment": 0,
        "segments": 1,
        "done": False,
        "position": None,
        "pages": 0,
        "size_bytes": 0,
        "read_units": 0.0,
        "throttles": 0,
        "laps": 1,
        "started": 1.0,
        "duration_s": 0.0,
        "implementation": "reference",
        "sketch": Sketch(LAYOUT),
    }
    return Portion(**fields | changes)


@pytest.fixture
def items(cloud: Cloud) -> list[dict[str, Any]]:
    """More than two pages of 1 MB; a key of each type would need a table of its own."""
    made = [
        {
            "pk": {"S": f"EVENT#{number:04}"},
            "sk": {"S": "é" * (number % 3 + 1)},
            "blob": {"B": random.Random(number).randbytes(60_000)},
            "n": {"N": f"{number}.50"},
        }
        for number in range(40)
    ]
    for item in made:
        cloud.dynamodb.put_item(TableName=TABLE, Item=item)
    aws.s3().create_bucket(Bucket=BUCKET)
    return made


@pytest.fixture
def expected(items: list[dict[str, Any]]) -> Sketch:
    found = Sketch(LAYOUT)
    for item in items:
        found.add_item(item)
    return found


class Clock:
    """Time that passes when somebody sleeps, and by ``page_s`` whenever somebody looks how much is left."""

    def __init__(self, remaining_s: float = 300.0, page_s: float = 0.0) -> None:
        self.now, self.end, self.page_s = 1000.0, 1000.0 + remaining_s, page_s
        self.slept: list[float] = []

    def remaining_s(self) -> float:
        self.now += self.page_s
        return self.end - self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def reader(self) -> Reader:
        return Reader(aws.dynamodb(scan=True), aws.s3(), TABLE, BUCKET, self.remaining_s, lambda: self.now, self.sleep)


def kept(name: str) -> Portion:
    return Portion.from_bytes(aws.s3().get_object(Bucket=BUCKET, Key=f"fleet/unit/999/{name}")["Body"].read())


def test_segment_is_read_to_its_end_and_kept_and_the_answer_holds_nothing_of_an_item(
    expected: Sketch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = function.handler(order(), Context(remaining_ms=60_000))

    portion = kept("000000.done")
    assert portion.done
    assert (portion.sketch - expected).empty
    assert (answer["done"], answer["lap"], answer["items"], answer["pages"]) == (True, 1, 40, 3)
    assert answer["checksum"] == str(expected.checksum)
    assert portion.read_units == answer["read_units"] > 0
    logged = capsys.readouterr().out
    assert json.loads(logged)["message"] == "segment read"
    assert "EVENT#" not in json.dumps(answer) + logged


def test_two_segments_add_up_to_the_whole(expected: Sketch) -> None:
    for number in (0, 1):
        function.handler(order(segment=number, segments=2), Context(remaining_ms=60_000))

    assert (kept("000000.done").sketch + kept("000001.done").sketch - expected).empty


def test_segment_longer_than_an_invocation_is_continued_and_counts_each_item_once(expected: Sketch) -> None:
    laps = 0
    for lap in range(10):
        portion = Clock(remaining_s=segment.RESERVE_S + 15, page_s=10.0).reader().run(Order.of(order(lap)))
        laps += 1
        if portion.done:
            break
        assert portion.position is not None
        assert (kept("000000.part").pages, kept("000000.part").position) == (portion.pages, portion.position)

    assert laps == portion.laps > 2
    assert portion.pages == 3
    assert (portion.sketch - expected).empty


def test_lap_that_is_repeated_after_the_segment_went_on_counts_nothing_twice(expected: Sketch) -> None:
    short: Callable[[], Reader] = lambda: Clock(remaining_s=segment.RESERVE_S + 15, page_s=10.0).reader()  # noqa: E731
    short().run(Order.of(order(0)))
    short().run(Order.of(order(1)))
    short().run(Order.of(order(1)))

    portion = Clock().reader().run(Order.of(order(2)))

    assert (portion.sketch - expected).empty


def test_budget_of_read_units_is_kept(items: list[dict[str, Any]]) -> None:
    clock = Clock(remaining_s=100_000)
    portion = clock.reader().run(Order.of(order(read_units_per_s=2)))

    # Nothing is waited for after the last page.
    assert sum(clock.slept) == pytest.approx(portion.read_units / 2, rel=0.35)
    assert portion.throttles == 0


def test_budget_that_outlasts_the_invocation_hands_over_in_time(items: list[dict[str, Any]]) -> None:
    clock = Clock(remaining_s=60)
    portion = clock.reader().run(Order.of(order(read_units_per_s=0.01)))

    assert not portion.done
    assert portion.pages == 1
    assert clock.remaining_s() == pytest.approx(segment.RESERVE_S)


def test_throttles_are_waited_out_and_counted(cloud: Cloud, expected: Sketch, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, times=3)
    clock = Clock()
    portion = clock.reader().run(Order.of(order()))

    assert portion.throttles == len(clock.slept) == 3
    assert (portion.sketch - expected).empty


def test_no_capacity_at_all_is_an_error_that_says_so(
    items: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, times=1000)

    said = f"segment 0: {TABLE} gave not one page, as 8 calls in a row were throttled .*-p read_units_per_s="
    with pytest.raises(NoCapacityError, match=said):
        Clock().reader().run(Order.of(order()))


def test_other_failures_of_dynamodb_are_not_waited_out(cloud: Cloud) -> None:
    aws.s3().create_bucket(Bucket=BUCKET)
    cloud.dynamodb.delete_table(TableName=TABLE)

    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        Clock().reader().run(Order.of(order()))


def test_page_that_was_damaged_on_its_way_is_read_again(expected: Sketch, monkeypatch: pytest.MonkeyPatch) -> None:
    take, seen = pages.Pages.take, list[int]()

    def damaged(self: pages.Pages, response_dict: dict[str, Any], **rest: Any) -> None:
        seen.append(len(response_dict["body"]))
        if len(seen) == 2:
            response_dict["headers"]["x-amz-crc32"] = "1"
        take(self, response_dict, **rest)

    monkeypatch.setattr(pages.Pages, "take", damaged)
    portion = Clock().reader().run(Order.of(order()))

    assert len(seen) == 4
    assert portion.throttles == 1
    assert (portion.sketch - expected).empty


def test_botocore_without_the_event_gives_the_same_sketch_and_says_that_it_was_slow(
    expected: Sketch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_EVENT", "before-parse.dynamodb.Gone")
    portion = Clock(remaining_s=segment.RESERVE_S + 15, page_s=10.0).reader().run(Order.of(order()))
    assert not portion.done
    portion = Clock().reader().run(Order.of(order(1)))

    assert portion.implementation == "reference"
    assert portion.size_bytes == 0
    assert (portion.sketch - expected).empty


def test_answers_are_parsed_as_ever_once_the_segment_is_read(items: list[dict[str, Any]]) -> None:
    Clock().reader().run(Order.of(order()))

    assert aws.dynamodb(scan=True).scan(TableName=TABLE)["Items"]


@pytest.mark.parametrize("key", [{"pk": {"S": 'a"\\é\n'}}, {"pk": {"B": b"\x00\xff"}, "sk": {"N": "1.5"}}])
def test_position_goes_both_ways(key: dict[str, Any]) -> None:
    assert pages.start_key(pages.position(key)) == key


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"segment": 2, "segments": 2}, "segment: 2 is not one of 2"),
        ({"segments": 2_000_000}, "segment: 0 is not one of 2000000"),
        ({"prefix": "ledger/replay"}, "prefix: 'ledger/replay' is not below fleet/"),
        ({"prefix": "fleet/../ledger"}, "not below fleet/"),
        ({"read_units_per_s": -1}, "neither can be less than 0"),
        ({"layout": {}}, "event: KeyError"),
        ({"until": None}, "event: TypeError"),
    ],
)
def test_order_that_makes_no_sense_is_refused_by_its_field(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OrderError, match=said):
        Order.of(order(**changes))


def test_run_that_is_over_reads_nothing(items: list[dict[str, Any]]) -> None:
    with pytest.raises(TimeoutError, match="segment 0: the run was to be over by now"):
        Clock().reader().run(Order.of(order(until=999)))


def test_part_of_another_run_is_not_continued(items: list[dict[str, Any]]) -> None:
    other = begun(sketch=Sketch(Layout(("pk", "sk"), ignore=("n",), cells=999)))
    aws.s3().put_object(Bucket=BUCKET, Key="fleet/unit/999/000000.part", Body=other.to_bytes())

    with pytest.raises(OrderError, match="holds what another run read"):
        Clock().reader().run(Order.of(order(1)))


def refuse(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Have DynamoDB refuse the next calls, whatever botocore itself would have tried."""
    fetch, left = pages.Pages.fetch, [times]

    def refused(self: pages.Pages, **parameters: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise ClientError(THROTTLED, "Scan")  # type: ignore[arg-type]
        return fetch(self, **parameters)

    monkeypatch.setattr(pages.Pages, "fetch", refused)

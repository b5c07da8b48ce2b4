"""Judging: what is confirmed truly differs, whatever replication and writers do while it is watched."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from ops.aws import Cloud
from ops.divergence import Judged, Replica, Schema, Suspicion, judge
from ops.divergence.classes import KINDS
from ops.divergence.judging import IMAGES_KEPT, MAX_SPACING_S, STEADY_READS, spacing
from ops.errors import OpsError, UsageError
from sketch import keys
from tests.planted import TTL_ATTRIBUTE, plant

US, AP, EU = "us-east-1", "ap-south-1", "eu-west-1"
SCHEMA = Schema(("pk",), ("S",))
NOW = 1_800_000_000.0
Item = dict[str, Any]


class Tables:
    """A table a region, that BatchGetItem reads; ``tick`` is called when the judge sleeps."""

    def __init__(self, *regions: str) -> None:
        self.items: dict[str, dict[str, Item]] = {region: {} for region in regions}
        self.tick: Callable[[], None] = lambda: None
        self.slept: list[float] = []
        self.asked: list[int] = []

    def put(self, region: str, name: str, **attributes: Any) -> None:
        self.items[region][name] = {"pk": {"S": name}, **attributes}

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.tick()

    def client(self, service: str, region: str) -> Any:
        def batch_get_item(RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
            ((table, wanted),) = RequestItems.items()
            assert wanted["ConsistentRead"] is True
            self.asked.append(len(wanted["Keys"]))
            held = self.items[region]
            found = [copy.deepcopy(held[key["pk"]["S"]]) for key in wanted["Keys"] if key["pk"]["S"] in held]
            return {"Responses": {table: found}, "UnprocessedKeys": {}}

        return SimpleNamespace(batch_get_item=batch_get_item)

    def judge(self, names: Sequence[str], digests: tuple[bytes | None, ...] = (), **options: Any) -> Judged:
        replicas = [Replica(region, region, "t") for region in self.items]
        described = {one: SimpleNamespace(ttl_attribute="") for one in replicas}
        suspects = [Suspicion(keys.pack({"pk": {"S": name}}, ("pk",)), digests) for name in names]
        asked: dict[str, Any] = {"settle_s": 0.5, "sleep": self.sleep, "clock": lambda: NOW} | options
        return judge(self, replicas, SCHEMA, suspects, described=described, **asked)  # type: ignore[arg-type]


def test_judge_when_planted_items_are_suspects_classes_each_as_planted(account: Cloud) -> None:
    planted = plant(160)
    for region, items in planted.items.items():
        client = account.client("dynamodb", region)
        client.create_table(
            TableName="pair",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in planted.names],
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        for item in items:
            client.put_item(TableName="pair", Item=item)
    replicas = [Replica(region, region, "pair") for region in planted.items]
    described: Any = {one: SimpleNamespace(ttl_attribute=TTL_ATTRIBUTE) for one in replicas}
    suspects = {keys.pack(item, planted.names) for items in planted.items.values() for item in items}
    found = judge(
        account,
        replicas,
        Schema(planted.names, planted.types),
        [Suspicion(key) for key in suspects],
        described=described,
        settle_s=1,
        sleep=lambda seconds: None,
        clock=lambda: NOW,
    )
    assert {one.text: one.kind for one in found.confirmed} == planted.differing
    assert {one.text for one in found.differences if one.kind == "expired"} == planted.expired
    assert found.counts["in flight"] == len(suspects) - len(planted.differing) - len(planted.expired)
    assert all(one.explanation for one in found.differences)


def test_judge_when_an_item_heals_later_calls_it_in_flight() -> None:
    tables = Tables(US, AP)
    tables.put(US, "late")
    tables.put(US, "lost")
    tables.tick = lambda: tables.put(AP, "late")
    found = tables.judge(["late", "lost"])
    assert [one.text for one in found.confirmed] == ["pk=lost"]
    assert found.counts["in flight"] == 1
    assert tables.slept == [0.5] * (STEADY_READS - 1)
    assert found.reads == STEADY_READS


def test_judge_when_an_item_is_deleted_everywhere_meanwhile_calls_it_in_flight() -> None:
    tables = Tables(US, AP)
    tables.put(US, "gone")
    tables.tick = lambda: tables.items[US].pop("gone", None)  # type: ignore[assignment,return-value]
    assert tables.judge(["gone"]).confirmed == ()


def test_judge_when_one_replica_stands_still_while_others_change_confirms_it() -> None:
    tables, written = Tables(US, AP, EU), iter(range(1, 100))

    def write() -> None:
        number = str(next(written))
        tables.put(US, "hot", n={"N": number})
        tables.put(AP, "hot", n={"N": number})

    write()
    tables.put(EU, "hot", n={"N": "0"})
    tables.tick = write
    found = tables.judge(["hot"], attempts=5)
    assert [one.text for one in found.confirmed] == ["pk=hot"]
    assert found.reads == 5


def test_judge_when_only_attributes_that_do_not_count_differ_calls_it_excluded() -> None:
    tables = Tables(US, AP)
    for region in (US, AP):
        tables.put(region, "a", seen={"S": region}, n={"N": "1"})
    assert tables.judge(["a"], ignore=["seen"]).counts["excluded"] == 1
    assert tables.judge(["a"], only=["n"]).counts["excluded"] == 1
    # The mode that knew what counts saw a difference in it, which is gone.
    assert tables.judge(["a"], (b"1" * 16, b"2" * 16), ignore=["seen"]).counts["in flight"] == 1
    assert len(tables.judge(["a"]).confirmed) == 1


def test_judge_when_only_some_attributes_count_shows_those_alone() -> None:
    tables = Tables(US, AP)
    for region in (US, AP):
        tables.put(region, "a", seen={"S": region}, n={"N": region[-1]}, m={"N": region[0:0] + str(len(region))})
    (one,) = tables.judge(["a"], only=["m"]).confirmed
    assert [diff.path for diff in one.attributes] == ["m"]


def test_judge_reads_in_batches_of_a_hundred_and_keeps_few_images() -> None:
    tables = Tables(US, AP)
    names = [f"k{number:05}" for number in range(IMAGES_KEPT + 250)]
    for name in names:
        tables.put(US, name)
    found = tables.judge(names)
    assert max(tables.asked) == 100
    assert len(found.confirmed) == len(names)
    assert sum(1 for one in found.confirmed if one.images) == IMAGES_KEPT
    assert all(one.digests[AP] is None and one.digests[US] for one in found.confirmed)


def test_judge_when_keys_stay_unread_says_that_the_table_is_throttled() -> None:
    tables = Tables(US, AP)

    def throttled(service: str, region: str) -> Any:
        return SimpleNamespace(
            batch_get_item=lambda RequestItems: {"Responses": {}, "UnprocessedKeys": RequestItems}  # noqa: N803
        )

    tables.client = throttled  # type: ignore[method-assign]
    with pytest.raises(OpsError, match=f"{US}: 1 keys of t stayed unread: the table is throttled"):
        tables.judge(["a"])
    assert sum(tables.slept) < 30


def test_judge_when_credentials_expire_says_what_was_read_and_to_sign_in() -> None:
    tables = Tables(US, AP)
    tables.put(US, "a")
    expired = ClientError({"Error": {"Code": "ExpiredTokenException"}}, "BatchGetItem")

    def expiring() -> None:
        def refuse(**asked: Any) -> Any:
            raise expired

        tables.client = lambda service, region: SimpleNamespace(batch_get_item=refuse)  # type: ignore[method-assign]

    tables.tick = expiring
    with pytest.raises(OpsError, match=f"reading suspects of {US}, {AP} again: the credentials have expired") as told:
        tables.judge(["a"])
    assert told.value.hint.startswith("Sign in again")
    assert len(tables.asked) == 2


def test_judge_when_attempts_are_too_few_is_refused() -> None:
    with pytest.raises(UsageError, match="attempts: at least 3, is 2"):
        Tables(US, AP).judge(["a"], attempts=2)


@pytest.mark.parametrize(
    ("settle_s", "latency_ms", "expected"),
    [
        (0.25, {(US, AP): 9000.0}, 0.25),
        (0, None, 1.0),
        (0, {(US, AP): 100.0}, 1.0),
        (0, {(US, AP): 100.0, (AP, US): 4000.0}, 12.0),
        (0, {(US, AP): 1e9}, MAX_SPACING_S),
    ],
)
def test_spacing_follows_the_measured_latency_unless_told(
    settle_s: float, latency_ms: Mapping[tuple[str, str], float] | None, expected: float
) -> None:
    assert spacing(settle_s, latency_ms) == expected


# --- a writer that never rests ---------------------------------------------------------------------------------------

WRITES = st.lists(st.tuples(st.sampled_from([US, AP]), st.sampled_from("abc"), st.booleans()), max_size=40)


@given(writes=WRITES, lag=st.integers(0, 1), lost=st.sets(st.sampled_from("xyz")))
def test_judge_when_writers_never_rest_confirms_exactly_what_was_lost(
    writes: list[tuple[str, str, bool]], lag: int, lost: set[str]
) -> None:
    """Items a, b and c are written all the time and arrive ``lag`` reads later; x, y and z stand, some of them lost."""
    tables = Tables(US, AP)
    for name in "xyz":
        tables.put(US, name)
        if name not in lost:
            tables.put(AP, name)
    stream, flying = iter(writes), list[list[tuple[str, str, bool, int]]]()
    number = 0

    def move() -> None:
        nonlocal number
        batch = []
        for _ in range(4):
            write = next(stream, None)
            if write is not None:
                number += 1
                region, name, deleted = write
                _take(tables, region, name, deleted, number)
                batch.append((AP if region == US else US, name, deleted, number))
        flying.append(batch)
        for arrived in flying[:-lag] if lag else flying:
            for region, name, deleted, stamp in arrived:
                # Last writer wins, as replication has it.
                if latest.get((region, name), 0) < stamp:
                    _take(tables, region, name, deleted, stamp)
        del flying[: len(flying) - lag if lag else len(flying)]

    latest: dict[tuple[str, str], int] = {}

    def _take(tables: Tables, region: str, name: str, deleted: bool, stamp: int) -> None:
        latest[region, name] = stamp
        if deleted:
            tables.items[region].pop(name, None)
        else:
            tables.put(region, name, n={"N": str(stamp)})

    move()
    tables.tick = move
    # More reads than the writers write, so that what is confirmed had its time.
    found = tables.judge([*"abcxyz"], attempts=40)
    assert {one.text.removeprefix("pk=") for one in found.confirmed} == lost
    assert set(found.counts) <= set(KINDS)
    assert sum(found.counts.values()) == 6

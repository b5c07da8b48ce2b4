"""The proof after a redrive: in every table, counted once, or named with where it came back to."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import pytest

from ops.redrive import Proof, prove
from tests.unit.ops.redrive.letters import BODY, KEY, given_up
from tests.unit.ops.redrive.platform import Platform

US, AP = "us-east-1", "ap-south-1"
TIME = "2026-03-01T12:00:30.5+02:00"


class Tables:
    """The replicas of the platform's table."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        for region in (US, AP):
            self.client(region).create_table(
                TableName="atoll-unit",
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
                BillingMode="PAY_PER_REQUEST",
            )

    def client(self, region: str) -> Any:
        return self.platform.cloud.client("dynamodb", region)

    def store(self, region: str, key: str = KEY, time: str | None = TIME) -> None:
        texts = {"pk": f"EVENT#{key}", "sk": "EVENT", "event_key": key, "tenant": "acme"}
        texts |= {"time": time} if time else {}
        self.client(region).put_item(TableName="atoll-unit", Item={name: {"S": text} for name, text in texts.items()})

    def count(self, region: str, key: str = KEY, minute: str = "00", hour: str = "2026-03-01T10", by: str = US) -> None:
        item = {
            "pk": {"S": f"ACTIVITY#acme#{hour}"},
            "sk": {"S": f"com.shop.order.created#{minute}#{key[0]}#{by}"},
            "seen": {"BS": [uuid.UUID(key).bytes]},
        }
        self.client(region).put_item(TableName="atoll-unit", Item=item)


@pytest.fixture
def tables(platform: Platform) -> Tables:
    for region in (US, AP):
        for name in ("store", "activity"):
            platform.cloud.client("sqs", region).get_queue_url(QueueName=f"atoll-unit-{name}")
    return Tables(platform)


def proved(platform: Platform, *keys: str) -> Proof:
    ticks = itertools.count()
    return prove(
        platform.cloud,
        [(key, US) for key in keys or (KEY,)],
        deadline_s=10,
        sleep=lambda seconds: None,
        clock=lambda: float(next(ticks)),
    )


def failing(proof: Proof) -> list[str]:
    return [check.name for check in proof.checks() if not check.ok]


@pytest.mark.parametrize(("time", "hour"), [(TIME, "2026-03-01T10"), (None, f"undated-{KEY[:2]}")])
def test_prove_when_each_event_is_everywhere_and_counts_once_is_whole(
    platform: Platform, tables: Tables, time: str | None, hour: str
) -> None:
    for region, by in itertools.product((US, AP), (US, AP)):
        tables.store(region, time=time)
        tables.count(region, hour=hour, by=by)  # both regions saw it: readers unite their sets
    proof = proved(platform)
    assert (proof.whole, failing(proof), proof.figures()["proved"]) == (True, [], 1)


def test_prove_when_an_event_is_in_one_region_only_names_it(platform: Platform, tables: Tables) -> None:
    tables.store(US)
    tables.count(US)
    proof = proved(platform)
    assert proof.missing == {US: (), AP: (KEY,)}
    assert failing(proof) == ["moved events are in every table"]
    assert KEY in proof.checks()[0].detail


def test_prove_when_an_event_counts_nowhere_or_twice_says_so(platform: Platform, tables: Tables) -> None:
    other = "1f8fad5b-d9cb-569f-a165-70867728950e"
    for region in (US, AP):
        tables.store(region)
        tables.store(region, other)
        tables.count(region, other)
        tables.count(region, other, minute="59")
    proof = proved(platform, KEY, other)
    assert (proof.uncounted[US], proof.doubled[AP]) == ((KEY,), (other,))
    assert failing(proof) == ["moved events count in every table", "no moved event counts twice"]


def test_prove_when_an_event_came_back_to_a_dlq_names_it_with_its_new_reason(
    platform: Platform, tables: Tables
) -> None:
    platform.send(given_up(BODY, REDRIVES="1"))
    proof = proved(platform)
    (back,) = proof.back
    assert (back.event_key, back.queue, back.error_code, back.redrives) == (
        KEY,
        "atoll-unit-store-dlq",
        "AccessDeniedException",
        1,
    )
    assert proof.frame()["event_key"].tolist() == [KEY]
    assert "no moved event came back to a DLQ" in failing(proof)
    assert platform.depth() == 1


def test_prove_when_it_arrives_meanwhile_waits_for_it(platform: Platform, tables: Tables) -> None:
    pauses = itertools.count()

    def arrive(_: float) -> None:
        if next(pauses) == 2:
            for region in (US, AP):
                tables.store(region)
                tables.count(region)

    ticks = itertools.count()
    proof = prove(platform.cloud, [(KEY, US)], deadline_s=50, sleep=arrive, clock=lambda: float(next(ticks)))
    assert proof.whole


def test_prove_when_nothing_has_a_key_says_so_and_reads_nothing(platform: Platform) -> None:
    platform.cloud.client("sqs", US)
    proof = prove(platform.cloud, [])
    assert [check.ok for check in proof.checks()] == [True]

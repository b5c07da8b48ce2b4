from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import pytest
from botocore.exceptions import EndpointConnectionError

from ops import arrival
from ops.errors import OpsError, UsageError
from ops.failover.proof import Proof, prove
from ops.failover.replica import read
from ops.load import LoadRecord
from tests.unit.ops.failover.conftest import INDIA, NOON, REGIONS, US, Tables, attempt, key_of, record

THREE = record(*(attempt(number) for number in range(3)))


def proved(tables: Tables, made: LoadRecord = THREE, deadline_s: float = 3, **more: object) -> Proof:
    ticks = count()
    return prove(
        tables.cloud,
        made,
        REGIONS,
        deadline_s=deadline_s,
        clock=lambda: float(next(ticks)),
        sleep=more.get("sleep") or (lambda _: None),  # type: ignore[arg-type]
        progress=more.get("progress") or (lambda _: None),  # type: ignore[arg-type]
    )


def failing(proof: Proof) -> list[str]:
    return [check.name for check in proof.checks() if not check.ok]


def test_prove_when_all_is_there_once_passes(tables: Tables) -> None:
    tables.whole(THREE)
    proof = proved(tables)

    assert failing(proof) == []
    assert proof.whole
    assert (proof.accepted, proof.lost, proof.doubled, proof.foreign, proof.differing) == (3, [], [], [], [])
    assert proof.frame().empty
    assert proof.figures()["lost"] == proof.figures()["duplicated"] == 0


def test_prove_with_more_events_than_one_call_takes_reads_all(tables: Tables) -> None:
    many = record(*(attempt(number) for number in range(130)))
    tables.whole(many)

    assert failing(proved(tables, many)) == []


def test_prove_when_an_item_is_missing_names_key_region_and_the_way_back(tables: Tables) -> None:
    tables.whole(THREE)
    tables.cloud.client("dynamodb", INDIA).delete_item(
        TableName="atoll-dev", Key={"pk": {"S": f"EVENT#{key_of(1)}"}, "sk": {"S": "EVENT"}}
    )
    proof = proved(tables)

    assert proof.missing == {US: [], INDIA: [key_of(1)]}
    assert failing(proof) == ["no accepted event is lost"]
    detail = next(check.detail for check in proof.checks() if not check.ok)
    assert f"{INDIA} lacks 1: {key_of(1)}" in detail
    # The region that accepted it is before India in the ring, so India's journal has it.
    assert (
        f"ops run replay --stage dev -p region={INDIA} -p archive=atoll-dev-journal "
        "-p window_start=2026-03-01T11:59:01Z -p window_end=2026-03-01T12:01:01Z"
    ) in detail
    shown = proof.frame().iloc[0]
    assert shown[["event_key", "problem", US, INDIA]].tolist() == [key_of(1), "missing", "there", "missing"]


def test_prove_when_an_event_is_missing_where_it_was_accepted_replays_that_regions_archive(tables: Tables) -> None:
    lost = attempt(3)
    made = record(*THREE.attempts, lost)
    tables.whole(THREE)
    proof = proved(tables, made)

    assert proof.missing == {US: [key_of(3)], INDIA: [key_of(3)]}
    ways = {way.region: way.how for way in proof.ways_back}
    assert ways[US].startswith(f"ops run replay --stage dev -p region={US} -p window_start=")
    assert "no accepted event is lost" in failing(proof)
    assert "every accepted event counts exactly once" in failing(proof)


def test_prove_when_replication_is_late_waits_for_it(tables: Tables) -> None:
    tables.items(THREE, [US])
    tables.count(THREE.accepted, regions=[US])
    said: list[str] = []
    rounds: Iterator[Callable[[], None]] = iter(
        [lambda: tables.items(THREE, [INDIA]), lambda: tables.count(THREE.accepted)]
    )
    proof = proved(tables, deadline_s=100, sleep=lambda _: next(rounds)(), progress=said.append)

    assert failing(proof) == []
    assert said[:2] == ["waiting: ap-south-1 lacks 3", "all items are there; waiting for their effect"]


def test_prove_when_the_items_differ_names_them(tables: Tables) -> None:
    tables.whole(THREE)
    tables.item(THREE.attempts[2], [INDIA], written_region=INDIA)
    proof = proved(tables)

    assert failing(proof) == ["the replicas hold the same items"]
    assert proof.differing == [key_of(2)]


def test_prove_when_two_regions_counted_an_event_in_one_bucket_counts_it_once(tables: Tables) -> None:
    tables.whole(THREE)
    tables.count(THREE.accepted, by=INDIA)

    assert failing(proved(tables)) == []


def test_prove_when_an_event_is_in_two_buckets_calls_it_doubled(tables: Tables) -> None:
    tables.whole(THREE)
    tables.count([key_of(0)], minute="01", by=INDIA)
    proof = proved(tables)

    assert failing(proof) == ["every accepted event counts exactly once"]
    assert proof.doubled == [key_of(0)]
    assert proof.figures()["duplicated"] == 1


def test_prove_when_two_replicas_count_an_event_in_different_buckets_calls_it_doubled(tables: Tables) -> None:
    tables.whole(THREE)
    tables.count([key_of(1), key_of(2)], regions=[INDIA])
    tables.count([key_of(0)], minute="59", regions=[INDIA])

    assert proved(tables).doubled == [key_of(0)]


def test_prove_when_an_event_is_in_no_bucket_says_where(tables: Tables) -> None:
    tables.whole(THREE)
    tables.count([key_of(0), key_of(1)], regions=[INDIA])
    proof = proved(tables)

    assert failing(proof) == ["every accepted event counts exactly once"]
    assert proof.uncounted == {US: [], INDIA: [key_of(2)]}


def test_prove_when_an_event_is_stored_under_two_keys_calls_both_doubled(tables: Tables) -> None:
    tables.whole(THREE)
    tables.item(THREE.attempts[0], event_key=key_of(99))

    assert set(proved(tables).doubled) == {key_of(0), key_of(99)}


def test_prove_when_a_rejected_event_is_there_calls_it_foreign(tables: Tables) -> None:
    refused = attempt(7, status=422, event_key=None)
    made = record(*THREE.attempts, refused)
    tables.whole(made)
    tables.item(refused, [INDIA], event_key=key_of(7))
    proof = proved(tables, made)

    assert failing(proof) == ["nothing is there that was not accepted"]
    assert (proof.foreign, proof.rejected) == ([key_of(7)], 1)
    assert proof.frame().iloc[0]["problem"] == "not accepted"


def test_prove_with_items_of_other_sources_leaves_them_alone(tables: Tables) -> None:
    tables.whole(THREE)
    tables.item(attempt(50), source="/drills/run-2/london")
    tables.item(attempt(51), source="/shops/london")

    assert failing(proved(tables)) == []


@pytest.mark.parametrize("stored", [(), (US,), REGIONS])
def test_prove_with_an_event_in_doubt_reports_it_apart(tables: Tables, stored: tuple[str, ...]) -> None:
    doubtful = attempt(9, status=0, event_key=None, region=None)
    made = record(*THREE.attempts, doubtful)
    tables.whole(THREE)
    tables.item(doubtful, stored, event_key=key_of(9))
    proof = proved(tables, made)

    assert failing(proof) == []
    assert list(proof.in_doubt.values()) == [stored]
    assert proof.figures()["in_doubt_stored"] == bool(stored)


def test_prove_when_nothing_was_accepted_is_no_proof_and_still_finds_what_is_there(tables: Tables) -> None:
    refused = attempt(1, status=422, event_key=None)
    tables.item(refused, [US], event_key=key_of(1))
    proof = proved(tables, record(refused))

    assert failing(proof) == ["the load got through", "nothing is there that was not accepted"]


def test_prove_when_a_region_cannot_be_read_is_no_proof(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.whole(THREE)
    client = tables.cloud.client

    def gone(service: str, region: str) -> object:
        if region == INDIA:
            raise EndpointConnectionError(endpoint_url="https://dynamodb")
        return client(service, region)  # type: ignore[call-overload]

    monkeypatch.setattr(tables.cloud, "client", gone)
    monkeypatch.setattr(arrival, "items", _explained(arrival.items))
    proof = proved(tables)

    assert failing(proof) == ["no accepted event is lost"]
    assert list(proof.unread) == [INDIA]
    assert f"{INDIA} could not be read" in next(check.detail for check in proof.checks() if not check.ok)


def _explained(function: Callable[..., object]) -> Callable[..., object]:
    def inner(*arguments: object, **options: object) -> object:
        try:
            return function(*arguments, **options)
        except EndpointConnectionError as error:
            raise OpsError(str(error)) from error

    return inner


def test_prove_without_regions_is_refused(tables: Tables) -> None:
    with pytest.raises(UsageError, match="regions"):
        prove(tables.cloud, THREE, [], deadline_s=1)


def test_prove_of_a_run_over_midnight_reads_both_days(tables: Tables) -> None:
    midnight = NOON + 12 * 3600
    before, after = attempt(1, at=midnight - 2), attempt(2, at=midnight + 2)
    extra = replace(after, id="1-8")
    tables.item(before)
    tables.item(after)
    tables.item(extra, event_key=key_of(8))

    found = read(tables.cloud, US, record(before, after))
    assert set(found.of_run) == {key_of(1), key_of(2), key_of(8)}


@pytest.mark.parametrize("made", [record(), record(attempt(1, status=0, event_key=None))])
def test_checks_and_figures_of_an_empty_record_are_complete(tables: Tables, made: LoadRecord) -> None:
    proof = proved(tables, made)

    assert len(proof.checks()) == 5
    assert not proof.whole
    assert proof.figures()["accepted"] == 0

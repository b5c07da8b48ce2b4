"""The ledger of applied plans."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops import bucket, ledger
from ops.aws import Cloud
from ops.bucket import Place, place
from ops.errors import OpsError
from ops.ledger import Entry
from tests.unit.ops.conftest import Calls

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENTRY = Entry(
    runbook="replay",
    token="0123456789abcdef",
    stage="unit",
    account="123456789012",
    region="us-east-1",
    by="arn:aws:sts::123456789012:assumed-role/operator/ada",
    started=NOON,
    updated=NOON,
    state="running",
    parameters={"window_start": "2026-03-01T10:00:00Z", "types": ["a", "b"], "bus": "", "repeat": 0},
    steps=[{"slice": 1, "done": "COMPLETED"}],
)
# What JSON says the same way again.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda inner: st.lists(inner, max_size=3)
)
FIELDS = st.dictionaries(st.text(), VALUES, max_size=4)
MOMENTS = st.datetimes(timezones=st.just(UTC))
ENTRIES = st.builds(
    Entry,
    runbook=st.just("replay"),
    token=st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}"),
    stage=st.text(),
    account=st.text(),
    region=st.text(),
    by=st.text(),
    started=MOMENTS,
    updated=MOMENTS,
    state=st.sampled_from(["running", "done", "stopped", "failed"]),
    parameters=FIELDS,
    steps=st.lists(FIELDS, max_size=2),
    figures=FIELDS,
    request_ids=st.lists(st.text(), max_size=3),
)


@pytest.fixture
def places(account: Cloud, calls: Calls) -> list[Place]:
    """The operations bucket of each region, empty."""
    made = [place(account, region) for region in account.stage.regions]
    for one in made:
        outside: Any = {"LocationConstraint": one.region}
        elsewhere: Any = {} if one.region == "us-east-1" else {"CreateBucketConfiguration": outside}
        account.client("s3", one.region).create_bucket(Bucket=one.bucket, **elsewhere)
    calls.clear()
    return made


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(written=ENTRIES)
def test_entry_when_read_is_what_was_written(account: Cloud, places: list[Place], written: Entry) -> None:
    ledger.write(account, places[0], written)

    assert ledger.read(account, places[0], "replay", written.token) == written


def test_entry_when_written_again_takes_the_place_of_the_earlier(account: Cloud, places: list[Place]) -> None:
    ledger.write(account, places[0], ENTRY)
    done = replace(ENTRY, state="done", updated=NOON + timedelta(minutes=5))

    ledger.write(account, places[0], done)

    assert ledger.read(account, places[0], "replay", ENTRY.token) == done
    assert [key for key, _, _ in bucket.keys(account, places[0], "")] == ["ledger/replay/0123456789abcdef.json"]


def test_entry_when_none_was_written_is_none(account: Cloud, places: list[Place]) -> None:
    ledger.write(account, places[0], ENTRY)

    assert ledger.read(account, places[0], "redrive", ENTRY.token) is None
    assert ledger.read(account, places[1], "replay", ENTRY.token) is None


@pytest.mark.parametrize(
    ("body", "problem"),
    [(b"{", "Invalid JSON"), (b"{}", "Field required"), (b"[]", "object"), (b'{"started": "2026-03-01"}', "runbook")],
)
def test_entry_when_it_is_damaged_says_where(account: Cloud, places: list[Place], body: bytes, problem: str) -> None:
    bucket.put(account, places[0], f"ledger/replay/{ENTRY.token}.json", body)

    with pytest.raises(OpsError, match=problem) as caught:
        ledger.read(account, places[0], "replay", ENTRY.token)
    assert f"{places[0].uri()}ledger/replay/{ENTRY.token}.json" in str(caught.value)


def test_entry_when_a_later_version_wrote_more_is_read(account: Cloud, places: list[Place]) -> None:
    ledger.write(account, places[0], ENTRY)
    body = bucket.get(account, places[0], f"ledger/replay/{ENTRY.token}.json")
    assert body is not None

    bucket.put(account, places[0], f"ledger/replay/{ENTRY.token}.json", body[:-1] + b', "later": 1}')

    assert ledger.read(account, places[0], "replay", ENTRY.token) == ENTRY


def test_entries_when_in_several_places_come_newest_first(account: Cloud, places: list[Place]) -> None:
    for number, where in enumerate([*places, *places]):
        token, updated = f"{number:016x}", NOON + timedelta(minutes=number)
        ledger.write(account, where, replace(ENTRY, token=token, region=where.region, updated=updated))
    ledger.write(account, places[0], replace(ENTRY, runbook="redrive"))

    found = ledger.entries(account, places, "replay")

    assert [int(one.token, 16) for one in found] == [3, 2, 1, 0]
    assert len(ledger.entries(account, places, "replay", limit=2)) == 2


def test_entries_when_a_region_does_not_answer_are_those_of_the_others(
    account: Cloud, places: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in places:
        ledger.write(account, where, replace(ENTRY, region=where.region))
    reached = account.client

    def client(service: Any, region: str) -> Any:
        if region == places[0].region:
            raise EndpointConnectionError(endpoint_url="https://s3.example")
        return reached(service, region)

    monkeypatch.setattr(account, "client", client)
    told: list[Place] = []

    found = ledger.entries(account, places, "replay", unread=lambda where, _: told.append(where))

    assert [one.region for one in found] == [places[1].region]
    assert told == [places[0]]
    shown = ledger.history(account, "replay").set_index("region")
    assert dict(shown["state"]) == {places[1].region: "running", places[0].region: "NOT READ"}
    assert "no answer" in shown["parameters"][places[0].region]
    with pytest.raises(OpsError, match="no answer"):
        ledger.entries(account, places, "replay")


def test_frame_has_a_row_for_each_entry(account: Cloud) -> None:
    [row] = ledger.frame([ENTRY]).to_dict("records")

    assert (row["token"], row["state"], row["by"], row["steps"]) == (ENTRY.token, "running", "ada", 1)
    assert row["parameters"] == "window_start=2026-03-01T10:00:00Z, types=a,b, repeat=0"
    assert list(ledger.frame([]).columns) == list(ledger.frame([ENTRY]).columns)

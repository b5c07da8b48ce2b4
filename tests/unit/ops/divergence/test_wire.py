"""Pages arrive whole and verified or not at all; what may pass is asked again, and what may not says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.credentials import Credentials, ReadOnlyCredentials

from ops.divergence import wire
from ops.divergence.budget import Budget
from ops.divergence.sources import Source
from ops.divergence.wire import ATTEMPTS, Buffer, Pages
from ops.errors import OpsError
from tests.unit.ops.divergence.loopback import BROKEN, EXPIRED, THROTTLE, Fault, Server, Table, items, serving

pytestmark = pytest.mark.enable_socket
REGION = "us-east-1"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({(REGION, "t"): Table(items(60))}) as made:
        yield made


class Waits:
    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


def pages(server: Server, waits: Waits | None = None, credentials: Any = None, **limits: Any) -> Pages:
    source = Source("left", "t", REGION, server.url, credentials or Credentials("a", "b", "c"), "")
    budget = Budget("left", 1e9, **limits)
    return Pages(source, budget, Buffer(16), sleep=waits or Waits(), jitter=lambda: 1.0)


def faults(*planned: Fault) -> Any:
    """These faults, one a Scan, then none."""
    return lambda number, asked: planned[number - 1] if number <= len(planned) else None


def test_read_through_all_pages_echoes_the_key_and_keeps_the_connection(server: Server) -> None:
    reader, found, after, count = pages(server), [], None, 0
    for _ in range(10):
        page = json.loads(bytes(reader.read(0, 1, after)))
        found += page["Items"]
        count += 1
        if "LastEvaluatedKey" not in page:
            break
        # As it was spelled, with what JSON allows between its tokens.
        after = json.dumps(page["LastEvaluatedKey"], indent=1).encode()
    assert count == 3
    assert sorted(one["sk"]["S"] for one in found) == [f"{number:05}" for number in range(60)]
    assert server.connections == 1
    assert server.scans[0] == {
        "TableName": "t",
        "Segment": 0,
        "TotalSegments": 1,
        "ReturnConsumedCapacity": "TOTAL",
    }
    reader.close()


def test_read_of_some_attributes_gives_those_alone(server: Server) -> None:
    reader = pages(server)
    page = json.loads(bytes(reader.read(0, 1, only=("pk", "sk"))))
    assert {name for one in page["Items"] for name in one} == {"pk", "sk"}
    reader.close()


@pytest.mark.parametrize("fault", [THROTTLE, BROKEN, "reset", "truncate", "corrupt", (503, {})])
def test_read_after_a_passing_fault_gives_the_page(server: Server, fault: Fault) -> None:
    server.fault = faults(fault, fault)
    waits = Waits()
    reader = pages(server, waits)
    assert len(json.loads(bytes(reader.read(0, 1)))["Items"]) == 25
    assert waits.slept == [0.1, 0.2]
    reader.close()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (THROTTLE, "ProvisionedThroughputExceededException"),
        (BROKEN, "InternalServerError: oops"),
        ("truncate", "bytes arrived"),
        ("corrupt", "checksum"),
    ],
)
def test_read_when_the_fault_stays_gives_up_after_a_bounded_time(server: Server, fault: Fault, reason: str) -> None:
    server.fault = lambda number, asked: fault
    waits = Waits()
    reader = pages(server, waits)
    with pytest.raises(OpsError, match=rf"left: reading segment 3 of 7 of t: given up after {ATTEMPTS}.*{reason}"):
        reader.read(3, 7)
    assert len(server.scans) == ATTEMPTS
    assert waits.slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 20.0]
    reader.close()


def test_throttles_are_told_to_the_budget_and_stop_the_run_past_its_threshold(server: Server) -> None:
    server.fault = lambda number, asked: THROTTLE
    reader = pages(server, max_throttles=2)
    with pytest.raises(OpsError, match="left: stopped, as 3 requests were throttled"):
        reader.read(0, 1)
    assert reader.budget.throttles == 3
    reader.close()


def test_read_when_refused_for_good_says_why_at_once(server: Server) -> None:
    server.fault = faults((400, {"__type": "x#AccessDeniedException", "Message": "not authorized"}))
    reader = pages(server)
    with pytest.raises(OpsError, match="left: t cannot be scanned: AccessDeniedException: not authorized"):
        reader.read(0, 1)
    assert len(server.scans) == 1
    reader.close()


def test_read_when_credentials_expired_for_good_says_to_sign_in(server: Server) -> None:
    server.fault = faults(EXPIRED)
    reader = pages(server)
    with pytest.raises(OpsError, match="left: the credentials expired while t was read") as stopped:
        reader.read(0, 1)
    assert stopped.value.hint == "Sign in again."
    assert len(server.scans) == 1
    reader.close()


def test_read_when_expired_credentials_were_refreshed_goes_on(server: Server) -> None:
    server.fault = faults(EXPIRED)
    known = iter(range(100))
    refreshed = SimpleNamespace(get_frozen_credentials=lambda: ReadOnlyCredentials(f"AKID{next(known)}", "s", "t"))
    reader = pages(server, credentials=refreshed)
    assert json.loads(bytes(reader.read(0, 1)))["Count"] == 25
    reader.close()


def test_read_when_nobody_listens_gives_up(server: Server) -> None:
    source = Source("left", "t", REGION, "http://127.0.0.1:1", Credentials("a", "b"), "")
    reader = Pages(source, Budget("left", 1e9), Buffer(), sleep=Waits())
    with pytest.raises(OpsError, match=r"given up after 10 attempts; the last: no whole answer: .*refused"):
        reader.read(0, 1)


@pytest.mark.parametrize("chunked", [False, True])
def test_read_of_more_than_a_page_can_be_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    monkeypatch.setattr(wire, "MOST_BYTES", 64)
    monkeypatch.setattr(wire, "STEP_BYTES", 8)
    server.chunked = chunked
    reader = pages(server)
    with pytest.raises(OpsError, match="left: a page of more than"):
        reader.read(0, 1)
    reader.close()


def test_read_of_a_chunked_answer_gives_the_whole_page(server: Server) -> None:
    server.chunked = True
    reader = pages(server)
    assert json.loads(bytes(reader.read(0, 1)))["Count"] == 25
    assert json.loads(bytes(reader.read(0, 1)))["Count"] == 25
    assert server.connections == 1
    reader.close()

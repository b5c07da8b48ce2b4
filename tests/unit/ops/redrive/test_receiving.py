"""A pass over a queue hands each message out once, ends, and keeps nothing."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.redrive import receiving
from ops.redrive.messages import Letter
from ops.redrive.receiving import give_back, stream
from ops.stage import load_stage
from tests.unit.ops.redrive.fakes import Clock, FakeCloud, FakeSqs, dead_letter_queue

QUEUE = dead_letter_queue()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(receiving, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(receiving, "_POLL_S", 0.001)
    monkeypatch.setattr(receiving, "OVER_LIMIT_WAIT_S", 0.0)
    return clock


def cloud_of(sqs: FakeSqs) -> FakeCloud:
    return FakeCloud(load_stage("local"), sqs)


def filled(clock: Clock, count: int) -> FakeSqs:
    sqs = FakeSqs(clock)
    for number in range(count):
        sqs.put(number)
    return sqs


def read_all(sqs: FakeSqs, limit: int = 0, receivers: int = 4, hidden_s: int = 600) -> list[Letter]:
    batches = stream(
        cloud_of(sqs),  # type: ignore[arg-type]
        QUEUE,
        hidden_s=hidden_s,
        limit=limit,
        receivers=receivers,
        stop=threading.Event(),
    )
    return [letter for batch in batches for letter in batch]


@given(count=st.integers(0, 120), limit=st.integers(0, 130), receivers=st.integers(1, 8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_message_is_handed_out_once_up_to_the_limit_and_the_rest_given_back(
    clock: Clock, count: int, limit: int, receivers: int
) -> None:
    sqs = filled(clock, count)
    letters = read_all(sqs, limit, receivers)
    expected = min(count, limit or count)
    assert len({letter.message_id for letter in letters}) == len(letters) == expected
    assert sqs.hidden == expected
    give_back(cloud_of(sqs), QUEUE, letters)  # type: ignore[arg-type]
    assert sqs.hidden == 0


def test_pass_ends_when_all_that_comes_was_given_back_before(clock: Clock) -> None:
    sqs = filled(clock, 30)
    cloud, seen = cloud_of(sqs), []
    for batch in stream(cloud, QUEUE, hidden_s=600, limit=0, receivers=1, stop=threading.Event()):  # type: ignore[arg-type]
        seen += [letter.message_id for letter in batch]
        give_back(cloud, QUEUE, batch)  # type: ignore[arg-type]
    assert len(seen) == len(set(seen)) <= 30
    assert sqs.calls.count("ReceiveMessage") < 100


def test_pass_that_is_stopped_gives_back_what_nobody_took(clock: Clock) -> None:
    sqs, stop, taken = filled(clock, 300), threading.Event(), []
    for batch in stream(cloud_of(sqs), QUEUE, hidden_s=600, limit=0, receivers=8, stop=stop):  # type: ignore[arg-type]
        taken += batch
        stop.set()
    assert sqs.hidden == len(taken) == 10


def test_queue_that_cannot_be_read_says_so(clock: Clock) -> None:
    sqs = filled(clock, 5)
    sqs.failing["ReceiveMessage"] = ["refused"] * 8
    with pytest.raises(ClientError, match="AccessDenied"):
        read_all(sqs, receivers=1)


def test_too_many_in_flight_is_waited_for_and_then_ends(clock: Clock) -> None:
    sqs = filled(clock, 50)
    sqs.hides_at_most = 20
    assert len(read_all(sqs, receivers=1, hidden_s=10_000)) == 20

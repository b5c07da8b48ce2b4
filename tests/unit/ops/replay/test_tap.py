"""The tap keeps keys only, each once, and says what it could not read."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.aws import Cloud
from ops.replay.tap import Tap
from ops.tablescan import split
from tests.unit.ops.replay.replays import START, US, Archived

NAME = "atoll-unit-0123456789abcdef-{:03d}"


class Silent:
    """A cloud whose clients are never asked."""

    def client(self, service: str, region: str) -> Any:
        return None


def tap(own: bool = True) -> Tap:
    return Tap(Silent(), US, "", own=own, wait_s=0)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3)), max_size=60))
def test_take_when_copies_come_twice_counts_each_event_once(heard: list[tuple[int, int]]) -> None:
    one = tap()
    one.take(Archived(uuid.UUID(int=n), START).envelope(NAME.format(number)) for n, number in heard)
    assert one.count == len(set(heard)) == sum(one.by_minute.values())
    assert split(one.keys()) == sorted({uuid.UUID(int=n).bytes for n, _ in heard})
    for number in (1, 2, 3):
        assert len(one.keys_of(number)) == 16 * len({n for n, of in heard if of == number})


def test_know_adds_what_an_earlier_run_had_heard() -> None:
    first, second = tap(), tap()
    first.take(Archived(uuid.UUID(int=n), START).envelope(NAME.format(1)) for n in range(5))
    second.know(1, first.keys_of(1))
    second.take([Archived(uuid.UUID(int=4), START).envelope(NAME.format(1))])
    assert second.keys_of(1) == first.keys_of(1)


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"replay-name": "other"}', '{"replay-name": 5, "time": 1}'])
def test_take_when_a_message_is_no_replayed_event_counts_it_as_unreadable(body: str) -> None:
    one = tap()
    one.take([body, json.dumps({"replay-name": NAME.format(1), "time": "2026", "detail": {"event_key": "x"}})])
    assert (one.count, one.unreadable) == (0, 2)


def test_take_of_a_foreign_bus_counts_by_the_envelopes_id() -> None:
    envelope = {"replay-name": NAME.format(2), "time": "2026-11-20T14:03:09Z", "detail-type": "paid", "id": "a"}
    one = tap(own=False)
    one.take(json.dumps(envelope | {"id": name}) for name in ("a", "b", "a"))
    assert one.by_minute == {("2026-11-20T14:03:00Z", "paid"): 2}
    assert len(one.keys_of(2)) == 32


def test_tap_drains_its_queue_and_deletes_what_it_heard(account: Cloud) -> None:
    sqs = account.client("sqs", US)
    url = sqs.create_queue(QueueName="tap")["QueueUrl"]
    for number in range(23):
        sqs.send_message(QueueUrl=url, MessageBody=Archived(uuid.UUID(int=number), START).envelope(NAME.format(1)))
    one = Tap(account, US, url, own=True, wait_s=0)
    one.start()
    assert one.await_dry(30)
    one.stop()
    assert one.count == 23
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert [counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]] == ["0", "0"]


def test_tap_when_its_queue_is_not_there_is_not_dry_and_says_why(account: Cloud) -> None:
    one = Tap(account, US, f"https://sqs.{US}.amazonaws.com/123456789012/none", own=True, wait_s=0)
    one.start(listeners=1)
    assert not one.await_dry(0.2)
    one.stop()
    assert "NonExistentQueue" in one.problem or "does not exist" in one.problem

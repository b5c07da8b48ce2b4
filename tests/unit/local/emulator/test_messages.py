"""The index of a queue answers as a walk over all of its messages would."""

from __future__ import annotations

import copy
import threading
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ops.local.emulator.messages import Messages


def message(sent_at: float, *, delay_s: float = 0.0, **changes: Any) -> dict[str, Any]:
    return {
        "sent_at": sent_at,
        "visible_at": sent_at + delay_s,
        "receive_count": 0,
        "receipt_handle": None,
        "first_receive_at": None,
        **changes,
    }


class QueueMachine(RuleBasedStateMachine):
    """A queue beside a plain list of what should be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.receipts = map(str, count())
        self.messages = Messages()
        self.model: list[dict[str, Any]] = []

    def visible(self) -> list[dict[str, Any]]:
        return [one for one in self.model if one["visible_at"] <= self.now]

    @rule(delay_s=st.integers(0, 3))
    def send(self, delay_s: int) -> None:
        one = message(self.now, delay_s=delay_s)
        self.messages.append(one)
        self.model.append(one)

    @rule(seconds=st.integers(1, 5))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule(most=st.integers(1, 4), hidden_s=st.integers(0, 4), limit=st.integers(1, 4))
    def receive(self, most: int, hidden_s: int, limit: int) -> None:
        expected: list[dict[str, Any]] = []
        for one in self.visible():
            if len(expected) == most:
                break
            if one["receive_count"] >= limit:
                self.model.remove(one)
            else:
                expected.append(one)
        before = [one["receive_count"] for one in expected]
        taken = self.messages.take(
            most, self.now, hidden_s, self.receipts.__next__, lambda one: bool(one["receive_count"] >= limit)
        )
        assert [id(one) for one in taken] == [id(one) for one in expected]
        assert [one["receive_count"] - 1 for one in taken] == before
        assert all(one["visible_at"] == self.now + hidden_s for one in taken)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        received = [one for one in self.model if one["receipt_handle"]]
        if received:
            one = data.draw(st.sampled_from(received))
            assert self.messages.delete(one["receipt_handle"]) is one
            assert self.messages.delete(one["receipt_handle"]) is None
            self.model = [other for other in self.model if other is not one]

    @rule(data=st.data(), hidden_s=st.integers(0, 4))
    def hide(self, data: st.DataObject, hidden_s: int) -> None:
        received = [one for one in self.model if one["receipt_handle"]]
        if received:
            one = data.draw(st.sampled_from(received))
            in_flight = one["visible_at"] > self.now
            assert self.messages.change_visibility(one["receipt_handle"], self.now, hidden_s) == in_flight
            if in_flight:
                assert one["visible_at"] == self.now + hidden_s

    @rule(age_s=st.integers(5, 12))
    def expire(self, age_s: int) -> None:
        kept = [one for one in self.model if one["sent_at"] > self.now - age_s]
        assert self.messages.expire(self.now - age_s) == len(self.model) - len(kept)
        self.model = kept

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert [id(one) for one in self.messages] == [id(one) for one in self.model]
        assert len(self.messages) == len(self.model)
        hidden = [one for one in self.model if one["visible_at"] > self.now]
        delayed = sum(not one["receive_count"] for one in hidden)
        assert self.messages.counts(self.now) == (len(self.visible()), len(hidden) - delayed, delayed)
        assert self.messages.oldest_s() == min((one["sent_at"] for one in self.model), default=None)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=150, stateful_step_count=40)


def test_messages_added_while_others_are_deleted_are_all_there() -> None:
    messages = Messages(message(0) for _ in range(2000))
    taken = messages.take(2000, 0, 60, map(str, count()).__next__, lambda one: False)

    def add() -> None:
        for _ in range(2000):
            messages.append(message(1))

    adding = [threading.Thread(target=add) for _ in range(4)]
    for thread in adding:
        thread.start()
    for one in taken:
        messages.delete(one["receipt_handle"])
    for thread in adding:
        thread.join()
    assert len(messages) == 8000


def test_places_of_messages_that_are_gone_are_forgotten() -> None:
    messages, receipts = Messages(), map(str, count())
    for _ in range(20_000):
        messages.append(message(0))
        (one,) = messages.take(1, 0, 60, receipts.__next__, lambda one: False)
        messages.delete(one["receipt_handle"])
    assert len(messages._by_age) + len(messages._hidden) + len(messages._next) < 2000


def test_message_can_be_removed_once_by_itself_and_a_copy_is_a_plain_list() -> None:
    one, other = message(0), message(1)
    messages = Messages([one, other])
    messages.remove(one)
    with pytest.raises(ValueError, match="not in this queue"):
        messages.remove(one)
    copied = copy.deepcopy(messages)
    assert copied == [other]
    assert copied[0] is not other
    messages.clear()
    assert len(messages) == 0

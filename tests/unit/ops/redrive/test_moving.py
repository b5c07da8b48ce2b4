"""The law of a redrive: a message is deleted only after it was delivered or quarantined, whatever fails meanwhile."""

from __future__ import annotations

import contextlib
import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.bucket import Place
from ops.errors import OpsError
from ops.rate import TokenBucket
from ops.redrive import delivering, moving, receiving
from ops.redrive.choice import Choice
from ops.redrive.moving import Pass
from ops.redrive.orders import Orders, Tally
from ops.stage import load_stage
from tests.unit.ops.redrive.fakes import Clock, FakeCloud, FakeSqs, KilledError, Outcome, dead_letter_queue

STAGE = load_stage("local")
PLACE = Place("kept", "", "us-east-1")
WANTED = Choice(error_codes=("wanted",))
OUTCOMES: list[Outcome] = ["ok", "ok", "refused", "unanswered", "throttled", "partly"]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes with the calls made, and waits that do not take any."""
    clock = Clock()
    for module in (moving, receiving):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(receiving, "OVER_LIMIT_WAIT_S", 0.0)
    monkeypatch.setattr(receiving, "_POLL_S", 0.001)
    monkeypatch.setattr(delivering, "FIRST_WAIT_S", 0.0)
    return clock


def redrive(sqs: FakeSqs, *, stop: threading.Event | None = None, **orders: Any) -> Tally:
    """One pass; what it raises is what the fault was, and is no loss."""
    tally = Tally()
    given = {"choice": WANTED, "second": "quarantine", "place": PLACE, "rate_per_s": 50} | orders
    Pass(
        FakeCloud(STAGE, sqs),  # type: ignore[arg-type]
        dead_letter_queue(),
        Orders(**given),
        rate=TokenBucket(1e9),
        tally=tally,
        stop=stop or threading.Event(),
    ).run()
    return tally


def filled(clock: Clock, kinds: list[str]) -> FakeSqs:
    sqs = FakeSqs(clock)
    for number, kind in enumerate(kinds):
        again = {"REDRIVES": "1"} if kind == "again" else {}
        sqs.put(number, FUNCTION="store", ERROR_CODE="other" if kind == "other" else "wanted", **again)
    return sqs


KINDS = st.lists(st.sampled_from(["new", "new", "again", "other"]), min_size=1, max_size=45)


@given(
    kinds=KINDS,
    outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=30),
    killed=st.lists(st.integers(0, 25), max_size=3),
    rate=st.sampled_from([1, 50, 1000]),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_message_is_deleted_only_after_it_was_delivered_or_quarantined(
    clock: Clock, kinds: list[str], outcomes: list[Outcome], killed: list[int], rate: int
) -> None:
    sqs = filled(clock, kinds)
    everything = sqs.bodies()
    for after in killed:
        sqs.outcomes = iter([*outcomes[:after], *["ok"] * max(0, after - len(outcomes)), "killed"])
        with contextlib.suppress(KilledError, ClientError, BotoCoreError, OpsError):
            redrive(sqs, rate_per_s=rate)
        sqs.dead = False
    sqs.outcomes = iter(outcomes)
    with contextlib.suppress(ClientError, BotoCoreError, OpsError):
        redrive(sqs, rate_per_s=rate)
    assert sqs.lost == []
    kept = {json.loads(body)["body"] for body in sqs.kept.values()}
    assert sqs.bodies() | set(sqs.taken) | kept == everything

    sqs.outcomes = iter(())
    for _ in range(5):  # what waited too long for its turn is left to the next pass, which says so
        if not redrive(sqs, rate_per_s=rate).incomplete:
            break

    kept = {json.loads(body)["body"] for body in sqs.kept.values()}
    assert sqs.lost == []
    assert kept == {f"body-{n}" for n, kind in enumerate(kinds) if kind == "again"}
    assert set(sqs.taken) == {f"body-{n}" for n, kind in enumerate(kinds) if kind == "new"}
    assert sqs.bodies() == {f"body-{n}" for n, kind in enumerate(kinds) if kind == "other"}
    assert sqs.hidden == 0


def test_what_is_not_chosen_is_passed_over_and_given_back(clock: Clock) -> None:
    sqs = filled(clock, ["other"] * 5_000 + ["new"] * 10)
    tally = redrive(sqs, rate_per_s=1000)
    assert (tally.seen, tally.moved, tally.passed_over) == (5_010, 10, 5_000)
    assert (len(sqs.messages), sqs.hidden, sorted(sqs.taken)) == (5_000, 0, [f"body-{n}" for n in range(5_000, 5_010)])
    assert sqs.calls.count("ReceiveMessage") < 600


def test_each_message_is_sent_once_and_counted_when_nothing_fails(clock: Clock) -> None:
    sqs = filled(clock, ["new"] * 1_000)
    tally = redrive(sqs, rate_per_s=1000)
    assert tally.figures() == {
        "seen": 1000,
        "moved": 1000,
        "quarantined": 0,
        "passed_over": 0,
        "left": 0,
        "undelivered": {},
        "untargeted": {},
        "undeleted": 0,
        "incomplete": "",
    }
    assert sorted(sqs.taken) == sorted({f"body-{n}" for n in range(1_000)})
    assert sqs.sent_attributes["body-7"]["REDRIVES"] == {"DataType": "Number", "StringValue": "1"}


@pytest.mark.parametrize(("second", "kept", "taken"), [("quarantine", 3, 0), ("leave", 0, 0), ("redrive", 0, 3)])
def test_what_failed_before_is_treated_as_ordered(clock: Clock, second: str, kept: int, taken: int) -> None:
    sqs = filled(clock, ["again"] * 3)
    tally = redrive(sqs, second=second)
    assert (len(sqs.kept), len(sqs.taken), len(sqs.messages)) == (kept, taken, 3 - kept - taken)
    assert tally.left == 3 - kept - taken


def test_limit_moves_no_more_and_gives_the_rest_back(clock: Clock) -> None:
    sqs = filled(clock, ["new"] * 100)
    assert redrive(sqs, limit=25, rate_per_s=1000).moved == 25
    assert (len(sqs.taken), len(sqs.messages), sqs.hidden) == (25, 75, 0)


def test_target_that_takes_nothing_ends_the_pass_with_its_reason(clock: Clock) -> None:
    sqs = filled(clock, ["new"] * 2_000)
    sqs.target_refuses = lambda body: "AccessDenied"
    tally = redrive(sqs, rate_per_s=1000)
    assert "AccessDenied: on purpose" in tally.incomplete
    assert tally.moved == 0
    assert (len(sqs.messages), sqs.hidden) == (2_000, 0)
    assert sqs.calls.count("SendMessageBatch") < 60


def test_more_in_flight_than_sqs_allows_ends_and_says_so(clock: Clock) -> None:
    sqs = filled(clock, ["other"] * 200 + ["new"] * 10)
    sqs.hides_at_most = 100
    tally = redrive(sqs)
    assert "than SQS hides at a time" in tally.incomplete
    assert (len(sqs.messages) + len(set(sqs.taken)), sqs.hidden) == (210, 0)


def test_message_without_a_target_stays_with_its_reason(clock: Clock) -> None:
    sqs, tally = filled(clock, ["new"]), Tally()
    Pass(
        FakeCloud(STAGE, sqs),  # type: ignore[arg-type]
        dead_letter_queue(feeds=()),
        Orders(WANTED, "quarantine", PLACE, 50),
        rate=TokenBucket(1e9),
        tally=tally,
        stop=threading.Event(),
    ).run()
    assert (tally.moved, tally.untargeted.total(), len(sqs.messages), sqs.hidden) == (0, 1, 1, 0)


def test_bucket_that_takes_nothing_stops_the_run_and_keeps_the_messages(clock: Clock) -> None:
    sqs = filled(clock, ["again"] * 3)
    sqs.put_object = lambda **_: (_ for _ in ()).throw(  # type: ignore[method-assign]
        ClientError({"Error": {"Code": "NoSuchBucket", "Message": ""}}, "PutObject")
    )
    with pytest.raises(OpsError, match="no such bucket"):
        redrive(sqs)
    assert (len(sqs.messages), sqs.hidden) == (3, 0)


def test_interruption_gives_back_what_is_in_hand(clock: Clock) -> None:
    sqs, tally = filled(clock, ["new"] * 500), Tally()

    def interrupt() -> None:
        if tally.moved >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pass(
            FakeCloud(STAGE, sqs),  # type: ignore[arg-type]
            dead_letter_queue(),
            Orders(WANTED, "quarantine", PLACE, 50),
            rate=TokenBucket(1e9),
            tally=tally,
            stop=threading.Event(),
            tick=interrupt,
        ).run()
    assert 100 <= tally.moved < 500
    assert len(sqs.taken) == tally.moved
    assert (len(sqs.messages), sqs.hidden) == (500 - tally.moved, 0)


def test_deletion_that_was_refused_is_made_up_for_without_sending_again(clock: Clock) -> None:
    sqs = filled(clock, ["new"])
    sqs.failing["DeleteMessageBatch"] = ["refused", "throttled", "refused"]
    sqs.call_s = 5.0
    tally = redrive(sqs)
    assert (sqs.taken, sqs.messages, tally.undeleted) == (["body-0"], {}, 0)

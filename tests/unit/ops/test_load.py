from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ops import load
from ops.errors import OpsError, UsageError
from ops.load import EDGE, FOUR_CITIES, Attempt, EventId, Load, LoadRecord
from ops.post import request_for
from ops.token import Token, Tokens

EDGE_URL, REGIONS = (
    "http://edge.example",
    {"us-east-1": "http://us.example", "ap-south-1": "http://india.example", "eu-west-1": "http://eu.example"},
)
REGION_OF = {url.removeprefix("http://"): region for region, url in REGIONS.items()}

# The endpoint is played inside httpx; an event loop needs a pair of sockets of its own.
pytestmark = pytest.mark.usefixtures("socket_enabled")


def tokens(fetch: Callable[[], Token] = lambda: Token("t", 3600)) -> Tokens:
    return Tokens(fetch)


class Platform:
    """What the edge and the regions answer; ``down`` are regions that fail, and the edge leads to ``near``."""

    def __init__(self) -> None:
        self.down: dict[str, int] = {}
        self.near = "us-east-1"
        self.bodies: dict[str, set[bytes]] = defaultdict(set)
        self.asked: list[tuple[str, str, float]] = []
        self.headers: dict[str, str] = {}
        self.retry_after: str = ""
        self.enough = threading.Event()
        self.wanted = 20

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        event = json.loads(request.content)
        region = REGION_OF.get(request.url.host, self.near)
        self.bodies[event["id"]].add(request.content)
        self.asked.append((event["id"], request.url.host, time.monotonic()))
        if len(self.asked) >= self.wanted:
            self.enough.set()
        status = self.down.get(region, 202)
        if status == 0:
            raise httpx.ConnectError("gone", request=request)
        if status == -1:
            await asyncio.sleep(3600)
        headers = {"x-atoll-region": region} | self.headers
        if status == 202:
            return httpx.Response(202, json={"event_key": f"key-{event['id']}", "region": region}, headers=headers)
        return httpx.Response(status, json={}, headers=headers | {"retry-after": self.retry_after})

    def load(self, **more: Any) -> Load:
        options: dict[str, Any] = {"rate_per_s": 200.0, "run": "r1", "transport": httpx.MockTransport(self), **more}
        return Load(EDGE_URL, REGIONS, options.pop("tokens", tokens()), **options)

    def run(self, wanted: int = 20, drain_s: float = 5, **more: Any) -> LoadRecord:
        """The record of a load that made at least ``wanted`` attempts."""
        self.wanted = wanted
        made = self.load(**more)
        made.start()
        assert self.enough.wait(20)
        return made.finish(drain_s)


@pytest.fixture
def platform() -> Platform:
    return Platform()


def test_load_when_all_is_well_has_each_event_accepted_at_the_first_attempt(platform: Platform) -> None:
    record = platform.run(40)

    assert len(record.accepted) == len(record.attempts) >= 40
    assert {one.via for one in record.attempts} == {EDGE}
    assert {(one.number, one.status, one.region) for one in record.attempts} == {(1, 202, "us-east-1")}
    assert (record.in_doubt, record.rejected, record.unsent) == ((), (), ())
    assert {one.city for one in record.attempts} == set(FOUR_CITIES)
    assert {one.source for one in record.attempts} == {
        "/drills/r1/mumbai",
        "/drills/r1/new-york",
        "/drills/r1/london",
        "/drills/r1/singapore",
    }


def test_load_keeps_its_timetable_whatever_the_answers_take(platform: Platform) -> None:
    platform.down = {"us-east-1": -1, "ap-south-1": -1, "eu-west-1": -1}
    record = platform.run(30, drain_s=0, rate_per_s=100)

    due = sorted(one.due for one in record.attempts if one.number == 1)
    assert all(b - a == pytest.approx(0.01, abs=1e-4) for a, b in itertools.pairwise(due))
    assert len(due) >= 30


@pytest.mark.parametrize("status", [500, 503, 429, 409, 0])
def test_load_when_the_nearest_region_fails_repeats_the_same_event_elsewhere(platform: Platform, status: int) -> None:
    platform.down = {"us-east-1": status}
    record = platform.run(30)

    assert record.accepted
    assert not record.in_doubt
    assert {event.region for event in record.accepted.values()} == {"ap-south-1", "eu-west-1"}
    for attempts in record.by_event.values():
        assert [(one.number, one.via == EDGE) for one in attempts] == [
            (place, place % 2 == 1) for place in range(1, len(attempts) + 1)
        ]
    assert all(len(bodies) == 1 for bodies in platform.bodies.values())
    one = record.attempts[0]
    assert platform.bodies[one.id] == {request_for(one.source, one.id, True)[1]}


def test_load_when_only_one_region_is_left_finds_it(platform: Platform) -> None:
    platform.down = {"us-east-1": 503, "ap-south-1": 0}
    record = platform.run(40, drain_s=20)

    assert not record.in_doubt
    assert {event.region for event in record.accepted.values()} == {"eu-west-1"}
    assert max(len(attempts) for attempts in record.by_event.values()) <= 6


def test_load_when_a_region_hangs_gives_the_attempt_up_in_bounded_time(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "ATTEMPT_TIMEOUT_S", 0.1)
    platform.down = {"us-east-1": -1}
    record = platform.run(20)

    hung = [one for one in record.attempts if one.via == EDGE]
    assert not record.in_doubt
    assert {(one.status, one.region) for one in hung} == {(0, None)}
    assert all(0.09 <= one.ended - one.started < 2 for one in hung)


def test_load_with_an_answer_for_good_does_not_repeat(platform: Platform) -> None:
    platform.down = {"us-east-1": 422}
    record = platform.run(20)

    assert {one.number for one in record.attempts} == {1}
    assert len(record.rejected) == len(record.attempts)
    assert (record.accepted, record.in_doubt) == ({}, ())


def test_load_when_asked_to_retry_later_waits_at_least_that(platform: Platform) -> None:
    platform.down, platform.retry_after = {"us-east-1": 503}, "1"
    record = platform.run(4, rate_per_s=50)

    for first, second in (attempts[:2] for attempts in record.by_event.values() if len(attempts) > 1):
        assert second.started - first.ended >= 1
    assert any(len(attempts) > 1 for attempts in record.by_event.values())


def test_load_when_nothing_answers_leaves_the_events_in_doubt(platform: Platform) -> None:
    platform.down = {"us-east-1": 0, "ap-south-1": 503, "eu-west-1": 503}
    record = platform.run(20, drain_s=0)

    assert record.accepted == {}
    assert set(record.in_doubt) == set(record.by_event)


def test_load_when_too_many_are_under_way_says_what_was_not_sent(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "MAX_UNDER_WAY", 10)
    platform.down = {"us-east-1": -1}
    made = platform.load(rate_per_s=500)
    made.start()
    deadline = time.monotonic() + 10
    while not made.record().unsent and time.monotonic() < deadline:
        platform.enough.wait(0.01)
    record = made.finish(0)

    assert record.unsent
    assert len(record.by_event) == 10


def test_start_without_a_token_sends_nothing(platform: Platform) -> None:
    def refuse() -> Token:
        raise UsageError("token: none")

    with pytest.raises(UsageError, match="token: none"):
        platform.load(tokens=tokens(refuse)).start()
    assert platform.asked == []


def test_load_when_the_token_cannot_be_renewed_goes_on_with_the_one_it_has(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "TOKEN_LOOK_S", 0.01)
    fetched = iter([Token("first", 0.02)])

    def fetch() -> Token:
        if (token := next(fetched, None)) is None:
            raise OpsError("token: no answer")
        return token

    record = platform.run(30, tokens=tokens(fetch))

    assert len(record.accepted) >= 30


def test_finish_when_the_load_broke_off_says_why(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Load, "_begin_events", lambda *_: 1 / 0)
    made = platform.load()
    made.start()

    with pytest.raises(OpsError, match="broke off: ZeroDivisionError"):
        made.finish()


def test_load_as_context_manager_leaves_no_thread_behind(platform: Platform) -> None:
    platform.down = {"us-east-1": -1}
    with platform.load():
        assert platform.enough.wait(20)

    assert not [thread for thread in threading.enumerate() if thread.name == "atoll-load"]


def test_finish_twice_gives_the_same_record(platform: Platform) -> None:
    made = platform.load()
    made.start()
    assert platform.enough.wait(20)

    assert made.finish() == made.finish()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate_per_s": 0}, "rate_per_s: 0"),
        ({"cities": ()}, "cities"),
        ({"run": "a/b"}, "run: 'a/b'"),
    ],
)
def test_load_with_bad_input_names_the_field(platform: Platform, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        platform.load(**options)


def test_record_with_a_202_that_names_no_event_is_in_doubt() -> None:
    record = LoadRecord("r", (Attempt("/drills/r/x", "1-0", None, "London", 1, EDGE, "us-east-1", 202, 1.0, 2.0),))

    assert record.in_doubt == (EventId("/drills/r/x", "1-0"),)
    assert record.frame().iloc[0][["status", "latency_ms"]].tolist() == [202, 1000.0]

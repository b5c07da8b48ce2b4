from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from ops import arrival
from ops.errors import OpsError, UsageError
from ops.failover import arrivals
from ops.failover.arrivals import Arrivals
from ops.load import LoadRecord
from tests.unit.ops.failover.conftest import INDIA, REGIONS, US, attempt, key_of, record


class Replicas:
    """What each region's replica holds; ``down`` are regions that do not answer."""

    def __init__(self) -> None:
        self.holds: dict[str, set[str]] = {region: set() for region in REGIONS}
        self.down: set[str] = set()
        self.asked: list[tuple[str, int]] = []
        self.broken = False

    def present(self, _: Any, region: str, keys: Iterable[str]) -> set[str]:
        wanted = set(keys)
        self.asked.append((region, len(wanted)))
        if self.broken:
            raise ZeroDivisionError
        if region in self.down:
            raise OpsError(f"{region}: no answer")
        return wanted & self.holds[region]


@pytest.fixture
def replicas(monkeypatch: pytest.MonkeyPatch) -> Replicas:
    made = Replicas()
    monkeypatch.setattr(arrival, "present", made.present)
    return made


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    paused = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        paused.wait(0.005)


def watching(made: LoadRecord, poll_s: float = 0.01) -> Arrivals:
    return Arrivals(SimpleNamespace(), lambda: made, REGIONS, poll_s)  # type: ignore[arg-type]


def recent(count: int, **changes: Any) -> LoadRecord:
    now = time.time()
    return record(*(attempt(number, at=now - count + number - 0.2, **changes) for number in range(count)))


def test_arrivals_when_an_event_appears_notes_when_and_where(replicas: Replicas) -> None:
    made = recent(2)
    replicas.holds[US] = set(made.accepted)
    with watching(made) as seen:
        until(lambda: len(seen.seen) == 2)
        late = time.time()
        replicas.holds[INDIA] = {key_of(0)}
        until(lambda: (key_of(0), INDIA) in seen.seen)
        assert seen.missing() == {US: [], INDIA: [key_of(1)]}
        assert not seen.finish(0.05)

    frame = seen.frame().set_index(["event_key", "region"])
    assert seen.seen[key_of(0), INDIA] >= late
    assert frame.loc[(key_of(0), INDIA), "lag_ms"] == pytest.approx(
        (seen.seen[key_of(0), INDIA] - made.accepted[key_of(0)].at) * 1000, abs=1
    )
    assert frame["lag_ms"].isna().sum() == 1


def test_finish_when_all_is_seen_ends_at_once(replicas: Replicas) -> None:
    made = recent(3)
    replicas.holds = {region: set(made.accepted) for region in REGIONS}
    seen = watching(made)
    seen.start()

    assert seen.finish(20)
    assert len(seen.seen) == 6


def test_finish_takes_in_what_was_accepted_since_the_last_look(replicas: Replicas) -> None:
    known = [record()]
    seen = Arrivals(SimpleNamespace(), lambda: known[0], REGIONS, 60)  # type: ignore[arg-type]
    seen.start()
    known[0] = recent(1)

    assert not seen.finish(0)
    assert seen.missing() == {US: [key_of(0)], INDIA: [key_of(0)]}


def test_arrivals_when_a_region_does_not_answer_has_a_span_and_goes_on(replicas: Replicas) -> None:
    made = recent(1)
    replicas.down = {INDIA}
    replicas.holds = {region: set(made.accepted) for region in REGIONS}
    with watching(made) as seen:
        until(lambda: seen.unreachable and (key_of(0), US) in seen.seen)
        assert [(span.region, span.ended) for span in seen.unreachable] == [(INDIA, None)]
        replicas.down = set()
        until(lambda: (key_of(0), INDIA) in seen.seen)
        until(lambda: seen.unreachable[0].ended is not None)

    (span,) = seen.unreachable
    assert span.ended is not None
    assert span.started <= span.ended == pytest.approx(seen.seen[key_of(0), INDIA], abs=0.5)
    assert span.reason == f"{INDIA}: no answer"


def test_arrivals_with_a_backlog_ask_for_the_oldest_and_the_newest(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "ASKED_AT_ONCE", 4)
    made = recent(10)
    replicas.holds[INDIA] = {key_of(9)}
    with watching(made) as seen:
        until(lambda: seen.seen)

    assert {count for _, count in replicas.asked} == {4}
    assert set(seen.seen) == {(key_of(9), INDIA)}


@pytest.mark.parametrize(
    ("accepted_in", "at", "left", "expected"),
    [
        (US, 5.0, US, (3, 4.9)),  # 0, 1 and 2 were accepted by then, and were not seen in India
        (US, 1.05, US, (1, 0.95)),
        (INDIA, 5.0, US, (0, 0.0)),
        (US, 5.0, INDIA, (0, 0.0)),
    ],
)
def test_behind_counts_what_the_region_being_left_would_have_kept_to_itself(
    replicas: Replicas, accepted_in: str, at: float, left: str, expected: tuple[int, float]
) -> None:
    base = time.time() - 100
    made = record(*(attempt(number, at=base + number, region=accepted_in) for number in range(3)))
    replicas.holds[US] = set(made.accepted)
    with watching(made) as seen:
        until(lambda: len(seen.seen) == 3)
    rpo = seen.behind(base + at, left)

    assert [rpo.events, rpo.seconds] == [expected[0], pytest.approx(expected[1], abs=0.001)]
    assert rpo.keys == tuple(key_of(number) for number in range(expected[0]))


def test_behind_when_a_survivor_held_it_in_time_loses_nothing(replicas: Replicas) -> None:
    made = recent(2)
    replicas.holds = {region: set(made.accepted) for region in REGIONS}
    with watching(made) as seen:
        until(lambda: len(seen.seen) == 4)

    assert seen.behind(time.time(), US).events == 0
    # Before it was seen there, it was not there as far as anyone can tell.
    assert seen.behind(made.accepted[key_of(1)].at, US).events == 2


def test_finish_when_watching_broke_off_says_why(replicas: Replicas) -> None:
    replicas.broken = True
    seen = watching(recent(1))
    seen.start()
    until(lambda: replicas.asked)

    with pytest.raises(OpsError, match="broke off"):
        seen.finish(20)


def test_arrivals_with_bad_input_are_refused(replicas: Replicas) -> None:
    with pytest.raises(UsageError, match="poll_s: 0"):
        watching(record(), poll_s=0)
    with pytest.raises(UsageError, match="never watched"):
        watching(record()).finish(1)

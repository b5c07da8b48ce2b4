"""Replication is asynchronous, ordered, last writer wins: each rule alone, then all of them under any interleaving."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ops.local.emulator.replication import NS_PER_MS, ReplicationLog, Stamp, Write, settled

TABLE = ("000000000000", "events")
A, B, C = "ap-south-1", "eu-west-1", "us-east-1"


class World:
    """Replicas as plain dictionaries, and a clock that a test moves."""

    def __init__(self, *regions: str, lag_ms: float = 0) -> None:
        self.now_ns = 0
        self.regions = list(regions)
        self.replicas: dict[str, dict[Hashable, Any]] = {region: {} for region in regions}
        self.log = ReplicationLog(apply=self.apply, clock=lambda: self.now_ns, default_lag_ms=lag_ms)

    def apply(self, write: Write, region: str) -> bool:
        if region not in self.replicas:
            return False
        if write.item is None:
            self.replicas[region].pop(write.key, None)
        else:
            self.replicas[region][write.key] = write.item
        return True

    def put(self, region: str, key: str, item: Any) -> Stamp:
        self.replicas[region][key] = item
        return self.log.record(TABLE, region, self.regions, key, item)

    def delete(self, region: str, key: str) -> Stamp:
        self.replicas[region].pop(key, None)
        return self.log.record(TABLE, region, self.regions, key, None)

    def pass_ms(self, milliseconds: float) -> None:
        self.now_ns += round(milliseconds * NS_PER_MS)
        self.log.pump()

    def cut(self, one: str, other: str, *, lose: bool = False) -> None:
        self.log.cut(one, other, lose=lose)
        self.log.cut(other, one, lose=lose)

    def heal(self, one: str, other: str) -> None:
        self.log.heal(one, other)
        self.log.heal(other, one)
        self.log.pump()


def test_write_before_its_lag_has_passed_is_not_in_the_other_region() -> None:
    world = World(A, B, lag_ms=200)
    world.put(A, "k", 1)
    world.pass_ms(199)
    assert world.replicas[B] == {}
    world.pass_ms(1)
    assert world.replicas[B] == {"k": 1}


def test_pump_returns_when_the_next_write_is_due() -> None:
    world = World(A, B, lag_ms=200)
    assert world.log.pump() is None
    world.put(A, "k", 1)
    assert world.log.pump() == 200 * NS_PER_MS
    world.cut(A, B)
    assert world.log.pump() is None


def test_pump_with_a_limit_delivers_the_oldest_first() -> None:
    world = World(A, B)
    for key in "abc":
        world.put(A, key, key)
    world.log.pump(limit=2)
    assert world.replicas[B] == {"a": "a", "b": "b"}


def test_lag_of_a_pair_applies_to_that_direction_only() -> None:
    world = World(A, B)
    world.log.set_lag(A, B, 50)
    world.put(A, "from a", 1)
    world.put(B, "from b", 1)
    world.pass_ms(0)
    assert "from b" in world.replicas[A]
    assert "from a" not in world.replicas[B]


def test_lowered_lag_keeps_the_order_of_one_regions_writes() -> None:
    world = World(A, B, lag_ms=1000)
    world.put(A, "k", "first")
    world.log.set_lag(A, B, 0)
    world.put(A, "k", "second")
    world.pass_ms(0)
    assert world.replicas[B] == {"k": "second"}


def test_concurrent_writes_converge_to_the_later() -> None:
    world = World(A, B, lag_ms=100)
    world.put(B, "k", "earlier")
    world.pass_ms(1)
    world.put(A, "k", "later")
    world.pass_ms(100)
    assert world.replicas == {A: {"k": "later"}, B: {"k": "later"}}


def test_writes_at_the_same_instant_converge_by_the_name_of_the_region() -> None:
    for first, second in ((A, B), (B, A)):
        world = World(A, B, lag_ms=100)
        world.put(first, "k", first)
        world.put(second, "k", second)
        world.pass_ms(100)
        assert world.replicas == {A: {"k": B}, B: {"k": B}}


def test_regions_own_write_supersedes_what_it_held_at_the_same_instant() -> None:
    world = World(A, B)
    world.put(B, "k", "from b")
    world.log.pump()
    world.put(A, "k", "from a, having seen b's")
    world.pass_ms(0)
    assert world.replicas[B] == world.replicas[A] == {"k": "from a, having seen b's"}


def test_late_older_write_after_a_delete_does_not_resurrect() -> None:
    world = World(A, B, C, lag_ms=10)
    world.log.cut(A, C)
    world.put(A, "k", 1)
    world.pass_ms(10)
    world.delete(B, "k")
    world.pass_ms(10)
    world.log.heal(A, C)
    world.pass_ms(10)
    assert world.replicas == {A: {}, B: {}, C: {}}


def test_cut_then_heal_delivers_what_was_held() -> None:
    world = World(A, B)
    world.cut(A, B)
    world.put(A, "k", 1)
    world.delete(B, "k")
    world.put(B, "other", 2)
    world.pass_ms(1000)
    assert world.replicas == {A: {"k": 1}, B: {"other": 2}}
    world.heal(A, B)
    assert world.replicas[A] == world.replicas[B] == {"other": 2}


def test_cut_with_lose_drops_what_was_queued_and_written_meanwhile_and_nothing_else() -> None:
    world = World(A, B, lag_ms=100)
    world.put(A, "before", 1)
    world.pass_ms(100)
    world.put(A, "queued", 1)
    world.cut(A, B, lose=True)
    world.put(A, "meanwhile", 1)
    world.delete(A, "before")
    world.heal(A, B)
    world.put(A, "after", 1)
    world.pass_ms(100)
    assert world.replicas[B] == {"before": 1, "after": 1}
    assert sum(link.dropped for link in world.log.links()) == 3


def test_held_cut_that_turns_lossy_drops_what_it_held() -> None:
    world = World(A, B)
    world.cut(A, B)
    world.put(A, "k", 1)
    world.cut(A, B, lose=True)
    world.heal(A, B)
    assert world.replicas[B] == {}
    assert world.log.keys_in_flight == 0


def test_new_replica_receives_what_its_source_had_not_received_yet() -> None:
    world = World(A, B, lag_ms=100)
    world.put(B, "in flight to a", 1)
    world.replicas[C] = dict(world.replicas[A])
    world.regions.append(C)
    world.log.add_replica(TABLE, A, C)
    world.pass_ms(100)
    assert world.replicas[C] == {"in flight to a": 1}


def test_new_replica_takes_no_older_write_than_the_copy_holds() -> None:
    world = World(A, B, lag_ms=100)
    world.put(B, "k", "older")
    world.pass_ms(1)
    world.put(A, "k", "newer")
    world.replicas[C] = dict(world.replicas[A])
    world.regions.append(C)
    world.log.add_replica(TABLE, A, C)
    world.pass_ms(100)
    assert [world.replicas[region] for region in (A, B, C)] == [{"k": "newer"}] * 3


def test_recreated_replica_gets_nothing_meant_for_its_earlier_self() -> None:
    world = World(A, B, lag_ms=100)
    world.put(A, "k", "to the earlier b")
    world.put(B, "own", "of the earlier b")
    world.delete(A, "k")
    world.replicas[B] = dict(world.replicas[A])
    world.log.add_replica(TABLE, A, B)
    world.pass_ms(100)
    assert world.replicas == {A: {}, B: {}}


def test_write_for_a_table_that_is_gone_is_dropped_and_forgotten() -> None:
    world = World(A, B)
    world.put(A, "k", 1)
    del world.replicas[B]
    world.pass_ms(0)
    assert [link.dropped for link in world.log.links()] == [1]
    assert world.log.keys_in_flight == 0


def test_nothing_is_remembered_once_all_is_delivered() -> None:
    world = World(A, B, C)
    for number in range(100):
        world.put(A, f"k{number % 7}", number)
        world.delete(B, f"k{number % 5}")
    world.pass_ms(0)
    assert world.log.keys_in_flight == 0
    assert settled(world.log.links())


def test_link_to_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="does not replicate to itself"):
        World(A).log.cut(A, A)


class Replication(RuleBasedStateMachine):
    """Three regions, any order of writes, deletions, partial deliveries, cuts and heals.

    The model keeps, for each key, the newest write that any region made. Healed at the end, every region must hold
    exactly that: all converge, nothing is lost, nothing deleted comes back.
    """

    KEYS = st.sampled_from(["k1", "k2"])
    REGIONS = st.sampled_from([A, B, C])

    def __init__(self) -> None:
        super().__init__()
        self.world = World(A, B, C, lag_ms=5)
        self.serial = 0
        self.newest: dict[str, tuple[Stamp, int | None]] = {}

    def _wrote(self, key: str, stamp: Stamp, value: int | None) -> None:
        if key not in self.newest or stamp > self.newest[key][0]:
            self.newest[key] = (stamp, value)

    @rule(region=REGIONS, key=KEYS)
    def put(self, region: str, key: str) -> None:
        self.serial += 1
        self._wrote(key, self.world.put(region, key, self.serial), self.serial)

    @rule(region=REGIONS, key=KEYS)
    def delete(self, region: str, key: str) -> None:
        self._wrote(key, self.world.delete(region, key), None)

    @rule(milliseconds=st.integers(0, 7))
    def time_passes(self, milliseconds: int) -> None:
        self.world.pass_ms(milliseconds)

    @rule(limit=st.integers(1, 2))
    def deliver_some(self, limit: int) -> None:
        self.world.log.pump(limit)

    @rule(one=REGIONS, other=REGIONS, lag_ms=st.integers(0, 9))
    def change_lag(self, one: str, other: str, lag_ms: int) -> None:
        if one != other:
            self.world.log.set_lag(one, other, lag_ms)

    @rule(one=REGIONS, other=REGIONS)
    def cut(self, one: str, other: str) -> None:
        if one != other:
            self.world.log.cut(one, other)

    @rule(one=REGIONS, other=REGIONS)
    def heal(self, one: str, other: str) -> None:
        if one != other:
            self.world.log.heal(one, other)

    @invariant()
    def remembers_only_keys_in_flight(self) -> None:
        assert self.world.log.keys_in_flight <= 2
        if not any(link.pending for link in self.world.log.links()):
            assert self.world.log.keys_in_flight == 0

    def teardown(self) -> None:
        for link in self.world.log.links():
            self.world.log.heal(link.source, link.destination)
        self.world.pass_ms(1000)
        expected = {key: value for key, (_, value) in self.newest.items() if value is not None}
        for region in (A, B, C):
            assert self.world.replicas[region] == expected


TestReplication = Replication.TestCase
TestReplication.settings = settings(max_examples=150, stateful_step_count=40)

WRITES = st.lists(st.tuples(st.sampled_from([A, B]), st.sampled_from("abc"), st.one_of(st.none(), st.integers(1, 9))))


@given(before=WRITES, meanwhile=WRITES)
def test_lossy_cut_diverges_exactly_by_what_was_written_meanwhile(
    before: list[tuple[str, str, int | None]], meanwhile: list[tuple[str, str, int | None]]
) -> None:
    world = World(A, B)
    for region, key, value in before:
        world.delete(region, key) if value is None else world.put(region, key, value)
    world.pass_ms(1)
    agreed = dict(world.replicas[A])
    assert world.replicas[B] == agreed
    world.cut(A, B, lose=True)
    expected = {A: dict(agreed), B: dict(agreed)}
    for region, key, value in meanwhile:
        if value is None:
            world.delete(region, key)
            expected[region].pop(key, None)
        else:
            world.put(region, key, value)
            expected[region][key] = value
    world.heal(A, B)
    world.pass_ms(1000)
    assert world.replicas == expected
    assert world.log.keys_in_flight == 0

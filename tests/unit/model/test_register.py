"""The replication of the local cloud alone, as registers: N regions, any writes, and a model that forgets nothing.

The model keeps every write for ever and says what each replica has to hold in the end: of each key the write that wins
among those not lost on the way there. ``ReplicationLog`` forgets what it may and has to come to the same.
"""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from ops.local.emulator.replication import Stamp, Write
from tests.unit.local.emulator.test_replication import TABLE, World
from tests.unit.model import mutations
from tests.unit.model.profiles import profile

NAMES = ("a", "b", "c", "d", "e")
KEY = st.sampled_from(["x", "y"])
REGION = st.runner().flatmap(lambda machine: st.sampled_from(machine.world.regions))
PAIR = st.runner().flatmap(lambda machine: st.permutations(machine.world.regions).map(lambda names: tuple(names[:2])))


class Registers(RuleBasedStateMachine):
    """Writes, deletions, lags, cuts (some lossy), heals, and replicas added as a copy of another."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.writes: list[tuple[str, str, int | None]] = []
        # For each region, the writes that it is to have taken into account in the end.
        self.owed: dict[str, set[int]] = {}
        self.arrived: set[tuple[int, str]] = set()
        self.numbers: dict[tuple[Any, Stamp], int] = {}
        self.losing: set[tuple[str, str]] = set()

    @initialize(regions=st.integers(2, 4), lag_ms=st.integers(0, 5))
    def start(self, regions: int, lag_ms: int) -> None:
        self.world = World(*NAMES[:regions], lag_ms=lag_ms)
        self.owed = {name: set() for name in self.world.regions}
        take = self.world.apply

        def taking(write: Write, region: str) -> bool:
            self.arrived.add((self._number(write), region))
            return take(write, region)

        self.world.log._apply = taking

    def _number(self, write: Write) -> int:
        return self.numbers[write.key, write.stamp]

    @rule(region=REGION, key=KEY, deletes=st.booleans())
    def write(self, region: str, key: str, deletes: bool) -> None:
        number = len(self.writes)
        # No two writes at one time, so that their order is plain. Ties have tests of their own in test_replication.
        self.world.now_ns += 1
        stamp = self.world.delete(region, key) if deletes else self.world.put(region, key, number)
        self.numbers[key, stamp] = number
        self.writes.append((region, key, None if deletes else number))
        self.arrived.add((number, region))
        for name in self.world.regions:
            if (region, name) not in self.losing:
                self.owed[name].add(number)

    @rule(milliseconds=st.integers(0, 7))
    def time_passes(self, milliseconds: int) -> None:
        self.world.pass_ms(milliseconds)

    @rule(limit=st.integers(1, 2))
    def some_writes_arrive(self, limit: int) -> None:
        self.world.log.pump(limit)

    @rule(pair=PAIR, lag_ms=st.integers(0, 9))
    def lag_changes(self, pair: tuple[str, str], lag_ms: int) -> None:
        self.world.log.set_lag(*pair, lag_ms)

    @rule(pair=PAIR)
    def link_is_cut(self, pair: tuple[str, str]) -> None:
        self.world.log.cut(*pair)
        self.losing.discard(pair)

    @rule(pair=PAIR)
    def link_loses_writes(self, pair: tuple[str, str]) -> None:
        source, destination = pair
        self.world.log.cut(source, destination, lose=True)
        self.losing.add(pair)
        on_their_way = {n for n in self.owed[destination] if self.writes[n][0] == source}
        self.owed[destination] -= {n for n in on_their_way if (n, destination) not in self.arrived}

    @rule(pair=PAIR)
    def link_is_healed(self, pair: tuple[str, str]) -> None:
        self.world.log.heal(*pair)
        self.losing.discard(pair)

    @precondition(lambda self: len(self.world.regions) < len(NAMES))
    @rule(source=REGION)
    def replica_is_added(self, source: str) -> None:
        added = NAMES[len(self.world.regions)]
        self.world.replicas[added] = dict(self.world.replicas[source])
        self.world.regions.append(added)
        self.world.log.add_replica(TABLE, source, added)
        self.owed[added] = set(self.owed[source])
        self.arrived |= {(number, added) for number, region in self.arrived if region == source}

    def teardown(self) -> None:
        for link in self.world.log.links():
            self.world.log.heal(link.source, link.destination)
        self.world.pass_ms(1000)
        assert self.world.log.keys_in_flight == 0
        for region in self.world.regions:
            last = {self.writes[number][1]: self.writes[number][2] for number in sorted(self.owed[region])}
            expected = {key: value for key, value in last.items() if value is not None}
            assert self.world.replicas[region] == expected, region


TestRegisters = Registers.TestCase
TestRegisters.settings = profile(4)


@pytest.mark.parametrize("mutation", mutations.REGISTER, ids=lambda mutation: mutation.__name__)
def test_mistake_in_replication_is_found(mutation: mutations.Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Registers, settings=settings(profile(10), phases=[Phase.generate]))

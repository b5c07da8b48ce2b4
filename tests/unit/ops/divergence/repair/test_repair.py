"""Plan, apply, undo: nothing without its token, byte for byte back, and the same end wherever a run was killed."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.aws import Cloud
from ops.divergence import repair
from ops.divergence.repair import orders
from ops.errors import InterruptedRunError, RefusedError, UsageError
from sketch import keys
from tests.unit.ops.divergence.repair.tables import AP, EU, NAMES, US, Killed, World

NOW = 1_800_000_000.0
Item = dict[str, Any]


def item(number: int, **more: Any) -> Item:
    return {"pk": {"S": f"EVENT#{number}"}, "sk": {"S": "EVENT"}, **more}


def stamped(number: int, version: int, region: str = US.label, **more: Any) -> Item:
    stamps = {"version": {"N": str(version)}, "written_region": {"S": region}}
    return item(number, **stamps, written_at={"S": f"2026-03-01T12:00:{version:02d}.000Z"}, **more)


def plan(cloud: Cloud, world: World, policy: str = "newest", **options: Any) -> repair.RepairPlan:
    given: dict[str, Any] = {"settle_s": 0.1, "sleep": lambda seconds: None, "clock": lambda: NOW, "rate_per_s": 10_000}
    return repair.plan(cloud, world.findings(), policy, **given | options)


def undo(cloud: Cloud, token: str, **options: Any) -> repair.RepairPlan:
    return repair.plan_undo(cloud, token, rate_per_s=10_000, sleep=lambda seconds: None, **options)


def apply(cloud: Cloud, made: repair.RepairPlan, **options: Any) -> repair.Repaired:
    return repair.apply(cloud, made, made.token, sleep=lambda seconds: None, **options)


def planted(world: World) -> None:
    """Missing on either side, stale on either side, a binary and a nested value that changed, and one undecided."""
    us, ap = US.label, AP.label
    world.put(us, stamped(1, 1, amount={"N": "5"}))
    world.put(ap, stamped(2, 1, ap, raw={"B": b"\x00\xff"}, many={"BS": [b"a", b"\x80"]}))
    world.put(us, stamped(3, 2, nested={"M": {"list": {"L": [{"B": b"\x01"}, {"NULL": True}]}}}))
    world.put(ap, stamped(3, 1, extra={"S": "was removed"}))
    world.put(us, stamped(4, 1, ap))
    world.put(ap, stamped(4, 2, ap, raw={"B": b""}))
    world.put(us, item(5, a={"N": "1"}))
    world.put(ap, item(5, a={"N": "2"}))


def test_repair_when_applied_mends_what_the_stamps_tell_and_undo_brings_back_byte_for_byte(account: Cloud) -> None:
    world = World()
    planted(world)
    before = world.state()
    with world.used():
        made = plan(account, world)
        assert world.calls == []
        assert made.estimates["writes"] == made.estimates["items"] == 4
        assert [row.text for row in made.undecided] == ["pk=EVENT#5, sk=EVENT"]
        assert "b'" not in str(made.record())
        assert "was removed" not in str(made.record())
        done = apply(account, made)
        assert done.figures()["written"] == done.figures()["mended"] == 4
        assert all(check.ok for check in [*done.checks(), *repair.prove(account, done).checks()])
        us, ap = world.items[US.label], world.items[AP.label]
        assert [key for key in us if us[key] != ap[key]] == [keys.pack(item(5), NAMES)]

        # Settled: nothing is left but what is not decided.
        assert plan(account, world).changes == []

        back = undo(account, made.token)
        assert apply(account, back).figures()["mended"] == 4
        assert world.state() == before

        # An undo is undone like a repair.
        again = undo(account, back.token)
        apply(account, again)
        assert [key for key in us if us[key] != ap[key]] == [keys.pack(item(5), NAMES)]


def test_apply_when_the_token_is_not_the_plans_or_an_item_changed_since_leaves_all_alone(account: Cloud) -> None:
    world = World()
    planted(world)
    with world.used():
        made = plan(account, world)
        with pytest.raises(RefusedError):
            repair.apply(account, made, "0" * 16)
        assert world.calls == []
        world.put(AP.label, stamped(3, 9, note={"S": "a writer"}))
        assert plan(account, world).token != made.token
        done = apply(account, made)
        key = keys.pack(item(3), NAMES)
        assert done.outcomes[key.hex()] == {AP.label: "changed meanwhile: in ap-south-1"}
        assert world.items[AP.label][key]["note"] == {"S": "a writer"}
        assert "pk=EVENT#3, sk=EVENT in ap-south-1: changed meanwhile" in done.checks()[0].detail
        assert not done.checks()[0].ok

        # Undo leaves it, too, and what was written after the repair.
        world.put(AP.label, stamped(1, 7))
        back = undo(account, made.token)
        assert {row.text: row.why for row in back.undecided} == {
            "pk=EVENT#1, sk=EVENT": "it was written since",
            "pk=EVENT#3, sk=EVENT": "the run did not write it",
        }


def test_repair_when_a_region_is_right_deletes_where_it_has_nothing(account: Cloud) -> None:
    world = World(US, AP, EU)
    for label in (AP.label, EU.label):
        world.put(label, item(1, only={"S": label}))
    world.put(US.label, item(2, a={"N": "1"}))
    before = world.state()
    with world.used():
        made = plan(account, world, f"region:{US.label}")
        done = apply(account, made)
        assert done.figures()["deleted"] == 2
        assert done.figures()["written"] == 2
        assert world.items[AP.label] == world.items[EU.label] == world.items[US.label] == before[US.label]
        apply(account, undo(account, made.token))
        assert world.state() == before


def test_repair_of_a_global_table_writes_once_and_lets_replication_bring_the_rest(account: Cloud) -> None:
    world = World(US, AP, EU, linked=True)
    world.put(US.label, stamped(1, 2, amount={"N": "2"}))
    for label in (AP.label, EU.label):
        world.put(label, stamped(1, 1, amount={"N": "1"}))
    with world.used():
        made = plan(account, world)
        assert "one global table" in made.warnings[-1]
        done = apply(account, made)
        assert world.calls.count("Write") == 1
        assert done.figures()["arrived"] == 1
        assert done.checks()[0].ok

        back = undo(account, made.token)
        assert "policy=region:LABEL" in back.refusals[0].detail
        with pytest.raises(RefusedError):
            apply(account, back)
        one = undo(account, made.token, policy=f"region:{AP.label}")
        apply(account, one)
        assert {items[keys.pack(item(1), NAMES)]["version"]["N"] for items in world.items.values()} == {"1"}


def test_plan_when_counters_are_united_writes_the_union_everywhere(account: Cloud) -> None:
    world = World()
    world.put(US.label, item(1, seen={"BS": [b"a", b"b"]}, hits={"M": {"us-east-1": {"N": "3"}}}))
    world.put(AP.label, item(1, seen={"BS": [b"b", b"c"]}, hits={"M": {"ap-south-1": {"N": "4"}}}))
    world.put(US.label, item(2, status={"S": "open"}))
    world.put(AP.label, item(2, status={"S": "closed"}))
    before = world.state()
    with world.used():
        made = plan(account, world, "counters")
        assert "'status' differs" in made.undecided[0].why
        apply(account, made)
        union = item(
            1, seen={"BS": [b"a", b"b", b"c"]}, hits={"M": {"ap-south-1": {"N": "4"}, "us-east-1": {"N": "3"}}}
        )
        assert [items[keys.pack(item(1), NAMES)] for items in world.items.values()] == [union, union]
        apply(account, undo(account, made.token))
        assert world.state() == before


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives=st.integers(0, 30), again=st.integers(0, 12), chunk=st.integers(1, 3))
def test_apply_when_killed_at_any_change_and_resumed_ends_as_an_undisturbed_one(
    account: Cloud, lives: int, again: int, chunk: int
) -> None:
    worlds = [World(), World()]
    for world in worlds:
        planted(world)
    before = worlds[0].state()
    with pytest.MonkeyPatch.context() as patch:
        for module in ("applying", "undo"):
            patch.setattr(f"ops.divergence.repair.{module}.CHUNK", chunk)
        patch.setattr("ops.divergence.repair.applying.WORKERS", 1)
        with worlds[0].used():
            apply(account, plan(account, worlds[0]))
        with worlds[1].used() as world:
            made = plan(account, world)
            for end in (lives, again, None):
                world.lives = end
                try:
                    # As whoever makes the plan again gets it.
                    current = plan(account, world)
                    done = apply(account, current)
                    break
                except Killed:
                    continue
            world.lives = None
            assert world.items == worlds[0].items
            assert current.token == made.token or done.figures()["items"] == 0
            assert done.mended == list(current.work.orders)
            back = undo(account, made.token)
            apply(account, back)
            assert world.items == before


def test_apply_when_interrupted_says_how_to_go_on_and_undo_of_it_knows_what_was_written(account: Cloud) -> None:
    world = World()
    planted(world)
    before = world.state()

    def stop(label: str, key: bytes) -> None:
        if world.calls.count("Write") == 2:
            raise KeyboardInterrupt

    with world.used(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("ops.divergence.repair.applying.WORKERS", 1)
        made = plan(account, world)
        world.between = stop
        with pytest.raises(InterruptedRunError) as caught:
            apply(account, made)
        assert f"--apply {made.token}" in caught.value.hint
        world.between = lambda label, key: None
        assert "goes on where that one ended" in plan(account, world).warnings[0]
        back = undo(account, made.token)
        assert "did not come to its end" in back.warnings[0]
        assert apply(account, back).figures()["mended"] == 2
        assert world.state() == before


@pytest.mark.parametrize(
    ("policy", "options", "said"),
    [
        ("latest", {}, "policy: 'latest' is none; accepted: newest, region:LABEL, counters or decisions"),
        ("region:eu-west-1", {}, "policy: 'eu-west-1' is none of the replicas compared: us-east-1, ap-south-1"),
        ("decisions", {}, "decisions: goes with policy=decisions"),
        ("newest", {"decisions": "x.csv"}, "decisions: goes with policy=decisions"),
        ("newest", {"force": "all"}, "force: 'all' is none; accepted: replication"),
        ("newest", {"rate_per_s": -1}, "rate_per_s: 0 to 10,000, is -1"),
    ],
)
def test_plan_when_a_parameter_is_out_of_range_names_it(account: Cloud, policy: str, options: Any, said: str) -> None:
    world = World()
    planted(world)
    with world.used(), pytest.raises(UsageError, match=said):
        plan(account, world, policy, **options)


def test_undo_when_nothing_was_applied_by_this_token_says_so(account: Cloud) -> None:
    with World().used(), pytest.raises(UsageError, match="no repair was applied by token '0000'"):
        undo(account, "0000")


def test_plan_when_decisions_are_given_does_what_they_say_and_offers_the_rest(account: Cloud, tmp_path: Any) -> None:
    world = World()
    planted(world)
    table = tmp_path / "decisions.csv"
    with world.used():
        first = plan(account, world)
        table.write_text(repair.template(first.undecided, first.work.schema).replace("EVENT,,", "EVENT,ap-south-1,"))
        made = plan(account, world, "decisions", decisions=str(table))
        assert made.estimates["writes"] == 1
        assert len(made.undecided) == 4
        apply(account, made)
        key = keys.pack(item(5), NAMES)
        assert world.items[US.label][key] == world.items[AP.label][key] == item(5, a={"N": "2"})


def test_plan_when_items_are_expired_or_heartbeats_or_changing_leaves_them_alone(account: Cloud) -> None:
    world = World()
    world.put(US.label, item(1, expires_at={"N": "1500000000"}))
    world.put(US.label, {"pk": {"S": "atoll#heartbeat#us-east-1"}, "sk": {"S": "atoll#heartbeat#us-east-1"}})
    busy = world.put(US.label, item(2, a={"N": "0"}))
    world.put(AP.label, item(2, a={"N": "7"}))

    def write(seconds: float) -> None:
        for number, items in enumerate(world.items.values()):
            held = cast("Item", deepcopy(items[busy]))
            items[busy] = held | {"a": {"N": str(int(held["a"]["N"]) + 1 + number)}}

    with world.used():
        made = plan(account, world, f"region:{US.label}", sleep=write)
        assert made.changes == []
        assert {row.text: row.kind for row in made.undecided} == {
            "pk=EVENT#1, sk=EVENT": "expired",
            "pk=EVENT#2, sk=EVENT": "unsettled",
        }
    assert world.calls == []
    assert orders.CHUNK == 100

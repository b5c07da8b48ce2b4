"""An experiment breaks what its actions say, for as long as they say, and heals that and nothing else."""

from __future__ import annotations

import threading
from typing import Any

from ops.local.record import Fault
from tests.unit.local.emulator.fis.conftest import ALARM, INDIA, US, Played, Started, action, template

MINE = Fault("throttle:s3", "throttle", "2026-01-01T00:00:00+00:00", service="s3")


def state_of(played: Played, experiment: dict[str, Any]) -> dict[str, Any]:
    return dict(played.client().get_experiment(id=experiment["id"])["experiment"])


def test_running_experiment_has_broken_each_part_with_owner_and_end(played: Played, started: Started) -> None:
    experiment = started()
    assert experiment["state"]["status"] == "running"
    found = {one.id.removeprefix(f"{experiment['id']}:"): one for one in played.faults()}
    assert found["api"].kind == "function-error"
    assert (found["api"].functions, found["api"].prevent, found["api"].rate) == (("query",), True, 1.0)
    assert (found["processing"].functions, found["processing"].latency_ms) == (("store",), 2000.0)
    assert (found["calls"].kind, found["calls"].parts, found["calls"].how) == ("region-down", ("calls",), "reset")
    cuts = {(one.region, one.other_region) for one in found.values() if one.kind == "replication-cut"}
    assert cuts == {(INDIA, US), ("eu-west-1", US)}
    assert {one.owner for one in found.values()} == {experiment["id"]}
    assert {one.until for one in found.values()} == {"2027-01-15T08:01:00+00:00"}
    assert played.applied[-1] == [one.id for one in played.faults()]


def test_experiment_ends_by_itself_and_leaves_what_others_broke(played: Played, started: Started) -> None:
    played.record.write([MINE])
    experiment = started()
    played.passes(59.5)
    assert len(played.faults()) == 6
    played.passes(1)
    assert played.faults() == [MINE]
    assert played.applied[-1] == [MINE.id]
    told = state_of(played, experiment)
    assert told["state"]["status"] == "completed"
    assert {one["state"]["status"] for one in told["actions"].values()} == {"completed"}
    assert told["endTime"].timestamp() == played.now


def test_longest_action_decides_and_shorter_ones_are_healed_before(played: Played, started: Started) -> None:
    short, long = action("atoll:reset-calls"), action("atoll:reset-calls", duration="PT2M")
    experiment = started(actions={"short": short, "long": long})
    played.passes(61)
    assert [one.id for one in played.faults()] == [f"{experiment['id']}:long"]
    told = state_of(played, experiment)
    assert told["state"]["status"] == "running"
    assert told["actions"]["short"]["state"]["status"] == "completed"
    played.passes(60)
    assert played.faults() == []
    assert state_of(played, experiment)["state"]["status"] == "completed"


def test_action_waits_for_those_it_starts_after(played: Played, started: Started) -> None:
    late = action("atoll:reset-calls") | {"startAfter": ["first"]}
    experiment = started(actions={"late": late, "first": action("atoll:reset-calls")})
    assert [one.id for one in played.faults()] == [f"{experiment['id']}:first"]
    played.passes(61)
    assert [one.id for one in played.faults()] == [f"{experiment['id']}:late"]
    played.passes(61)
    assert state_of(played, experiment)["state"]["status"] == "completed"


def test_stopped_experiment_heals_its_own_at_once(played: Played, started: Started) -> None:
    played.record.write([MINE])
    late = action("atoll:reset-calls") | {"startAfter": ["first"]}
    experiment = started(actions={"late": late, "first": action("atoll:reset-calls")})
    played.client().stop_experiment(id=experiment["id"])
    played.passes(0)
    assert played.faults() == [MINE]
    told = state_of(played, experiment)
    assert told["state"] == {"status": "stopped", "reason": "Experiment stopped."}
    assert told["actions"]["first"]["state"]["status"] == "stopped"
    assert told["actions"]["late"]["state"]["status"] == "cancelled"


def test_experiment_stopped_before_it_began_breaks_nothing(played: Played) -> None:
    client = played.client()
    made = client.create_experiment_template(**template())["experimentTemplate"]
    experiment = client.start_experiment(experimentTemplateId=made["id"])["experiment"]
    client.stop_experiment(id=experiment["id"])
    played.passes(0)
    assert (played.faults(), played.applied) == ([], [])
    assert state_of(played, experiment)["state"]["status"] == "stopped"


def test_experiment_whose_fault_was_healed_by_hand_ends_as_stopped(played: Played, started: Started) -> None:
    experiment = started()
    played.record.write(played.faults()[1:])
    played.passes(0)
    assert played.faults() == []
    told = state_of(played, experiment)["state"]
    assert (told["status"], "ops fault heal" in told["reason"]) == ("stopped", True)


def test_alarm_of_a_stop_condition_stops_the_experiment(played: Played, started: Started) -> None:
    experiment = started(stopConditions=[{"source": "aws:cloudwatch:alarm", "value": ALARM}])
    assert experiment["state"]["status"] == "running"
    played.there.alarms[ALARM] = "ALARM"
    played.passes(1)
    told = state_of(played, experiment)["state"]
    assert (told["status"], ALARM in told["reason"]) == ("stopped", True)
    assert played.faults() == []


def test_alarm_that_is_not_there_fails_the_experiment(played: Played, started: Started) -> None:
    missing = ALARM.replace("errors", "moon")
    told = started(stopConditions=[{"source": "aws:cloudwatch:alarm", "value": missing}])
    assert (told["state"]["status"], missing in told["state"]["reason"]) == ("failed", True)
    assert {one["state"]["status"] for one in told["actions"].values()} == {"cancelled"}


def test_target_that_names_nothing_fails_the_experiment(played: Played, started: Started) -> None:
    there = template()["targets"]
    there["api"]["resourceArns"] = [there["api"]["resourceArns"][0].replace("query", "moon")]
    told = started(targets=there)
    assert told["state"]["status"] == "failed"
    assert "function:moon" in told["state"]["reason"]
    there = template()["targets"]
    there["processors"]["resourceTags"] = {"role": "moon"}
    told = started(targets=there)
    assert (told["state"]["status"], "empty set: processors" in told["state"]["reason"]) == ("failed", True)
    assert played.applied == []


def test_empty_target_is_skipped_if_the_template_says_so(played: Played, started: Started) -> None:
    there = template()["targets"]
    there["processors"]["resourceTags"] = {"role": "moon"}
    told = started(targets=there, experimentOptions={"emptyTargetResolutionMode": "skip"})
    assert told["state"]["status"] == "running"
    assert told["actions"]["processing"]["state"]["status"] == "skipped"


def test_actions_mode_skip_all_only_resolves_targets(played: Played) -> None:
    client = played.client()
    made = client.create_experiment_template(**template())["experimentTemplate"]
    options = {"actionsMode": "skip-all"}
    experiment = client.start_experiment(experimentTemplateId=made["id"], experimentOptions=options)["experiment"]
    played.passes(0)
    told = state_of(played, experiment)
    assert told["state"]["status"] == "completed"
    assert {one["state"]["status"] for one in told["actions"].values()} == {"skipped"}
    assert played.applied == []


def test_two_experiments_with_the_same_cut_heal_each_its_own(played: Played, started: Started) -> None:
    first = started()
    played.passes(30)
    second = started()
    played.passes(31)
    assert {one.owner for one in played.faults()} == {second["id"]}
    assert state_of(played, first)["state"]["status"] == "completed"
    assert any(one.kind == "replication-cut" for one in played.faults())


def test_requests_are_answered_while_ops_fault_holds_the_record(played: Played, started: Started) -> None:
    experiment = started()
    with played.record.held():
        looking = threading.Thread(target=played.experiments.advance, daemon=True)
        looking.start()
        # Were the module's own lock held behind the file's, this would wait for ever.
        assert state_of(played, experiment)["state"]["status"] == "running"
        assert looking.is_alive()
    looking.join(timeout=5)
    assert not looking.is_alive()

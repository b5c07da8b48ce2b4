"""A replay is carried out slice by slice, proved by key, and leaves nothing behind, whatever happens."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from ops.aws import Cloud
from ops.errors import InterruptedRunError, OpsError, RefusedError
from ops.plan import Outcome, Plan
from ops.replay import temporary
from ops.replay.records import Records
from ops.replay.replayed import Replayed
from ops.replay.running import apply, unhurried
from ops.replay.waits import Waits
from tests.unit.ops.replay.conftest import put_event
from tests.unit.ops.replay.replays import ACCOUNT, AP, START, US, Replays, plan_of

QUICK = Waits(quiet_s=5, drain_s=5, replay_s=30, tap_s=20, cancel_s=5, rules_s=0, poll_s=0, settle_s=0, listen_s=0)


def failed(done: Replayed) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in done.checks() if not check.ok]


def names(cloud: Cloud) -> list[str]:
    """Of whatever temporary is there."""
    return sorted(one.name for one in temporary.leftovers(cloud, US, cloud.stage.bus))


def run(cloud: Cloud, plan: Plan, lines: list[str] | None = None, **changes: Any) -> Replayed:
    said = lines if lines is not None else []
    return apply(cloud, plan, plan.token, said.append, waits=replace(QUICK, **changes))


def test_apply_when_all_is_known_changes_nothing_and_leaves_nothing(replays: Replays) -> None:
    cloud, outcomes, lines = replays.cloud, list[Outcome](), list[str]()
    plan = plan_of(cloud)
    done = apply(cloud, plan, plan.token, lines.append, outcomes.append, waits=QUICK)
    assert failed(done) == []
    assert done.identical
    assert done.figures() | {"archived": 12, "already_in_table": 12, "restored": 0, "missing": 0} == done.figures()
    assert names(cloud) == []
    assert [outcome.done for outcome in outcomes if outcome.step.action == "run"] == ["completed"] * 3
    assert list(done.slices_frame()["events"]) == [4, 4, 4]
    assert done.minutes_frame()["events"].sum() == 12
    assert "3 of 3 slices completed" in " ".join(lines) or "slice 3 of 3 completed" in " ".join(lines)


def test_apply_when_events_are_missing_restores_and_counts_them(replays: Replays) -> None:
    missing = replays.archive[:5]
    for event in missing:
        key = {"pk": {"S": f"EVENT#{event.key}"}, "sk": {"S": "EVENT"}}
        for region in (US, AP):
            replays.cloud.client("dynamodb", region).delete_item(TableName="atoll-unit", Key=key)  # type: ignore[arg-type]
    replays.deliver = lambda event: put_event(replays.cloud, event)
    done = run(replays.cloud, plan_of(replays.cloud))
    assert failed(done) == []
    assert done.found is not None
    assert (done.found.before, done.found.restored, done.found.missing) == (7, 5, 0)


def test_apply_when_an_event_stays_missing_says_in_which_dlq_it_is(replays: Replays) -> None:
    lost, dead = replays.archive[:2]
    for event in (lost, dead):
        key = {"pk": {"S": f"EVENT#{event.key}"}, "sk": {"S": "EVENT"}}
        replays.cloud.client("dynamodb", US).delete_item(TableName="atoll-unit", Key=key)  # type: ignore[arg-type]
    sqs = replays.cloud.client("sqs", US)
    url = sqs.get_queue_url(QueueName="atoll-unit-store-dlq")["QueueUrl"]
    attributes: Any = {"EVENT_KEY": {"DataType": "String", "StringValue": str(dead.key)}}
    sqs.send_message(QueueUrl=url, MessageBody="{}", MessageAttributes=attributes)
    done = run(replays.cloud, plan_of(replays.cloud))
    (check,) = [check for check in done.checks() if check.name == "archived events are in the table"]
    assert not check.ok
    assert f"1 in {US} atoll-unit-store-dlq; 1 in no DLQ" in check.detail
    # It was looked at, and is there for whoever redrives it.
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "{}"


def test_apply_when_a_stored_event_changes_fails_and_names_it(replays: Replays) -> None:
    event = replays.archive[0]
    replays.deliver = lambda one: put_event(replays.cloud, event, type="other") if one == event else None
    done = run(replays.cloud, plan_of(replays.cloud))
    assert [line.split(":")[0] for line in failed(done)] == ["table unharmed by the replay"]
    assert done.found is not None
    assert done.found.touched == (f"pk=EVENT#{event.key}, sk=EVENT",)


def test_apply_with_deliver_false_reaches_no_consumer_and_still_hears_all(replays: Replays) -> None:
    brought: list[Any] = []
    replays.deliver = brought.append
    done = run(replays.cloud, plan_of(replays.cloud, deliver=False))
    assert failed(done) == []
    assert (brought, done.heard) == ([], 12)
    assert all(one["Destination"]["FilterArns"][0].endswith(done.token) for one in replays.started)


def test_apply_of_a_selection_replays_to_stand_ins_only_and_removes_them(replays: Replays, calls: Any) -> None:
    cloud = replays.cloud
    target = {
        "Id": "store",
        "Arn": f"arn:aws:sqs:{US}:{ACCOUNT}:atoll-unit-store",
        "RetryPolicy": {"MaximumRetryAttempts": 7},
    }
    pattern = {"source": ["atoll.events"], "detail": {"event": {"type": ["type-1"]}}}
    stand_in = {"rule": "atoll-unit-store", "index": 0, "pattern": pattern, "targets": [target]}
    plan = plan_of(cloud, stand_ins=[stand_in])
    done = run(cloud, plan)
    own = temporary.rule_name(cloud.stage, plan.token, 0)
    arns = [f"arn:aws:events:{US}:{ACCOUNT}:rule/atoll-unit/{name}" for name in (own, own.removesuffix("-0"))]
    assert [one["Destination"]["FilterArns"] for one in replays.started] == [arns] * 3
    asked = [one.parameters for one in calls.asked if one.model.name == "PutTargets"]
    assert target in [one for call in asked for one in call["Targets"]]
    assert failed(done) == []
    assert names(cloud) == []


def test_apply_keeps_to_its_parallel_and_to_the_regions_room(replays: Replays) -> None:
    others = {
        f"other-{n}": {"ReplayName": f"other-{n}", "State": "RUNNING", "EventStartTime": 0, "EventEndTime": 9e9}
        for n in range(9)
    }
    replays.replays |= {name: {**one, "filter": None} for name, one in others.items()}
    run(replays.cloud, plan_of(replays.cloud, slices=4, minutes=1, parallel=4))
    assert replays.most_active == 10
    assert len(replays.started) == 4


def test_apply_again_repeats_no_finished_slice(replays: Replays) -> None:
    plan = plan_of(replays.cloud)
    run(replays.cloud, plan)
    again = run(replays.cloud, plan)
    assert len(replays.started) == 3
    assert failed(again) == []
    # What the first run had heard is known from its record.
    assert (again.started, again.heard) == (0, 12)


def interrupt_at(replays: Replays, look: int) -> None:
    looks = iter(range(1_000))

    def press() -> None:
        if threading.current_thread() is threading.main_thread() and next(looks) == look:
            raise KeyboardInterrupt

    replays.on_look = press


def test_ctrl_c_cancels_cleans_up_and_the_resume_goes_on_where_it_was(replays: Replays) -> None:
    cloud, plan = replays.cloud, plan_of(replays.cloud, slices=2, minutes=3, parallel=1)
    interrupt_at(replays, 7)
    with pytest.raises(InterruptedRunError, match="what was under way is cancelled") as caught:
        run(cloud, plan)
    assert f"--apply {plan.token}" in caught.value.hint
    assert names(cloud) == []
    states = {name: one["State"] for name, one in replays.replays.items()}
    assert sorted(states.values()) == ["CANCELLED", "COMPLETED"]

    replays.on_look = lambda: None
    done = run(cloud, plan)
    assert failed(done) == []
    assert done.heard == 12
    prefix = f"atoll-unit-{plan.token}"
    assert [one["ReplayName"] for one in replays.started] == [f"{prefix}-001", f"{prefix}-002", f"{prefix}-002-2"]
    # From the minute of the last event that was replayed, not from the slice's beginning.
    last = replays.replays[f"{prefix}-002"].get("EventLastReplayedTime", (START.timestamp() + 180))
    assert replays.started[-1]["EventStartTime"] == last


def test_ctrl_c_when_a_cancelled_replay_does_not_end_leaves_its_rules(replays: Replays) -> None:
    cloud, plan = replays.cloud, plan_of(replays.cloud)
    replays.ends_when_cancelled = False
    interrupt_at(replays, 2)
    with pytest.raises(InterruptedRunError, match="has not ended yet"):
        run(cloud, plan, cancel_s=0)
    assert names(cloud) == [temporary.tap_name(cloud.stage, plan.token)] * 2


def test_apply_after_a_killed_run_takes_up_its_tap_and_says_what_is_not_known(replays: Replays) -> None:
    cloud, plan = replays.cloud, plan_of(replays.cloud)
    token = plan.token
    made = temporary.Temporaries(US, cloud.stage.bus)
    temporary.ensure_tap(cloud, made, token, {})
    first = f"atoll-unit-{token}-001"
    replays.replays[first] = {
        "ReplayName": first, "State": "COMPLETED", "EventStartTime": START.timestamp(),
        "EventEndTime": START.timestamp() + 120, "filter": None,
    }  # fmt: skip
    done = run(cloud, plan)
    assert done.unheard == (1,)
    assert "slices 1 were finished by a run that left no keys" in next(
        check.detail for check in done.checks() if check.name == "replay overheard"
    )
    assert len(replays.started) == 2
    assert names(cloud) == []


def test_apply_removes_what_a_killed_run_left(replays: Replays) -> None:
    cloud = replays.cloud
    made = temporary.Temporaries(US, cloud.stage.bus)
    temporary.ensure_tap(cloud, made, "0123456789abcdef", {})
    found = temporary.leftovers(cloud, US, cloud.stage.bus)
    assert [(one.token, bool(one.rule)) for one in found] == [("0123456789abcdef", True), ("0123456789abcdef", False)]
    before = [{"rule": one.rule, "bus": one.bus} if one.rule else {"queue_url": one.queue_url} for one in found]
    run(cloud, plan_of(cloud, leftovers=before))
    assert names(cloud) == []


def test_apply_leaves_what_belongs_to_a_run_that_is_going_on(replays: Replays) -> None:
    cloud, other = replays.cloud, plan_of(replays.cloud, slices=1)
    Records(cloud, other, print).write()
    made = temporary.Temporaries(US, cloud.stage.bus)
    temporary.ensure_tap(cloud, made, other.token, {})
    before = [{"queue_url": made.tap_queue}]
    lines = list[str]()
    run(cloud, plan_of(cloud, leftovers=before), lines)
    assert names(cloud) == [temporary.tap_name(cloud.stage, other.token)] * 2
    assert "temporary 0: left, because its run is going on" in lines


def test_apply_when_a_slice_fails_three_times_stops_with_its_reason(replays: Replays) -> None:
    cloud, plan = replays.cloud, plan_of(replays.cloud, slices=1, minutes=6)
    replays.fail = {f"atoll-unit-{plan.token}-001{end}" for end in ("", "-2", "-3")}
    with pytest.raises(OpsError, match="is FAILED, as 2 before it: on purpose") as caught:
        run(cloud, plan)
    assert f"--apply {plan.token}" in caught.value.hint
    assert names(cloud) == []


def test_apply_when_a_slice_fails_once_tries_it_again(replays: Replays) -> None:
    cloud, plan = replays.cloud, plan_of(replays.cloud)
    replays.fail = {f"atoll-unit-{plan.token}-002"}
    done = run(cloud, plan)
    assert failed(done) == []
    assert [one.attempts for one in done.slices] == [1, 2, 1]


def test_apply_when_the_dlqs_grow_beyond_the_limit_cancels_and_says_what_to_do(replays: Replays) -> None:
    cloud, plan = replays.cloud, plan_of(replays.cloud, parallel=1, max_dlq_growth=0)
    sqs = cloud.client("sqs", US)
    url = sqs.get_queue_url(QueueName="atoll-unit-store-dlq")["QueueUrl"]
    replays.deliver = lambda event: sqs.send_message(QueueUrl=url, MessageBody="x") and None
    with pytest.raises(OpsError, match="the DLQs have grown: us-east-1 atoll-unit-store-dlq by 4") as caught:
        run(cloud, plan)
    assert "ops run redrive" in caught.value.hint
    assert len(replays.started) == 1
    assert names(cloud) == []


def test_apply_when_token_is_another_plans_changes_nothing(replays: Replays, calls: Any) -> None:
    calls.clear()
    with pytest.raises(RefusedError, match="is not this plan's"):
        apply(replays.cloud, plan_of(replays.cloud), "f" * 16, waits=QUICK)
    assert calls.mutating == []


def test_unhurried_when_interrupted_goes_on_to_its_end_and_raises_what_was_raised() -> None:
    assert unhurried(lambda: 5, print) == 5
    with pytest.raises(OpsError, match="no"):
        unhurried(lambda: (_ for _ in ()).throw(OpsError("no")), print)

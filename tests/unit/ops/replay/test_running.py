"""Carrying a replay out: one plan starts one replay, and the proof tells harm from repair."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from ops import queues, replay
from ops.aws import Cloud
from ops.errors import InterruptedRunError, OpsError, RefusedError
from ops.plan import Outcome, Plan
from ops.replay import Replayed, Waits, running
from tests.unit.ops.replay.stored import AP, US, change, make_ready, store

NOW = datetime(2026, 11, 20, 14, 30, 15, tzinfo=UTC)
QUICK = Waits(quiet_s=5, drain_s=5, replay_s=5, sleep=lambda seconds: None)


@pytest.fixture
def ready(deployed: Cloud, calls: Any) -> Cloud:
    return make_ready(deployed, calls)


def test_apply_when_events_are_all_known_proves_the_table_identical(ready: Cloud) -> None:
    plan = replay.plan(ready)
    lines: list[str] = []
    outcomes: list[Outcome] = []
    done = replay.apply(ready, plan, plan.token, lines.append, outcomes.append, waits=QUICK)
    assert done.identical
    assert done.started_now
    assert [check for check in done.checks() if not check.ok] == []
    assert done.frame().iloc[0].tolist() == ["items", "5", "5"]
    assert lines[-1].startswith("after: 5 items, checksum 5:")
    assert [(outcome.step, outcome.done) for outcome in outcomes] == [(plan.steps[0], "started")]


def test_apply_twice_starts_one_replay(ready: Cloud, calls: Any) -> None:
    plan = replay.plan(ready)
    replay.apply(ready, plan, plan.token, waits=QUICK)
    again = replay.plan(ready, **plan.parameters)
    assert "applied before" in again.warnings[0]
    assert replay.apply(ready, again, again.token, waits=QUICK).started_now is False
    assert calls.mutating == [f"events:StartReplay@{US}"]
    name = replay.replay_name(ready.stage, plan.token)
    assert [r["ReplayName"] for r in ready.client("events", US).list_replays()["Replays"]] == [name]
    assert len(name) <= 64


def test_apply_when_token_is_another_plans_changes_nothing(ready: Cloud, calls: Any) -> None:
    plan = replay.plan(ready)
    with pytest.raises(RefusedError, match="is not this plan's"):
        replay.apply(ready, plan, "f" * 16, waits=QUICK)
    assert calls.mutating == []


def failed(done: Replayed) -> list[str]:
    return [check.name for check in done.checks() if not check.ok]


def run_with(cloud: Cloud, calls: Any, effect: Any) -> Replayed:
    """Apply, with an effect on the table as the events were processed."""
    plan = replay.plan(cloud)
    calls.on("after", "StartReplay", effect)
    return replay.apply(cloud, plan, plan.token, waits=QUICK)


def test_apply_when_a_stored_event_changes_fails_and_names_it(ready: Cloud, calls: Any) -> None:
    done = run_with(ready, calls, lambda: change(ready, {"pk": "EVENT#1", "sk": "EVENT", "type": "other"}))
    assert failed(done) == ["table unharmed by the replay", "other replicas follow"]
    assert done.touched == ("pk=EVENT#1, sk=EVENT",)
    assert (done.changed_events, done.added, done.removed) == (1, 0, 0)


def test_apply_when_missing_events_come_back_passes(ready: Cloud, calls: Any) -> None:
    def restore() -> None:
        store(ready, 9, "order.placed", datetime.now(UTC))

    done = run_with(ready, calls, restore)
    assert failed(done) == []
    assert (done.restored, done.identical) == (1, False)


def test_apply_when_a_counter_grows_without_an_event_fails(ready: Cloud, calls: Any) -> None:
    change(ready, {"pk": "ACTIVITY#public#x", "sk": "a", "seen": "1"})
    done = run_with(ready, calls, lambda: change(ready, {"pk": "ACTIVITY#public#x", "sk": "a", "seen": "2"}))
    assert "table unharmed by the replay" in failed(done)


def test_apply_when_another_region_gives_no_answer_goes_on_without_it_and_says_so(ready: Cloud, calls: Any) -> None:
    plan = replay.plan(ready)

    def nobody() -> None:
        if calls.made[-1].endswith(f"@{AP}"):
            raise EndpointConnectionError(endpoint_url="https://aws.invalid")

    for operation in ("DescribeTable", "GetQueueUrl", "Scan", "ListArchives"):
        calls.on("before", operation, nobody)
    done = replay.apply(ready, plan, plan.token, waits=QUICK)
    assert failed(done) == []
    assert done.silent == (AP,)
    (check,) = [check for check in done.checks() if check.name == "other replicas follow"]
    assert check.detail == f"there is no other; no answer, so not looked at: {AP}"
    listed = replay.archives_frame(replay.archives(ready))
    assert list(zip(listed["region"], listed["state"], strict=True))[-1] == (AP, "NO ANSWER")


def test_apply_when_messages_land_in_a_dlq_fails(ready: Cloud, calls: Any) -> None:
    sqs = ready.client("sqs", US)
    url = sqs.get_queue_url(QueueName="atoll-unit-store-dlq")["QueueUrl"]
    done = run_with(ready, calls, lambda: sqs.send_message(QueueUrl=url, MessageBody="x"))
    assert failed(done) == ["nothing new in the DLQs"]


def test_apply_when_queues_stay_full_says_so(ready: Cloud) -> None:
    sqs = ready.client("sqs", US)
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName="atoll-unit-store")["QueueUrl"], MessageBody="x")
    clock = iter(range(100_000))
    plan = replay.plan(ready)
    done = replay.apply(ready, plan, plan.token, waits=replace(QUICK, clock=lambda: float(next(clock))))
    assert failed(done) == ["queues drained"]


def states(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    left = list(answers)

    def describe(cloud: Cloud, region: str, name: str) -> dict[str, Any] | None:
        state = left.pop(0) if len(left) > 1 else left[0]
        return {"State": state, "EventLastReplayedTime": NOW} if state else None

    monkeypatch.setattr(running, "describe_replay", describe)


def planned(cloud: Cloud) -> Plan:
    return replay.plan(cloud)


def test_apply_when_replay_fails_says_why(ready: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(ready)
    states(monkeypatch, "RUNNING", "FAILED")
    with pytest.raises(OpsError, match="ended as FAILED") as caught:
        replay.apply(ready, plan, plan.token, waits=QUICK)
    assert "repeat" in caught.value.hint


def test_apply_when_replay_never_ends_stops_watching_at_the_deadline(
    ready: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(ready)
    states(monkeypatch, "RUNNING")
    clock = iter(range(100_000))
    with pytest.raises(OpsError, match="still RUNNING after 5 s") as caught:
        replay.apply(ready, plan, plan.token, waits=replace(QUICK, clock=lambda: float(next(clock))))
    assert "cancel-replay" in caught.value.hint


def test_apply_when_interrupted_says_that_the_replay_goes_on(ready: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(ready)
    states(monkeypatch, "RUNNING")

    def stop(seconds: float) -> None:
        # The queues are polled by their own name; only the replay's watch is interrupted.
        raise KeyboardInterrupt

    monkeypatch.setattr(queues, "STEADY_READS", 1)
    with pytest.raises(InterruptedRunError, match="goes on without this run"):
        replay.apply(ready, plan, plan.token, waits=replace(QUICK, sleep=stop))


def test_depths_when_a_queue_is_missing_names_the_command(ready: Cloud) -> None:
    sqs = ready.client("sqs", AP)
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName="atoll-unit-activity")["QueueUrl"])
    with pytest.raises(OpsError, match="atoll-unit-activity: there is none in ap-south-1") as caught:
        queues.depths(ready)
    assert caught.value.hint == "Run: ops deploy --stage unit --region ap-south-1"

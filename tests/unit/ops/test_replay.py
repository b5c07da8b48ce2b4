"""Replay: the window is resolved and previewed, one plan starts one replay, and the proof tells harm from repair."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from ops import provision, queues, replay
from ops.aws import Cloud
from ops.errors import InterruptedRunError, OpsError, RefusedError, UsageError
from ops.plan import Outcome, Plan
from ops.provision.waits import Waits as ProvisionWaits
from ops.replay import Replayed, Waits

US, AP = "us-east-1", "ap-south-1"
NOW = datetime(2026, 11, 20, 14, 30, 15, tzinfo=UTC)
QUICK = Waits(quiet_s=5, drain_s=5, replay_s=5, sleep=lambda seconds: None)


@pytest.fixture
def ready(deployed: Cloud, calls: Any) -> Cloud:
    """A provisioned stage with three events of the home region, one of the other and an old one."""
    plan = provision.plan(deployed)
    provision.apply(deployed, plan, plan.token, waits=ProvisionWaits(sleep=lambda seconds: None))
    now = datetime.now(UTC)
    for number, kind in enumerate(("order.placed", "order.placed", "order.paid")):
        store(deployed, number, kind, now)
    store(deployed, 3, "order.placed", now - timedelta(hours=5))
    store(deployed, 4, "order.placed", now, accepted=AP)
    calls.clear()
    return deployed


def store(cloud: Cloud, number: int, kind: str, at: datetime, accepted: str = US) -> None:
    for region in cloud.stage.regions:
        item = {
            "pk": {"S": f"EVENT#{number}"},
            "sk": {"S": "EVENT"},
            "gsi_pk": {"S": f"public#{at:%Y-%m-%d}"},
            "gsi_sk": {"S": f"{at:%Y-%m-%dT%H:%M:%S}.000Z#{number}"},
            "type": {"S": kind},
            "accepted_region": {"S": accepted},
        }
        cloud.client("dynamodb", region).put_item(TableName="atoll-unit", Item=item)  # type: ignore[arg-type]


def change(cloud: Cloud, *items: dict[str, str]) -> None:
    for item in items:
        typed = {name: {"S": value} for name, value in item.items()}
        cloud.client("dynamodb", US).put_item(TableName="atoll-unit", Item=typed)  # type: ignore[arg-type]


# --- the plan ----------------------------------------------------------------------------------------------------


def test_plan_counts_the_window_and_makes_no_mutating_call(ready: Cloud, calls: Any) -> None:
    plan = replay.plan(ready, window_start="1h")
    assert plan.estimates["events_in_window"] == 3
    assert plan.estimates["cost_usd"] == pytest.approx(3e-6)
    # Three events at the 18,750 a second that us-east-1 allows.
    assert plan.estimates["duration_s"] == pytest.approx(3 / 18_750)
    assert dict(replay.preview(plan).groupby("type")["events"].sum()) == {"order.paid": 1, "order.placed": 2}
    assert [len(replay.archives_frame(replay.archives(ready))), len(plan.changes)] == [4, 1]
    assert replay.plan(ready, window_start="1h", tenants=["public"]).estimates["events_in_window"] == 3
    assert replay.plan(ready, window_start="1h", tenants=["acme"]).estimates["events_in_window"] == 0
    assert calls.mutating == []


def test_plan_when_made_from_its_own_parameters_has_the_same_token(ready: Cloud) -> None:
    plan = replay.plan(ready, window_start="1h")
    later = replay.plan(ready, **plan.parameters, now=lambda: datetime.now(UTC) + timedelta(minutes=5))
    assert later.token == plan.token
    assert replay.plan(ready, **plan.parameters | {"repeat": 1}).token != plan.token


def test_plan_warns_of_what_a_replay_may_miss(ready: Cloud) -> None:
    text = "; ".join(replay.plan(ready, window_start="30d").warnings)
    for part in ("last 10 minutes", "younger than the window", "keeps 7 days", "lag by up to 24 hours"):
        assert part in text


def test_plan_of_the_journal_counts_what_the_region_before_accepted_and_shows_the_journals_receivers(
    ready: Cloud,
) -> None:
    events = ready.client("events", US)
    for bus, rule in (("atoll-unit", "live"), ("atoll-unit-journal", "replayed")):
        events.put_rule(Name=rule, EventBusName=bus, EventPattern='{"source": ["atoll.events"]}')
        target = {"Id": "q", "Arn": f"arn:aws:sqs:{US}:123456789012:atoll-unit-store"}
        events.put_targets(Rule=rule, EventBusName=bus, Targets=[target])  # type: ignore[list-item]
    plan = replay.plan(ready, archive="atoll-unit-journal", rules=["replayed"])
    # In us-east-1 the journal is that of ap-south-1.
    assert plan.estimates["events_in_window"] == 1
    assert list(replay.receivers(plan)["rule"]) == ["replayed"]
    assert plan.steps[0].after["destination"] == f"arn:aws:events:{US}:123456789012:event-bus/atoll-unit-journal"
    asked: list[Any] = []
    events.meta.events.register("provide-client-params.events.StartReplay", lambda params, **_: asked.append(params))
    replay._start(ready, plan, "r-1")
    assert asked[0]["Destination"]["FilterArns"] == [
        f"arn:aws:events:{US}:123456789012:rule/atoll-unit-journal/replayed"
    ]


def test_plan_when_archive_or_region_does_not_exist_is_refused(ready: Cloud) -> None:
    with pytest.raises(UsageError, match="archive: 'other' does not exist in us-east-1; accepted: atoll-unit"):
        replay.plan(ready, archive="other")
    with pytest.raises(UsageError, match="region: 'eu-west-1' is not in stage"):
        replay.plan(ready, region="eu-west-1")


def test_plan_when_a_rule_is_unknown_or_ten_replays_run_refuses(ready: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_running", lambda cloud, region: ["r"] * 10)
    plan = replay.plan(ready, rules=["nothing"])
    assert [step.detail for step in plan.refusals] == [
        "10 replays run in us-east-1, and EventBridge allows 10",
        "the bus has no rule with a target named nothing",
    ]


# --- apply -------------------------------------------------------------------------------------------------------


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

    monkeypatch.setattr(replay, "_describe", describe)


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

"""The plan of a replay: the window is resolved and previewed, cut into slices, and what speaks against it is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops import replay
from ops.aws import Cloud
from ops.errors import UsageError
from ops.plan import Plan, Step
from ops.replay import planning, temporary
from tests.unit.ops.replay.stored import AP, US, make_ready

ACCOUNT = "123456789012"
STORE = f"arn:aws:sqs:{US}:{ACCOUNT}:atoll-unit-store"


@pytest.fixture
def ready(deployed: Cloud, calls: Any) -> Cloud:
    return make_ready(deployed, calls)


def add_rule(cloud: Cloud, name: str, pattern: dict[str, Any], target: str = STORE, bus: str = "atoll-unit") -> None:
    events = cloud.client("events", US)
    events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "q", "Arn": target}])


def admit(cloud: Cloud, queue: str, rule: str) -> None:
    """Let a rule, or rules, of the stage's bus send to a queue."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": f"arn:aws:sqs:{US}:{ACCOUNT}:{queue}",
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:events:{US}:{ACCOUNT}:rule/atoll-unit/{rule}"}},
    }
    sqs = cloud.client("sqs", US)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"], Attributes={"Policy": policy})


def steps(plan: Plan, action: str) -> list[Step]:
    return [step for step in plan.steps if step.action == action]


def test_plan_counts_the_window_and_makes_no_mutating_call(ready: Cloud, calls: Any) -> None:
    plan = replay.plan(ready, window_start="1h")
    assert plan.estimates["events_in_window"] == plan.estimates["already_processed"] == 3
    assert plan.estimates["events_by_metrics"] is None
    # Three events, and for each 1.2 requests to the tap's queue.
    assert plan.estimates["cost_usd"] == pytest.approx(3e-6 + 3 * 1.2 * 0.4e-6)
    # Three events at the 18,750 a second that us-east-1 allows.
    assert plan.estimates["duration_s"] == pytest.approx(3 / 18_750)
    assert dict(replay.preview(plan).groupby("type")["events"].sum()) == {"order.paid": 1, "order.placed": 2}
    assert replay.plan(ready, window_start="1h", tenants=["public"]).estimates["events_in_window"] == 3
    assert replay.plan(ready, window_start="1h", tenants=["acme"]).estimates["events_in_window"] == 0
    assert calls.mutating == []


def test_plan_when_made_from_its_own_parameters_has_the_same_token(ready: Cloud) -> None:
    plan = replay.plan(ready, window_start="1h")
    later = replay.plan(ready, **plan.parameters, now=lambda: datetime.now(UTC) + timedelta(minutes=5))
    assert later.token == plan.token
    assert replay.plan(ready, **plan.parameters | {"repeat": 1}).token != plan.token
    assert set(plan.parameters) == {
        *("region", "archive", "bus", "window_start", "window_end", "rules", "sources", "types", "subjects"),
        *("slice_minutes", "parallel", "deliver", "prove", "max_queue_age_s", "max_dlq_growth", "keep", "repeat"),
    }


def test_plan_when_more_is_known_later_keeps_the_slices_that_were_printed(
    ready: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replay.plan(ready, window_start="3h", slice_minutes=60)
    monkeypatch.setattr(planning, "choose_minutes", lambda window, events: 7)
    assert replay.plan(ready, **plan.parameters).token == plan.token
    assert len(steps(plan, "run")) in (3, 4)
    assert steps(plan, "run")[0].after["slice"] == 1


def test_plan_overhears_unless_told_otherwise_and_delivers_to_nobody_in_an_audit(ready: Cloud) -> None:
    add_rule(ready, "live", {"source": ["atoll.events"]})
    plan = replay.plan(ready)
    assert [step.resource for step in steps(plan, "create")] == ["tap queue", "tap rule"]
    assert steps(plan, "run")[0].after["rules"] is None
    assert steps(replay.plan(ready, prove=False), "create") == []
    audit = replay.plan(ready, prove=False, deliver=False)
    assert [step.resource for step in steps(audit, "create")] == ["tap queue", "tap rule"]
    assert audit.estimates["receivers"] == []
    assert "only overheard" in " ".join(audit.warnings)


def test_plan_warns_of_what_a_replay_may_miss(ready: Cloud) -> None:
    text = "; ".join(replay.plan(ready, window_start="30d").warnings)
    for part in ("last 10 minutes", "younger than the window", "keeps 7 days", "lag by up to 24 hours", "no rule"):
        assert part in text


def test_plan_of_the_journal_counts_what_the_region_before_accepted_and_shows_the_journals_receivers(
    ready: Cloud,
) -> None:
    for bus, rule in (("atoll-unit", "live"), ("atoll-unit-journal", "replayed")):
        add_rule(ready, rule, {"source": ["atoll.events"]}, bus=bus)
    plan = replay.plan(ready, archive="atoll-unit-journal", rules=["replayed"])
    # In us-east-1 the journal is that of ap-south-1.
    assert plan.estimates["events_in_window"] == 1
    assert list(replay.receivers(plan)["rule"]) == ["replayed"]
    asked = steps(plan, "run")[0].after
    assert asked["destination"] == f"arn:aws:events:{US}:{ACCOUNT}:event-bus/atoll-unit-journal"
    assert asked["rules"] == [f"arn:aws:events:{US}:{ACCOUNT}:rule/atoll-unit-journal/replayed"]


def test_plan_shows_who_would_receive_and_warns_of_who_would_not_or_may_twice(ready: Cloud) -> None:
    add_rule(ready, "store", {"source": ["atoll.events"]})
    add_rule(ready, "paid", {"detail-type": ["order.paid"]}, f"arn:aws:sqs:{US}:{ACCOUNT}:mail")
    add_rule(ready, "journal", {"source": ["atoll.events"], "replay-name": [{"exists": False}]})
    add_rule(ready, "others", {"detail-type": ["order.gone"]})
    ready.client("events", US).disable_rule(Name="others", EventBusName="atoll-unit")
    plan = replay.plan(ready)
    shown = {row["rule"]: (row["would_receive"], row["idempotent"]) for _, row in replay.receivers(plan).iterrows()}
    assert shown == {
        "store": ("yes", "yes"),
        "paid": ("only order.paid", "unknown"),
        "journal": ("no: it takes no replayed events", "yes"),
        "others": ("no: it is disabled", "yes"),
    }
    text = "; ".join(plan.warnings)
    assert "these rules take no replayed events: journal" in text
    assert "may get an event twice is not known: mail" in text
    assert replay.plan(ready, rules=["journal"]).refusals[0].detail == (
        "rule journal would not receive them: it takes no replayed events"
    )


def test_plan_when_archive_or_region_or_a_number_is_not_one_is_refused(ready: Cloud) -> None:
    with pytest.raises(UsageError, match="archive: 'other' does not exist in us-east-1; accepted: atoll-unit"):
        replay.plan(ready, archive="other")
    with pytest.raises(UsageError, match="region: 'eu-west-1' is not in stage"):
        replay.plan(ready, region="eu-west-1")
    with pytest.raises(UsageError, match="parallel: 11 is out of range; accepted: 0 to 10"):
        replay.plan(ready, parallel=11)
    with pytest.raises(UsageError, match="slice_minutes: -1 is out of range"):
        replay.plan(ready, slice_minutes=-1)
    with pytest.raises(UsageError, match="keep"):
        replay.plan(ready, keep="here")


def test_plan_when_a_rule_is_unknown_or_ten_replays_run_refuses(ready: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_running", lambda cloud, region: {f"r{n}": "RUNNING" for n in range(10)})
    plan = replay.plan(ready, rules=["nothing"])
    assert [step.detail for step in plan.refusals] == [
        "10 replays run in us-east-1, and EventBridge allows 10",
        "the bus has no rule with a target named nothing",
    ]
    assert plan.parameters["parallel"] == 1


def test_plan_of_a_selection_has_rules_stand_in_whose_patterns_are_narrower(ready: Cloud) -> None:
    add_rule(ready, "store", {"source": ["atoll.events"], "replay-name": [{"exists": True}]})
    add_rule(ready, "paid", {"detail-type": ["order.paid"], "detail": {"event": {"type": ["order.paid"]}}})
    admit(ready, "atoll-unit-store", "atoll-unit-replay-*")
    plan = replay.plan(ready, types=["order.placed"])
    assert plan.estimates["events_in_window"] == 2
    tap, stand_in = steps(plan, "create")[1:]
    assert tap.after["pattern"] == {"detail": {"event": {"type": ["order.placed"]}}}
    assert stand_in.resource == "temporary rule for store"
    assert stand_in.after | {"index": 0, "rule": "store", "bus": "atoll-unit"} == stand_in.after
    assert stand_in.after["pattern"] == {"source": ["atoll.events"]} | tap.after["pattern"]
    assert [target["Arn"] for target in stand_in.after["targets"]] == [STORE]
    assert plan.refusals == []


def test_plan_of_a_selection_that_a_queue_does_not_admit_says_which_statement_to_add(ready: Cloud) -> None:
    add_rule(ready, "store", {"source": ["atoll.events"]})
    admit(ready, "atoll-unit-store", "store")
    (refused,) = replay.plan(ready, types=["order.placed"]).refusals
    assert "does not admit the temporary rules; add " in refused.detail
    statement = json.loads(refused.detail.partition("; add ")[2])
    assert statement["Condition"]["ArnLike"]["aws:SourceArn"].endswith("rule/atoll-unit/atoll-unit-replay-*")


def test_plan_of_a_selection_that_nobody_would_receive_is_refused(ready: Cloud) -> None:
    # Without a stand-in a replay would go to all rules of the bus.
    add_rule(ready, "store", {"source": ["atoll.events"], "replay-name": [{"exists": False}]})
    (refused,) = replay.plan(ready, types=["order.placed"]).refusals
    assert refused.detail.startswith("no rule would receive the selection")
    assert replay.plan(ready, types=["order.placed"], deliver=False).refusals == []


def test_plan_of_a_selection_that_one_pattern_cannot_express_names_rule_and_field(ready: Cloud) -> None:
    add_rule(ready, "odd", {"detail": {"event": {"type": [{"wildcard": "order.*d"}]}}})
    admit(ready, "atoll-unit-store", "*")
    (refused,) = replay.plan(ready, types=["order.placed"]).refusals
    assert refused.detail.startswith("rule odd and the selection: detail.event.type: ")


def test_plan_removes_what_killed_runs_left_and_leaves_what_its_own_run_left(ready: Cloud) -> None:
    plan = replay.plan(ready, window_start="1h")
    for token in ("f" * 16, plan.token):
        add_rule(ready, temporary.rule_name(ready.stage, token, 0), {"source": ["x"]})
    ready.client("sqs", US).create_queue(QueueName=temporary.tap_name(ready.stage, "f" * 16))
    again = replay.plan(ready, **plan.parameters)
    assert [step.resource for step in steps(again, "delete")] == [
        f"temporary rule atoll-unit-replay-{'f' * 16}-0",
        f"temporary queue atoll-unit-replay-{'f' * 16}",
    ]
    assert [sorted(step.before) for step in steps(again, "delete")] == [["bus", "rule"], ["queue_url"]]
    assert any(f"{plan.token}-0 is left of an earlier run of this plan" in line for line in again.warnings)
    assert again.estimates["receivers"] == []


def test_plan_of_any_bus_in_any_region_finds_its_archive_and_reads_no_table(ready: Cloud, calls: Any) -> None:
    events = ready.client("events", "eu-west-1")
    arn = events.create_event_bus(Name="orders")["EventBusArn"]
    events.create_archive(ArchiveName="kept", EventSourceArn=arn)
    calls.clear()
    plan = replay.plan(ready, "eu-west-1", bus="orders", types=["placed*"], deliver=False)
    assert (plan.parameters["archive"], plan.parameters["bus"]) == ("kept", "orders")
    assert steps(plan, "create")[1].after["pattern"] == {"detail-type": [{"prefix": "placed"}]}
    assert plan.estimates["already_processed"] is None
    assert not [call for call in calls.made if call.startswith("dynamodb")]
    assert replay.plan(ready, **plan.parameters).token == plan.token
    with pytest.raises(UsageError, match="archive: bus 'orders' has no archives in ap-south-1"):
        replay.plan(ready, AP, bus="orders")


def test_plan_counts_what_eventbridge_archived_and_says_what_the_table_lacks(ready: Cloud) -> None:
    now = datetime.now(UTC)
    dimensions: Any = [
        {"Name": "EventBusName", "Value": "atoll-unit"},
        {"Name": "RuleName", "Value": "Events-Archive-atoll-unit"},
    ]
    minute = now.replace(second=0, microsecond=0) - timedelta(minutes=5)
    datum: Any = {"MetricName": "MatchedEvents", "Dimensions": dimensions, "Timestamp": minute, "Value": 25_000}
    ready.client("cloudwatch", US).put_metric_data(Namespace="AWS/Events", MetricData=[datum])
    plan = replay.plan(ready, window_start="1h")
    assert plan.estimates["events_by_metrics"] == plan.estimates["events_in_window"] == 25_000
    assert list(replay.archived(plan)["events"]) == [25_000]
    assert "EventBridge counted 25,000 events into the archive, and the table has 3 of the window" in plan.warnings
    # Ten thousand a slice.
    assert len(steps(plan, "run")) == plan.estimates["slices"] == plan.parameters["parallel"] == 3
    assert replay.planned_slices(plan)["minutes"][0] == plan.parameters["slice_minutes"]
    assert "line" in replay.chart(plan).title

"""The plan of a replay: the window is resolved and previewed, and what speaks against it is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops import replay
from ops.aws import Cloud
from ops.errors import UsageError
from ops.replay import planning, running
from tests.unit.ops.replay.stored import US, make_ready


@pytest.fixture
def ready(deployed: Cloud, calls: Any) -> Cloud:
    return make_ready(deployed, calls)


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
    running._start(ready, plan, "r-1")
    assert asked[0]["Destination"]["FilterArns"] == [
        f"arn:aws:events:{US}:123456789012:rule/atoll-unit-journal/replayed"
    ]


def test_plan_when_archive_or_region_does_not_exist_is_refused(ready: Cloud) -> None:
    with pytest.raises(UsageError, match="archive: 'other' does not exist in us-east-1; accepted: atoll-unit"):
        replay.plan(ready, archive="other")
    with pytest.raises(UsageError, match="region: 'eu-west-1' is not in stage"):
        replay.plan(ready, region="eu-west-1")


def test_plan_when_a_rule_is_unknown_or_ten_replays_run_refuses(ready: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_running", lambda cloud, region: ["r"] * 10)
    plan = replay.plan(ready, rules=["nothing"])
    assert [step.detail for step in plan.refusals] == [
        "10 replays run in us-east-1, and EventBridge allows 10",
        "the bus has no rule with a target named nothing",
    ]

"""Health checks, alarms and the way back: who is told, what is replaced in which order, and what a destroy leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from ops import provision
from ops.aws import Cloud
from ops.divergence.reserved import heartbeat_key
from ops.errors import OpsError, RefusedError, UsageError
from ops.plan import Plan, Step
from ops.provision.destroying import look
from ops.provision.healthchecks import HealthCheck, desired_checks, settled_at, usable
from ops.provision.waits import Waits
from ops.provision.world import observe
from ops.stage import Stage
from tests.unit.ops.conftest import Composites, Hub
from tests.unit.ops.test_provision import DOMAIN, CutError, applied, records_of, summary

US, INDIA = "us-east-1", "ap-south-1"
DOMAINS = {region: DOMAIN.format(region) for region in (US, INDIA, "eu-west-1")}


def with_combined(cloud: Cloud) -> Cloud:
    alarms = cloud.stage.alarms.model_copy(update={"combined": True})
    cloud.stage = cloud.stage.model_copy(update={"alarms": alarms})
    return cloud


def unprotected(cloud: Cloud) -> Cloud:
    table = cloud.stage.table.model_copy(update={"deletion_protection": False})
    cloud.stage = cloud.stage.model_copy(update={"table": table})
    return cloud


def destroyed(cloud: Cloud, **parameters: bool) -> Plan:
    plan = provision.plan(cloud, destroy=True, **parameters)
    provision.apply(cloud, plan, plan.token, waits=Waits(sleep=lambda s: None))
    return plan


def left(cloud: Cloud) -> list[tuple[str, str, str | None]]:
    return summary(provision.plan(cloud, destroy=True, discard_data=True))


# --- health checks -----------------------------------------------------------------------------------------------


def test_checks_of_a_region_are_its_own_an_inverted_one_at_the_next_and_both(stage: Stage) -> None:
    three = stage.model_copy(update={"regions": [US, INDIA, "eu-west-1"]})
    checks = desired_checks(three, DOMAINS)
    asked = {
        s: (c["FullyQualifiedDomainName"], c["ResourcePath"], c["Inverted"]) for s, c in checks.items() if "Port" in c
    }
    assert asked == {
        US: (DOMAINS[US], "/status", False),
        INDIA: (DOMAINS[INDIA], "/status", False),
        "eu-west-1": (DOMAINS["eu-west-1"], "/status", False),
        f"{US}/evacuation": (DOMAINS[INDIA], f"/evacuated/{US}", True),
        f"{INDIA}/evacuation": (DOMAINS["eu-west-1"], f"/evacuated/{INDIA}", True),
        "eu-west-1/evacuation": (DOMAINS[US], "/evacuated/eu-west-1", True),
    }
    counted = {s: (c["HealthThreshold"], c["ChildHealthChecks"]) for s, c in checks.items() if "Port" not in c}
    assert counted[f"{US}/combined"] == (2, [f"atoll-unit {US}", f"atoll-unit {US} evacuation"])
    assert counted["platform"] == (1, sorted(f"atoll-unit {region}" for region in three.regions))


def test_stage_of_one_region_routes_by_its_own_check(deployed: Cloud) -> None:
    deployed.stage = deployed.stage.model_copy(update={"regions": [US]})
    applied(deployed)
    world = observe(deployed)
    assert sorted(world.health_checks) == ["platform", US]
    assert world.records[US]["health_check"] == world.health_checks[US][0].id
    assert provision.plan(deployed).changes == []


def test_stage_of_before_is_led_over_only_when_the_evacuation_probe_has_data(deployed: Cloud, calls: Any) -> None:
    """A stage with an own check a region and records on it, as earlier versions made it."""
    one = deployed.stage.model_copy(update={"regions": [US]})
    both, deployed.stage = deployed.stage, one
    applied(deployed)
    deployed.stage = both
    own = observe(deployed).health_checks[US][0].id
    clock, moments = [1_000_000.0], {}

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    def at(what: str) -> Callable[[], None]:
        return lambda: moments.setdefault(what, []).append(clock[0])

    calls.on("after", "CreateHealthCheck", at("made"))
    calls.on("before", "ChangeResourceRecordSets", at("led"))
    plan = provision.plan(deployed)
    provision.apply(deployed, plan, plan.token, waits=Waits(sleep=sleep, now=lambda: clock[0]))

    moved = next(step for step in plan.changes if step.resource.startswith("record ") and step.region == US)
    assert moved.detail == f"health_check is atoll-unit {US}, should be atoll-unit {US} combined"
    need_s = deployed.stage.health_check.interval_s * (deployed.stage.health_check.failure_threshold + 1)
    assert moments["led"][0] - max(moments["made"]) >= need_s
    world = observe(deployed)
    assert world.health_checks[US][0].id == own
    assert world.records[US]["health_check"] == world.health_checks[f"{US}/combined"][0].id
    assert provision.plan(deployed).changes == []


def test_evacuation_probe_that_is_to_ask_elsewhere_is_another(stage: Stage) -> None:
    wanted = desired_checks(stage, DOMAINS)[f"{US}/evacuation"]
    there = HealthCheck("hc-1", 1, "", wanted | {"FullyQualifiedDomainName": "elsewhere.example"})
    assert usable([there], wanted) is None
    own = desired_checks(stage, DOMAINS)[US]
    assert usable([replace(there, config=own | {"FullyQualifiedDomainName": "elsewhere.example"})], own) is not None


def test_settled_when_the_creation_is_not_known_counts_from_now(stage: Stage) -> None:
    check = HealthCheck("hc-1", 1, "", {})
    assert settled_at(stage, check, 1000) == 1000 + 10 * 3 + 10
    assert settled_at(stage, replace(check, created=900.0), 1000) == 900 + 10 * 3 + 10


# --- drift -------------------------------------------------------------------------------------------------------

Drift = Callable[[Cloud], Any]


def _check(slot: str, **changes: Any) -> Drift:
    def drift(cloud: Cloud) -> None:
        identifier = observe(cloud).health_checks[slot][0].id
        cloud.client("route53", US).update_health_check(HealthCheckId=identifier, **changes)

    return drift


def _record(**changes: Any) -> Drift:
    def drift(cloud: Cloud) -> None:
        route53 = cloud.client("route53", US)
        record = records_of(cloud)[f"api.atoll.example. {INDIA}"] | changes
        change: Any = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
        route53.change_resource_record_sets(HostedZoneId=observe(cloud).zones[0], ChangeBatch=change)

    return drift


def _alarm(cloud: Cloud) -> None:
    cloudwatch: Any = cloud.client("cloudwatch", US)
    found = cloudwatch.describe_alarms(AlarmNames=["atoll-unit-global-platform"])["MetricAlarms"][0]
    names = ("AlarmName", "Namespace", "MetricName", "Dimensions", "Statistic", "Period", "EvaluationPeriods")
    kept = {name: found[name] for name in (*names, "AlarmDescription", "ComparisonOperator", "TreatMissingData")}
    cloudwatch.put_metric_alarm(**kept, Threshold=0.5, AlarmActions=[], OKActions=[])


def _composite(cloud: Cloud) -> None:
    cloud.client("cloudwatch", US).put_composite_alarm(
        AlarmName="atoll-unit-global-unhealthy", AlarmRule="FALSE", AlarmActions=[], OKActions=[]
    )


def _topic(cloud: Cloud) -> None:
    arn = f"arn:aws:sns:{US}:{cloud.account}:atoll-unit-global"
    cloud.client("sns", US).set_topic_attributes(
        TopicArn=arn, AttributeName="Policy", AttributeValue='{"Version": "2012-10-17", "Statement": []}'
    )


def _archive(cloud: Cloud) -> None:
    cloud.client("events", INDIA).update_archive(ArchiveName="atoll-unit-journal", RetentionDays=3)


DRIFTS: dict[str, tuple[Drift, tuple[str, str, str | None], list[str]]] = {
    "own": (
        _check(US, ResourcePath="/"),
        ("drift", "health-check api.atoll.example", US),
        ["ResourcePath is /, should be /status"],
    ),
    "evacuation": (
        _check(f"{US}/evacuation", Inverted=False),
        ("drift", "health-check api.atoll.example evacuation", US),
        ["Inverted is False, should be True"],
    ),
    "combined": (
        _check(f"{INDIA}/combined", HealthThreshold=1),
        ("drift", "health-check api.atoll.example combined", INDIA),
        ["HealthThreshold is 1, should be 2"],
    ),
    "platform": (
        _check("platform", Disabled=True),
        ("drift", "health-check api.atoll.example platform", None),
        ["Disabled is True, should be False"],
    ),
    "record": (_record(TTL=300), ("drift", "record api.atoll.example", INDIA), ["ttl_s is 300, should be 10"]),
    "alarm": (_alarm, ("drift", "alarm atoll-unit-global-platform", US), ["threshold is 0.5, should be 1"]),
    "composite": (_composite, ("drift", "alarm atoll-unit-global-unhealthy", US), ["rule is FALSE, should be ALARM("]),
    "topic": (_topic, ("drift", "topic atoll-unit-global", US), ["Statement is []", "OnlyAlarmsOfThisAccount"]),
    "archive": (_archive, ("drift", "archive atoll-unit-journal", INDIA), ["retention_days is 3, should be 5"]),
}


def test_drift_is_shown_with_both_values_and_mended(deployed: Cloud) -> None:
    applied(with_combined(deployed))
    for drift, changed, shown in DRIFTS.values():
        drift(deployed)
        plan = provision.plan(deployed)
        assert summary(plan) == [changed]
        assert all(words in plan.changes[0].detail for words in shown), plan.changes[0].detail
        applied(deployed)
        assert provision.plan(deployed).changes == []


# --- alarms ------------------------------------------------------------------------------------------------------


def test_alarms_look_at_what_the_records_use_and_the_composite_alone_acts(deployed: Cloud, hub: Hub) -> None:
    applied(with_combined(deployed))
    world = observe(deployed)
    found: Any = deployed.client("cloudwatch", US).describe_alarms()["MetricAlarms"]
    watched = {alarm["AlarmName"]: alarm["Dimensions"][0]["Value"] for alarm in found}
    assert watched == {
        "atoll-unit-global-platform": world.health_checks["platform"][0].id,
        **{f"atoll-unit-global-{r}": world.records[r]["health_check"] for r in deployed.stage.regions},
    }
    assert not any(alarm["AlarmActions"] for alarm in found)
    composite = hub.composites.alarms["atoll-unit-global-unhealthy"]
    assert composite["AlarmActions"] == composite["OKActions"] == [f"arn:aws:sns:{US}:123456789012:atoll-unit-global"]
    assert all(f'ALARM("{name}")' in composite["AlarmRule"] for name in watched)


def test_alarm_of_a_region_that_has_gone_is_deleted_after_the_composite_lets_go_of_it(
    deployed: Cloud, hub: Hub
) -> None:
    applied(with_combined(deployed))
    deployed.stage = deployed.stage.model_copy(update={"regions": [US]})
    plan = applied(deployed)
    changes = [(action, what) for action, what, _ in summary(plan)]
    composite = changes.index(("drift", "alarm atoll-unit-global-unhealthy"))
    assert changes.index(("delete", f"alarm atoll-unit-global-{INDIA}")) > composite
    assert provision.plan(deployed).changes == []


def test_stand_in_refuses_to_delete_what_a_composite_needs() -> None:
    composites = Composites()
    composites.ask({"AlarmName": "all", "AlarmRule": 'ALARM("one")'})
    composites.put()
    composites.ask({"AlarmNames": ["one"]})
    assert composites.delete()[0].status_code == 400


# --- destroy -----------------------------------------------------------------------------------------------------


def test_destroy_leaves_nothing_and_provision_builds_everything_again(deployed: Cloud, calls: Any) -> None:
    applied(unprotected(with_combined(deployed)))
    before = {(step.resource, step.region) for step in provision.plan(deployed).steps}
    calls.clear()
    plan = provision.plan(deployed, destroy=True)
    assert calls.mutating == []
    provision.apply(deployed, plan, plan.token)
    assert [check for check in provision.verify(deployed, plan) if not check.ok] == []
    assert left(deployed) == []
    for region in deployed.stage.regions:
        assert deployed.client("dynamodb", region).list_tables()["TableNames"] == []
        assert deployed.client("events", region).list_archives()["Archives"] == []
    assert deployed.client("route53", US).list_hosted_zones()["HostedZones"] == []
    assert deployed.client("route53", US).list_health_checks()["HealthChecks"] == []
    assert deployed.client("sns", US).list_topics()["Topics"] == []
    calls.clear()
    destroyed(deployed)
    assert calls.mutating == []
    applied(deployed)
    again = provision.plan(deployed)
    assert again.changes == []
    assert {(step.resource, step.region) for step in again.steps} == before


def test_destroy_takes_what_answers_first_and_what_holds_data_last(deployed: Cloud) -> None:
    applied(unprotected(with_combined(deployed)))
    kinds = [step.resource.partition(" ")[0] for step in provision.plan(deployed, destroy=True).changes]
    order = ["record", "alarm", "topic", "health-check", "zone", "archive", "bucket", "replica", "table"]
    assert list(dict.fromkeys(kinds)) == order


def test_destroy_when_the_stage_file_or_the_table_is_protected_refuses(deployed: Cloud, calls: Any) -> None:
    applied(deployed)
    calls.clear()
    plan = provision.plan(deployed, destroy=True)
    assert ["deletion protection is on in deploy/stages/unit.yml" in step.detail for step in plan.refusals] == [True]
    with pytest.raises(RefusedError, match="deletion protection is on"):
        provision.apply(deployed, plan, plan.token)
    by_hand = provision.plan(unprotected(deployed), destroy=True).refusals
    assert [(step.region, "on in DynamoDB" in step.detail) for step in by_hand] == [(US, True), (INDIA, True)]
    assert calls.mutating == []


def test_destroy_when_only_heartbeats_are_left_of_a_killed_probe_goes_on(deployed: Cloud) -> None:
    applied(unprotected(deployed))
    dynamodb = deployed.client("dynamodb", INDIA)
    for region in deployed.stage.regions:
        beat: Any = heartbeat_key(("pk", "sk"), ("S", "S"), region)
        dynamodb.put_item(TableName=deployed.stage.table_name, Item=beat | {"beat": {"N": "1"}})

    assert provision.plan(deployed, destroy=True).refusals == []
    item: Any = beat | {"sk": {"S": "EVENT"}}  # half of a heartbeat's key is somebody's item
    dynamodb.put_item(TableName=deployed.stage.table_name, Item=item)
    [refusal] = provision.plan(deployed, destroy=True).refusals
    assert f"it holds items in {INDIA}" in refusal.detail
    dynamodb.delete_item(TableName=deployed.stage.table_name, Key=item)
    destroyed(deployed)
    assert left(deployed) == []


def test_destroy_when_the_table_holds_items_needs_to_be_told_to_discard_them(deployed: Cloud) -> None:
    applied(unprotected(deployed))
    item: Any = {"pk": {"S": "EVENT#1"}, "sk": {"S": "EVENT"}}
    deployed.client("dynamodb", INDIA).put_item(TableName="atoll-unit", Item=item)
    (refusal,) = provision.plan(deployed, destroy=True).refusals
    assert f"it holds items in {INDIA}; with -p discard_data=true" in refusal.detail
    plan = provision.plan(deployed, destroy=True, discard_data=True)
    assert any("about 1 items" in warning for warning in plan.warnings)
    assert plan.estimates["items"] == 1
    destroyed(deployed, discard_data=True)
    assert left(deployed) == []


def test_destroy_when_an_item_came_since_the_plan_stops_before_the_table(deployed: Cloud) -> None:
    applied(unprotected(deployed))
    plan = provision.plan(deployed, destroy=True)
    item: Any = {"pk": {"S": "EVENT#1"}, "sk": {"S": "EVENT"}}
    deployed.client("dynamodb", US).put_item(TableName="atoll-unit", Item=item)
    with pytest.raises(OpsError, match="since the plan it holds items"):
        provision.apply(deployed, plan, plan.token)
    assert observe(deployed).regions[US].table is not None


def test_discard_data_without_destroy_is_refused(deployed: Cloud) -> None:
    with pytest.raises(UsageError, match="only a destroy discards data"):
        provision.plan(deployed, discard_data=True)


def test_destroy_keeps_what_is_not_ours_and_notices_when_it_changes(deployed: Cloud) -> None:
    applied(unprotected(deployed))
    route53: Any = deployed.client("route53", US)
    (zone,) = observe(deployed).zones
    used = observe(deployed).health_checks[US][0].id
    www = {"Name": "www.atoll.example.", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    theirs = www | {"Name": "their.atoll.example.", "SetIdentifier": "x", "Region": US, "HealthCheckId": used}
    for record in (www, theirs):
        change = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=change)
    config = {"Type": "HTTP", "IPAddress": "192.0.2.1"}
    foreign = route53.create_health_check(CallerReference="somebody", HealthCheckConfig=config)["HealthCheck"]["Id"]

    plan = destroyed(deployed)
    kept = {step.resource: step for step in plan.steps if step.action == "keep"}
    assert "it holds 2 records that are not ours: their.atoll.example A x" in kept["zone atoll.example"].detail
    assert kept["health-check api.atoll.example"].region == US
    assert kept["foreign health checks"].before == [foreign]
    assert [check for check in provision.verify(deployed, plan) if not check.ok] == []
    assert {one["Id"] for one in route53.list_health_checks()["HealthChecks"]} == {foreign, used}
    names = [one["Name"] for one in look(deployed).record_sets]
    assert sorted(names) == ["their.atoll.example.", "www.atoll.example."]
    assert observe(deployed).zones == [zone]

    route53.delete_health_check(HealthCheckId=foreign)
    (failing,) = [check for check in provision.verify(deployed, plan) if not check.ok]
    assert (failing.name, foreign in failing.detail) == ("foreign health checks", True)


def test_destroy_when_the_zone_was_there_before_keeps_it(deployed: Cloud) -> None:
    deployed.client("route53", US).create_hosted_zone(Name="atoll.example.", CallerReference="by hand")
    applied(unprotected(deployed))
    plan = destroyed(deployed)
    zone = next(step for step in plan.steps if step.resource == "zone atoll.example")
    assert (zone.action, "someone else made it" in zone.detail) == ("keep", True)
    assert len(observe(deployed).zones) == 1
    assert observe(deployed).records == {}


# --- cut anywhere ------------------------------------------------------------------------------------------------


def each_call_cut(cloud: Cloud, calls: Any, make: Callable[[], Plan]) -> list[Step]:
    """Apply plans until nothing is left to do, each cut at the first writing call of a step that was not yet cut there;
    the steps that were cut."""
    cut: list[Step] = []
    seen: set[tuple[str, str]] = set()
    for _ in range(150):
        plan = make()
        if not plan.changes:
            return cut
        lines: list[str] = []
        calls.watch = partial(_cut_once, seen, lines)
        try:
            provision.apply(cloud, plan, plan.token, lines.append, waits=Waits(sleep=lambda s: None))
        except CutError:
            cut.append(plan.changes[len(lines) - 1])
        finally:
            calls.watch = None
    raise AssertionError("no end")


def _cut_once(seen: set[tuple[str, str]], lines: list[str], call: str) -> None:
    """Cut a call of the step that is under way, unless that was done before. A line is ``[3/20] create table ...``."""
    key = (lines[-1].partition("] ")[2], call)
    if key not in seen:
        seen.add(key)
        raise CutError


def test_provision_when_each_writing_call_is_cut_in_turn_ends_at_keep_everywhere(deployed: Cloud, calls: Any) -> None:
    with_combined(deployed)
    cut = each_call_cut(deployed, calls, lambda: provision.plan(deployed))
    kinds = Counter(step.resource.partition(" ")[0] for step in cut)
    assert kinds.keys() >= {"table", "replica", "archive", "zone", "health-check", "record", "topic", "alarm"}
    # Each of seven checks is cut when it is made, when it is named, and when the next plan names it.
    assert (kinds["archive"], kinds["health-check"], kinds["record"], kinds["alarm"]) == (4, 21, 2, 4)
    # And each bucket at each of its settings.
    assert kinds["bucket"] >= 10
    assert {step.action for step in provision.plan(deployed).steps} == {"keep"}
    assert [check for check in provision.verify(deployed) if not check.ok] == []
    assert {slot: len(checks) for slot, checks in observe(deployed).health_checks.items()} == dict.fromkeys(
        [US, INDIA, f"{US}/evacuation", f"{INDIA}/evacuation", f"{US}/combined", f"{INDIA}/combined", "platform"], 1
    )


def test_destroy_when_each_writing_call_is_cut_in_turn_leaves_nothing(deployed: Cloud, calls: Any) -> None:
    applied(unprotected(with_combined(deployed)))
    cut = each_call_cut(deployed, calls, lambda: provision.plan(deployed, destroy=True))
    kinds = Counter(step.resource.partition(" ")[0] for step in cut)
    once = {"topic": 1, "zone": 1, "replica": 1, "table": 1}
    assert kinds == once | {"record": 2, "alarm": 4, "health-check": 7, "archive": 4, "bucket": 2}
    assert left(deployed) == []

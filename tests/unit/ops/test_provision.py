"""Provisioning: the plan reads only, the apply can be cut anywhere, and drift is shown with both values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops import provision
from ops.aws import Cloud
from ops.errors import OpsError, RefusedError
from ops.plan import Outcome, Plan
from ops.provision.desired import desired_probe, desired_shape
from ops.provision.planning import decide
from ops.provision.world import HealthCheck, RegionState, Table, World, observe
from ops.provision.writers import Waits
from ops.stage import DomainSettings, Stage

DOMAIN = "a1b2c3d4e5.execute-api.{}.amazonaws.com"


class CutError(Exception):
    """Stands for a lost connection, a closed laptop, a killed process."""


def applied(cloud: Cloud) -> Plan:
    plan = provision.plan(cloud)
    provision.apply(cloud, plan, plan.token, waits=Waits(sleep=lambda s: None))
    return plan


def summary(plan: Plan) -> list[tuple[str, str, str | None]]:
    return [(step.action, step.resource, step.region) for step in plan.changes]


def test_plan_when_no_stack_is_deployed_refuses_with_the_command(account: Cloud, calls: Any) -> None:
    plan = provision.plan(account)
    assert [step.region for step in plan.refusals] == ["us-east-1", "ap-south-1"]
    assert "ops deploy --stage unit --region us-east-1" in plan.refusals[0].detail
    with pytest.raises(RefusedError, match="ops deploy"):
        provision.apply(account, plan, plan.token)
    assert calls.mutating == []


def test_plan_makes_no_mutating_call(deployed: Cloud, calls: Any) -> None:
    plan = provision.plan(deployed)
    provision.verify(deployed)
    assert plan.changes
    assert calls.made
    assert calls.mutating == []


def test_apply_when_token_is_another_plans_changes_nothing(deployed: Cloud, calls: Any) -> None:
    plan = provision.plan(deployed)
    with pytest.raises(RefusedError, match="is not this plan's"):
        provision.apply(deployed, plan, "0" * 16)
    assert calls.mutating == []


def test_apply_when_nothing_is_there_makes_everything_and_then_plans_nothing(deployed: Cloud, calls: Any) -> None:
    lines: list[str] = []
    plan = provision.plan(deployed)
    result = provision.apply(deployed, plan, plan.token, lines.append)
    assert len(lines) == len(plan.changes) == len(result.frame())
    assert lines[0] == f"[1/{len(plan.changes)}] create table atoll-unit in us-east-1"
    assert provision.plan(deployed).changes == []
    assert [check for check in provision.verify(deployed) if not check.ok] == []
    calls.clear()
    applied(deployed)
    assert calls.mutating == []


def test_apply_makes_what_the_contract_names(deployed: Cloud) -> None:
    applied(deployed)
    for region in deployed.stage.regions:
        table = deployed.client("dynamodb", region).describe_table(TableName="atoll-unit")["Table"]
        assert table["DeletionProtectionEnabled"] is True
        assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["by_time"]
        archive = deployed.client("events", region).describe_archive(ArchiveName="atoll-unit")
        assert archive["EventPattern"] == '{"source": ["atoll.events"]}'
        assert archive["RetentionDays"] == 7
        journal = deployed.client("events", region).describe_archive(ArchiveName="atoll-unit-journal")
        assert journal["EventSourceArn"].endswith(f":{region}:123456789012:event-bus/atoll-unit-journal")
        assert (journal["EventPattern"], journal["RetentionDays"]) == ('{"source": ["atoll.events"]}', 5)
    world = observe(deployed)
    assert {r: c[0].config["FullyQualifiedDomainName"] for r, c in world.health_checks.items()} == {
        region: DOMAIN.format(region) for region in deployed.stage.regions
    }
    assert world.records["ap-south-1"]["value"] == DOMAIN.format("ap-south-1")
    assert world.records["ap-south-1"]["health_check"] == world.health_checks["ap-south-1"][0].id


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "operation",
    [
        "CreateTable",
        "UpdateTimeToLive",
        "UpdateTable",
        "UpdateContinuousBackups",
        "CreateArchive",
        "CreateHostedZone",
        "CreateHealthCheck",
        "ChangeTagsForResource",
        "ChangeResourceRecordSets",
    ],
)
def test_apply_when_cut_at_any_call_is_continued_by_the_next_plan(
    deployed: Cloud, calls: Any, moment: str, operation: str
) -> None:
    def cut() -> None:
        raise CutError

    calls.on(moment, operation, cut)
    plan = provision.plan(deployed)
    with pytest.raises(CutError):
        provision.apply(deployed, plan, plan.token)
    calls.clear()
    applied(deployed)
    assert provision.plan(deployed).changes == []
    assert [check for check in provision.verify(deployed) if not check.ok] == []
    assert {region: len(checks) for region, checks in observe(deployed).health_checks.items()} == {
        "us-east-1": 1,
        "ap-south-1": 1,
    }


def test_apply_when_a_step_fails_has_reported_those_before_it_and_why(deployed: Cloud, calls: Any) -> None:
    def deny() -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "CreateArchive")

    calls.on("before", "CreateArchive", deny)
    plan = provision.plan(deployed)
    outcomes: list[Outcome] = []
    with pytest.raises(OpsError, match="archive"):
        provision.apply(deployed, plan, plan.token, report=outcomes.append)

    first = [step.resource for step in plan.changes].index("archive atoll-unit")
    assert [outcome.step for outcome in outcomes] == plan.changes[: first + 1]
    assert all(outcome.done in ("created", "changed", "already so") for outcome in outcomes[:-1])
    assert outcomes[-1].done.startswith("failed: ")
    assert "AccessDeniedException" in outcomes[-1].done
    kept = outcomes[0].record()
    assert (kept["before"], kept["after"], kept["done"]) == (None, plan.changes[0].after, "created")


def test_plan_estimates_how_long_and_what_it_costs(deployed: Cloud) -> None:
    fresh = provision.plan(deployed)
    # One zone at 0.50, and a health check a region: 0.50, and 1.00 for each of HTTPS and the fast interval.
    fast = deployed.stage.health_check.interval_s == 10
    assert fresh.estimates["cost_usd_per_month"] == pytest.approx(0.5 + 2 * (0.5 + 1 + fast))
    assert fresh.estimates["duration_s"] > 300
    applied(deployed)
    done = provision.plan(deployed)
    assert (done.estimates["duration_s"], done.estimates["cost_usd_per_month"]) == (0, 0)


def test_plan_when_settings_drifted_shows_both_values_and_apply_mends(deployed: Cloud) -> None:
    applied(deployed)
    world = observe(deployed)
    route53 = deployed.client("route53", "us-east-1")
    route53.update_health_check(HealthCheckId=world.health_checks["us-east-1"][0].id, FailureThreshold=9)
    deployed.client("events", "ap-south-1").update_archive(ArchiveName="atoll-unit", RetentionDays=3)
    deployed.client("dynamodb", "ap-south-1").update_table(TableName="atoll-unit", DeletionProtectionEnabled=False)
    plan = provision.plan(deployed)
    assert summary(plan) == [
        ("change", "protection atoll-unit", "ap-south-1"),
        ("change", "archive atoll-unit", "ap-south-1"),
        ("change", "health-check api.atoll.example", "us-east-1"),
    ]
    assert [step.detail for step in plan.changes] == [
        "deletion_protection is False, should be True",
        "retention_days is 3, should be 7",
        "FailureThreshold is 9, should be 2",
    ]
    assert plan.changes[1].before["retention_days"] == 3
    assert plan.changes[1].after["retention_days"] == 7
    applied(deployed)
    assert provision.plan(deployed).changes == []


def test_plan_when_probe_interval_changes_replaces_the_health_check_before_it_is_removed(deployed: Cloud) -> None:
    applied(deployed)
    slower = deployed.stage.health_check.model_copy(update={"interval_s": 30})
    deployed.stage = deployed.stage.model_copy(update={"health_check": slower})
    plan = applied(deployed)
    assert [action for action, _, region in summary(plan) if region == "us-east-1"] == ["create", "change", "delete"]
    world = observe(deployed)
    assert [check.config["RequestInterval"] for check in world.health_checks["us-east-1"]] == [30]
    assert provision.plan(deployed).changes == []


def test_apply_when_replica_never_comes_up_says_what_to_do(deployed: Cloud, global_tables: Any) -> None:
    global_tables.status["ap-south-1"] = "CREATING"
    elapsed = [0.0]

    def sleep(seconds: float) -> None:
        elapsed[0] += seconds
        if len(global_tables.status) and elapsed[0] > 10_000:
            raise AssertionError("no deadline")

    waits = Waits(deadline_s=60, sleep=sleep, clock=lambda: elapsed[0])
    plan = provision.plan(deployed)
    with pytest.raises(OpsError, match="not ready after 60 s") as caught:
        provision.apply(deployed, plan, plan.token, waits=waits)
    assert "plan again" in caught.value.hint.lower()


def test_apply_when_caller_reference_was_used_before_takes_the_next(deployed: Cloud, calls: Any) -> None:
    client = deployed.client("route53", "us-east-1")
    refused = client.exceptions.HealthCheckAlreadyExists({"Error": {"Code": "HealthCheckAlreadyExists"}}, "Create")
    left = [2]

    def once_used() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise refused

    calls.on("before", "CreateHealthCheck", once_used)
    applied(deployed)
    assert [check.number for check in observe(deployed).health_checks["us-east-1"]] == [3]


# --- with a domain -----------------------------------------------------------------------------------------------


@pytest.fixture
def named(deployed: Cloud, stacks: Any) -> Cloud:
    """The same, of a stage that has a domain, in every region's stack."""
    deployed.stage = deployed.stage.model_copy(update={"domain": domain_of(deployed.stage)})
    for region in deployed.stage.regions:
        stacks.outputs[region] = {
            "SharedDomainTarget": f"d-shared.execute-api.{region}.amazonaws.com",
            "RegionalDomainTarget": f"d-own.execute-api.{region}.amazonaws.com",
        }
    return deployed


def domain_of(stage: Stage) -> DomainSettings:
    return DomainSettings(certificates={r: f"arn:aws:acm:{r}:{'0' * 12}:certificate/0" for r in stage.regions})


def records_of(cloud: Cloud) -> dict[str, dict[str, Any]]:
    """The zone's CNAMEs as Route 53 has them, by name and region."""
    route53 = cloud.client("route53", "us-east-1")
    (zone,) = route53.list_hosted_zones()["HostedZones"]
    sets: Any = route53.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
    return {f"{r['Name']} {r.get('Region', '')}".strip(): r for r in sets if r["Type"] == "CNAME"}


def test_apply_with_a_domain_leads_both_names_to_their_own_targets_and_probes_the_regions_own(named: Cloud) -> None:
    applied(named)
    records = records_of(named)
    assert {name: record["ResourceRecords"][0]["Value"] for name, record in records.items()} == {
        "api.atoll.example. us-east-1": "d-shared.execute-api.us-east-1.amazonaws.com",
        "api.atoll.example. ap-south-1": "d-shared.execute-api.ap-south-1.amazonaws.com",
        "us-east-1.api.atoll.example.": "d-own.execute-api.us-east-1.amazonaws.com",
        "ap-south-1.api.atoll.example.": "d-own.execute-api.ap-south-1.amazonaws.com",
    }
    world = observe(named)
    for region in named.stage.regions:
        (check,) = world.health_checks[region]
        assert check.config["FullyQualifiedDomainName"] == f"{region}.api.atoll.example"
        assert records[f"api.atoll.example. {region}"]["HealthCheckId"] == check.id
        assert "HealthCheckId" not in records[f"{region}.api.atoll.example."]
    assert provision.plan(named).changes == []
    assert [check for check in provision.verify(named) if not check.ok] == []


def test_plan_with_a_domain_makes_the_regions_names_before_what_probes_them(named: Cloud) -> None:
    kinds = [step.resource.partition(" ")[0] for step in provision.plan(named).changes]
    assert kinds.index("zone") < kinds.index("name") < kinds.index("health-check") < kinds.index("record")


def test_plan_when_a_domain_is_new_leads_the_records_over(deployed: Cloud, named: Cloud) -> None:
    without = deployed.stage.model_copy(update={"domain": None})
    deployed.stage, with_domain = without, deployed.stage
    applied(deployed)
    deployed.stage = with_domain
    assert summary(applied(deployed))[:2] == [
        ("create", "name us-east-1.api.atoll.example", "us-east-1"),
        ("create", "name ap-south-1.api.atoll.example", "ap-south-1"),
    ]
    assert {check[0].config["FullyQualifiedDomainName"] for check in observe(deployed).health_checks.values()} == {
        "us-east-1.api.atoll.example",
        "ap-south-1.api.atoll.example",
    }
    assert provision.plan(deployed).changes == []


def test_plan_when_the_stack_was_deployed_without_the_domain_refuses_with_the_command(
    named: Cloud, stacks: Any
) -> None:
    stacks.outputs["ap-south-1"] = {}
    (refusal,) = provision.plan(named).refusals
    assert refusal.region == "ap-south-1"
    assert refusal.detail == (
        "the regional stack is CREATE_COMPLETE without the stage's domain; "
        "run: ops deploy --stage unit --region ap-south-1"
    )


def test_api_url_with_a_domain_is_the_regions_own_name(deployed: Cloud, named: Cloud) -> None:
    assert named.api_url("a1b2c3d4e5", "ap-south-1") == "https://ap-south-1.api.atoll.example"
    named.stage = named.stage.model_copy(update={"domain": None})
    assert named.api_url("a1b2c3d4e5", "ap-south-1") == "https://a1b2c3d4e5.execute-api.ap-south-1.amazonaws.com"


# --- decisions, on worlds made by hand ---------------------------------------------------------------------------

TABLE = Table(
    status="ACTIVE",
    **desired_shape(),
    deletion_protection=True,
    replicas={"ap-south-1": "ACTIVE"},
    ttl="expires_at",
    recovery=True,
)


def world_of(stage: Stage, **tables: Table | None) -> World:
    regions = {
        region: RegionState("CREATE_COMPLETE", DOMAIN.format(region), tables.get(region.replace("-", "_")), {})
        for region in stage.regions
    }
    return World("1" * 12, regions, [], {}, {})


def test_decide_when_all_is_as_desired_keeps_the_table(stage: Stage) -> None:
    plan = decide(stage, world_of(stage, us_east_1=TABLE, ap_south_1=TABLE))
    assert {
        step.action for step in plan.steps if step.resource.endswith(" atoll-unit") if "archive" not in step.resource
    } == {"keep"}


def test_decide_when_key_schema_is_another_refuses(stage: Stage) -> None:
    plan = decide(stage, world_of(stage, us_east_1=replace(TABLE, keys={"id": "HASH"}), ap_south_1=TABLE))
    assert [(step.region, step.before) for step in plan.refusals] == [("us-east-1", {"id": "HASH"})]
    assert "cannot be changed" in plan.refusals[0].detail


def test_decide_when_a_table_of_the_name_stands_alone_refuses(stage: Stage) -> None:
    alone = replace(TABLE, replicas={})
    plan = decide(stage, world_of(stage, us_east_1=alone, ap_south_1=alone))
    assert [step.region for step in plan.refusals] == ["ap-south-1"]
    assert "stands alone" in plan.refusals[0].detail


@pytest.mark.parametrize("status", ["INACCESSIBLE_ENCRYPTION_CREDENTIALS", "REGION_DISABLED", "ARCHIVED"])
def test_decide_when_replica_left_its_group_refuses(stage: Stage, status: str) -> None:
    home = replace(TABLE, replicas={"ap-south-1": status})
    plan = decide(stage, world_of(stage, us_east_1=home, ap_south_1=TABLE))
    assert status in plan.refusals[0].detail


def test_decide_when_replica_is_being_created_waits_for_it(stage: Stage) -> None:
    home = replace(TABLE, replicas={"ap-south-1": "CREATING"})
    plan = decide(stage, world_of(stage, us_east_1=home, ap_south_1=TABLE))
    assert ("change", "replica atoll-unit", "ap-south-1") in summary(plan)


def test_decide_when_foreign_regions_have_parts_leaves_them_and_warns(stage: Stage) -> None:
    home = replace(TABLE, replicas={"ap-south-1": "ACTIVE", "eu-west-1": "ACTIVE"})
    world = replace(world_of(stage, us_east_1=home, ap_south_1=TABLE), zones=["Z1"], records={"eu-west-1": {}})
    plan = decide(stage, world)
    assert [warning.split(": ")[1].split(",")[0] for warning in plan.warnings] == [
        "eu-west-1 is no region of the stage; it is left alone",
        "it has a replica in eu-west-1",
    ]
    assert not any(step.region == "eu-west-1" for step in plan.steps)


def test_decide_when_two_zones_bear_the_name_refuses(stage: Stage) -> None:
    plan = decide(stage, replace(world_of(stage), zones=["Z1", "Z2"]))
    assert "Z1, Z2" in plan.refusals[0].detail


def test_decide_when_record_is_the_top_of_the_zone_refuses(stage: Stage) -> None:
    stage = stage.model_copy(update={"dns": stage.dns.model_copy(update={"record": stage.dns.zone})})
    assert "below dns.zone" in decide(stage, world_of(stage)).refusals[0].detail


def test_decide_when_record_points_at_another_health_check_changes_it(stage: Stage) -> None:
    domain = DOMAIN.format("us-east-1")
    check = HealthCheck("hc-1", 1, "atoll-unit us-east-1", desired_probe(stage, domain))
    record = {"region": "us-east-1", "ttl_s": 10, "value": domain, "health_check": "hc-0"}
    world = replace(world_of(stage), zones=["Z1"], health_checks={"us-east-1": [check]}, records={"us-east-1": record})
    steps = {(s.resource.split()[0], s.region): s for s in decide(stage, world).steps}
    assert steps["health-check", "us-east-1"].action == "keep"
    assert steps["record", "us-east-1"].detail == "health_check is hc-0, should be atoll-unit us-east-1"


def test_token_when_the_world_changes_is_another(stage: Stage) -> None:
    first = decide(stage, world_of(stage))
    assert first.token == decide(stage, world_of(stage)).token
    assert first.token != decide(stage, world_of(stage, us_east_1=TABLE)).token

"""The global table's provisioning: capacity, consistency, replicas that come and go, and drift of every setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops import provision
from ops.aws import Cloud
from ops.errors import OpsError, RefusedError, UsageError
from ops.plan import Plan, Step
from ops.provision.planning import decide
from ops.provision.table.desired import desired_group, desired_shape
from ops.provision.table.world import Table
from ops.provision.waits import Waits
from ops.provision.world import RegionState, World, observe
from ops.stage import CapacitySettings, Stage
from tests.unit.ops.conftest import SETTINGS

US, AP, EU = "us-east-1", "ap-south-1", "eu-west-1"
TABLE = "atoll-unit"
CAPACITY: dict[str, Any] = {
    "read": {"min": 5, "max": 50, "target_percent": 70},
    "read_in": {AP: {"min": 2, "max": 20, "target_percent": 60}},
    "write": {"min": 4, "max": 40, "target_percent": 65, "initial": 10},
}
TABLE_KINDS = ("table", "scaling", "ttl", "encryption", "replicas", "replica", "protection", "recovery")


def with_table(stage: Stage, **changes: Any) -> Stage:
    if isinstance(changes.get("capacity"), dict):
        changes["capacity"] = CapacitySettings.model_validate(changes["capacity"])
    return stage.model_copy(update={"table": stage.table.model_copy(update=changes)})


def planned(cloud: Cloud, *leaving: str) -> Plan:
    return provision.plan(cloud, list(leaving), sleep=lambda seconds: None)


def applied(cloud: Cloud, *leaving: str) -> Plan:
    plan = planned(cloud, *leaving)
    provision.apply(cloud, plan, plan.token, waits=Waits(sleep=lambda seconds: None))
    return plan


def about_the_table(steps: list[Step]) -> list[Step]:
    return [step for step in steps if step.resource.partition(" ")[0] in TABLE_KINDS]


def summary(plan: Plan) -> list[tuple[str, str, str | None]]:
    return [(s.action, s.resource.partition(" ")[0], s.region) for s in about_the_table(plan.changes)]


def settled(cloud: Cloud) -> bool:
    """Nothing is left to do, and every check holds."""
    return planned(cloud).changes == [] and [check for check in provision.verify(cloud) if not check.ok] == []


def described(cloud: Cloud, region: str) -> Any:
    return cloud.client("dynamodb", region).describe_table(TableName=TABLE)["Table"]


def targets(cloud: Cloud, region: str) -> dict[tuple[str, str], tuple[int, int]]:
    found = cloud.client("application-autoscaling", region).describe_scalable_targets(ServiceNamespace="dynamodb")
    return {
        (target["ResourceId"], target["ScalableDimension"].rpartition(":")[2]): (
            target["MinCapacity"],
            target["MaxCapacity"],
        )
        for target in found["ScalableTargets"]
    }


# --- capacity ----------------------------------------------------------------------------------------------------


@pytest.fixture
def provisioned(deployed: Cloud) -> Cloud:
    """A stage that asks for provisioned capacity; nothing is made yet."""
    deployed.stage = with_table(deployed.stage, capacity=CAPACITY)
    return deployed


def test_apply_with_capacity_scales_the_table_and_its_index_in_every_region(provisioned: Cloud) -> None:
    plan = applied(provisioned)

    assert settled(provisioned)
    index = f"table/{TABLE}/index/by_time"
    for region, read in ((US, (5, 50)), (AP, (2, 20))):
        assert targets(provisioned, region) == {
            (f"table/{TABLE}", "ReadCapacityUnits"): read,
            (f"table/{TABLE}", "WriteCapacityUnits"): (4, 40),
            (index, "ReadCapacityUnits"): read,
            (index, "WriteCapacityUnits"): (4, 40),
        }
        client = provisioned.client("application-autoscaling", region)
        policies = client.describe_scaling_policies(ServiceNamespace="dynamodb")["ScalingPolicies"]
        assert {
            (
                policy["ResourceId"],
                configuration["PredefinedMetricSpecification"]["PredefinedMetricType"],
                configuration["TargetValue"],
            )
            for policy in policies
            for configuration in [policy["TargetTrackingScalingPolicyConfiguration"]]
        } == {
            (resource, f"DynamoDB{kind}CapacityUtilization", percent)
            for resource in (f"table/{TABLE}", index)
            for kind, percent in (("Read", 70.0 if region == US else 60.0), ("Write", 65.0))
        }
    table = described(provisioned, US)
    assert table["ProvisionedThroughput"]["WriteCapacityUnits"] == 10  # `initial`
    assert table["ProvisionedThroughput"]["ReadCapacityUnits"] == 5  # the highest of the regions'
    # In each region, two of each: table and index. Reads 0.00013 an hour, writes 0.00065, at their least.
    hourly = 2 * (5 * 0.00013 + 4 * 0.00065) + 2 * (2 * 0.00013 + 4 * 0.00065)
    dns = 0.5 + 4 * (0.5 + 1 + 1) + 3 * 0.5 + 3 * 0.3 + 0.5
    assert plan.estimates["cost_usd_per_month"] == pytest.approx(730 * hourly + dns)


def test_plan_with_capacity_scales_writes_before_a_replica_is_added(provisioned: Cloud) -> None:
    order = [(kind, region) for _, kind, region in summary(planned(provisioned))]
    assert order.index(("table", US)) < order.index(("scaling", US)) < order.index(("replica", AP))
    assert order.index(("replica", AP)) < order.index(("scaling", AP))


def test_apply_when_writes_are_not_scaled_is_refused_by_dynamodb_before_the_replica(provisioned: Cloud) -> None:
    """What the order is for: without the step between them, the replica is refused."""
    plan = planned(provisioned)
    kept = [step for step in plan.steps if not step.resource.startswith("scaling ")]
    without = plan.model_copy(update={"steps": kept})
    with pytest.raises(OpsError, match="should either be Pay-Per-Request or AutoScaled"):
        provision.apply(provisioned, without, without.token, waits=Waits(sleep=lambda seconds: None))


def test_plan_when_the_mode_changes_shows_both_and_apply_goes_there_and_back(deployed: Cloud) -> None:
    applied(deployed)
    on_demand, deployed.stage = deployed.stage, with_table(deployed.stage, capacity=CAPACITY)

    plan = applied(deployed)
    assert summary(plan) == [("drift", "table", US), ("create", "scaling", US), ("create", "scaling", AP)]
    assert plan.changes[0].detail == "billing is PAY_PER_REQUEST, should be PROVISIONED"
    assert plan.changes[1].detail.startswith("table read 5 to 50 at 70 %; table write 4 to 40 at 65 %; index by_time")
    assert any("begins with the `initial`" in warning for warning in plan.warnings)
    throughput = described(deployed, US)["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"]
    assert (throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"]) == (5, 10)
    assert settled(deployed)

    deployed.stage = on_demand
    plan = planned(deployed)
    assert summary(plan) == [("drift", "table", US), ("delete", "scaling", US), ("delete", "scaling", AP)]
    assert plan.changes[0].detail == "billing is PROVISIONED, should be PAY_PER_REQUEST"
    assert plan.estimates["cost_usd_per_month"] < 0
    applied(deployed)
    assert (targets(deployed, US), targets(deployed, AP)) == ({}, {})
    assert settled(deployed)


def test_plan_when_scaling_drifted_shows_both_values_and_apply_mends(provisioned: Cloud) -> None:
    applied(provisioned)
    client = provisioned.client("application-autoscaling", AP)
    address = {"ServiceNamespace": "dynamodb", "ResourceId": f"table/{TABLE}"}
    client.register_scalable_target(**address, ScalableDimension="dynamodb:table:ReadCapacityUnits", MaxCapacity=99)
    write = address | {"ScalableDimension": "dynamodb:table:WriteCapacityUnits"}
    client.register_scalable_target(
        **write, MinCapacity=4, MaxCapacity=40, SuspendedState={"DynamicScalingOutSuspended": True}
    )
    (policy,) = client.describe_scaling_policies(**write)["ScalingPolicies"]
    tracking = policy["TargetTrackingScalingPolicyConfiguration"] | {"TargetValue": 80.0, "ScaleInCooldown": 7}
    client.put_scaling_policy(
        **write,
        PolicyName=policy["PolicyName"],
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=tracking,
    )

    (step,) = planned(provisioned).changes
    assert (step.action, step.resource, step.region) == ("drift", f"scaling {TABLE}", AP)
    assert step.detail == (
        "table read: max is 99, should be 20; "
        "table write: target_percent is 80, should be 65; moves is False, should be True"
    )
    applied(provisioned)
    assert settled(provisioned)
    (policy,) = client.describe_scaling_policies(**write)["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["ScaleInCooldown"] == 7


def test_apply_when_a_policy_was_made_by_hand_takes_it_over_under_its_name(provisioned: Cloud) -> None:
    applied(provisioned)
    client = provisioned.client("application-autoscaling", US)
    address = {
        "ServiceNamespace": "dynamodb",
        "ResourceId": f"table/{TABLE}",
        "ScalableDimension": "dynamodb:table:ReadCapacityUnits",
    }
    client.delete_scaling_policy(PolicyName="atoll-unit table read", **address)
    client.put_scaling_policy(
        PolicyName="by hand",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 50.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "DynamoDBReadCapacityUtilization"},
        },
        **address,
    )
    applied(provisioned)
    policies = client.describe_scaling_policies(**address)["ScalingPolicies"]
    assert [policy["PolicyName"] for policy in policies] == ["by hand"]
    assert settled(provisioned)


def test_plan_where_there_is_no_autoscaling_does_not_ask_for_it(deployed: Cloud, calls: Any) -> None:
    deployed.stage = with_table(deployed.stage, autoscaling=False)
    applied(deployed)
    assert settled(deployed)
    assert not any(call.startswith("application-autoscaling:") for call in calls.made)


# --- consistency -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["three replicas", "a witness"])
def strong(request: pytest.FixtureRequest, deployed: Cloud, stacks: Any) -> Cloud:
    """A stage that asks for strong consistency; its regional stacks are there, its table is not."""
    regions = ["us-east-1", "us-east-2", "us-west-2"][: 3 if request.param == "three replicas" else 2]
    table = SETTINGS["table"] | {"consistency": "strong", "witness": None if len(regions) == 3 else "us-west-2"}
    deployed.stage = Stage.model_validate(SETTINGS | {"regions": regions, "table": table})
    for region in regions:
        stacks.status[region] = "CREATE_COMPLETE"
        for bus in (deployed.stage.bus, deployed.stage.journal_bus) if region != US else ():
            deployed.client("events", region).create_event_bus(Name=bus)
    return deployed


def test_apply_with_strong_consistency_makes_the_whole_group_in_one_call(strong: Cloud, calls: Any) -> None:
    plan = applied(strong)

    others = [region for region in strong.stage.regions if region != US]
    updates = [one.parameters for one in calls.asked if "ReplicaUpdates" in one.parameters]
    witness = [{"Create": {"RegionName": "us-west-2"}}] if strong.stage.table.witness else None
    assert updates == [
        {
            "TableName": TABLE,
            "ReplicaUpdates": [{"Create": {"RegionName": region}} for region in others],
            "MultiRegionConsistency": "STRONG",
        }
        | ({"GlobalTableWitnessUpdates": witness} if witness else {})
    ]
    assert not any("UpdateTimeToLive" in call for call in calls.made)
    assert described(strong, US)["MultiRegionConsistency"] == "STRONG"
    assert plan.estimates["new_replicas"] == len(others)
    assert any("no time to live: what is older than 30 days is hidden" in warning for warning in plan.warnings)
    calls.clear()
    assert settled(strong)
    assert calls.mutating == []


def test_apply_with_strong_consistency_turns_an_empty_tables_time_to_live_off_first(strong: Cloud) -> None:
    wanted = strong.stage
    strong.stage = wanted.model_copy(
        update={"regions": [US], "table": wanted.table.model_copy(update={"consistency": "eventual", "witness": None})}
    )
    applied(strong)
    strong.stage = wanted
    plan = planned(strong)
    assert summary(plan)[:2] == [("drift", "ttl", US), ("create", "replicas", US)]
    assert plan.changes[0].detail == "attribute is expires_at, should be None"
    applied(strong)
    assert settled(strong)


def test_plan_with_strong_consistency_when_the_table_holds_items_refuses_and_touches_nothing(
    strong: Cloud, calls: Any
) -> None:
    wanted = strong.stage
    strong.stage = wanted.model_copy(
        update={"regions": [US], "table": wanted.table.model_copy(update={"consistency": "eventual", "witness": None})}
    )
    applied(strong)
    put(strong, US, "EVENT#1")
    strong.stage = wanted
    calls.clear()
    plan = planned(strong)
    (refusal,) = plan.refusals
    assert (refusal.resource, refusal.before, refusal.after) == (
        f"replicas {TABLE}",
        {"empty": False},
        {"empty": True},
    )
    assert "empty is False, should be True" in refusal.detail
    with pytest.raises(RefusedError, match="of an empty one only"):
        provision.apply(strong, plan, plan.token)
    assert calls.mutating == []


def test_apply_with_strong_consistency_when_written_to_since_the_plan_makes_no_group(strong: Cloud, calls: Any) -> None:
    plan = planned(strong)
    calls.on("after", "CreateTable", lambda: put(strong, US, "EVENT#1"))
    with pytest.raises(OpsError, match="written to since the plan; it has to be empty"):
        provision.apply(strong, plan, plan.token, waits=Waits(sleep=lambda seconds: None))
    assert not any("ReplicaUpdates" in one.parameters for one in calls.asked)


STRONG = Stage.model_validate(
    SETTINGS
    | {
        "regions": ["us-east-1", "us-east-2"],
        "table": SETTINGS["table"] | {"consistency": "strong", "witness": "us-west-2"},
    }
)
HELD = Table(
    status="ACTIVE",
    **desired_shape(STRONG),
    deletion_protection=True,
    replicas={"us-east-2": "ACTIVE"},
    ttl=None,
    recovery=True,
    consistency="STRONG",
    witness="us-west-2",
)


def world_of(stage: Stage, table: Table | None, **fields: Any) -> World:
    regions = {region: RegionState("CREATE_COMPLETE", f"{region}.example", table, {}) for region in stage.regions}
    for region in stage.regions:
        if table is not None and region != stage.home_region:
            others = (set(stage.regions) & {*table.replicas, stage.home_region}) - {region}
            regions[region] = replace(
                regions[region], table=replace(table, replicas=dict.fromkeys(others, "ACTIVE")) if table else None
            )
            if region not in table.replicas:
                regions[region] = replace(regions[region], table=None)
    return World("1" * 12, regions, [], {}, {}, **fields)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (replace(HELD, consistency="EVENTUAL", witness=None), "consistency is EVENTUAL, should be STRONG; it never"),
        (replace(HELD, witness=None), "witness is None, should be us-west-2; a strongly"),
        (
            replace(HELD, replicas={"us-east-2": "ACTIVE", "us-west-2": "ACTIVE"}, witness=None),
            "replicas is ['us-east-2', 'us-west-2'], should be ['us-east-2']; witness is None, should be us-west-2",
        ),
        (
            replace(HELD, replicas={}, witness=None, consistency="EVENTUAL", local_indexes=("by_place",)),
            "local_indexes is ['by_place'], should be []; a strongly",
        ),
    ],
)
def test_decide_when_a_strong_table_cannot_come_of_it_refuses_with_both_values(table: Table, said: str) -> None:
    refusals = decide(STRONG, world_of(STRONG, table)).refusals
    (refusal,) = [step for step in refusals if step.resource == f"replicas {TABLE}"]
    assert refusal.detail.startswith(said)
    assert refusal.before != refusal.after
    assert refusal.before is not None
    assert refusal.after is not None


def test_decide_when_a_strong_table_should_be_eventual_refuses_with_both_values(stage: Stage) -> None:
    regions = [US, "us-east-2"]
    eventual = Stage.model_validate(SETTINGS | {"regions": regions})
    (refusal,) = decide(eventual, world_of(eventual, HELD)).refusals
    assert refusal.detail.startswith("consistency is STRONG, should be EVENTUAL; it never changes")
    assert (refusal.before["witness"], refusal.after["witness"]) == ("us-west-2", None)


def test_decide_when_the_strong_table_is_as_it_should_be_keeps_it() -> None:
    plan = decide(STRONG, world_of(STRONG, HELD))
    assert HELD.group() == desired_group(STRONG)
    assert {step.action for step in about_the_table(plan.steps)} == {"keep"}


def test_decide_when_the_strong_group_is_coming_up_waits_for_it() -> None:
    plan = decide(STRONG, world_of(STRONG, replace(HELD, replicas={"us-east-2": "CREATING"})))
    assert summary(plan) == [("change", "replica", "us-east-2")]


# --- replicas that go --------------------------------------------------------------------------------------------


def put(cloud: Cloud, region: str, key: str, **attributes: Any) -> None:
    item = {"pk": {"S": key}, "sk": {"S": "EVENT"}} | attributes
    cloud._session.client("dynamodb", region).put_item(TableName=TABLE, Item=item)


@pytest.fixture
def three(deployed: Cloud, stacks: Any) -> Cloud:
    """A table in three regions, of which the stage file has dropped the third since; all hold the same item, and the
    third is no longer protected."""
    two = deployed.stage
    deployed.stage = two.model_copy(update={"regions": [US, AP, EU]})
    stacks.status[EU] = "CREATE_COMPLETE"
    for bus in (two.bus, two.journal_bus):
        deployed.client("events", EU).create_event_bus(Name=bus)
    applied(deployed)
    deployed.stage = two
    for region in (US, AP, EU):
        put(deployed, region, "EVENT#1")
    deployed.client("dynamodb", EU).update_table(TableName=TABLE, DeletionProtectionEnabled=False)
    applied(deployed)  # the ring of journals is another with two regions
    return deployed


def test_plan_when_a_region_left_the_stage_keeps_its_replica_and_says_how_to_remove_it(three: Cloud) -> None:
    plan = planned(three)
    (line,) = [step for step in plan.steps if step.region == EU]
    assert (line.action, line.resource, line.before) == ("keep", f"replica {TABLE}", {"status": "ACTIVE"})
    command = f"ops run provision --stage unit -p remove_replicas={EU}"
    assert command in line.detail
    assert any(command in warning for warning in plan.warnings)
    assert about_the_table(plan.changes) == []
    assert plan.refusals == []


def test_apply_with_the_region_named_removes_its_replica_and_nothing_else(three: Cloud, calls: Any) -> None:
    plan = planned(three, EU)
    (step,) = about_the_table(plan.changes)
    assert (step.action, step.resource, step.region) == ("delete", f"replica {TABLE}", EU)
    assert (step.before, step.after) == ({"status": "ACTIVE"}, None)
    assert plan.estimates["deleted_items"] == 1
    assert plan.parameters == {"remove_replicas": [EU]}
    assert plan.token != planned(three).token
    calls.clear()
    applied(three, EU)
    assert [call for call in calls.mutating if call.startswith("dynamodb:")] == [f"dynamodb:UpdateTable@{US}"]
    assert "Replicas" in described(three, US)
    assert list(observe(three).regions[US].table.replicas) == [AP]  # type: ignore[union-attr]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        described(three, EU)
    assert settled(three)
    # Naming it again is no mistake: there is nothing left to remove.
    assert planned(three, EU).changes == []


def test_plan_to_remove_a_replica_makes_no_mutating_call(three: Cloud, calls: Any) -> None:
    calls.clear()
    planned(three, EU)
    assert any(call == f"dynamodb:Scan@{EU}" for call in calls.made)
    assert calls.mutating == []


def unreplicated(cloud: Cloud) -> None:
    for number in range(12):
        put(cloud, EU, f"EVENT#only-{number:02}")


def newer(cloud: Cloud) -> None:
    for region, second in ((US, 1), (AP, 1), (EU, 2)):
        stamp = {"written_at": {"S": f"2026-01-01T00:00:0{second}Z"}, "written_region": {"S": region}}
        put(cloud, region, "EVENT#1", **stamp)


def protected(cloud: Cloud) -> None:
    cloud.client("dynamodb", EU).update_table(TableName=TABLE, DeletionProtectionEnabled=True)


def named_again(cloud: Cloud) -> None:
    cloud.stage = cloud.stage.model_copy(update={"regions": [US, AP, EU]})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (unreplicated, ["it holds 12 items that another replica lacks", "pk=EVENT#only-00, sk=EVENT", "and 2 more"]),
        (newer, ["it holds 1 item that another replica lacks or has otherwise: pk=EVENT#1, sk=EVENT"]),
        (protected, ["its deletion protection is on", f"--region {EU} --no-deletion-protection-enabled"]),
        (named_again, ["the stage file names it; take it out of `regions` of deploy/stages/unit.yml"]),
    ],
)
def test_plan_to_remove_a_replica_when_something_would_be_lost_refuses(
    three: Cloud, calls: Any, make: Callable[[Cloud], None], said: list[str]
) -> None:
    make(three)
    calls.clear()
    plan = planned(three, EU)
    (refusal,) = plan.refusals
    assert (refusal.resource, refusal.region) == (f"replica {TABLE}", EU)
    for words in said:
        assert words in refusal.detail
    with pytest.raises(RefusedError):
        provision.apply(three, plan, plan.token)
    assert calls.mutating == []


def test_plan_to_remove_a_replica_when_others_have_more_or_newer_goes_on(three: Cloud) -> None:
    for region, second in ((US, 2), (AP, 2), (EU, 1)):
        stamp = {"written_at": {"S": f"2026-01-01T00:00:0{second}Z"}, "written_region": {"S": region}}
        put(three, region, "EVENT#1", **stamp)
    put(three, US, "EVENT#2")
    put(three, AP, "EVENT#2")
    assert summary(planned(three, EU)) == [("delete", "replica", EU)]


def test_plan_to_remove_the_home_replica_refuses(three: Cloud) -> None:
    (refusal,) = planned(three, US).refusals
    assert "it is the home region" in refusal.detail


def test_plan_to_remove_a_table_that_stands_alone_refuses_and_says_what_it_holds(
    three: Cloud, global_tables: Any
) -> None:
    del global_tables.status[EU]  # what DynamoDB does to a replica that was out of reach for 20 hours
    put(three, EU, "EVENT#only")
    (refusal,) = planned(three, EU).refusals
    assert "stands alone here, no replica of the one in us-east-1: it holds 1 item that another" in refusal.detail
    assert "pk=EVENT#only, sk=EVENT" in refusal.detail
    assert f"aws dynamodb delete-table --table-name {TABLE} --region {EU}" in refusal.detail


def test_plan_to_remove_when_the_name_is_no_region_is_wrong_usage(deployed: Cloud) -> None:
    with pytest.raises(UsageError, match="remove_replicas: 'Ireland': no AWS region's name"):
        planned(deployed, "Ireland")


def test_apply_when_the_replica_was_written_to_since_the_plan_keeps_it(three: Cloud, calls: Any) -> None:
    plan = planned(three, EU)
    put(three, EU, "EVENT#late")
    calls.clear()
    with pytest.raises(OpsError, match=r"removing it would lose data: it holds 1 item .* pk=EVENT#late"):
        provision.apply(three, plan, plan.token, waits=Waits(sleep=lambda seconds: None))
    assert described(three, EU)["TableStatus"] == "ACTIVE"
    assert not any("ReplicaUpdates" in one.parameters for one in calls.asked)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_apply_when_cut_while_a_replica_goes_is_continued(three: Cloud, calls: Any, moment: str) -> None:
    def cut() -> None:
        raise CutError

    calls.on(moment, "UpdateTable", cut)
    with pytest.raises(CutError):
        applied(three, EU)
    calls.hooks.clear()
    applied(three, EU)
    assert list(observe(three).regions[US].table.replicas) == [AP]  # type: ignore[union-attr]
    assert planned(three, EU).changes == []
    assert settled(three)


def test_apply_when_a_provisioned_replica_goes_takes_its_targets_along(three: Cloud, calls: Any) -> None:
    client = three.client("application-autoscaling", EU)
    address = {
        "ServiceNamespace": "dynamodb",
        "ResourceId": f"table/{TABLE}",
        "ScalableDimension": "dynamodb:table:ReadCapacityUnits",
    }
    client.register_scalable_target(**address, MinCapacity=1, MaxCapacity=2)

    def cut() -> None:
        raise CutError

    calls.on("before", "DeregisterScalableTarget", cut)
    with pytest.raises(CutError):
        applied(three, EU)
    calls.hooks.clear()
    # The replica has gone, and what scaled it is still found.
    assert summary(applied(three, EU)) == [("delete", "scaling", EU)]
    assert targets(three, EU) == {}
    assert planned(three, EU).changes == []


def test_plan_when_a_record_still_leads_to_the_region_that_goes_warns(three: Cloud) -> None:
    assert f"record api.atoll.example: it still leads to {EU}, whose replica is to go" in planned(three, EU).warnings


# --- a replica more ----------------------------------------------------------------------------------------------


def test_plan_when_a_table_with_items_gets_a_replica_estimates_by_its_size(stage: Stage) -> None:
    held = replace(HELD, consistency="EVENTUAL", witness=None, replicas={}, items=2_000_000, size_bytes=5 * 2**30)
    world = world_of(stage, replace(held, ttl="expires_at"))
    plan = decide(stage, world)
    assert plan.estimates["new_replicas"] == 1
    assert plan.estimates["copied_bytes"] == 5 * 2**30
    assert plan.estimates["cost_usd"] == pytest.approx(5 * 0.15)
    assert any("its 2,000,000 items are copied to ap-south-1" in warning for warning in plan.warnings)


# --- drift of every setting --------------------------------------------------------------------------------------


def other_ttl(cloud: Cloud) -> None:
    for enabled, attribute in ((False, "expires_at"), (True, "ends")):
        cloud.client("dynamodb", US).update_time_to_live(
            TableName=TABLE, TimeToLiveSpecification={"Enabled": enabled, "AttributeName": attribute}
        )


def unprotected(cloud: Cloud) -> None:
    cloud.client("dynamodb", AP).update_table(TableName=TABLE, DeletionProtectionEnabled=False)


def no_recovery(cloud: Cloud) -> None:
    off: Any = {"PointInTimeRecoveryEnabled": False}
    cloud.client("dynamodb", AP).update_continuous_backups(TableName=TABLE, PointInTimeRecoverySpecification=off)


def by_the_unit(cloud: Cloud) -> None:
    units: Any = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    index: Any = [{"Update": {"IndexName": "by_time", "ProvisionedThroughput": units}}]
    cloud.client("dynamodb", US).update_table(
        TableName=TABLE, BillingMode="PROVISIONED", ProvisionedThroughput=units, GlobalSecondaryIndexUpdates=index
    )


def no_index(cloud: Cloud) -> None:
    gone: Any = [{"Delete": {"IndexName": "by_time"}}]
    cloud.client("dynamodb", US).update_table(TableName=TABLE, GlobalSecondaryIndexUpdates=gone)


@pytest.mark.parametrize(
    ("by_hand", "resource", "region", "detail"),
    [
        (other_ttl, "ttl", US, "attribute is ends, should be expires_at"),
        (unprotected, "protection", AP, "deletion_protection is False, should be True"),
        (no_recovery, "recovery", AP, "point_in_time_recovery is False, should be True"),
        (by_the_unit, "table", US, "billing is PROVISIONED, should be PAY_PER_REQUEST"),
        (
            no_index,
            "table",
            US,
            "indexes: by_time is None, should be {'gsi_pk': 'HASH', 'gsi_sk': 'RANGE'}",
        ),
    ],
)
def test_plan_when_a_setting_was_changed_by_hand_shows_both_and_apply_mends(
    deployed: Cloud, by_hand: Callable[[Cloud], None], resource: str, region: str, detail: str
) -> None:
    applied(deployed)
    by_hand(deployed)
    (step,) = planned(deployed).changes
    assert (step.action, step.resource, step.region) == ("drift", f"{resource} {TABLE}", region)
    assert step.detail == detail
    applied(deployed)
    assert settled(deployed)


def test_decide_when_the_stream_was_changed_by_hand_shows_both(stage: Stage) -> None:
    held = replace(HELD, consistency="EVENTUAL", witness=None, replicas={AP: "ACTIVE"}, ttl="expires_at", stream=None)
    (step,) = [step for step in decide(stage, world_of(stage, held)).changes if step.resource == f"table {TABLE}"]
    assert (step.action, step.detail) == ("drift", "stream is None, should be NEW_AND_OLD_IMAGES")


def test_decide_when_an_index_holds_a_part_only_refuses_with_both_values(stage: Stage) -> None:
    held = replace(HELD, consistency="EVENTUAL", witness=None, replicas={AP: "ACTIVE"}, partial_indexes=("by_time",))
    (refusal,) = decide(stage, world_of(stage, held)).refusals
    assert "delete the index, then plan again" in refusal.detail
    assert (refusal.before, refusal.after) == ({"projection": "in part"}, {"projection": "ALL"})


# --- cut at any call ---------------------------------------------------------------------------------------------


class CutError(Exception):
    """Stands for a lost connection, a closed laptop, a killed process."""


def cut_at(calls: Any, number: int, moment: str) -> Callable[[], None]:
    """Fail the ``number``-th mutating call about the table, before or after it is made; the function ends that."""
    made = [0]
    operations = (
        "CreateTable",
        "UpdateTable",
        "UpdateTimeToLive",
        "UpdateContinuousBackups",
        "RegisterScalableTarget",
        "PutScalingPolicy",
        "DeregisterScalableTarget",
    )

    def count() -> None:
        made[0] += 1
        if made[0] == number:
            raise CutError

    for operation in operations:
        calls.on(moment, operation, count)
    return calls.hooks.clear  # type: ignore[no-any-return]


def on_demand_from_nothing(cloud: Cloud) -> int:
    return 6


def capacity_from_nothing(cloud: Cloud) -> int:
    cloud.stage = with_table(cloud.stage, capacity=CAPACITY)
    return 20


def back_to_on_demand(cloud: Cloud) -> int:
    wanted, cloud.stage = cloud.stage, with_table(cloud.stage, capacity=CAPACITY)
    applied(cloud)
    cloud.stage = wanted
    return 9


def everything_drifted(cloud: Cloud) -> int:
    applied(cloud)
    for by_hand in (other_ttl, unprotected, no_recovery, no_index):
        by_hand(cloud)
    return 5


def strong_from_nothing(cloud: Cloud) -> int:
    for bus in (cloud.stage.bus, cloud.stage.journal_bus):
        cloud.client("events", "us-east-2").create_event_bus(Name=bus)
    cloud.stage = STRONG
    return 4


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "prepare",
    [on_demand_from_nothing, capacity_from_nothing, back_to_on_demand, everything_drifted, strong_from_nothing],
)
def test_apply_when_cut_at_each_call_about_the_table_in_turn_is_continued(
    deployed: Cloud, stacks: Any, calls: Any, moment: str, prepare: Callable[[Cloud], int]
) -> None:
    """One world, cut again and again: each plan goes on from where the last apply was cut, until none is left.

    Cut after its first call, each apply comes one call further; cut before, one to three calls.
    """
    stacks.status |= dict.fromkeys(("us-east-2", "us-west-2"), "CREATE_COMPLETE")
    at_least, cuts = prepare(deployed), 0
    for number in range(80):
        end = cut_at(calls, 1 if moment == "after" else 1 + number % 3, moment)
        try:
            applied(deployed)
        except CutError:
            cuts += 1
        else:
            break
        finally:
            end()
    assert cuts >= (at_least if moment == "after" else at_least // 3)
    assert {step.action for step in about_the_table(planned(deployed).steps)} == {"keep"}
    assert settled(deployed)


def test_destroy_of_a_strong_table_takes_its_replicas_and_its_witness_in_one_call(strong: Cloud, calls: Any) -> None:
    strong.stage = strong.stage.model_copy(
        update={"table": strong.stage.table.model_copy(update={"deletion_protection": False})}
    )
    applied(strong)
    calls.clear()
    plan = provision.plan(strong, destroy=True)
    provision.apply(strong, plan, plan.token, waits=Waits(sleep=lambda seconds: None))

    kinds = [step.resource.partition(" ")[0] for step in plan.changes]
    assert [kind for kind in kinds if kind in ("replica", "replicas", "table")] == ["replicas", "table"]
    assert sum("UpdateTable" in call for call in calls.mutating) == 1
    assert [check for check in provision.verify(strong, plan) if not check.ok] == []
    for region in strong.stage.regions:
        assert strong.client("dynamodb", region).list_tables()["TableNames"] == []

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
from ops.provision.desired import desired_probe
from ops.provision.healthchecks import HealthCheck
from ops.provision.keys import AWS_MANAGED, AWS_OWNED, Key
from ops.provision.planning import decide
from ops.provision.table.desired import desired_shape
from ops.provision.table.world import Table
from ops.provision.waits import Waits
from ops.provision.world import RegionState, World, observe
from ops.stage import DomainSettings, EncryptionSettings, Stage
from tests.unit.ops.conftest import SETTINGS

NO_KEYS = EncryptionSettings(customer_managed_key=False)
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
    us, india = (DOMAIN.format(region) for region in deployed.stage.regions)
    probes = {slot: checks[0].config for slot, checks in world.health_checks.items()}
    assert {slot: probe["FullyQualifiedDomainName"] for slot, probe in probes.items() if "Port" in probe} == {
        "us-east-1": us,
        "ap-south-1": india,
        "us-east-1/evacuation": india,
        "ap-south-1/evacuation": us,
    }
    assert world.records["ap-south-1"]["value"] == DOMAIN.format("ap-south-1")
    assert world.records["ap-south-1"]["health_check"] == world.health_checks["ap-south-1/combined"][0].id


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
        "us-east-1/evacuation": 1,
        "ap-south-1/evacuation": 1,
        "us-east-1/combined": 1,
        "ap-south-1/combined": 1,
        "platform": 1,
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
    # One zone at 0.50. Two probes a region: 0.50, and 1.00 for each of HTTPS and the fast interval. Calculated: one a
    # region and one over all, at 0.50. Alarms of high resolution: as many, at 0.30, and a composite one at 0.50.
    assert fresh.estimates["cost_usd_per_month"] == pytest.approx(0.5 + 4 * (0.5 + 1 + 1) + 3 * 0.5 + 3 * 0.3 + 0.5)
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
        ("drift", "protection atoll-unit", "ap-south-1"),
        ("drift", "archive atoll-unit", "ap-south-1"),
        ("drift", "health-check api.atoll.example", "us-east-1"),
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
    checks = [(action, what.split()[2:]) for action, what, region in summary(plan) if region == "us-east-1"]
    assert [check for check in checks if check != ("drift", [])] == [
        ("create", []),
        ("create", ["evacuation"]),
        ("drift", ["combined"]),
        ("delete", []),
        ("delete", ["evacuation"]),
    ]
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
        (probe,), (check,) = world.health_checks[region], world.health_checks[f"{region}/combined"]
        assert probe.config["FullyQualifiedDomainName"] == f"{region}.api.atoll.example"
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
    assert {
        check[0].config.get("FullyQualifiedDomainName", "calculated")
        for check in observe(deployed).health_checks.values()
    } == {
        "calculated",
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


# --- with keys of the stage's own --------------------------------------------------------------------------------


def with_keys(stage: Stage) -> Stage:
    return stage.model_copy(update={"encryption": EncryptionSettings(customer_managed_key=True)})


def make_key(cloud: Cloud, region: str, alias: str = "alias/atoll-unit") -> str:
    kms = cloud.client("kms", region)
    arn = str(kms.create_key()["KeyMetadata"]["Arn"])
    kms.create_alias(AliasName=alias, TargetKeyId=arn)
    return arn


@pytest.fixture
def keys(deployed: Cloud, calls: Any) -> dict[str, str]:
    """The stage asks for keys of its own, and the regional stacks have made them: region -> ARN."""
    deployed.stage = with_keys(deployed.stage)
    made = {region: make_key(deployed, region) for region in deployed.stage.regions}
    calls.clear()
    return made


def encryption_of(cloud: Cloud) -> dict[str, set[str]]:
    """Region -> the keys of all that provisioning made there, as AWS tells it."""
    found: dict[str, set[str]] = {}
    for region in cloud.stage.regions:
        table = cloud.client("dynamodb", region).describe_table(TableName="atoll-unit")["Table"]
        events = cloud.client("events", region)
        archives = [events.describe_archive(ArchiveName=n) for n in ("atoll-unit", "atoll-unit-journal")]
        found[region] = {archive.get("KmsKeyIdentifier", "none") for archive in archives}
        found[region] |= {table.get("SSEDescription", {}).get("KMSMasterKeyArn", "none")}
        bucket = f"atoll-unit-ops-{cloud.account}-{region}"
        try:
            answer = cloud.client("s3", region).get_bucket_encryption(Bucket=bucket)
        except ClientError:  # S3's own, which moto does not tell of
            found[region] |= {"none"}
            continue
        [rule] = answer["ServerSideEncryptionConfiguration"]["Rules"]
        found[region] |= {rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID", "none")}
    return found


def test_apply_with_own_keys_puts_all_that_it_makes_under_its_regions_key(
    deployed: Cloud, keys: dict[str, str], calls: Any
) -> None:
    plan = applied(deployed)

    assert encryption_of(deployed) == {region: {arn} for region, arn in keys.items()}
    after = {(step.resource, step.region): step.after for step in plan.changes}
    assert after["table atoll-unit", "us-east-1"]["encryption"] == keys["us-east-1"]
    assert after["archive atoll-unit-journal", "ap-south-1"]["encryption"] == keys["ap-south-1"]
    (replica,) = [step.detail for step in plan.changes if step.resource.startswith("replica ")]
    assert replica == f"of the table in us-east-1, under {keys['ap-south-1']}"
    assert provision.plan(deployed).changes == []
    checks = provision.verify(deployed)
    assert [check for check in checks if not check.ok] == []
    assert "encryption atoll-unit in us-east-1" in [check.name for check in checks]
    calls.clear()
    applied(deployed)
    assert calls.mutating == []


def test_apply_without_own_keys_asks_nothing_of_kms_and_leaves_keys_out(deployed: Cloud, calls: Any) -> None:
    plan = applied(deployed)
    assert not any(call.startswith("kms:") for call in calls.made)
    assert encryption_of(deployed) == {region: {"none"} for region in deployed.stage.regions}
    assert not any(step.resource.startswith(("encryption ", "key ")) for step in plan.steps)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("operation", ["CreateTable", "UpdateTable", "UpdateArchive"])
def test_apply_of_own_keys_when_cut_is_continued_by_the_next_plan(
    deployed: Cloud, keys: dict[str, str], calls: Any, moment: str, operation: str
) -> None:
    if operation != "CreateTable":  # what there is without them is brought under the keys
        own, deployed.stage = deployed.stage, deployed.stage.model_copy(update={"encryption": NO_KEYS})
        applied(deployed)
        deployed.stage = own

    def cut() -> None:
        raise CutError

    calls.on(moment, operation, cut)
    plan = provision.plan(deployed)
    with pytest.raises(CutError):
        provision.apply(deployed, plan, plan.token, waits=Waits(sleep=lambda s: None))
    calls.clear()
    applied(deployed)
    assert provision.plan(deployed).changes == []
    assert encryption_of(deployed) == {region: {arn} for region, arn in keys.items()}


def test_plan_when_what_is_there_is_under_no_key_of_the_stage_changes_it_in_place(
    deployed: Cloud, keys: dict[str, str], calls: Any
) -> None:
    own, deployed.stage = deployed.stage, deployed.stage.model_copy(update={"encryption": NO_KEYS})
    applied(deployed)
    deployed.stage = own
    calls.clear()

    plan = applied(deployed)
    assert summary(plan) == [
        ("drift", "encryption atoll-unit", "us-east-1"),
        *[("drift", f"archive {n}", r) for r in keys for n in ("atoll-unit", "atoll-unit-journal")],
        *[("drift", f"bucket atoll-unit-ops-{deployed.account}-{r}", r) for r in keys],
    ]
    assert plan.changes[0].detail == (
        f"us-east-1 is {AWS_OWNED}, should be {keys['us-east-1']}; "
        f"ap-south-1 is {AWS_OWNED}, should be {keys['ap-south-1']}"
    )
    assert plan.changes[1].detail == f"encryption is {AWS_OWNED}, should be {keys['us-east-1']}"
    # One call for all replicas: DynamoDB takes no other.
    assert [call for call in calls.mutating if "Table" in call] == ["dynamodb:UpdateTable@us-east-1"]
    assert encryption_of(deployed) == {region: {arn} for region, arn in keys.items()}
    assert provision.plan(deployed).changes == []


def test_apply_of_own_keys_waits_until_dynamodb_has_taken_them(
    deployed: Cloud, keys: dict[str, str], global_tables: Any
) -> None:
    applied(deployed)
    global_tables.keys["ap-south-1"] = other = make_key(deployed, "ap-south-1", "alias/other")
    plan = provision.plan(deployed)
    assert plan.changes[0].detail == f"ap-south-1 is {other}, should be {keys['ap-south-1']}"

    slept: list[float] = []
    provision.apply(deployed, plan, plan.token, waits=Waits(sleep=slept.append))
    assert slept
    assert not any(global_tables.changing.values())
    assert encryption_of(deployed)["ap-south-1"] == {keys["ap-south-1"]}


def test_plan_when_a_table_of_one_region_lacks_the_key_changes_it_before_the_replica_is_made(
    deployed: Cloud, keys: dict[str, str], calls: Any
) -> None:
    own = deployed.stage
    deployed.stage = own.model_copy(update={"encryption": NO_KEYS})
    calls.on("before", "UpdateContinuousBackups", lambda: None)
    plan = provision.plan(deployed)
    table_only = plan.model_copy(update={"steps": [s for s in plan.steps if s.resource.startswith(("table ", "ttl "))]})
    provision.apply(deployed, table_only, table_only.token, waits=Waits(sleep=lambda s: None))
    deployed.stage = own

    kinds = [step.resource.partition(" ")[0] for step in applied(deployed).changes]
    assert kinds.index("encryption") < kinds.index("replica")
    assert encryption_of(deployed) == {region: {arn} for region, arn in keys.items()}
    assert provision.plan(deployed).changes == []


def test_plan_when_an_archive_is_under_another_key_shows_both_and_apply_mends(
    deployed: Cloud, keys: dict[str, str]
) -> None:
    applied(deployed)
    other = make_key(deployed, "us-east-1", "alias/other")
    events = deployed.client("events", "us-east-1")
    events.update_archive(ArchiveName="atoll-unit", KmsKeyIdentifier="alias/other")
    (step,) = provision.plan(deployed).changes
    assert (step.resource, step.region) == ("archive atoll-unit", "us-east-1")
    assert step.detail == f"encryption is {other}, should be {keys['us-east-1']}"
    assert (step.before["encryption"], step.after["encryption"]) == (other, keys["us-east-1"])
    applied(deployed)
    assert provision.plan(deployed).changes == []


def test_plan_when_an_archive_names_the_key_by_its_alias_keeps_it(deployed: Cloud, keys: dict[str, str]) -> None:
    applied(deployed)
    events = deployed.client("events", "us-east-1")
    events.update_archive(ArchiveName="atoll-unit", KmsKeyIdentifier="alias/atoll-unit")
    assert provision.plan(deployed).changes == []


def test_plan_when_a_key_is_not_there_refuses_with_the_command_before_anything_is_touched(
    deployed: Cloud, calls: Any
) -> None:
    deployed.stage = with_keys(deployed.stage)
    make_key(deployed, "us-east-1")
    calls.clear()
    plan = provision.plan(deployed)
    (refusal,) = plan.refusals
    assert (refusal.resource, refusal.region) == ("key alias/atoll-unit", "ap-south-1")
    assert "ops deploy --stage unit --region ap-south-1" in refusal.detail
    with pytest.raises(RefusedError, match="ops deploy"):
        provision.apply(deployed, plan, plan.token)
    assert calls.mutating == []


def test_plan_when_a_key_is_disabled_refuses(deployed: Cloud, keys: dict[str, str]) -> None:
    deployed.client("kms", "ap-south-1").disable_key(KeyId=keys["ap-south-1"].rpartition("/")[2])
    (refusal,) = provision.plan(deployed).refusals
    assert refusal.detail == f"{keys['ap-south-1']} is Disabled and encrypts nothing; enable it, then plan again"


def test_apply_when_a_key_is_disabled_since_the_plan_says_so(deployed: Cloud, keys: dict[str, str]) -> None:
    plan = provision.plan(deployed)
    deployed.client("kms", "us-east-1").disable_key(KeyId=keys["us-east-1"].rpartition("/")[2])
    with pytest.raises(OpsError, match="key alias/atoll-unit in us-east-1: Disabled since the plan"):
        provision.apply(deployed, plan, plan.token)


def test_plan_without_own_keys_when_somebody_chose_one_shows_it_and_leaves_it(
    deployed: Cloud, global_tables: Any, archive_keys: Any
) -> None:
    applied(deployed)
    chosen = {region: make_key(deployed, region, "alias/chosen") for region in deployed.stage.regions}
    global_tables.keys |= chosen
    deployed.client("events", "us-east-1").update_archive(
        ArchiveName="atoll-unit", KmsKeyIdentifier=chosen["us-east-1"], RetentionDays=3
    )
    plan = provision.plan(deployed)
    assert [warning for warning in plan.warnings if "left alone" in warning] == [
        f"{what}: it is under {key}, and the stage asks for {AWS_OWNED}; it is left alone"
        for what, key in (
            ("table atoll-unit in us-east-1", chosen["us-east-1"]),
            ("archive atoll-unit in us-east-1", chosen["us-east-1"]),
            ("table atoll-unit in ap-south-1", chosen["ap-south-1"]),
        )
    ]
    # What else drifted is mended, without taking the archive from under its key.
    (step,) = plan.changes
    assert step.detail == "retention_days is 3, should be 7"
    applied(deployed)
    assert archive_keys.keys["us-east-1", "atoll-unit"] == chosen["us-east-1"]
    assert provision.plan(deployed).changes == []


# --- decisions, on worlds made by hand ---------------------------------------------------------------------------

TABLE = Table(
    status="ACTIVE",
    **desired_shape(Stage.model_validate(SETTINGS)),
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
    (kept,) = [step for step in plan.steps if step.region == "eu-west-1"]
    assert (kept.action, kept.before) == ("keep", {"status": "ACTIVE"})
    assert "ops run provision --stage unit -p remove_replicas=eu-west-1" in kept.detail


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
    steps = {(s.resource.replace(" api.atoll.example", ""), s.region): s for s in decide(stage, world).steps}
    assert steps["health-check", "us-east-1"].action == "keep"
    assert steps["record", "us-east-1"].detail == "health_check is hc-0, should be atoll-unit us-east-1 combined"


def test_token_when_the_world_changes_is_another(stage: Stage) -> None:
    first = decide(stage, world_of(stage))
    assert first.token == decide(stage, world_of(stage)).token
    assert first.token != decide(stage, world_of(stage, us_east_1=TABLE)).token


OTHER = "arn:aws:kms:us-east-1:111111111111:key/other"


def keyed_world(stage: Stage, **tables: Table | None) -> World:
    """The same, with the stage's own keys."""
    world = world_of(stage, **tables)
    keys = {region: Key(f"arn:aws:kms:{region}:{'1' * 12}:key/own", "Enabled") for region in stage.regions}
    return replace(world, regions={region: replace(state, key=keys[region]) for region, state in world.regions.items()})


def test_decide_when_a_foreign_replica_has_no_key_of_the_stage_refuses_to_change_the_others(stage: Stage) -> None:
    home = replace(TABLE, replicas={"ap-south-1": "ACTIVE", "eu-west-1": "ACTIVE"})
    plan = decide(with_keys(stage), keyed_world(stage, us_east_1=home, ap_south_1=TABLE))
    (refusal,) = plan.refusals
    assert refusal.resource == "encryption atoll-unit"
    assert "eu-west-1 is no region of the stage" in refusal.detail
    assert (refusal.before["us-east-1"], refusal.after["us-east-1"]) == (
        AWS_OWNED,
        f"arn:aws:kms:us-east-1:{'1' * 12}:key/own",
    )


def test_decide_when_a_foreign_replica_is_there_and_the_keys_are_right_goes_on(stage: Stage) -> None:
    world = keyed_world(stage)
    own = {region: state.key.arn for region, state in world.regions.items() if state.key}
    home = replace(TABLE, replicas={"ap-south-1": "ACTIVE", "eu-west-1": "ACTIVE"}, encryption=own["us-east-1"])
    peer = replace(TABLE, encryption=own["ap-south-1"])
    assert decide(with_keys(stage), keyed_world(stage, us_east_1=home, ap_south_1=peer)).refusals == []


@pytest.mark.parametrize(("key", "refused"), [(OTHER, True), (AWS_MANAGED, False), (AWS_OWNED, False)])
def test_decide_without_own_keys_when_a_replica_would_need_one_refuses(stage: Stage, key: str, refused: bool) -> None:
    plan = decide(stage, world_of(stage, us_east_1=replace(TABLE, replicas={}, encryption=key)))
    assert ["set encryption.customer_managed_key" in step.detail for step in plan.refusals] == [True] * refused


@pytest.mark.parametrize("status", ["INACCESSIBLE_ENCRYPTION_CREDENTIALS", "ARCHIVED"])
def test_decide_when_the_tables_key_is_out_of_reach_refuses(stage: Stage, status: str) -> None:
    home = replace(TABLE, status=status, encryption=OTHER)
    plan = decide(stage, world_of(stage, us_east_1=home, ap_south_1=TABLE))
    assert plan.refusals[0].detail == f"it is {status}: enable {OTHER} and its policy again, then plan again"

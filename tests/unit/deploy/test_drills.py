"""What FIS finds in the packaged stages: a role that can do what a drill asks and no more, and alarms that stop it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from ops.failover import templates
from ops.stage import load_stage, stage_names
from tests.template import ACCOUNT, Stack
from tests.unit.deploy.privileges import REGION, Permission, granted
from tests.unit.deploy.test_alarms import ALARM, COMPOSITE, holds
from tests.unit.ops.failover import fisrules

Template = dict[str, Any]
DRILLED = [name for name in stage_names() if load_stage(name).has_drill_resources]
PARTS = ("api", "processing", "replication")
# https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html: what each action needs, and on what.
POLICY_CALLS = ("dynamodb:GetResourcePolicy", "dynamodb:PutResourcePolicy", "dynamodb:DeleteResourcePolicy")


@pytest.fixture
def deployed_in(template: Callable[[str], Template]) -> Callable[[str, str], Stack]:
    return lambda stage, region: Stack(template(stage), region)


Deployed = Callable[[str, str], Stack]


def asked(stack: Stack, name: str, parts: tuple[str, ...] = PARTS) -> dict[str, Any]:
    """What the toolkit would ask FIS for."""
    outputs = {templates.ROLE_OUTPUT: stack.arn("DrillRole")}
    return templates.request(load_stage(name), ACCOUNT, stack.region, parts, 600, outputs)


def needed(request: dict[str, Any], bucket: str, key: str | None) -> set[Permission]:
    found = {Permission("tag:GetResources", "*")}
    for part, target in request["targets"].items():
        for arn in target["resourceArns"]:
            if part == "replication":
                found |= {Permission("dynamodb:DescribeTable", arn)}
                found |= {Permission(call, on) for call in POLICY_CALLS for on in (arn, f"{arn}/stream/*")}
            else:
                found |= {Permission("lambda:GetFunction", arn)}
                found |= {Permission(call, f"{bucket}/FisConfigs/*") for call in ("s3:PutObject", "s3:DeleteObject")}
                found |= {Permission("kms:Decrypt", key, "lambda")} if key else set()
    return found


@pytest.mark.parametrize("name", DRILLED)
def test_role_grants_exactly_what_the_actions_need(deployed_in: Deployed, name: str) -> None:
    stack = deployed_in(name, REGION)
    role = stack.of_type("AWS::IAM::Role")["DrillRole"]
    key = stack.arn("Key") if "Key" in stack.resources else None

    (policy,) = role["Policies"]
    assert granted(policy["PolicyDocument"]["Statement"]) == needed(asked(stack, name), stack.arn("DrillBucket"), key)
    assert bool(key) is load_stage(name).encryption.customer_managed_key
    assert "ManagedPolicyArns" not in role


@pytest.mark.parametrize("name", DRILLED)
def test_role_is_taken_by_experiments_of_this_account_and_region_only(deployed_in: Deployed, name: str) -> None:
    for region in load_stage(name).regions:
        (statement,) = deployed_in(name, region).of_type("AWS::IAM::Role")["DrillRole"]["AssumeRolePolicyDocument"][
            "Statement"
        ]
        assert statement["Principal"] == {"Service": "fis.amazonaws.com"}
        assert statement["Condition"] == {
            "StringEquals": {"aws:SourceAccount": ACCOUNT},
            "ArnLike": {"aws:SourceArn": f"arn:aws:fis:{region}:{ACCOUNT}:experiment/*"},
        }


@pytest.mark.parametrize("name", DRILLED)
def test_role_and_bucket_have_names_that_fit(deployed_in: Deployed, name: str) -> None:
    for region in load_stage(name).regions:
        stack = deployed_in(name, region)
        bucket = stack.arn("DrillBucket").rpartition(":")[2]
        assert fisrules.problems(asked(stack, name) | {"clientToken": "token"}, region) == []
        longest = "a" * 20  # of a stage's name
        assert len(bucket.replace(name, longest)) <= 63
        assert re.fullmatch(r"[a-z0-9-]+", bucket)


@pytest.mark.parametrize("name", DRILLED)
def test_functions_that_a_drill_takes_away_have_the_extension_and_know_where_it_looks(
    deployed_in: Deployed, name: str
) -> None:
    stack, settings = deployed_in(name, REGION), load_stage(name)
    parameter = f"/aws/service/fis/lambda-extension/AWS-FIS-extension-{settings.lambda_.architecture}/1.x.x"
    drilled = {settings.function(one) for one in settings.function_names}
    functions = stack.of_type("AWS::Lambda::Function").values()
    assert drilled <= {function["FunctionName"] for function in functions}
    for function in functions:
        if function["FunctionName"] not in drilled:
            assert "Layers" not in function
            continue
        variables = function["Environment"]["Variables"]
        assert function["Layers"] == [f"{{{{resolve:ssm:{parameter}}}}}"]
        assert variables["AWS_LAMBDA_EXEC_WRAPPER"] == "/opt/aws-fis/bootstrap"
        assert variables["AWS_FIS_CONFIGURATION_LOCATION"] == f"{stack.arn('DrillBucket')}/FisConfigs/"
        assert variables["AWS_FIS_SLOW_POLL_INTERVAL_SECONDS"] == str(templates.RAMP_UP_S)


# --- stop conditions ---------------------------------------------------------------------------------------------


def causes(stack: Stack, part: str) -> set[str]:
    """The alarms that taking the part away sets off by intent."""
    names = {alarm["AlarmName"].removeprefix(_prefix(alarm)) for alarm in stack.of_type(ALARM).values()}
    forms = {
        "api": r"api-.*|health|(ingest|query|status)-errors",
        "processing": r"(store|activity)-(errors|queue-age)",
        "replication": r"replication-to-.*",
    }
    return {name for name in names if re.fullmatch(forms[part], name)}


def _prefix(alarm: dict[str, Any]) -> str:
    return "-".join(alarm["AlarmName"].split("-")[:2]) + "-"


@pytest.mark.parametrize("name", DRILLED)
@pytest.mark.parametrize("parts", [s for n in (1, 2, 3) for s in itertools.combinations(PARTS, n)], ids="+".join)
def test_drill_is_stopped_by_every_alarm_that_it_does_not_cause_and_by_no_other(
    deployed_in: Deployed, name: str, parts: tuple[str, ...]
) -> None:
    for region in load_stage(name).regions:
        stack = deployed_in(name, region)
        rules = {one["AlarmName"]: one["AlarmRule"] for one in stack.of_type(COMPOSITE).values()}
        conditions = [one["value"].rpartition(":")[2] for one in asked(stack, name, parts)["stopConditions"]]
        intended = set().union(*(causes(stack, part) for part in parts))
        calm = {alarm["AlarmName"]: "OK" for alarm in stack.of_type(ALARM).values()}

        assert set(conditions) <= set(rules)
        assert not any(holds(rules[condition], calm) for condition in conditions)
        for alarm in stack.of_type(ALARM).values():
            full = alarm["AlarmName"]
            if full.removeprefix(_prefix(alarm)).startswith(("sketch-", "reports")):
                continue  # what reads for the divergence runbook, and reports, are no part of what a drill may hurt
            stops = any(holds(rules[condition], calm | {full: "ALARM"}) for condition in conditions)
            assert stops == (full.removeprefix(_prefix(alarm)) not in intended), full


@pytest.mark.parametrize("name", DRILLED)
def test_alarms_that_stop_drills_notify_nobody_of_their_own(deployed_in: Deployed, name: str) -> None:
    found = deployed_in(name, REGION).of_type(COMPOSITE)
    drills = {logical_id: one for logical_id, one in found.items() if "-drill-" in one["AlarmName"]}

    assert len(drills) == 4
    for one in drills.values():
        assert not {"AlarmActions", "OKActions"} & set(one)
        assert "First: " in one["AlarmDescription"]
        assert len(one["AlarmDescription"]) <= 1024


# --- where there are none ----------------------------------------------------------------------------------------


def of_drills(template: Template) -> set[str]:
    return {name for name in template["Resources"] if name.startswith("Drill")}


def extended(template: Template) -> set[str]:
    functions = {n: r["Properties"] for n, r in template["Resources"].items() if r["Type"] == "AWS::Lambda::Function"}
    return {
        name
        for name, function in functions.items()
        if "Layers" in function or any(key.startswith("AWS_") for key in function["Environment"]["Variables"])
    }


def test_local_stage_has_nothing_of_it(deployed: Callable[[str], Template]) -> None:
    template = deployed("local")

    assert of_drills(template) == extended(template) == set()
    assert templates.ROLE_OUTPUT not in template["Outputs"]


def test_stage_without_drills_has_nothing_of_it_and_a_closed_endpoint(deployed_with: Callable[..., Template]) -> None:
    template = deployed_with("dev", failover={"parts": [], "lambda_extension": None})

    assert of_drills(template) == extended(template) == set()
    (closed,) = template["Resources"]["S3Endpoint"]["Properties"]["PolicyDocument"]["Statement"]
    assert closed == {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}
    assert "S3PrefixLists" not in str(template["Resources"]["FunctionsGroup"])
    assert "s3:" not in str([r for n, r in template["Resources"].items() if r["Type"] == "AWS::IAM::Role"])


def test_stage_that_only_pauses_replication_has_no_extension_and_no_bucket(
    deployed_with: Callable[..., Template],
) -> None:
    template = deployed_with("dev", failover={"parts": ["replication"], "lambda_extension": None})

    assert extended(template) == set()
    assert not {"DrillBucket", "DrillBucketPolicy"} & of_drills(template)
    actions = str(template["Resources"]["DrillRole"]["Properties"]["Policies"])
    assert "dynamodb:PutResourcePolicy" in actions
    assert "lambda:" not in actions


def test_stage_that_only_takes_the_api_away_extends_only_its_functions(deployed_with: Callable[..., Template]) -> None:
    template = deployed_with("dev", failover={"parts": ["api"]})

    assert extended(template) == {f"{name.title()}LambdaFunction" for name in templates.API_FUNCTIONS}
    actions = str(template["Resources"]["DrillRole"]["Properties"]["Policies"])
    assert "StoreLambdaFunction" not in actions
    assert "dynamodb:" not in actions


def test_role_may_cut_off_a_replica_of_a_strong_table_and_of_no_other(deployed_with: Callable[..., Template]) -> None:
    regions = ["us-east-1", "us-east-2"]
    lists = dict.fromkeys(regions, "pl-0123abcd")

    def actions(**table: object) -> str:
        network = {"dynamodb_prefix_lists": lists, "s3_prefix_lists": lists}
        template = deployed_with("dev", regions=regions, network=network, table=table)
        return str(template["Resources"]["DrillRole"]["Properties"]["Policies"])

    assert "dynamodb:InjectError" in actions(consistency="strong", witness="us-west-2")
    assert "dynamodb:InjectError" not in actions(consistency="eventual")

"""Nothing is dropped silently: every rule target, queue and function of the template says where its failures go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.stage import ROOT, load_stage, stage_names
from tests.template import ACCOUNT, Stack
from tests.unit.deploy.conftest import TEMPLATE, Template

Deployed = Callable[[str, str], Stack]
PROJECT = ("deploy", "handlers", "sketch", "serverless.yml", "package.json")


def of_type(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"] for name, resource in template["Resources"].items() if resource["Type"] == kind
    }


def referred(value: Any) -> str:
    """The logical id that a property refers to."""
    return str(value.get("Ref") or value["Fn::GetAtt"][0])


@pytest.mark.parametrize("name", stage_names())
def test_every_rule_target_has_a_retry_policy_and_a_dlq_that_takes_from_that_rule(
    template: Callable[[str], Template], name: str
) -> None:
    made = template(name)
    rules, policies = of_type(made, "AWS::Events::Rule"), of_type(made, "AWS::SQS::QueuePolicy")
    assert len(rules) >= 5
    for rule, properties in rules.items():
        for target in properties["Targets"]:
            assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
            queues = [referred(target["DeadLetterConfig"]["Arn"])]
            if "RoleArn" not in target:
                queues.append(referred(target["Arn"]))
            for queue in queues:
                allowed = [
                    statement
                    for policy in policies.values()
                    for statement in policy["PolicyDocument"]["Statement"]
                    if queue in map(referred, policy["Queues"]) and statement["Effect"] == "Allow"
                ]
                exact = [one["Condition"]["ArnEquals"] for one in allowed if "ArnEquals" in one["Condition"]]
                sources = [condition["aws:SourceArn"] for condition in exact]
                flat = [one for source in sources for one in (source if isinstance(source, list) else [source])]
                assert rule in map(referred, flat), f"{queue} takes nothing from {rule}"


@pytest.mark.parametrize("name", stage_names())
def test_every_queue_is_a_dlq_or_has_one_and_dlqs_keep_as_long_as_sqs_can(
    template: Callable[[str], Template], name: str
) -> None:
    queues, stage = of_type(template(name), "AWS::SQS::Queue"), load_stage(name)
    dlqs = {queue for queue, properties in queues.items() if "RedrivePolicy" not in properties}
    assert {queues[queue]["QueueName"] for queue in dlqs} == set(stage.dlqs)
    for queue, properties in queues.items():
        assert properties["MessageRetentionPeriod"] == 1_209_600
        if queue not in dlqs:
            assert referred(properties["RedrivePolicy"]["deadLetterTargetArn"]) in dlqs


@pytest.mark.parametrize("name", stage_names())
def test_every_function_has_a_destination_for_failed_asynchronous_invocations_that_its_role_may_send_to(
    deployed: Callable[[str], Template], name: str
) -> None:
    made = deployed(name)
    functions, roles = of_type(made, "AWS::Lambda::Function"), of_type(made, "AWS::IAM::Role")
    configured = {
        referred(properties["FunctionName"]): properties
        for properties in of_type(made, "AWS::Lambda::EventInvokeConfig").values()
    }
    assert configured.keys() == functions.keys()
    for function, properties in configured.items():
        assert properties["MaximumRetryAttempts"] == 2
        queue = properties["DestinationConfig"]["OnFailure"]["Destination"]
        (policy,) = roles[referred(functions[function]["Role"])]["Policies"]
        sending = [
            statement["Resource"]
            for statement in policy["PolicyDocument"]["Statement"]
            if "sqs:SendMessage" in statement["Action"]
        ]
        assert queue in sending


@pytest.mark.parametrize("name", stage_names())
def test_each_processor_knows_its_own_dlq_may_send_to_it_and_how_often_it_receives(
    template: Callable[[str], Template], name: str
) -> None:
    made, stage = template(name), load_stage(name)
    functions, roles = of_type(made, "AWS::Lambda::Function"), of_type(made, "AWS::IAM::Role")
    for processor in stage.processor_names:
        part = processor.capitalize()
        variables = functions[f"{part}LambdaFunction"]["Environment"]["Variables"]
        assert variables["ATOLL_DLQ_URL"] == {"Ref": f"{part}Dlq"}
        assert variables["ATOLL_MAX_RECEIVE_COUNT"] == str(stage.processors.max_receive_count)
        document = json.dumps(roles[f"{part}Role"]["Policies"][0]["PolicyDocument"])
        assert json.dumps({"Fn::GetAtt": [f"{part}Dlq", "Arn"]}) in document


@pytest.mark.parametrize("name", stage_names())
def test_reserved_concurrency_is_what_the_stage_file_says(template: Callable[[str], Template], name: str) -> None:
    functions, stage = of_type(template(name), "AWS::Lambda::Function"), load_stage(name)
    wanted = stage.concurrency.model_dump() if stage.concurrency else {}
    for properties in functions.values():
        part = properties["FunctionName"].removeprefix(f"{stage.prefix}-")
        assert properties.get("ReservedConcurrentExecutions") == wanted.get(part)


def mapping_of(stage_file: Path, regions: list[str], directory: Path) -> dict[str, dict[str, str]]:
    """The journal mapping that sls makes of a copy of the project whose stage has these regions."""
    for part in PROJECT:
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, directory / part)
    for installed in (".venv", "node_modules"):
        (directory / installed).symlink_to(ROOT / installed)
    content = yaml.safe_load(stage_file.read_text()) | {"regions": regions}
    (directory / "deploy" / "stages" / stage_file.name).write_text(yaml.safe_dump(content))
    command = [ROOT / "node_modules/.bin/sls", "package", "--stage", stage_file.stem, "--package", "packaged"]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    made = json.loads((directory / "packaged" / TEMPLATE).read_text(encoding="utf-8"))
    return dict(made["Mappings"]["Journal"])


@pytest.mark.parametrize("regions", [["us-east-1"], ["us-east-1", "ap-south-1", "eu-west-1"]], ids=len)
def test_journal_ring_of_any_number_of_regions_is_that_of_the_toolkit(tmp_path: Path, regions: list[str]) -> None:
    stage = load_stage("local").model_copy(update={"regions": regions})
    mapping = mapping_of(ROOT / "deploy/stages/local.yml", regions, tmp_path)
    assert mapping.keys() == set(regions)
    for region, neighbours in mapping.items():
        # A region alone is its own neighbour, which the template takes as: no journal.
        assert neighbours["Next"] == (stage.journal_region(region) or region)
        assert neighbours["Previous"] == (stage.journaled_region(region) or region)


@pytest.mark.parametrize("name", stage_names())
def test_journal_rule_forwards_live_events_only_in_a_role_that_may_put_on_one_bus(
    template: Callable[[str], Template], name: str
) -> None:
    made, stage = template(name), load_stage(name)
    for region in stage.regions:
        neighbours = made["Mappings"]["Journal"][region]
        assert neighbours["Next"] == stage.journal_region(region)
        assert neighbours["Policy"] == str(stage.journal.bus_policy).lower()
    rule = of_type(made, "AWS::Events::Rule")["JournalRule"]
    assert rule["EventPattern"] == {"source": ["atoll.events"], "replay-name": [{"exists": False}]}
    (policy,) = of_type(made, "AWS::IAM::Role")["JournalRole"]["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["events:PutEvents"]
    assert statement["Resource"] == rule["Targets"][0]["Arn"]
    assert referred(rule["Targets"][0]["RoleArn"]) == "JournalRole"


# --- who else may send -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deployed_in(template: Callable[[str], Template]) -> Deployed:
    return lambda name, region: Stack(template(name), region)


@pytest.mark.parametrize("name", stage_names())
def test_queues_of_processors_admit_the_rules_of_a_replay_on_the_two_buses_and_no_other_pattern(
    deployed_in: Deployed, name: str
) -> None:
    stage = load_stage(name)
    for region in stage.regions:
        stack = deployed_in(name, region)
        rules = f"arn:aws:events:{region}:{ACCOUNT}:rule"
        wild: dict[str, Any] = {}
        for policy in stack.of_type("AWS::SQS::QueuePolicy").values():
            for statement in policy["PolicyDocument"]["Statement"]:
                condition = statement.get("Condition", {})
                assert statement["Effect"] == "Deny" or list(condition) in (["ArnEquals"], ["ArnLike"])
                if "ArnLike" in condition:
                    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
                    assert statement["Action"] == "sqs:SendMessage"
                    assert condition["ArnLike"] == {
                        "aws:SourceArn": [
                            f"{rules}/{bus}/{stage.prefix}-replay-*" for bus in (stage.bus, stage.journal_bus)
                        ]
                    }
                    wild |= dict.fromkeys(arn.rpartition(":")[2] for arn in statement["Resource"])
                else:
                    assert "*" not in json.dumps(condition)
        queues = [
            queue for processor in stage.processor_names for queue in (stage.queue(processor), stage.dlq(processor))
        ]
        assert sorted(wild) == sorted(queues)


@pytest.mark.parametrize("name", [name for name in stage_names() if load_stage(name).journal.bus_policy])
def test_journal_bus_takes_from_the_previous_regions_rule_and_operators_only(deployed_in: Deployed, name: str) -> None:
    stage = load_stage(name)
    for region in stage.regions:
        [policy] = deployed_in(name, region).of_type("AWS::Events::EventBusPolicy").values()
        statement, roles = policy["Statement"], f"arn:aws:iam::{ACCOUNT}:role/{stage.prefix}"
        assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
        assert statement["Condition"] == {
            "ArnNotLike": {
                "aws:PrincipalArn": [f"{roles}-journal-{stage.journaled_region(region)}", f"{roles}-operator*"]
            },
            "Bool": {"aws:PrincipalIsAWSService": "false"},
        }

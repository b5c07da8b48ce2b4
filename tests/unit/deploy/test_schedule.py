"""The reports that AWS makes by itself: where they are, what starts them, what they may do, what they run."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import yaml

from ops.policies import grants
from ops.policies.documents import MANAGED_POLICY_CHARACTERS, size
from ops.policies.suites import documents, scheduled
from ops.stage import load_stage, stage_names
from tests.template import Stack, resolved

Templates = Callable[[str], dict[str, Any]]
ACCOUNT = "123456789012"
STAGES = [name for name in stage_names() if load_stage(name).schedule is not None]
NAMES = {"ScheduleGroup", "SchedulerRole", "ReportsRole", "ReportsProject", "ReportsLogGroup", "ReportsAlarm"}


@pytest.fixture(scope="module")
def stack(template: Templates) -> Callable[[str], Stack]:
    return lambda stage: Stack(template(stage), load_stage(stage).home_region)


def statements(made: Stack, logical: str) -> list[dict[str, Any]]:
    (policy,) = made.of_type("AWS::IAM::Role")[logical]["Policies"]
    return list(policy["PolicyDocument"]["Statement"])


@pytest.mark.parametrize("stage", STAGES)
def test_schedule_is_in_the_home_region_and_nowhere_else(template: Templates, stage: str) -> None:
    settings = load_stage(stage)
    for region in settings.regions:
        made = resolved(template(stage), region)["Resources"]
        scheduled = {name for name in made if name.startswith(("Schedule", "Reports"))}
        assert scheduled >= NAMES if region == settings.home_region else scheduled == set()


def test_stage_without_a_schedule_has_nothing_of_it(deployed_with: Callable[..., dict[str, Any]]) -> None:
    made = deployed_with("dev", schedule=None)
    assert not [name for name in made["Resources"] if name.startswith(("Schedule", "Reports"))]
    assert "codebuild" not in json.dumps(made)


@pytest.mark.parametrize("stage", STAGES)
def test_each_suite_starts_the_project_at_its_time(stack: Callable[[str], Stack], stage: str) -> None:
    made, settings = stack(stage), load_stage(stage)
    assert settings.schedule is not None
    found = made.of_type("AWS::Scheduler::Schedule").values()
    assert {one["Name"] for one in found} == {f"atoll-{stage}-{suite}" for suite in settings.schedule.suites}
    for one in found:
        suite = one["Name"].removeprefix(f"atoll-{stage}-")
        asked = settings.schedule.suites[suite]
        assert (one["ScheduleExpression"], one["ScheduleExpressionTimezone"]) == (asked.cron, asked.time_zone)
        started = json.loads(one["Target"]["Input"])
        (project,) = made.of_type("AWS::CodeBuild::Project").values()
        assert started["ProjectName"] == project["Name"]
        assert {(v["Name"], v["Value"]) for v in started["EnvironmentVariablesOverride"]} == {("SUITE", suite)}
        declared = {variable["Name"] for variable in project["Environment"]["EnvironmentVariables"]}
        assert declared == {"SUITE", "STAGE"}


@pytest.mark.parametrize("stage", STAGES)
def test_build_runs_the_report_and_fails_only_without_one(stack: Callable[[str], Stack], stage: str) -> None:
    (project,) = stack(stage).of_type("AWS::CodeBuild::Project").values()
    build = yaml.safe_load(project["Source"]["BuildSpec"])
    assert build["phases"]["install"]["commands"] == ["make setup"]
    assert build["phases"]["build"]["commands"] == ['.venv/bin/ops report "$SUITE" --stage "$STAGE" || [ $? -eq 1 ]']
    assert project["ConcurrentBuildLimit"] == 1
    assert project["Artifacts"] == {"Type": "NO_ARTIFACTS"}


@pytest.mark.parametrize("stage", STAGES)
def test_scheduler_may_start_this_project_and_nothing_else(stack: Callable[[str], Stack], stage: str) -> None:
    made = stack(stage)
    allowed = statements(made, "SchedulerRole")
    assert {one["Action"]: one["Resource"] for one in allowed if isinstance(one["Action"], str)} == {
        "codebuild:StartBuild": made.arn("ReportsProject"),
        "sqs:SendMessage": made.arn("AsyncDlq"),
    }
    (trust,) = made.of_type("AWS::IAM::Role")["SchedulerRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"]["StringEquals"]["aws:SourceAccount"] == ACCOUNT
    assert trust["Condition"]["StringEquals"]["aws:SourceArn"] == made.arn("ScheduleGroup")


@pytest.mark.parametrize("stage", STAGES)
def test_reports_role_may_do_what_its_runbooks_look_at_and_no_more(stack: Callable[[str], Stack], stage: str) -> None:
    made, settings = stack(stage), load_stage(stage)
    policies = [one["PolicyDocument"] for one in made.of_type("AWS::IAM::ManagedPolicy").values() if "Roles" in one]
    reports = [one for one in policies if any("Sid" in statement for statement in one["Statement"])]
    granted = [statement for one in reports for statement in one["Statement"]]
    wanted = chain.from_iterable(grants(name, settings, ACCOUNT) for name in scheduled(settings))

    assert granted
    missing = [one.sid for one in wanted if one.statement() not in granted]
    assert missing == []
    assert not {action for one in granted for action in one["Action"]} & {
        grant_action
        for name in scheduled(settings)
        for grant in grants(name, settings, ACCOUNT)
        if grant.changes
        for grant_action in grant.actions
    }


@pytest.mark.parametrize("stage", STAGES)
def test_policies_fit_what_iam_takes_and_name_each_statement_once(stage: str) -> None:
    settings = load_stage(stage)
    made = documents(settings, scheduled(settings))
    assert 1 <= len(made) <= 10  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    for document in made:
        assert size(document) <= MANAGED_POLICY_CHARACTERS
        sids = [statement["Sid"] for statement in document["Statement"]]
        assert len(sids) == len(set(sids))


def test_private_repository_is_read_by_its_connection_only(deployed_with: Callable[..., dict[str, Any]]) -> None:
    connection = "arn:aws:codeconnections:us-east-1:123456789012:connection/aEXAMPLE-8aad-4d5d-8878-dfcab0bc441f"
    source = {"type": "GITHUB", "location": "https://github.example/atoll.git", "connection": connection}
    suites = {"daily": {"cron": "cron(0 6 * * ? *)"}}
    made = deployed_with("dev", schedule={"suites": suites, "source": source})["Resources"]
    project = made["ReportsProject"]["Properties"]
    assert project["Source"]["Auth"] == {"Type": "CODECONNECTIONS", "Resource": connection}
    (policy,) = made["ReportsRole"]["Properties"]["Policies"]
    assert connection in [one["Resource"] for one in policy["PolicyDocument"]["Statement"]]

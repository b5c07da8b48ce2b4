"""Least privilege, proved both ways: each call of the code is granted by its role, and each grant is used."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ops.stage import load_stage, stage_names
from tests.template import Stack
from tests.unit.deploy import calls, privileges
from tests.unit.deploy.privileges import ON_ANY_RESOURCE, Permission

Statements = list[dict[str, Any]]


@pytest.fixture(scope="module")
def stack(template: Callable[[str], dict[str, Any]]) -> Callable[[str], Stack]:
    made: dict[str, Stack] = {}

    def of(stage: str) -> Stack:
        if stage not in made:
            made[stage] = Stack(template(stage), privileges.REGION)
        return made[stage]

    return of


@pytest.fixture(scope="module")
def recorded(stack: Callable[[str], Stack]) -> Callable[[str], calls.Recording]:
    made: dict[str, calls.Recording] = {}

    def of(stage: str) -> calls.Recording:
        if stage not in made:
            made[stage] = calls.record(stack(stage))
        return made[stage]

    return of


def held(stack: Stack, recording: calls.Recording) -> Iterator[tuple[str, Statements, set[Permission]]]:
    """Each function with the statements of its role and what it needs."""
    for name, function in privileges.functions(stack).items():
        wanted = privileges.needed(stack, function, recording.permissions[name])
        yield name, privileges.statements(stack, function), wanted


@pytest.mark.parametrize("stage", stage_names())
def test_roles_grant_exactly_what_code_and_service_need(
    stack: Callable[[str], Stack], recorded: Callable[[str], calls.Recording], stage: str
) -> None:
    found = {name: privileges.problems(given, wanted) for name, given, wanted in held(stack(stage), recorded(stage))}

    assert {name: lines for name, lines in found.items() if lines} == {}
    assert set(found) == set(calls.PATHS) - (set() if load_stage(stage).divergence.fleet else {"sketch"})


def test_every_call_in_the_code_is_driven(recorded: Callable[[str], calls.Recording]) -> None:
    assert calls.undriven(recorded("prod").sites) == []


@pytest.mark.parametrize("method", ["put_events", "batch_get_item", "delete_record", "describe_event_bus"])
def test_call_that_no_path_makes_is_reported(recorded: Callable[[str], calls.Recording], method: str) -> None:
    (site,) = [one for one in calls.call_sites() if one.endswith(f" {method}")]
    file, lines = site.split(":")[0], calls.call_sites()[site]

    seen = {one for one in recorded("prod").sites if one[0] != file or one[1] not in lines}

    assert calls.undriven(seen) == [site]


def test_each_function_has_a_role_of_its_own(stack: Callable[[str], Stack]) -> None:
    functions = privileges.functions(stack("prod"))

    assert len({function["Role"] for function in functions.values()}) == len(functions)


def test_only_lambda_may_take_a_role(stack: Callable[[str], Stack]) -> None:
    made = stack("prod")
    for function in privileges.functions(made).values():
        role = next(one for name, one in made.of_type("AWS::IAM::Role").items() if made.arn(name) == function["Role"])
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
        assert statement["Action"] == "sts:AssumeRole"


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_check_when_any_action_is_taken_away_reports_it_missing(
    stack: Callable[[str], Stack], recorded: Callable[[str], calls.Recording], stage: str
) -> None:
    taken = 0
    for _, given, wanted in held(stack(stage), recorded(stage)):
        for index, statement in enumerate(given):
            for action in statement["Action"]:
                less = copy.deepcopy(given)
                less[index]["Action"].remove(action)
                lost = privileges.granted([{**statement, "Action": [action]}])
                assert privileges.problems(less, wanted) == sorted(f"needed and not granted: {one}" for one in lost)
                taken += 1
    assert taken >= 20


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_check_when_any_statement_reaches_further_reports_it(
    stack: Callable[[str], Stack], recorded: Callable[[str], calls.Recording], stage: str
) -> None:
    for _, given, wanted in held(stack(stage), recorded(stage)):
        for index, statement in enumerate(given):
            if set(statement["Action"]) & set(ON_ANY_RESOURCE):
                continue
            service = statement["Action"][0].split(":")[0]
            for change, reported in (
                ({"Resource": "*"}, "any resource: "),
                ({"Action": [*statement["Action"], f"{service}:*"]}, "any action: "),
                ({"Action": [*statement["Action"], f"{service}:TagResource"]}, "granted and never used: "),
                ({"Resource": [*_listed(statement["Resource"]), "arn:aws:x:::y"]}, "granted and never used: "),
            ):
                more = copy.deepcopy(given)
                more[index] |= change
                assert any(line.startswith(reported) for line in privileges.problems(more, wanted)), (statement, change)


def test_check_when_a_condition_on_the_key_is_dropped_reports_it(
    stack: Callable[[str], Stack], recorded: Callable[[str], calls.Recording]
) -> None:
    for _, given, wanted in held(stack("prod"), recorded("prod")):
        wider = [{k: v for k, v in statement.items() if k != "Condition"} for statement in given]
        lines = privileges.problems(wider, wanted)
        assert any(line.startswith("granted and never used: kms:Decrypt") for line in lines)


def test_check_when_a_service_is_dropped_from_the_condition_on_the_key_reports_it(
    stack: Callable[[str], Stack], recorded: Callable[[str], calls.Recording]
) -> None:
    made = stack("prod")
    for name, given, wanted in held(made, recorded("prod")):
        for index, statement in enumerate(given):
            services = _listed(statement.get("Condition", {}).get("StringEquals", {}).get("kms:ViaService", []))
            for service in services:
                less = copy.deepcopy(given)
                less[index]["Condition"]["StringEquals"]["kms:ViaService"] = [one for one in services if one != service]
                lines = privileges.problems(less, wanted)
                short = service.removesuffix(f".{privileges.REGION}.amazonaws.com")
                assert [line for line in lines if line.startswith("needed and not granted: kms:Decrypt")], (name, short)
                assert all(line.endswith(f"through {short}") for line in lines)


@pytest.mark.parametrize("name", stage_names())
def test_global_table_is_under_the_key_that_the_toolkit_looks_for(stack: Callable[[str], Stack], name: str) -> None:
    stage, made = load_stage(name), stack(name)
    aliases = [alias["AliasName"] for alias in made.of_type("AWS::KMS::Alias").values()]

    assert aliases == ([stage.key_alias] if stage.key_alias else [])
    assert [arn.rpartition("/")[2] for arn in privileges.global_table(made)] == [stage.table_name] * len(aliases)


def test_functions_of_the_global_table_need_its_key(
    stack: Callable[[str], Stack], recorded: Callable[[str], calls.Recording]
) -> None:
    made = stack("prod")
    ((_, key),) = privileges.global_table(made).items()
    decrypt = Permission("kms:Decrypt", made.arn(key), "dynamodb")
    for name, _, wanted in held(made, recorded("prod")):
        assert decrypt in wanted, name
    for _, _, wanted in held(stack("dev"), recorded("dev")):
        assert not any(one.action.startswith("kms:") for one in wanted)


def test_check_when_code_makes_a_new_call_reports_it(
    stack: Callable[[str], Stack], recorded: Callable[[str], calls.Recording]
) -> None:
    scan = Permission("dynamodb:Scan", "arn:aws:dynamodb:us-east-1:123456789012:table/atoll-dev")

    for _, given, wanted in held(stack("dev"), recorded("dev")):
        assert privileges.problems(given, wanted | {scan}) == [f"needed and not granted: {scan}"]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

"""What FIS asks of an experiment template: botocore's model of the request, and the rules that the model does not hold.

The rules: https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html (actions, parameters, resource
types), https://docs.aws.amazon.com/fis/latest/userguide/targets.html (targets) and
https://docs.aws.amazon.com/fis/latest/userguide/fis-quotas.html (numbers).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

# Action -> the key of its target, the target's resource type, its parameters with the form of each.
_DURATION = r"PT(?=\d)(\d+H)?(\d+M)?(\d+S)?"
ACTIONS: dict[str, tuple[str, str, dict[str, str]]] = {
    "aws:lambda:invocation-error": (
        "Functions",
        "aws:lambda:function",
        {"duration": _DURATION, "invocationPercentage": r"\d|[1-9]\d|100", "preventExecution": "true|false"},
    ),
    "aws:dynamodb:global-table-pause-replication": ("Tables", "aws:dynamodb:global-table", {"duration": _DURATION}),
}
ARNS = {
    "aws:lambda:function": r"arn:aws:lambda:{region}:\d{{12}}:function:[\w-]+",
    "aws:dynamodb:global-table": r"arn:aws:dynamodb:{region}:\d{{12}}:table/[\w.-]+",
}
ALARM = r"arn:aws:cloudwatch:{region}:\d{{12}}:alarm:[\w-]+"
ROLE = r"arn:aws:iam::\d{12}:role/[\w+=,.@/-]{1,64}"
NAME = r"\S{1,64}"
TAG = r"[\w .:/=+@-]{0,256}"
SHORTEST_S, LONGEST_S = 60, 12 * 3600
ARNS_A_TARGET, STOP_CONDITIONS, ACTIONS_A_TEMPLATE = 5, 5, 20


def problems(request: dict[str, Any], region: str) -> list[str]:
    """Why FIS in ``region`` would refuse the request, a line each; none when it would take it."""
    model = botocore.session.get_session().get_service_model("fis").operation_model("CreateExperimentTemplate")
    report = ParamValidator().validate(request, model.input_shape)
    return [report.generate_report()] if report.has_errors() else list(_by_rules(request, region))


def _by_rules(request: dict[str, Any], region: str) -> Iterator[str]:
    targets, used = request.get("targets", {}), set()
    for name, action in request["actions"].items():
        if action["actionId"] not in ACTIONS:
            yield f"{name}: there is no action {action['actionId']}"
            continue
        key, resource_type, parameters = ACTIONS[action["actionId"]]
        if list(action.get("targets", {})) != [key]:
            yield f"{name}: its target is called {key}, not {list(action.get('targets', {}))}"
            continue
        used.add(action["targets"][key])
        if targets.get(action["targets"][key], {}).get("resourceType") != resource_type:
            yield f"{name}: its target is no {resource_type}"
        yield from _parameters(name, action.get("parameters", {}), parameters)
    yield from (f"target {name} is of no action" for name in set(targets) - used)
    for name, target in targets.items():
        form = ARNS.get(target["resourceType"], "$^").format(region=region)
        arns = target.get("resourceArns", [])
        yield from (f"target {name}: {arn} is none of the type in {region}" for arn in arns if not _is(form, arn))
        if not 1 <= len(arns) <= ARNS_A_TARGET or len(set(arns)) != len(arns):
            yield f"target {name}: {len(arns)} ARNs"
        if not _is(r"ALL|COUNT\(\d+\)|PERCENT\(\d+\)", target["selectionMode"]):
            yield f"target {name}: selection mode {target['selectionMode']}"
    yield from _of_the_whole(request, region)


def _parameters(name: str, given: dict[str, str], forms: dict[str, str]) -> Iterator[str]:
    yield from (f"{name}: there is no parameter {one}" for one in set(given) - set(forms))
    yield from (f"{name}: {one} is {given[one]}" for one in forms if one in given and not _is(forms[one], given[one]))
    if "duration" not in given:
        yield f"{name}: no duration"
        return
    parts = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?", given["duration"])
    length = (
        sum(int(part or 0) * unit for part, unit in zip(parts.groups(), (3600, 60, 1), strict=True)) if parts else 0
    )
    if not SHORTEST_S <= length <= LONGEST_S:
        yield f"{name}: {given['duration']} is not from one minute to 12 hours"


def _of_the_whole(request: dict[str, Any], region: str) -> Iterator[str]:
    conditions = request["stopConditions"]
    if not 1 <= len(conditions) <= STOP_CONDITIONS:
        yield f"{len(conditions)} stop conditions"
    for condition in conditions:
        if condition["source"] != "aws:cloudwatch:alarm":
            yield f"nothing stops it: {condition['source']}"
        elif not _is(ALARM.format(region=region), condition.get("value", "")):
            yield f"stop condition {condition.get('value')} is no alarm in {region}"
    if not _is(ROLE, request["roleArn"]):
        yield f"role {request['roleArn']}"
    if not 1 <= len(request["actions"]) <= ACTIONS_A_TEMPLATE:
        yield f"{len(request['actions'])} actions"
    for name in (*request["actions"], *request.get("targets", {})):
        if not _is(NAME, name):
            yield f"name {name!r}"
    for tag, value in request.get("tags", {}).items():
        if not _is(TAG, tag) or not _is(TAG, value) or tag.startswith("aws:"):
            yield f"tag {tag}={value}"


def _is(form: str, text: str) -> bool:
    return re.fullmatch(form, text) is not None

"""What is a valid experiment template, and how one is told.

Shapes are checked against botocore's service model, rules across fields here; each message names the field.
https://docs.aws.amazon.com/fis/latest/APIReference/API_CreateExperimentTemplate.html
https://docs.aws.amazon.com/fis/latest/userguide/targets.html
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from ops.local.emulator.fis.actions import ACTIONS
from ops.local.emulator.fis.errors import ValidationException
from ops.local.emulator.scopes import Scope

MAX_ARNS = 5
MAX_TAGS = 50
ALARM = "aws:cloudwatch:alarm"
_SELECTION = re.compile(r"ALL|(?P<how>COUNT|PERCENT)\((?P<number>\d{1,3})\)")
_ALARM_ARN = re.compile(r"arn:aws:cloudwatch:[a-z0-9-]+:\d{12}:alarm:.+")
_NOT_PLAYED = ("experimentReportConfiguration",)


@dataclass
class Template:
    """An experiment template; ``body`` holds what its request said, without the client token."""

    id: str
    scope: Scope
    created: float
    body: dict[str, Any]
    tags: dict[str, str]

    @property
    def arn(self) -> str:
        return f"arn:aws:fis:{self.scope.region}:{self.scope.account}:experiment-template/{self.id}"

    def shown(self) -> dict[str, Any]:
        """As ``ExperimentTemplate``."""
        options = {"accountTargeting": "single-account", "emptyTargetResolutionMode": "fail"}
        return {
            **self.body,
            "id": self.id,
            "arn": self.arn,
            "creationTime": self.created,
            "lastUpdateTime": self.created,
            "experimentOptions": {**options, **self.body.get("experimentOptions", {})},
            "targetAccountConfigurationsCount": 0,
            "tags": dict(self.tags),
        }

    def summary(self) -> dict[str, Any]:
        """As ``ExperimentTemplateSummary``."""
        names = ("id", "arn", "description", "creationTime", "lastUpdateTime", "tags")
        return {name: value for name, value in self.shown().items() if name in names}


def new_id(prefix: str) -> str:
    """As AWS's look: a prefix of three letters and a random rest."""
    return prefix + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(14))


def check_shape(operation: str, request: Mapping[str, Any]) -> None:
    """Compare a request with the service model.

    Raises:
        ValidationException: names every field that is missing, unknown or of another type.
    """
    shape = _model().operation_model(operation).input_shape
    unknown = sorted(set(request) - set(shape.members))
    if unknown:
        raise ValidationException(f"{unknown[0]}: unknown; accepted: {', '.join(sorted(shape.members))}")
    report = ParamValidator().validate(dict(request), shape)
    if report.has_errors():
        raise ValidationException(report.generate_report())
    if len(request.get("tags") or {}) > MAX_TAGS:
        raise ValidationException(f"tags: {len(request['tags'])} are too many; accepted: up to {MAX_TAGS}")


@cache
def _model() -> Any:
    return botocore.session.get_session().get_service_model("fis")


def check_template(request: Mapping[str, Any]) -> None:
    """Check the rules across fields.

    Raises:
        ValidationException: names the first field that breaks one.
    """
    for name in _NOT_PLAYED:
        if request.get(name):
            raise ValidationException(f"{name}: not played by the local cloud; leave it out")
    targets = request.get("targets") or {}
    for name, target in targets.items():
        _check_target(f"targets.{name}", target)
    if not request["actions"]:
        raise ValidationException("actions: at least one is needed")
    for name, action in request["actions"].items():
        _check_action(f"actions.{name}", action, targets)
    _check_order(request["actions"])
    _check_stop_conditions(request["stopConditions"])


def selected(mode: str, count: int) -> int:
    """How many of ``count`` resources a selection mode takes; at least one of those there are."""
    found = _SELECTION.fullmatch(mode)
    if found is None or found["how"] is None:
        return count
    number = int(found["number"])
    wanted = number if found["how"] == "COUNT" else count * number // 100
    return min(count, max(1, wanted))


def _check_target(where: str, target: Mapping[str, Any]) -> None:
    types = sorted({action.target[1] for action in ACTIONS.values() if action.target})
    if target["resourceType"] not in types:
        raise ValidationException(f"{where}.resourceType: {target['resourceType']!r}; accepted: {', '.join(types)}")
    arns, tags = target.get("resourceArns") or [], target.get("resourceTags")
    if bool(arns) == bool(tags):
        raise ValidationException(f"{where}: accepted: either resourceArns or resourceTags, and not both")
    if len(arns) > MAX_ARNS:
        raise ValidationException(f"{where}.resourceArns: {len(arns)} are too many; accepted: up to {MAX_ARNS}")
    if target.get("filters") or target.get("parameters"):
        raise ValidationException(f"{where}: filters and parameters are not played by the local cloud; leave them out")
    if _SELECTION.fullmatch(target["selectionMode"]) is None:
        raise ValidationException(f"{where}.selectionMode: accepted: ALL, COUNT(n), PERCENT(n)")


def _check_action(where: str, action: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
    played = ACTIONS.get(action["actionId"])
    if played is None:
        raise ValidationException(f"{where}.actionId: {action['actionId']!r}; accepted: {', '.join(sorted(ACTIONS))}")
    parameters = action.get("parameters") or {}
    for name in sorted(played.required - set(parameters)):
        raise ValidationException(f"{where}.parameters.{name}: missing")
    for name, value in parameters.items():
        if name not in played.parameters:
            accepted = ", ".join(played.parameters)
            raise ValidationException(f"{where}.parameters.{name}: unknown; accepted: {accepted}")
        if problem := played.parameters[name](value):
            raise ValidationException(f"{where}.parameters.{name}: {value!r}: {problem}")
    key, kind = played.target or ("", "")
    named = action.get("targets") or {}
    if set(named) != ({key} if key else set()):
        raise ValidationException(f"{where}.targets: accepted: {f'exactly {key!r}' if key else 'none'}")
    for target in named.values():
        if target not in targets:
            raise ValidationException(f"{where}.targets.{key}: there is no target {target!r}")
        if targets[target]["resourceType"] != kind:
            raise ValidationException(f"{where}.targets.{key}: {target!r} is no {kind}")


def _check_order(actions: Mapping[str, Any]) -> None:
    """Every action can start: those it waits for are there, and none waits for itself."""
    startable: set[str] = set()
    for name, action in actions.items():
        for other in action.get("startAfter") or ():
            if other not in actions:
                raise ValidationException(f"actions.{name}.startAfter: there is no action {other!r}")
    while more := {
        name for name, one in actions.items() if name not in startable and startable >= set(one.get("startAfter") or ())
    }:
        startable |= more
    if waiting := sorted(set(actions) - startable):
        raise ValidationException(f"actions.{waiting[0]}.startAfter: waits for itself")


def _check_stop_conditions(conditions: list[dict[str, str]]) -> None:
    if not conditions:
        raise ValidationException("stopConditions: at least one is needed; accepted: source none, or an alarm")
    for number, condition in enumerate(conditions):
        where, source, value = f"stopConditions[{number}]", condition["source"], condition.get("value")
        if source not in ("none", ALARM):
            raise ValidationException(f"{where}.source: {source!r}; accepted: none, {ALARM}")
        if source == "none" and (value or len(conditions) > 1):
            raise ValidationException(f"{where}: none stands alone and has no value")
        if source == ALARM and not _ALARM_ARN.fullmatch(value or ""):
            raise ValidationException(f"{where}.value: {value!r} is not the ARN of an alarm")

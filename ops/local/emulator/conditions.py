"""The conditions of a CloudFormation template, with pseudo parameters and mappings put in where they are asked for.

CloudFormation allows both in a condition:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-conditions.html
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from ops.local.emulator.scopes import here


class Conditions:
    """Evaluates those of a template as the emulator does, once they ask for nothing that it does not know."""

    def __init__(self) -> None:
        handlers = importlib.import_module("ministack.services.cloudformation.handlers")
        self._evaluate = handlers._evaluate_conditions

    def evaluate(self, template: dict[str, Any], params: dict[str, Any]) -> Any:
        """Stands in for ``_evaluate_conditions``."""
        scope = here()
        pseudo = {"AWS::Region": scope.region, "AWS::AccountId": scope.account, "AWS::Partition": "aws"}
        return self._evaluate(with_values(template, pseudo), params)


def with_values(template: Mapping[str, Any], pseudo: Mapping[str, str]) -> dict[str, Any]:
    """The template, its conditions with the values of ``pseudo`` (``AWS::Region``, ...) and of its own mappings."""
    mappings = template.get("Mappings", {})
    conditions = {name: _resolved(body, pseudo, mappings) for name, body in template.get("Conditions", {}).items()}
    return {**template, "Conditions": conditions}


def _resolved(value: Any, pseudo: Mapping[str, str], mappings: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_resolved(member, pseudo, mappings) for member in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Ref"} and value["Ref"] in pseudo:
        return pseudo[value["Ref"]]
    inner = {name: _resolved(member, pseudo, mappings) for name, member in value.items()}
    match inner:
        case {"Fn::FindInMap": [str(name), str(first), str(second)]}:
            return mappings[name][first][second]
    return inner

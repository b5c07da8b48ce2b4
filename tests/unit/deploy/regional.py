"""A packaged template as one region deploys it: conditions decided, and what is generated there named after its id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

ACCOUNT = "123456789012"
NO_VALUE = object()


@dataclass(frozen=True)
class Regional:
    """``template`` in ``region``."""

    template: dict[str, Any]
    region: str

    def is_on(self, condition: str) -> bool:
        return bool(self._decide(self.template["Conditions"][condition]))

    def resources(self, kind: str) -> dict[str, Any]:
        """Properties, resolved, of the deployed resources of a type, by logical id."""
        return {
            name: self.resolved(resource["Properties"])
            for name, resource in self.template["Resources"].items()
            if resource["Type"] == kind and ("Condition" not in resource or self.is_on(resource["Condition"]))
        }

    def resolved(self, value: Any) -> Any:  # noqa: PLR0911 a return a function of CloudFormation's
        """A part of the template without its functions."""
        if isinstance(value, list):
            members = (self.resolved(member) for member in value)
            return [member for member in members if member is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Ref": str(name)}:
                return self._ref(name)
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return self._attribute(name, attribute)
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([A-Za-z0-9:]+)\}", lambda found: str(self._ref(found[1])), text)
            case {"Fn::Join": [str(separator), list(parts)]}:
                return separator.join(self.resolved(parts))
            case {"Fn::If": [str(condition), then, otherwise]}:
                return self.resolved(then if self.is_on(condition) else otherwise)
        found = {name: self.resolved(member) for name, member in value.items()}
        return {name: member for name, member in found.items() if member is not NO_VALUE}

    def _ref(self, name: str) -> Any:
        known = {
            "AWS::Region": self.region,
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::NoValue": NO_VALUE,
        }
        if name in known:
            return known[name]
        properties = self.template["Resources"][name]["Properties"]
        return self.resolved(properties["AlarmName"]) if "AlarmName" in properties else name

    def _attribute(self, name: str, attribute: str) -> Any:
        properties = self.template["Resources"][name]["Properties"]
        return self.resolved(properties[attribute]) if attribute in properties else f"{name}.{attribute}"

    def _decide(self, expression: Any) -> Any:
        match expression:
            case {"Fn::Equals": [left, right]}:
                return str(self._operand(left)) == str(self._operand(right))
            case {"Fn::Not": [inner]}:
                return not self._decide(inner)
            case {"Fn::And": list(inner)}:
                return all(self._decide(one) for one in inner)
            case {"Fn::Or": list(inner)}:
                return any(self._decide(one) for one in inner)
            case {"Condition": str(name)}:
                return self.is_on(name)
        raise ValueError(f"{expression}: not a condition")

    def _operand(self, value: Any) -> Any:
        match value:
            case {"Fn::FindInMap": [str(name), first, str(second)]}:
                return self.template["Mappings"][name][self.resolved(first)][second]
        return self.resolved(value)

"""A packaged template with its functions resolved, as CloudFormation would for one account and region.

Resolves what the templates here use: Ref, Fn::GetAtt (Arn), Fn::Sub, Fn::Join, Fn::If and the Conditions. What it does
not know it refuses, so that a test never compares with something half resolved.
"""

from __future__ import annotations

import re
from typing import Any

ACCOUNT = "123456789012"
REGION = "us-east-1"
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "stack",
}
_NO_VALUE = object()
_HERE = f"{REGION}:{ACCOUNT}"

# The form of a type's ARN, and the property that names it.
_ARNS = {
    "AWS::DynamoDB::Table": (f"arn:aws:dynamodb:{_HERE}:table/{{name}}", "TableName"),
    "AWS::Events::EventBus": (f"arn:aws:events:{_HERE}:event-bus/{{name}}", "Name"),
    "AWS::Events::Rule": (f"arn:aws:events:{_HERE}:rule/{{bus}}{{name}}", "Name"),
    "AWS::IAM::Role": (f"arn:aws:iam::{ACCOUNT}:role/{{name}}", "RoleName"),
    "AWS::KMS::Key": (f"arn:aws:kms:{_HERE}:key/{{name}}", "KeyId"),
    "AWS::Lambda::Function": (f"arn:aws:lambda:{_HERE}:function:{{name}}", "FunctionName"),
    "AWS::Logs::LogGroup": (f"arn:aws:logs:{_HERE}:log-group:{{name}}:*", "LogGroupName"),
    "AWS::SNS::Topic": (f"arn:aws:sns:{_HERE}:{{name}}", "TopicName"),
    "AWS::SQS::Queue": (f"arn:aws:sqs:{_HERE}:{{name}}", "QueueName"),
}


class Resolved:
    """``resources``: those whose Condition holds, by logical id, each with its properties resolved."""

    def __init__(self, template: dict[str, Any]) -> None:
        self._declared: dict[str, Any] = template["Resources"]
        self._conditions: dict[str, Any] = template.get("Conditions", {})
        self.resources = {
            name: {**declared, "Properties": self.value(declared.get("Properties", {}))}
            for name, declared in self._declared.items()
            if self._holds(declared.get("Condition"))
        }

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of each resource of a type, by logical id."""
        return {name: one["Properties"] for name, one in self.resources.items() if one["Type"] == kind}

    def arn(self, name: str) -> str:
        """The ARN of a resource, as Fn::GetAtt gives it."""
        declared = self._declared[name]
        if declared["Type"] not in _ARNS:
            return f"{name}.Arn"
        form, field = _ARNS[declared["Type"]]
        own = declared.get("Properties", {})
        bus = f"{self.value(own['EventBusName'])}/" if "EventBusName" in own else ""
        return form.format(bus=bus, name=self.value(own[field]) if field in own else name)

    def value(self, value: Any) -> Any:
        """``value`` with every function in it resolved."""
        if isinstance(value, list):
            return [one for one in map(self.value, value) if one is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(function, argument)
        resolved = {name: self.value(one) for name, one in value.items()}
        return {name: one for name, one in resolved.items() if one is not _NO_VALUE}

    def _call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
                return self.arn(name) if attribute == "Arn" else f"{name}.{attribute}"
            case "Fn::Sub":
                text, given = argument if isinstance(argument, list) else (argument, {})
                return re.sub(r"\$\{([^!}]+)\}", lambda found: self._substituted(found[1], given), text)
            case "Fn::Join":
                separator, parts = argument
                return separator.join(str(part) for part in self.value(parts))
            case "Fn::If":
                condition, then, otherwise = argument
                return self.value(then if self._holds(condition) else otherwise)
            case "Fn::Select" | "Fn::GetAZs" | "Fn::Cidr" | "Fn::Split" | "Fn::ImportValue" | "Fn::FindInMap":
                return f"{function}({argument})"  # no name and no ARN of this stack is made by these
        raise ValueError(f"{function}: not a function that tests/unit/deploy/resolved.py knows")

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in _PSEUDO:
            return _PSEUDO[name]
        if name not in self._declared:
            return name  # a parameter
        own = self._declared[name].get("Properties", {})
        if self._declared[name]["Type"] == "AWS::SQS::Queue":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self.value(own.get('QueueName', name))}"
        fields = ("TableName", "FunctionName", "LogGroupName", "RoleName", "Name")
        return next((self.value(own[field]) for field in fields if field in own), name)

    def _substituted(self, name: str, given: dict[str, Any]) -> str:
        if name in given:
            return str(self.value(given[name]))
        return str(self._call("Fn::GetAtt", name) if "." in name else self._ref(name))

    def _holds(self, condition: str | None) -> bool:
        return condition is None or self._true(self._conditions[condition])

    def _true(self, condition: dict[str, Any]) -> bool:
        ((function, argument),) = condition.items()
        match function:
            case "Fn::Equals":
                one, other = (_text(self.value(side)) for side in argument)
                return one == other
            case "Fn::Not":
                return not self._true(argument[0])
            case "Fn::And":
                return all(self._true(one) for one in argument)
            case "Fn::Or":
                return any(self._true(one) for one in argument)
            case "Condition":
                return self._holds(argument)
        raise ValueError(f"{function}: not a condition that tests/unit/deploy/resolved.py knows")


def _text(value: Any) -> str:
    """CloudFormation compares texts: a true of YAML is "true"."""
    return str(value).lower() if isinstance(value, bool) else str(value)

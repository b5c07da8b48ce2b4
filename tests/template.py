"""A packaged template as CloudFormation would carry it out in one region of one account.

``resolved`` decides the conditions, which compare values of the stage file and of the region. ``Stack`` goes on and
resolves Ref, Fn::GetAtt, Fn::Sub, Fn::Join and Fn::FindInMap; what it does not know it refuses, so that a test never
compares with something half resolved.
"""

from __future__ import annotations

import json
import re
from typing import Any

Template = dict[str, Any]
_ABSENT = object()


def resolved(template: Template, region: str) -> Template:
    """The template of ``region`` without ``Conditions``, ``Condition`` of resources and outputs, and ``Fn::If``.

    Raises:
        KeyError: a condition, a mapping or an entry of one is not there.
        ValueError: a condition depends on what only a deployment knows.
    """
    decider = _Decider(template, region)
    made = {name: part for name, part in template.items() if name not in ("Conditions", "Resources", "Outputs")}
    for section in ("Resources", "Outputs"):
        made[section] = {
            name: decider.without_ifs({key: value for key, value in item.items() if key != "Condition"})
            for name, item in template.get(section, {}).items()
            if "Condition" not in item or decider.decide(item["Condition"])
        }
    return made


class _Decider:
    def __init__(self, template: Template, region: str) -> None:
        self.conditions: dict[str, Any] = template.get("Conditions", {})
        self.mappings: dict[str, Any] = template.get("Mappings", {})
        self.region = region

    def decide(self, condition: Any) -> bool:
        if isinstance(condition, str):
            return self.decide(self.conditions[condition])
        ((function, argument),) = condition.items()
        match function:
            case "Condition":
                return self.decide(argument)
            case "Fn::Equals":
                first, second = (self._text(value) for value in argument)
                return first == second
            case "Fn::Not":
                return not self.decide(argument[0])
            case "Fn::And":
                return all(map(self.decide, argument))
            case "Fn::Or":
                return any(map(self.decide, argument))
        raise ValueError(f"cannot decide {condition}")

    def _text(self, value: Any) -> str:
        """A value as CloudFormation compares it: as text."""
        match value:
            case {"Ref": "AWS::Region"}:
                return self.region
            case {"Fn::FindInMap": [name, *keys]}:
                found: Any = self.mappings[name]
                for key in keys:
                    found = found[self._text(key)]
                return self._text(found)
            case str() | bool() | int() | float():
                return value if isinstance(value, str) else json.dumps(value)
        raise ValueError(f"cannot know {value} before a deployment")

    def without_ifs(self, value: Any) -> Any:
        match value:
            case {"Fn::If": [condition, yes, no]}:
                return self.without_ifs(yes if self.decide(condition) else no)
            case {"Ref": "AWS::NoValue"}:
                return _ABSENT
            case dict():
                pairs = ((key, self.without_ifs(item)) for key, item in value.items())
                return {key: item for key, item in pairs if item is not _ABSENT}
            case list():
                return [item for item in map(self.without_ifs, value) if item is not _ABSENT]
        return value


ACCOUNT = "123456789012"
# The form of a type's ARN, and the property that names it.
_ARNS = {
    "AWS::DynamoDB::Table": ("arn:aws:dynamodb:{here}:table/{name}", "TableName"),
    "AWS::Events::EventBus": ("arn:aws:events:{here}:event-bus/{name}", "Name"),
    "AWS::Events::Rule": ("arn:aws:events:{here}:rule/{bus}{name}", "Name"),
    "AWS::IAM::Role": ("arn:aws:iam::{account}:role/{name}", "RoleName"),
    "AWS::KMS::Key": ("arn:aws:kms:{here}:key/{name}", "KeyId"),
    "AWS::Lambda::Function": ("arn:aws:lambda:{here}:function:{name}", "FunctionName"),
    "AWS::Logs::LogGroup": ("arn:aws:logs:{here}:log-group:{name}:*", "LogGroupName"),
    "AWS::S3::Bucket": ("arn:aws:s3:::{name}", "BucketName"),
    "AWS::SNS::Topic": ("arn:aws:sns:{here}:{name}", "TopicName"),
    "AWS::SQS::Queue": ("arn:aws:sqs:{here}:{name}", "QueueName"),
}
# What Ref gives, where it is a name that the template chooses; else the logical id stands for it.
_NAMES = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::EventBus": "Name",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
}
# Of these no name and no ARN of a stack is made here.
_LEFT_AS_THEY_ARE = ("Fn::Select", "Fn::GetAZs", "Fn::Cidr", "Fn::Split", "Fn::ImportValue")


class Stack:
    """``template`` deployed to ``region``. ``resources``: those whose Condition holds, by logical id, as packaged."""

    def __init__(self, template: Template, region: str) -> None:
        self.region = region
        self._mappings: dict[str, Any] = template.get("Mappings", {})
        self.resources: dict[str, Any] = resolved(template, region)["Resources"]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties, resolved, of each resource of a type, by logical id."""
        return {
            name: self.value(one.get("Properties", {})) for name, one in self.resources.items() if one["Type"] == kind
        }

    def arn(self, name: str) -> str:
        """The ARN of a resource, as Fn::GetAtt gives it."""
        declared = self.resources[name]
        if declared["Type"] not in _ARNS:
            return f"{name}.Arn"
        form, field = _ARNS[declared["Type"]]
        own = declared.get("Properties", {})
        bus = f"{self.value(own['EventBusName'])}/" if "EventBusName" in own else ""
        chosen = self.value(own[field]) if field in own else name
        return form.format(here=f"{self.region}:{ACCOUNT}", account=ACCOUNT, bus=bus, name=chosen)

    def value(self, value: Any) -> Any:
        """A part of the template with every function in it resolved."""
        if isinstance(value, list):
            return [self.value(one) for one in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(function, argument)
        return {name: self.value(one) for name, one in value.items()}

    def _call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                return self._attribute(*(argument.split(".", 1) if isinstance(argument, str) else argument))
            case "Fn::Sub":
                text, given = argument if isinstance(argument, list) else (argument, {})
                return re.sub(r"\$\{([^!}]+)\}", lambda found: self._substituted(found[1], given), text)
            case "Fn::Join":
                separator, parts = argument
                return separator.join(str(part) for part in self.value(parts))
            case "Fn::FindInMap":
                name, first, second = argument
                return self._mappings[name][self.value(first)][self.value(second)]
        if function in _LEFT_AS_THEY_ARE:
            return f"{function}({argument})"
        raise ValueError(f"{function}: not a function that tests/template.py knows")

    def _ref(self, name: str) -> Any:
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": self.region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": "stack",
        }
        if name in pseudo or name not in self.resources:
            return pseudo.get(name, name)  # what is no resource is a parameter
        own = self.resources[name].get("Properties", {})
        if self.resources[name]["Type"] == "AWS::SQS::Queue":
            return f"https://sqs.{self.region}.amazonaws.com/{ACCOUNT}/{self.value(own.get('QueueName', name))}"
        field = _NAMES.get(self.resources[name]["Type"])
        return self.value(own[field]) if field in own else name

    def _attribute(self, name: str, attribute: str) -> Any:
        if attribute == "Arn":
            return self.arn(name)
        own = self.resources[name].get("Properties", {})
        return self.value(own[attribute]) if attribute in own else f"{name}.{attribute}"

    def _substituted(self, name: str, given: dict[str, Any]) -> str:
        if name in given:
            return str(self.value(given[name]))
        return str(self._call("Fn::GetAtt", name) if "." in name else self._ref(name))

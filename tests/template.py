"""A packaged template as CloudFormation would carry it out: conditions decided, what they exclude left out.

Our conditions compare values of the stage file and of the region, so they can be decided without an account.
"""

from __future__ import annotations

import json
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

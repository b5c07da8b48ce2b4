"""Event patterns as EventBridge matches them, as far as the tests use them.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

_ABSENT = object()


def matches(pattern: Mapping[str, Any], event: Any) -> bool:
    for name, wanted in pattern.items():
        found = event.get(name, _ABSENT) if isinstance(event, Mapping) else _ABSENT
        if isinstance(wanted, Mapping):
            if not matches(wanted, found):
                return False
        elif not any(_fits(matcher, found) for matcher in wanted):
            return False
    return True


def _fits(matcher: Any, found: Any) -> bool:
    if not isinstance(matcher, Mapping):
        return type(matcher) is type(found) and bool(matcher == found)
    ((operator, operand),) = matcher.items()
    if operator == "exists":
        return (found is not _ABSENT) == operand
    if not isinstance(found, str):
        return False
    if operator == "anything-but":
        return found not in (operand if isinstance(operand, list) else [operand])
    tests = {"prefix": found.startswith, "suffix": found.endswith}
    return tests[operator](operand) if operator in tests else fnmatch.fnmatchcase(found, operand)


def answer(params: dict[str, Any], **_: Any) -> Any:
    """TestEventPattern, which moto has without a result."""
    request = json.loads(params["body"])
    event = json.loads(request["Event"])
    mandatory = {"id", "account", "source", "time", "region", "resources", "detail-type"}
    if not mandatory <= set(event):
        error = {"Code": "ValidationException", "Message": f"missing: {mandatory - set(event)}"}
        return SimpleNamespace(status_code=400), {"Error": error}
    return SimpleNamespace(status_code=200), {"Result": matches(json.loads(request["EventPattern"]), event)}

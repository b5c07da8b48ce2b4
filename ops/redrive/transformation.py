"""What EventBridge makes of an event before a target gets it (``Input``, ``InputPath``, ``InputTransformer``), again.

A DLQ holds the event as the bus had it, so that a redrive has to change it as the rule's target would have. What cannot
be repeated for sure (a path with wildcards, a variable that the event does not have, text around a value that is no
text, the time of ingestion) is an error: better a message that stays than one that arrives as something else.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_STEP = re.compile(r"\.([A-Za-z0-9_/-]+)|\[(\d{1,4})\]|\['([^']+)'\]")
_VARIABLE = re.compile(r"<([A-Za-z0-9_.-]+)>")


class NotRepeatableError(ValueError):
    """The transformation of this event cannot be repeated; the message says why."""


def transform(body: str, change: Mapping[str, Any], rule_arn: str) -> str:
    """What the target gets of the event in ``body``.

    Raises:
        NotRepeatableError: what EventBridge would make of it is not certain.
    """
    if "Input" in change:
        return str(change["Input"])
    if not change:
        return body
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise NotRepeatableError("the body is no JSON, and the target takes a part of it") from None
    if "InputPath" in change:
        return _json(_at(event, str(change["InputPath"])))
    transformer = change["InputTransformer"]
    values = {name: (event, path) for name, path in transformer.get("InputPathsMap", {}).items()}
    return _filled(transformer["InputTemplate"], event, values, rule_arn)


def _filled(template: str, event: Any, paths: Mapping[str, tuple[Any, str]], rule_arn: str) -> str:
    predefined = {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_arn.rpartition("/")[2],
        "aws.events.event.json": event,
        "aws.events.event": {name: value for name, value in event.items() if name != "detail"}
        if isinstance(event, dict)
        else event,
    }
    pieces, end, quoted = [], 0, False
    for found in _VARIABLE.finditer(template):
        name, before = found[1], template[end : found.start()]
        quoted ^= _quotes(before) % 2 == 1
        if name in paths:
            value = _at(*paths[name])
        elif name in predefined:
            value = predefined[name]
        elif name.startswith("aws."):
            raise NotRepeatableError(f"the template has <{name}>, which the event does not tell")
        else:
            raise NotRepeatableError(f"the template has <{name}>, and no path says what that is")
        if quoted and not isinstance(value, str):
            raise NotRepeatableError(f"the template has <{name}> inside a text, and its value is none")
        pieces += [before, _json(value)[1:-1] if quoted else _json(value)]
        end = found.end()
    return "".join([*pieces, template[end:]])


def _quotes(text: str) -> int:
    return len(re.findall(r'(?<!\\)"', text))


def _at(event: Any, path: str) -> Any:
    if path == "$":
        return event
    if not path.startswith("$"):
        raise NotRepeatableError(f"{path}: not a path that begins with $")
    value, at = event, 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise NotRepeatableError(f"{path}: only names and indices can be repeated")
        name, index = step[1] or step[3], step[2]
        try:
            if isinstance(value, list) and index is not None:
                value = value[int(index)]
            else:
                members: Mapping[str, Any] = value if isinstance(value, dict) else {}
                value = members[name or index]
        except (KeyError, IndexError):
            raise NotRepeatableError(f"{path}: the event has no such part") from None
        at = step.end()
    return value


def _json(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()  # a lone half of a surrogate pair is no character that a message may hold
        return text
    except (ValueError, RecursionError):
        raise NotRepeatableError("the event holds what JSON cannot") from None


def member(text: str, name: str) -> str | None:
    """The JSON text of a member of the JSON object in ``text``, exactly as it stands there; None without it."""
    decoder, found = json.JSONDecoder(), None
    at = _skip(text, 0) + 1
    try:
        while text[_skip(text, at)] != "}":
            key, at = decoder.raw_decode(text, _skip(text, at))
            begin = _skip(text, _skip(text, at) + 1)
            _, at = decoder.raw_decode(text, begin)
            if key == name:
                found = text[begin:at]
            at = _skip(text, at)
            at += text[at] == ","
    except (ValueError, IndexError, RecursionError):
        return None
    return found


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at

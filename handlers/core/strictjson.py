"""JSON as all systems agree on it: finite numbers, integers that EventBridge can carry, valid Unicode, bounded depth.

Reading never fails for one bad value: the value becomes a ``Rejected`` marker in its place, so that one bad event of a
batch spoils only itself. Writing is canonical (sorted members, no spaces, UTF-8), and is where markers and other
unacceptable values are refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MAX_DEPTH = 100
INT64 = (-(2**63), 2**63 - 1)  # EventBridge's range for integers: the PutEvents page of its API reference
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


class MalformedError(ValueError):
    """The text is not JSON, or the value cannot be written as JSON that every region reads alike."""


class Rejected:
    """Stands where a value was that cannot be accepted."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _integer(text: str) -> int | Rejected:
    # The length is looked at first: converting a million digits would itself be the attack.
    if len(text) <= 20 and INT64[0] <= (number := int(text)) <= INT64[1]:
        return number
    return Rejected("holds an integer outside -2^63 to 2^63-1; send it as a string")


def _decimal(text: str) -> float | Rejected:
    number = float(text)
    return number if math.isfinite(number) else Rejected("holds a number too large for a double; send it as a string")


def _constant(text: str) -> Rejected:
    return Rejected(f"holds {text}, which JSON does not have; send null or a string")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_decimal, parse_constant=_constant)


def loads(raw: bytes | str) -> Any:
    """Read JSON text in UTF-8, a byte order mark allowed.

    Raises:
        MalformedError: it is not UTF-8, not JSON, or nested beyond what the parser can follow.
    """
    try:
        text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw
        return _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise MalformedError(f"is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise MalformedError(f"is not JSON ({error.msg}: line {error.lineno} column {error.colno})") from None
    except RecursionError:
        raise MalformedError(f"is nested deeper than {MAX_DEPTH} levels") from None


def _refuse(value: object) -> Any:
    if isinstance(value, Rejected):
        raise MalformedError(value.reason)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":"), default=_refuse
)


def canonical(value: Any) -> str:
    """The one text of a JSON value.

    Raises:
        MalformedError: it holds a rejected value, text that is not valid Unicode, or more than ``MAX_DEPTH`` levels.
    """
    try:
        text = _ENCODER.encode(value)
        text.encode("utf-8")
    except RecursionError:
        raise MalformedError(f"is nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeEncodeError:
        raise MalformedError("holds half of a surrogate pair, which is not a character") from None
    if depth(text) > MAX_DEPTH:
        raise MalformedError(f"is nested deeper than {MAX_DEPTH} levels")
    return text


def depth(text: str) -> int:
    """How deep JSON text nests, or a lower figure that is certainly within ``MAX_DEPTH``."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0  # so few brackets cannot nest too deep: nearly every event is done here
    deepest = level = 0
    for token in _TOKENS.finditer(text):
        first = token.group()[0]
        if first in "[{":
            level += 1
            deepest = max(deepest, level)
        elif first in "]}":
            level -= 1
    return deepest

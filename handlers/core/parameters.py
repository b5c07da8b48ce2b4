"""Query parameters of the reading endpoints: each is known, given once, and valid.

Anything else is a 400 that says what would have been accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qsl

from handlers.core import timestamps
from handlers.core.problem import ProblemError, plain, shown

MAX_WINDOW = timedelta(days=31)
DEFAULT_WINDOW = timedelta(hours=24)
_MAX_TYPE_CHARS = 128


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` (included) to ``end`` (excluded), UTC."""

    start: datetime
    end: datetime


def read(query: str, accepted: Sequence[str]) -> dict[str, str]:
    """The parameters of a raw query string.

    Raises:
        ProblemError: one is unknown, or given twice, or the string is not percent-encoded UTF-8.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise ProblemError("invalid-parameter", "The query string is not percent-encoded UTF-8.") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in accepted:
            known = ", ".join(accepted)
            raise ProblemError("unknown-parameter", f"{shown(name)}: unknown; accepted: {known}.", field=plain(name))
        if name in values:
            raise ProblemError("invalid-parameter", f"{name}: given twice; accepted: once.", field=name)
        values[name] = value
    return values


def strong(values: dict[str, str]) -> bool:
    """Whether ``consistency=strong`` was asked for."""
    given = values.get("consistency", "eventual")
    if given not in ("strong", "eventual"):
        raise _invalid("consistency", given, "strong or eventual")
    return given == "strong"


def limit(values: dict[str, str], default: int, highest: int) -> int:
    given = values.get("limit", str(default))
    if not (given.isascii() and given.isdigit() and len(given) <= 9 and 1 <= int(given) <= highest):
        raise _invalid("limit", given, f"a whole number from 1 to {highest}")
    return int(given)


def event_type(values: dict[str, str]) -> str | None:
    given = values.get("type")
    if given is not None and not 1 <= len(given) <= _MAX_TYPE_CHARS:
        raise _invalid("type", given, f"an event type of 1 to {_MAX_TYPE_CHARS} characters")
    return given


def window(values: dict[str, str], now: datetime) -> Window:
    """``from`` and ``to``: without ``to`` until now, without ``from`` the 24 hours before ``to``."""
    end = _moment(values, "to") if "to" in values else now
    try:
        start = _moment(values, "from") if "from" in values else end - DEFAULT_WINDOW
    except OverflowError:
        raise _invalid("to", values["to"], "a time after the year 1") from None
    if start >= end:
        raise _invalid("from", timestamps.format_ms(start), f"a time before to, which is {timestamps.format_ms(end)}")
    if end - start > MAX_WINDOW:
        raise _invalid("from", timestamps.format_ms(start), f"at most {MAX_WINDOW.days} days before to")
    return Window(start, end)


def flag(values: dict[str, str], name: str) -> bool:
    given = values.get(name, "false")
    if given not in ("true", "false"):
        raise _invalid(name, given, "true or false")
    return given == "true"


def moment(values: dict[str, str], name: str) -> str:
    """A time parameter in the form that answers use."""
    return timestamps.format_ms(_moment(values, name))


def _moment(values: dict[str, str], name: str) -> datetime:
    try:
        return timestamps.parse(values[name])
    except ValueError:
        accepted = "an RFC 3339 timestamp such as 2026-01-31T23:59:59Z (in a URL, write a plus sign as %2B)"
        raise _invalid(name, values[name], accepted) from None


def _invalid(name: str, value: str, accepted: str) -> ProblemError:
    return ProblemError("invalid-parameter", f"{name}: is {shown(value)}; accepted: {accepted}.", field=name)

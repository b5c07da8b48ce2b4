"""Query parameters of the reading endpoints: each is known, given once, and valid.

Anything else is a 400 that says what would have been accepted. Each parameter is declared once, below: what reads it
and what the API's document says of it (``schema``) are the same declaration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from handlers.core import cursor, timestamps
from handlers.core.cloudevents import MAX_CHARS
from handlers.core.problem import ProblemError, plain, shown

MAX_WINDOW = timedelta(days=31)
DEFAULT_WINDOW = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` (included) to ``end`` (excluded), UTC."""

    start: datetime
    end: datetime


Values = Mapping[str, str]  # what a query string gave, by parameter


@dataclass(frozen=True)
class Parameter:
    """A query parameter: what it is called, and what it is for."""

    name: str
    description: str

    @property
    def schema(self) -> dict[str, Any]:
        """What it takes, as JSON Schema."""
        raise NotImplementedError

    def refused(self, value: str, accepted: str) -> ProblemError:
        return ProblemError(
            "invalid-parameter", f"{self.name}: is {shown(value)}; accepted: {accepted}.", field=self.name
        )


@dataclass(frozen=True)
class Choice(Parameter):
    """One of a few words; the last is meant when none is given."""

    words: tuple[str, ...]

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words), "default": self.words[-1]}

    def of(self, values: Values) -> str:
        given = values.get(self.name, self.words[-1])
        if given not in self.words:
            raise self.refused(given, " or ".join(self.words))
        return given


@dataclass(frozen=True)
class Number(Parameter):
    """A whole number from 1."""

    highest: int
    default: int

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": 1, "maximum": self.highest, "default": self.default}

    def of(self, values: Values) -> int:
        given = values.get(self.name, str(self.default))
        if not (given.isascii() and given.isdigit() and len(given) <= 9 and 1 <= int(given) <= self.highest):
            raise self.refused(given, f"a whole number from 1 to {self.highest}")
        return int(given)


@dataclass(frozen=True)
class Text(Parameter):
    """A text of bounded length."""

    what: str
    max_chars: int

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": self.max_chars}

    def of(self, values: Values) -> str | None:
        given = values.get(self.name)
        if given is not None and not 1 <= len(given) <= self.max_chars:
            raise self.refused(given, f"{self.what} of 1 to {self.max_chars} characters")
        return given


@dataclass(frozen=True)
class Moment(Parameter):
    """A time."""

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}

    def of(self, values: Values) -> datetime | None:
        if self.name not in values:
            return None
        try:
            return timestamps.parse(values[self.name])
        except ValueError:
            accepted = "an RFC 3339 timestamp such as 2026-01-31T23:59:59Z (in a URL, write a plus sign as %2B)"
            raise self.refused(values[self.name], accepted) from None


@dataclass(frozen=True)
class Cursor(Parameter):
    """Where a listing goes on; only what ``core.cursor`` wrote is accepted."""

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": cursor.PATTERN}


FROM = Moment(
    "from",
    f"Start of the window, included; at most {MAX_WINDOW.days} days before `to`. Without it, "
    f"{DEFAULT_WINDOW // timedelta(hours=1)} hours before `to`.",
)
TO = Moment("to", "End of the window, excluded; after `from`. Without it, now.")
TYPE = Text("type", "Only events of exactly this type.", "an event type", MAX_CHARS["type"])
LIMIT = Number("limit", "How many events a page has at most.", highest=200, default=50)
CURSOR = Cursor("cursor", "`cursor` of the page before, with the same `type`, and the same `from` and `to` or neither.")
UNDATED = Choice("undated", "Count the events that have no `time`; not with `from` or `to`.", ("true", "false"))
CONSISTENCY = Choice(
    "consistency",
    "`strong` reads this region's replica strongly; no read waits for another region.",
    ("strong", "eventual"),
)
INDEX_CONSISTENCY = Choice(
    "consistency", "A listing reads an index, and those are eventually consistent only.", ("eventual",)
)


def read(query: str, accepted: Iterable[Parameter]) -> dict[str, str]:
    """The parameters of a raw query string, each to be checked by its ``of``.

    Raises:
        ProblemError: one is unknown, or given twice, or the string is not percent-encoded UTF-8.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise ProblemError("invalid-parameter", "The query string is not percent-encoded UTF-8.") from None
    values: dict[str, str] = {}
    names = [parameter.name for parameter in accepted]
    for name, value in pairs:
        if name not in names:
            known = ", ".join(names)
            raise ProblemError("unknown-parameter", f"{shown(name)}: unknown; accepted: {known}.", field=plain(name))
        if name in values:
            raise ProblemError("invalid-parameter", f"{name}: given twice; accepted: once.", field=name)
        values[name] = value
    return values


def window(values: Values, now: datetime) -> Window:
    """``from`` and ``to`` together: see each."""
    end = TO.of(values) or now
    try:
        start = FROM.of(values) or end - DEFAULT_WINDOW
    except OverflowError:
        raise TO.refused(values["to"], "a time after the year 1") from None
    if start >= end:
        raise FROM.refused(timestamps.format_ms(start), f"a time before to, which is {timestamps.format_ms(end)}")
    if end - start > MAX_WINDOW:
        raise FROM.refused(timestamps.format_ms(start), f"at most {MAX_WINDOW.days} days before to")
    return Window(start, end)

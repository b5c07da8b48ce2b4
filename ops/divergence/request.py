"""What is asked of the ``divergence`` runbook: a mode and its parameters, checked before anything is looked at.

What always holds: a parameter that the mode has no use for is refused, not left out, so that nobody believes it was
heeded; a message names the parameter, what is wrong with it and what is accepted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from ops.divergence.judging import check_attempts
from ops.divergence.pace import MOST_SEGMENTS
from ops.errors import UsageError
from ops.parameters import as_text, did_you_mean

WHERE = frozenset({"tables", "regions", "replicas"})
VERDICT = frozenset({"ignore", "only", "attempts", "settle_s", "keep"})
MAX_ATTEMPTS, MAX_SETTLE_S = 100, 600.0
FORMATS = ("DYNAMODB_JSON", "ION")
_EXPORT = re.compile(r"arn:[a-z-]+:dynamodb:[a-z0-9-]+:\d{12}:table/[^/\s]+/export/\S+|s3://\S+/manifest-summary\.json")
_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")


@dataclass(frozen=True)
class Request:
    """One run. The defaults are the runbook's own; ``only`` None counts every attribute."""

    mode: str = "scan"
    tables: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    replicas: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    attempts: int = 6
    settle_s: float = 0.0
    segments: int = 0
    read_units_per_s: float = 0.0
    max_latency_ms: float = 0.0
    max_throttles: int = 200
    resume: str = ""
    per_million: float = 1000.0
    seed: int = 0
    rounds: int = 5
    exports: tuple[str, ...] = ()
    at: str = ""
    since: str = ""
    export_format: str = "DYNAMODB_JSON"
    findings: str = ""
    policy: str = ""
    decisions: str = ""
    force: str = ""
    rate_per_s: float = 0.0
    undo: str = ""
    keep: str = ""

    @property
    def counted(self) -> tuple[str, ...] | None:
        """The attributes that alone count; None: all do."""
        return self.only or None

    def given(self) -> dict[str, Any]:
        """What is not as it is by default, as a plan records it; the mode always."""
        found: dict[str, Any] = {"mode": self.mode}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name != "mode" and value != one.default:
                found[one.name] = list(value) if isinstance(value, tuple) else value
        return found


def request(modes: Mapping[str, Collection[str]], **asked: Any) -> Request:
    """Check what was asked.

    Args:
        modes: the modes there are, and the parameters that each has a use for.
        asked: parameters by name; lists for those of several values.

    Raises:
        UsageError: the mode is unknown, or a parameter is wrong or is not for this mode: a line for each.
    """
    mode = asked.get("mode", Request.mode)
    if mode not in modes:
        raise UsageError(f"mode: {mode!r} is unknown{did_you_mean(mode, [*modes])}; accepted: {', '.join(modes)}")
    plain: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in asked.items()}
    made = Request(**plain)
    problems = [
        *_foreign(made, modes),
        *(f"{name}: {said}" for name, check in _CHECKS.items() if (said := check(made))),
    ]
    if problems:
        raise UsageError("\n".join(problems), hint=f"mode={mode} takes: {', '.join(sorted(modes[mode]))}")
    return made


def _foreign(made: Request, modes: Mapping[str, Collection[str]]) -> list[str]:
    """What was given and is another mode's."""
    found = []
    for name, value in made.given().items():
        if name == "mode" or name in modes[made.mode]:
            continue
        takers = [mode for mode, takes in modes.items() if name in takes]
        where = f"; it goes with mode={' or mode='.join(takers)}" if takers else ""
        found.append(f"{name}: mode {made.mode} has no use for it, and {as_text(value)!r} was given{where}")
    return found


Check = Callable[[Request], str]


def _number(name: str, least: float, most: float) -> Check:
    def check(made: Request) -> str:
        value = getattr(made, name)
        good = isinstance(value, (int, float)) and math.isfinite(value) and least <= value <= most
        return "" if good else f"{value} is out of range; accepted: {least:g} to {most:,.0f}"

    return check


def _each(name: str, accepted: str, good: Callable[[str], object]) -> Check:
    def check(made: Request) -> str:
        values: Sequence[str] = getattr(made, name)
        wrong = [value for value in values if not good(value)]
        twice = sorted({value for value in values if values.count(value) > 1})
        if wrong:
            return f"{', '.join(map(repr, wrong))}; accepted: {accepted}"
        return f"{', '.join(twice)} is named more than once" if twice else ""

    return check


def _attempts(made: Request) -> str:
    try:
        check_attempts(made.attempts)
    except UsageError as error:
        return str(error).removeprefix("attempts: ")
    return _number("attempts", 1, MAX_ATTEMPTS)(made)


def _only(made: Request) -> str:
    both = sorted({*made.only} & {*made.ignore})
    if both:
        return f"{', '.join(both)} is in ignore as well"
    return _each("only", "names of attributes", bool)(made)


def _time(name: str) -> Check:
    def check(made: Request) -> str:
        text = getattr(made, name)
        try:
            known = not text or datetime.fromisoformat(text).tzinfo is not None
        except ValueError:
            known = False
        return "" if known else f"{text!r} is no time; accepted: RFC 3339 with its zone, as in 2026-03-01T12:00:00Z"

    return check


def _resume(made: Request) -> str:
    if made.resume and made.mode == "export" and not made.exports:
        return "it goes on with exports that are there: give exports as well"
    return "a checkpoint is one table's: name that table alone" if made.resume and len(made.tables) > 1 else ""


def _tables(made: Request) -> str:
    if made.tables and made.replicas and len(made.tables) > 1:
        return "replicas are of one table: name that table alone, or none"
    return _each("tables", "names of tables, of 3 to 255 letters, digits and _.-", _TABLE.fullmatch)(made)


def _format(made: Request) -> str:
    return "" if made.export_format in FORMATS else f"{made.export_format!r}; accepted: {', '.join(FORMATS)}"


def _exports(made: Request) -> str:
    making = [name for name in ("at", "since") if getattr(made, name)]
    if made.exports and making:
        return f"these are made already, and {' and '.join(making)} is for making them: give either"
    return _each("exports", "ARNs of exports, or s3://bucket/.../manifest-summary.json", _EXPORT.fullmatch)(made)


def _since(made: Request) -> str:
    if said := _time("since")(made):
        return said
    if made.since and made.at and not _time("at")(made):
        begin, end = datetime.fromisoformat(made.since), datetime.fromisoformat(made.at)
        return "" if begin < end else f"{made.since} is not before at, {made.at}"
    return ""


def _needed(mode: str, name: str, what: str) -> Check:
    return lambda made: f"mode {mode} needs it: {what}" if made.mode == mode and not getattr(made, name) else ""


_CHECKS: dict[str, Check] = {
    "tables": _tables,
    "regions": _each(
        "regions", "names of AWS regions, as us-east-1 is", re.compile(r"[a-z]{2}(-[a-z]+)+-\d").fullmatch
    ),
    "ignore": _each("ignore", "names of attributes", bool),
    "only": _only,
    "attempts": _attempts,
    "settle_s": _number("settle_s", 0, MAX_SETTLE_S),
    "segments": _number("segments", 0, MOST_SEGMENTS),
    "read_units_per_s": _number("read_units_per_s", 0, 1e9),
    "max_latency_ms": _number("max_latency_ms", 0, 1e6),
    "max_throttles": _number("max_throttles", 0, 1e6),
    "resume": _resume,
    "per_million": _number("per_million", 0.001, 999_999),
    "seed": _number("seed", 0, 2**32),
    "rounds": _number("rounds", 1, 100),
    "at": _time("at"),
    "since": _since,
    "exports": _exports,
    "export_format": _format,
    "findings": _needed("repair", "findings", "what a comparison confirmed; accepted: a run's name, a path or s3://"),
    "policy": _needed("repair", "policy", "how each difference is settled"),
    "rate_per_s": _number("rate_per_s", 0, 1e6),
    "undo": _needed("undo", "undo", "the token of the repair to take back"),
}

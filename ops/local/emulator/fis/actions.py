"""What each action takes, and which faults it is played by.

Names, parameters, target types and target keys are those of the FIS actions reference:
https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html

``atoll:reset-calls`` is of the local cloud alone: the AWS calls of the experiment's region are reset, as
``ops fault region-down --part calls`` does it. It has no target.

``aws:dynamodb:global-table-pause-replication`` cuts the experiment's region off from the other regions of the table.
What is cut is the pair of regions, so every global table that both have is cut; a stage has one. On AWS replication may
go on for up to five minutes after the action began; here it stops at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.local.emulator.fis.errors import ValidationException
from ops.local.emulator.fis.resources import FUNCTION, GLOBAL_TABLE, Resource
from ops.local.record import Fault

MIN_DURATION_S, MAX_DURATION_S = 60, 12 * 3600
MAX_DELAY_MS = 900_000

_DURATION = re.compile(r"PT(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?")


@dataclass(frozen=True)
class Playing:
    """One action of a running experiment: what it was given, and what its faults have in common."""

    name: str
    owner: str
    region: str
    since: str
    until: str
    parameters: Mapping[str, str]
    resources: Sequence[Resource]

    def fault(self, kind: str, suffix: str = "", **details: Any) -> Fault:
        return Fault(
            id=f"{self.owner}:{self.name}{suffix}",
            kind=kind,
            since=self.since,
            owner=self.owner,
            until=self.until,
            **{"region": self.region, **details},
        )


Check = Callable[[str], str]


@dataclass(frozen=True)
class Action:
    """``parameters`` are by name with a check, which answers what is wrong or ""; of those, ``required`` must be there.

    ``target`` is the key and the resource type of the one target, None for an action without.
    """

    play: Callable[[Playing], list[Fault]]
    target: tuple[str, str] | None = None
    parameters: Mapping[str, Check] = field(default_factory=dict)
    required: frozenset[str] = frozenset({"duration"})


def duration_s(text: str) -> int:
    """Seconds of an ISO 8601 duration such as ``PT5M``.

    Raises:
        ValidationException: it is none, or not from one minute to twelve hours.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValidationException(f"duration: {text!r} is not an ISO 8601 duration such as PT5M")
    hours, minutes, seconds = (int(one or 0) for one in found.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if not MIN_DURATION_S <= total <= MAX_DURATION_S:
        raise ValidationException(f"duration: {text!r} is out of range; accepted: PT1M to PT12H")
    return total


def _pause_replication(playing: Playing) -> list[Fault]:
    peers = sorted({peer for table in playing.resources for peer in table.peers})
    return [
        playing.fault("replication-cut", f":{peer}", region=first, other_region=second)
        for peer in peers
        for first, second in (sorted((playing.region, peer)),)
    ]


def _invocation_error(playing: Playing) -> list[Fault]:
    return _of_functions(playing, "function-error", prevent=playing.parameters["preventExecution"] == "true")


def _invocation_delay(playing: Playing) -> list[Fault]:
    delay_ms = float(playing.parameters.get("startupDelayMilliseconds", "2000"))
    return _of_functions(playing, "function-delay", latency_ms=delay_ms)


def _of_functions(playing: Playing, kind: str, **details: Any) -> list[Fault]:
    rate = int(playing.parameters.get("invocationPercentage", "100")) / 100
    names = tuple(one.name for one in playing.resources)
    return [playing.fault(kind, rate=rate, functions=names, **details)]


def _reset_calls(playing: Playing) -> list[Fault]:
    return [playing.fault("region-down", parts=("calls",), how="reset")]


def _number(low: int, high: int) -> Check:
    def check(value: str) -> str:
        return "" if value.isdecimal() and low <= int(value) <= high else f"accepted: {low} to {high}"

    return check


def _boolean(value: str) -> str:
    return "" if value in ("true", "false") else "accepted: true, false"


def _duration(value: str) -> str:
    try:
        duration_s(value)
    except ValidationException as error:
        return str(error)
    return ""


_FUNCTIONS = ("Functions", FUNCTION)
_COMMON: dict[str, Check] = {"duration": _duration}
_INVOCATION: dict[str, Check] = {**_COMMON, "invocationPercentage": _number(0, 100)}

ACTIONS: dict[str, Action] = {
    "aws:dynamodb:global-table-pause-replication": Action(_pause_replication, ("Tables", GLOBAL_TABLE), _COMMON),
    "aws:lambda:invocation-error": Action(
        _invocation_error,
        _FUNCTIONS,
        {**_INVOCATION, "preventExecution": _boolean},
        frozenset({"duration", "preventExecution"}),
    ),
    "aws:lambda:invocation-add-delay": Action(
        _invocation_delay, _FUNCTIONS, {**_INVOCATION, "startupDelayMilliseconds": _number(0, MAX_DELAY_MS)}
    ),
    "atoll:reset-calls": Action(_reset_calls, None, _COMMON),
}

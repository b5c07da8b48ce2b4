"""What the environment tells a function, read once: every variable is required, and each mistake is named.

``serverless.yml`` sets the variables from the stage file, so a missing one is a fault of the deployment: all of them
are reported in one message, in the log of the failed start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any


class SettingsError(Exception):
    """The function was deployed without a variable it needs, or with one that makes no sense."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One function's view of its stage and region."""

    stage: str
    region: str
    regions: tuple[str, ...]
    bus: str
    table: str
    idempotency_table: str
    idempotency_window_s: int
    in_progress_timeout_s: int
    event_retention_days: int
    trace_rate: float


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What a processor knows of the queue that feeds it."""

    dlq_url: str
    max_receive_count: int


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; accepted: a name")
    return value


def _names(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise ValueError(f"is {value!r}; accepted: different names, separated by commas")
    return names


def _positive(value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise ValueError(f"is {value!r}; accepted: a whole number above 0")
    return int(value)


def _share(value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"is {value!r}; accepted: a number from 0 to 1")
    return share


# Field of the settings -> (environment variable, how it is read)
_Variables = dict[str, tuple[str, Callable[[str], str | int | float | tuple[str, ...]]]]
_VARIABLES: _Variables = {
    "stage": ("ATOLL_STAGE", _text),
    "region": ("AWS_REGION", _text),
    "regions": ("ATOLL_REGIONS", _names),
    "bus": ("ATOLL_BUS", _text),
    "table": ("ATOLL_TABLE", _text),
    "idempotency_table": ("ATOLL_IDEMPOTENCY_TABLE", _text),
    "idempotency_window_s": ("ATOLL_IDEMPOTENCY_WINDOW_S", _positive),
    "in_progress_timeout_s": ("ATOLL_IDEMPOTENCY_IN_PROGRESS_S", _positive),
    "event_retention_days": ("ATOLL_EVENT_RETENTION_DAYS", _positive),
    "trace_rate": ("ATOLL_TRACE_RATE", _share),
}
_QUEUE_VARIABLES: _Variables = {
    "dlq_url": ("ATOLL_DLQ_URL", _text),
    "max_receive_count": ("ATOLL_MAX_RECEIVE_COUNT", _positive),
}


def load(environment: Mapping[str, str]) -> Settings:
    """Read what every function has from an environment.

    Raises:
        SettingsError: one or more variables are missing or wrong; the message has a line for each.
    """
    values, mistakes = _read(_VARIABLES, environment)
    region, regions = values.get("region"), values.get("regions")
    if region and regions and region not in regions:
        mistakes.append(f"ATOLL_REGIONS: is {','.join(regions)!r}; accepted: a list with this region, {region}")
    _refuse(mistakes, "provider.environment")
    return Settings(**values)


def load_queue(environment: Mapping[str, str]) -> QueueSettings:
    """Read what a processor has besides.

    Raises:
        SettingsError: as :func:`load`.
    """
    values, mistakes = _read(_QUEUE_VARIABLES, environment)
    _refuse(mistakes, "the function's environment")
    return QueueSettings(**values)


def _read(variables: _Variables, environment: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    for field, (variable, read) in variables.items():
        if variable not in environment:
            mistakes.append(f"{variable}: is not set")
            continue
        try:
            values[field] = read(environment[variable])
        except ValueError as error:
            mistakes.append(f"{variable}: {error}")
    return values, mistakes


def _refuse(mistakes: list[str], where: str) -> None:
    if mistakes:
        raise SettingsError("\n".join([*mistakes, f"Set them in {where} of serverless.yml and deploy again."]))


@cache
def settings() -> Settings:
    """The settings of this function; the environment of a running function does not change."""
    return load(os.environ)


@cache
def queue_settings() -> QueueSettings:
    """The settings of this processor's queue."""
    return load_queue(os.environ)

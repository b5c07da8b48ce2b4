"""RFC 3339 timestamps in and out.

Inside Atoll a time is an aware datetime in UTC; written, it has milliseconds and ends in ``Z``.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:)(\d{2})(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)


def now() -> datetime:
    """The current time in UTC."""
    return datetime.fromtimestamp(time.time(), UTC)


def parse(text: str) -> datetime:
    """Read an RFC 3339 timestamp; a leap second counts as the last microsecond before it.

    Raises:
        ValueError: it is not one, or it lies outside the years 1 to 9999.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 timestamp")
    day, clock, second, fraction, offset = match.groups()
    micros = ((fraction or ".")[1:] + "000000")[:6]
    if second == "60":
        second, micros = "59", "999999"
    zone = "+00:00" if offset in "Zz" else offset
    try:
        return datetime.fromisoformat(f"{day}T{clock}{second}.{micros}{zone}").astimezone(UTC)
    except OverflowError as error:
        raise ValueError("outside the years 1 to 9999") from error


def format_ms(moment: datetime) -> str:
    """``2026-01-31T23:59:59.000Z``: fixed width, so that text order is time order."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def floor(moment: datetime, step: timedelta) -> datetime:
    """The last whole ``step`` (at most a day, and dividing it) at or before ``moment``."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step

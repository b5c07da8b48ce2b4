"""Windows of time as an operator writes them: how long ago, or RFC 3339; resolved to whole minutes in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from ops.errors import UsageError

_RELATIVE = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def resolve(window_start: str, window_end: str, now: datetime | None = None) -> tuple[datetime, datetime]:
    """The window in whole minutes, the smallest that holds what was asked for.

    Args:
        window_start: how long ago (``2h``, ``30m``, ``1d``), or a time in RFC 3339.
        window_end: the same; empty means now.

    Raises:
        UsageError: not such a time, or nothing between the two.
    """
    now = now or datetime.now(UTC)
    begin = _moment("window_start", window_start, now)
    until = _moment("window_end", window_end, now) if window_end else now
    begin = begin.replace(second=0, microsecond=0)
    if until.second or until.microsecond:
        until = until.replace(second=0, microsecond=0) + timedelta(minutes=1)
    if begin >= until:
        raise UsageError(f"window_start: {text_of(begin)} is not before window_end, {text_of(until)}")
    if begin > now:
        raise UsageError(f"window_start: {text_of(begin)} is in the future; now is {text_of(now)}")
    return begin, until


def _moment(field: str, text: str, now: datetime) -> datetime:
    relative = _RELATIVE.fullmatch(text.strip())
    if relative:
        return now - timedelta(**{_UNITS[relative[2]]: int(relative[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(
            f"{field}: {text!r} is no time; accepted: 30m, 2h, 1d (ago) or 2026-01-31T14:00:00Z"
        ) from error
    if moment.tzinfo is None:
        raise UsageError(f"{field}: {text!r} has no time zone; write {text}Z for UTC")
    return moment.astimezone(UTC)


def text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ops import window
from ops.errors import UsageError

NOW = datetime(2026, 11, 20, 14, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2h", "", ("2026-11-20T12:30:00Z", "2026-11-20T14:31:00Z")),
        ("30m", "10m", ("2026-11-20T14:00:00Z", "2026-11-20T14:21:00Z")),
        ("1d", "2026-11-20T00:00:00Z", ("2026-11-19T14:30:00Z", "2026-11-20T00:00:00Z")),
        ("2026-11-20T12:00:30+02:00", "2026-11-20T10:05:00Z", ("2026-11-20T10:00:00Z", "2026-11-20T10:05:00Z")),
    ],
)
def test_resolve_gives_the_whole_minutes_that_hold_it(start: str, end: str, expected: tuple[str, str]) -> None:
    begin, until = window.resolve(start, end, NOW)
    assert (window.text_of(begin), window.text_of(until)) == expected


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("yesterday", "", "window_start: 'yesterday' is no time; accepted: 30m, 2h, 1d"),
        ("2026-11-20T12:00:00", "", "has no time zone"),
        ("1h", "2h", "is not before window_end"),
        ("2026-11-21T12:00:00Z", "2026-11-21T13:00:00Z", "is in the future"),
        ("1h", "soon", "window_end: 'soon'"),
    ],
)
def test_resolve_when_it_is_none_is_refused(start: str, end: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        window.resolve(start, end, NOW)

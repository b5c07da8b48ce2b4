from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.core import timestamps


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T10:15:30Z", "2026-11-20T10:15:30.000Z"),
        ("2026-11-20t10:15:30.123456789z", "2026-11-20T10:15:30.123Z"),
        ("2026-11-20T10:15:30+05:30", "2026-11-20T04:45:30.000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999Z"),
    ],
)
def test_parse_when_rfc3339_gives_utc(text: str, expected: str) -> None:
    assert timestamps.format_ms(timestamps.parse(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-11-20", "2026-11-20 10:15:30Z", "2026-11-20T10:15:30", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
        "2026-11-20T24:00:00Z", "2026-11-20T10:15:61Z", "2026-11-20T10:15:30+24:00", "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "٢026-11-20T10:15:30Z", "2026-11-20T10:15:30Z\n",
    ],
)  # fmt: skip
def test_parse_when_not_rfc3339_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        timestamps.parse(text)


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_format_of_any_times_orders_as_they_do(one: datetime, other: datetime) -> None:
    if timestamps.format_ms(one) < timestamps.format_ms(other):
        assert one < other


def test_floor_to_the_hour_drops_the_rest() -> None:
    moment = datetime(2026, 11, 20, 10, 15, 30, 7, tzinfo=UTC)
    assert timestamps.floor(moment, timedelta(hours=1)) == datetime(2026, 11, 20, 10, tzinfo=UTC)

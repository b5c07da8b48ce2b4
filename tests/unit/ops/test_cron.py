"""Cron expressions of EventBridge Scheduler, and what others make of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.cron import WEEKDAYS, Cron

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)  # a Monday


# From https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based
@pytest.mark.parametrize(
    ("text", "due", "crontab", "calendar"),
    [
        ("cron(15 12 * * ? *)", "2026-11-23 12:15", "15 12 * * *", "*-*-* 12:15:00 UTC"),
        ("cron(0 18 ? * MON-FRI *)", "2026-11-23 18:00", "0 18 * * MON-FRI", "Mon..Fri *-*-* 18:00:00 UTC"),
        ("cron(0 8 1 * ? *)", "2026-12-01 08:00", "0 8 1 * *", "*-*-01 08:00:00 UTC"),
        ("cron(0/15 * * * ? *)", "2026-11-23 08:15", "0/15 * * * *", "*-*-* *:00/15:00 UTC"),
        ("cron(0 8 ? * 2 *)", "2026-11-30 08:00", "0 8 * * MON", "Mon *-*-* 08:00:00 UTC"),
        ("cron(0 6 ? 1,7 1,7 *)", "2027-01-02 06:00", "0 6 * 1,7 SUN,SAT", "Sun,Sat *-01,07-* 06:00:00 UTC"),
    ],
)
def test_cron_when_parsed_comes_due_as_the_documentation_says(text: str, due: str, crontab: str, calendar: str) -> None:
    cron = Cron.parse(text)
    assert f"{next(cron.times(START, 'UTC')):%Y-%m-%d %H:%M}" == due
    assert cron.crontab() == crontab
    assert cron.on_calendar("UTC") == calendar


@pytest.mark.parametrize("text", ["cron(0 6 L * ? *)", "cron(0 6 ? * 6L *)", "cron(0 6 ? * MON#2 *)"])
def test_cron_when_only_aws_has_words_for_it_comes_due_and_says_that_others_have_none(text: str) -> None:
    cron = Cron.parse(text)
    assert len(list(islice(cron.times(START, "UTC"), 3))) == 3
    with pytest.raises(ValueError, match="has no L, W or #"):
        cron.crontab()
    with pytest.raises(ValueError, match="has no L, W or #"):
        cron.on_calendar("UTC")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0 6 * * *", "is no cron expression"),
        ("rate(1 day)", "is no cron expression"),
        ("cron(0 6 * * *)", "is no cron expression"),
        ("cron(0 6 * * * *)", "must be '?'"),
        ("cron(0 6 * * ? 2027)", "some years only"),
        ("cron(61 6 * * ? *)", "61"),
        ("cron(0 6 ? * 8 *)", "day-of-week: 8 is none"),
        ("cron(0 6 ? * MONDAY *)", "MONDAY"),
        ("cron(0 6 31 2 ? *)", "31 2"),
    ],
)
def test_parse_when_it_is_none_says_what_is_accepted(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as wrong:
        Cron.parse(text)
    assert "accepted" in str(wrong.value)


def test_times_when_a_zone_has_summer_time_stay_at_its_hour() -> None:
    berlin = Cron.parse("cron(0 6 * * ? *)").times(datetime(2026, 3, 27, tzinfo=UTC), "Europe/Berlin")
    assert [f"{due:%d %H}" for due in islice(berlin, 4)] == ["27 05", "28 05", "29 04", "30 04"]


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    weekdays=st.sets(st.integers(1, 7), min_size=1),
    after=st.integers(0, 15 * 366 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds)),
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Auckland"]),
)
def test_times_when_weekdays_are_numbered_are_on_those_days_and_in_order(
    minute: int, hour: int, weekdays: set[int], after: datetime, zone: str
) -> None:
    text = ",".join(map(str, sorted(weekdays)))
    due = list(islice(Cron.parse(f"cron({minute} {hour} ? * {text} *)").times(after, zone), 10))

    assert due == sorted(set(due))
    assert due[0] > after
    names = {WEEKDAYS[number - 1] for number in weekdays}
    assert {f"{one.astimezone(ZoneInfo(zone)):%a}".upper() for one in due} <= names
    assert due[-1] - due[0] <= timedelta(days=71)

"""What schedulers are told, and which reports were missed."""

from __future__ import annotations

import configparser
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ops import schedule
from ops.errors import UsageError
from ops.schedule import LATE, Timetable, timetable
from ops.stage import load_stage

PROD, LOCAL = load_stage("prod"), load_stage("local")
SIX = timetable(LOCAL, "daily", "cron(0 6 * * ? *)", "UTC")
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def days(*numbers: int, hour: int = 6, minute: int = 0) -> list[datetime]:
    return [datetime(2026, 11, day, hour, minute, tzinfo=UTC) for day in numbers]


def test_timetable_when_nothing_is_asked_for_is_the_stage_files() -> None:
    table = timetable(PROD, "weekly")
    assert PROD.schedule is not None
    assert (table.cron.written, table.zone) == (PROD.schedule.suites["weekly"].cron, "Asia/Kolkata")
    assert table.command == "ops report weekly --stage prod"


@pytest.mark.parametrize(
    ("cron", "zone", "problem"),
    [("0 6 * * *", "", "is no cron expression"), ("", "Asia/Calcuta", "'Asia/Calcuta' is no time zone")],
)
def test_timetable_when_the_times_are_none_says_what_is_accepted(cron: str, zone: str, problem: str) -> None:
    with pytest.raises(UsageError, match=rf"^--cron, --time-zone: .*{problem}.*accepted"):
        timetable(PROD, "daily", cron, zone)


def test_missed_when_a_run_is_late_or_early_by_seconds_it_is_that_one() -> None:
    runs = [*days(20, minute=59), *days(21, hour=5, minute=59), *days(22, 23)]
    assert SIX.missed(runs, NOW - timedelta(days=4), NOW) == []


def test_missed_when_a_run_is_more_than_an_hour_late_or_absent_names_its_time() -> None:
    runs = [*days(20, hour=7), *days(22)]
    assert SIX.missed(runs, NOW - timedelta(days=4), NOW) == days(20, 21, 23)


def test_missed_when_it_was_due_within_the_hour_waits() -> None:
    assert SIX.missed([], NOW - timedelta(hours=12), NOW - timedelta(hours=1, minutes=30)) == []


@given(st.sets(st.integers(0, 59), max_size=40), st.integers(1, 60))
def test_missed_when_some_days_had_a_run_names_the_others(ran: set[int], span: int) -> None:
    due = [NOW.replace(hour=6) - timedelta(days=number) for number in range(span)]
    runs = [NOW.replace(hour=6) - timedelta(days=number) + LATE / 2 for number in ran]
    missed = SIX.missed(runs, due[-1] - timedelta(minutes=1), NOW)
    assert missed == sorted(one for one in due if one + LATE / 2 not in runs)


def test_crontab_when_written_is_a_line_that_runs_in_the_project() -> None:
    text = schedule.crontab(SIX, Path("/srv/my atoll"))
    line = text.splitlines()[-1]
    assert line.startswith("0 6 * * * cd '/srv/my atoll' && .venv/bin/ops report daily --stage local >>")
    assert "%" not in line
    assert "CRON_TZ=UTC" in text


def test_systemd_when_written_has_a_timer_that_makes_up_for_what_was_missed() -> None:
    files = schedule.systemd(timetable(PROD, "daily"), Path("/srv/atoll"))
    parsed = {}
    for name, content in files.items():
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(content)
        parsed[name.rpartition(".")[2]] = parser
    assert parsed["timer"]["Timer"]["OnCalendar"] == "*-*-* 06:00:00 Asia/Kolkata"
    assert parsed["timer"]["Timer"]["Persistent"] == "true"
    assert parsed["service"]["Service"]["ExecStart"] == "/srv/atoll/.venv/bin/ops report daily --stage prod"
    assert parsed["service"]["Service"]["SuccessExitStatus"] == "1"


def test_github_when_written_is_a_workflow_with_a_token_and_no_key() -> None:
    workflow = yaml.safe_load(schedule.github(SIX))
    assert workflow[True]["schedule"] == [{"cron": "0 6 * * *"}]
    assert workflow["permissions"] == {"contents": "read", "id-token": "write"}
    steps = workflow["jobs"]["report"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [
        "make setup",
        ".venv/bin/ops report daily --stage local",
    ]
    assert "secrets." not in schedule.github(SIX)


def test_github_when_the_zone_is_not_utc_is_refused_with_a_way_on() -> None:
    with pytest.raises(UsageError, match="GitHub's schedules are in UTC") as refused:
        schedule.github(timetable(PROD, "daily"))
    assert "--cron" in refused.value.hint


@pytest.mark.parametrize("write", [schedule.crontab, schedule.systemd, schedule.github])
def test_schedule_when_only_aws_has_words_for_it_says_so(write: object) -> None:
    table: Timetable = timetable(LOCAL, "daily", "cron(0 6 L * ? *)")
    assert callable(write)
    with pytest.raises(UsageError, match="has no L, W or #") as refused:
        write(table)
    assert "--cron" in refused.value.hint

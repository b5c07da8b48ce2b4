"""When a suite of runbooks is reported on: what any machine's scheduler has to be told, and which times were missed.

``ops schedule`` prints a systemd timer, a line of a crontab, or a workflow of GitHub Actions; all of them, and the
project that the stage's own stack has (deploy/resources/schedule.yml), run the same command. What always holds: the
times are those of the stage file unless others are asked for; nothing is installed or changed here.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path

from pydantic import ValidationError

from ops.cron import Cron
from ops.errors import UsageError
from ops.stage import ROOT, ScheduledSuite, Stage

# A report may begin so much later than it was due and still be that one: it is tried again, or waits for another.
LATE = timedelta(hours=1)
# No more of them are looked for.
MOST_MISSED = 1000
DEFAULT = "cron(0 6 * * ? *)"


@dataclass(frozen=True)
class Timetable:
    """When a suite of a stage is due."""

    stage: str
    suite: str
    cron: Cron
    zone: str

    @property
    def command(self) -> str:
        return f"ops report {self.suite} --stage {self.stage}"

    @property
    def name(self) -> str:
        """Of the units that run it."""
        return f"atoll-report-{self.stage}-{self.suite}"

    def next(self, now: datetime) -> datetime:
        return next(self.cron.times(now, self.zone))

    def missed(self, started: Iterable[datetime], since: datetime, now: datetime) -> list[datetime]:
        """The times, in UTC, at which it was due after ``since`` and no run started within the hour after.

        A time that is less than an hour ago is not missed yet. At most ``MOST_MISSED`` are looked at.
        """
        runs = sorted(started)
        due = takewhile(lambda time: time + LATE <= now, self.cron.times(since, self.zone))
        return [
            time
            for time, _ in zip(due, range(MOST_MISSED), strict=False)
            if not any(time - timedelta(minutes=1) <= run < time + LATE for run in runs)
        ]


def timetable(stage: Stage, suite: str, cron: str = "", zone: str = "") -> Timetable:
    """When a suite is due: as asked for, else as the stage file says, else every morning at six, UTC.

    Raises:
        UsageError: the expression or the time zone is none.
    """
    own = (stage.schedule.suites if stage.schedule else {}).get(suite)
    try:
        asked = ScheduledSuite(
            cron=cron or (own.cron if own else DEFAULT), time_zone=zone or (own.time_zone if own else "UTC")
        )
    except ValueError as error:
        raise UsageError(f"--cron, --time-zone: {_first(error)}") from error
    return Timetable(stage.stage, suite, Cron.parse(asked.cron), asked.time_zone)


def _first(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return str(error)


def crontab(table: Timetable, directory: Path = ROOT) -> str:
    """A line for ``crontab -e``, with the lines that it needs.

    Raises:
        UsageError: crontab has no words for the times.
    """
    fields = _words(table.cron.crontab)
    log = directory / "reports" / f"{table.name}.log"
    return (
        f"# {table.name}. A cron that does not know CRON_TZ (Debian's own) takes the times for the machine's.\n"
        f"CRON_TZ={table.zone}\n"
        f"{fields} cd {shlex.quote(str(directory))} && .venv/bin/{table.command} >>{shlex.quote(str(log))} 2>&1\n"
    )


def systemd(table: Timetable, directory: Path = ROOT) -> dict[str, str]:
    """File name -> content of a service and its timer, for ``~/.config/systemd/user`` or ``/etc/systemd/system``.

    Raises:
        UsageError: systemd has no words for the times.
    """
    calendar = _words(lambda: table.cron.on_calendar(table.zone))
    service = f"""[Unit]
Description=Atoll: report {table.suite} of stage {table.stage}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={directory}
ExecStart={directory}/.venv/bin/{table.command}
# A verdict of fail is a report, and told by it.
SuccessExitStatus=1
# In order: the report says where it stood.
TimeoutStartSec=2h
TimeoutStopSec=90s
Nice=10
NoNewPrivileges=yes
"""
    timer = f"""[Unit]
Description=Atoll: when the report {table.suite} of stage {table.stage} is due

[Timer]
OnCalendar={calendar}
# What was missed while the machine was off is made up for once.
Persistent=true
RandomizedDelaySec=60

[Install]
WantedBy=timers.target
"""
    return {f"{table.name}.service": service, f"{table.name}.timer": timer}


def github(table: Timetable) -> str:
    """A workflow for ``.github/workflows``; GitHub counts in UTC, so its times are those of a zone without summer time.

    Raises:
        UsageError: the times are of another zone than UTC, or GitHub has no words for them.
    """
    if table.zone not in ("UTC", "Etc/UTC"):
        raise UsageError(
            f"--time-zone: {table.zone}: GitHub's schedules are in UTC; accepted: UTC",
            hint="Give the time in UTC: --cron 'cron(30 0 * * ? *)' --time-zone UTC",
        )
    fields = _words(table.cron.crontab)
    made_by = f"ops schedule {table.suite} --stage {table.stage} --as github"
    return f"""# Made by: {made_by}
# The role, in the repository's variable ATOLL_REPORT_ROLE, trusts this repository's tokens (docs/reports.md) and has
# the policies that `ops policy` prints: no key is kept anywhere.
name: {table.name}
on:
  schedule:
    - cron: "{fields}"
  workflow_dispatch: {{}}
permissions:
  contents: read
  id-token: write
# GitHub's own exclusion; the lease excludes runs elsewhere.
concurrency:
  group: {table.name}
  cancel-in-progress: false
jobs:
  report:
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    steps:
      - uses: actions/checkout@v4
        with: {{ persist-credentials: false }}
      - uses: actions/setup-python@v5
        with: {{ python-version: "3.11" }}
      - uses: actions/setup-node@v4
        with: {{ node-version: "20" }}
      - uses: aws-actions/configure-aws-credentials@v4
        with:
          role-to-assume: ${{{{ vars.ATOLL_REPORT_ROLE }}}}
          aws-region: ${{{{ vars.ATOLL_HOME_REGION }}}}
      - run: make setup
      - run: .venv/bin/{table.command}
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: {table.name}
          path: reports/
          retention-days: 30
"""


def _words(said: Callable[[], str]) -> str:
    try:
        return said()
    except ValueError as error:
        raise UsageError(
            f"--cron: {error}", hint="Ask for other times with --cron, or let AWS do it: schedule in the stage file."
        ) from error

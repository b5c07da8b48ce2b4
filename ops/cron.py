"""Cron expressions as EventBridge Scheduler takes them, when they come due, and how others write them.

``cron(minutes hours day-of-month month day-of-week year)``: one of the two days is ``?``, and weekdays count from 1,
which is Sunday. https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_EXPRESSION = re.compile(r"cron\(\s*(.+?)\s*\)")
# Said by AWS alone: the last one, the nearest weekday, the n-th.
_SPECIAL = re.compile(r"L|W|#")
_ACCEPTED = "cron(minutes hours day-of-month month day-of-week year), for example cron(0 6 ? * MON-FRI *)"


@dataclass(frozen=True)
class Cron:
    """A parsed expression. ``weekdays`` are names; every other field is as it was ``written``, ``?`` as ``*``."""

    written: str
    minutes: str
    hours: str
    days: str
    months: str
    weekdays: str

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Raise ValueError for what is no such expression, or comes due in some years only."""
        found = _EXPRESSION.fullmatch(text.strip())
        fields = found[1].upper().split() if found else []
        if len(fields) != 6:
            raise ValueError(f"{text!r} is no cron expression; accepted: {_ACCEPTED}")
        minutes, hours, days, months, weekdays, year = fields
        if "?" not in (days, weekdays):
            raise ValueError(f"{text!r}: day-of-month or day-of-week must be '?'; accepted: {_ACCEPTED}")
        if year != "*":
            raise ValueError(f"{text!r}: a report that comes due in some years only; accepted as year: *")
        made = cls(text.strip(), minutes, hours, "*" if days == "?" else days, months, _named(text, weekdays))
        try:
            CronSim(made._standard(), datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(f"{text!r}: {error}; accepted: {_ACCEPTED}") from error
        return made

    def times(self, after: datetime, zone: str) -> Iterator[datetime]:
        """When it comes due after that time, in UTC, without an end. What daylight saving skips comes due at once.

        ``after`` has a time zone.
        """
        for due in CronSim(self._standard(), after.astimezone(ZoneInfo(zone))):
            yield due.astimezone(UTC)

    def crontab(self) -> str:
        """The five fields of a line of crontab(5), in whatever zone that counts in.

        Raises:
            ValueError: crontab has no words for it.
        """
        self._plain("crontab")
        return self._standard()

    def on_calendar(self, zone: str) -> str:
        """The same as systemd.time(7) has it.

        Raises:
            ValueError: systemd has no words for it.
        """
        self._plain("systemd")
        weekdays = "" if self.weekdays == "*" else f"{self.weekdays.title().replace('-', '..')} "
        date = f"*-{_calendar(self.months, 1)}-{_calendar(self.days, 1)}"
        return f"{weekdays}{date} {_calendar(self.hours, 0)}:{_calendar(self.minutes, 0)}:00 {zone}"

    def _standard(self) -> str:
        return f"{self.minutes} {self.hours} {self.days} {self.months} {self.weekdays}"

    def _plain(self, where: str) -> None:
        if _SPECIAL.search(re.sub("|".join(WEEKDAYS), "", f"{self.days} {self.weekdays}")):
            raise ValueError(f"{self._standard()}: {where} has no L, W or #")


def _named(text: str, weekdays: str) -> str:
    """Weekdays by name: AWS counts them from 1, others from 0."""
    if weekdays in ("?", "*"):
        return "*"

    def name(found: re.Match[str]) -> str:
        number = int(found[0])
        if not 1 <= number <= 7:
            raise ValueError(f"{text!r}: day-of-week: {number} is none; accepted: 1 (Sunday) to 7, or SUN to SAT")
        # "The last Friday" and "the second Monday" are said by number.
        return str(number - 1) if found[1] else WEEKDAYS[number - 1]

    # Not the n of "every n-th day" (/n) or of "the n-th one" (#n).
    return re.sub(r"(?<![\d/#])\d+(?=(L|#)?)", name, weekdays)


def _calendar(field: str, first: int) -> str:
    """A field of numbers in systemd's words."""
    if field == "*":
        return "*"
    padded = re.sub(r"(?<![\d/])\d+", lambda found: f"{int(found[0]):02}", field)
    return padded.replace("*/", f"{first:02}/").replace("-", "..")

"""Running a suite: its runbooks side by side, each in a kernel of its own, and a record of them all.

1. The suite is read and checked: a parameter that is none ends it before anything starts.
2. One run of a suite at a time, on whatever machine: a lease in the operations bucket, where there is one.
3. Kernels are forked from a process that has imported what the notebooks name; ``at_once`` of them run at a time. A run
   that does not come to its end (a dead kernel, time over, a lost connection) is tried again.
4. ``suite.json`` is written as each comes to its end, so that a suite that is killed says how far it came.

What always holds: one runbook's end is no other's; Ctrl-C ends all of them in order, and the record says so.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from ops import bucket, forking, lease, runbooks, schedule
from ops.aws import Cloud
from ops.bucket import Place
from ops.errors import EXIT_ERROR, EXIT_FAIL, EXIT_PASS, InterruptedRunError, OpsError
from ops.record import REPORTS, new_run_directory, now_text, read_result, write_result
from ops.report import notify, records, suitepage
from ops.report.records import DIRECTORY, PAST, SUITE, is_record
from ops.report.suites import Suite, Task
from ops.runbooks import Runbook
from ops.scrub import Scrubber
from ops.stage import ROOT, Stage

# Missed reports are told for so long.
LOOKS_BACK = timedelta(days=7)
Progress = Callable[[str], None]
Verdict = Literal["pass", "fail", "error"]
STATUS = {"pass": EXIT_PASS, "fail": EXIT_FAIL, "error": EXIT_ERROR}


@dataclass(frozen=True)
class Entry:
    """One runbook of a suite that ran: how its last attempt ended. ``directory`` is relative to the reports.

    ``failing`` are the checks that were not ok (``name``, ``detail``), ``figures`` those that are numbers.
    """

    runbook: str
    title: str
    verdict: str
    why: str
    directory: str
    seconds: float
    attempts: int
    counts: bool
    failing: list[dict[str, str]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


@dataclass
class SuiteRun:
    """A run of a suite. Times are RFC 3339 in UTC; ``missed`` are times at which it was due and nobody ran it;
    ``problems`` are what went wrong around it: records or a message that could not be sent."""

    suite: str
    title: str
    stage: str
    directory: Path
    started: str
    finished: str = ""
    entries: list[Entry] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        found = {entry.verdict for entry in self.entries if entry.counts}
        return "error" if found - {"pass", "fail"} or not self.finished else "fail" if "fail" in found else "pass"

    @property
    def page(self) -> str:
        """Where its page is, as messages show it."""
        return _shown(self.directory / suitepage.PAGE)

    @property
    def exit_status(self) -> int:
        return STATUS[self.verdict]

    def record(self) -> dict[str, Any]:
        """What ``suite.json`` says."""
        return {
            "suite": self.suite,
            "title": self.title,
            "stage": self.stage,
            "started": self.started,
            "finished": self.finished,
            "verdict": self.verdict,
            "missed": self.missed,
            "problems": self.problems,
            "runs": [asdict(entry) for entry in self.entries],
        }


def run_suite(
    suite: Suite,
    stage: Stage,
    cloud: Cloud | None,
    *,
    at_once: int = 0,
    root: Path = REPORTS,
    progress: Progress = lambda line: None,
    notebooks: Path = runbooks.NOTEBOOKS,
) -> SuiteRun:
    """Run all runbooks of a suite and keep the record under ``<root>/<stage>/suites/``.

    Args:
        cloud: where the lease is kept; None for suites that look at recorded data only.
        at_once: how many run side by side; 0: as the suite says.

    Raises:
        UsageError: a runbook or a parameter is none; nothing ran.
        HeldError: the suite is under way elsewhere; nothing ran.
        InterruptedRunError: the operator stopped it; every run under way has its record.
    """
    books = suite.books(notebooks)
    forking.server(os.environ, (*forking.modules_of([book.path for _, book, _ in books]), "ops.charts.preload"))
    with _alone(cloud, suite, stage, progress):
        place = records.remote(cloud, stage)
        if cloud is not None and place is not None:
            records.fetch(cloud, place, stage.stage, suite.name, root)
        before = earlier(suite.name, stage.stage, root)
        directory = new_run_directory(DIRECTORY, suite.name, root / stage.stage)
        run = SuiteRun(
            suite.name, suite.title, stage.stage, directory, now_text(), missed=_missed(suite, stage, before)
        )
        work = _Work(run, stage, root, progress, threading.Event(), before)
        work.go(books, at_once or suite.at_once)
        if cloud is not None:
            _tell(cloud, place, stage, work)
        _keep(cloud, place, stage, work)
    return run


def _tell(cloud: Cloud, place: Place | None, stage: Stage, work: _Work) -> None:
    """Who is to be told is told, before the records go up: what could not be sent is in them."""
    record = work.run.record()
    was = work.before[0]["verdict"] if work.before else None
    if notify.due(record, was):
        at = str(work.run.directory.relative_to(work.root))
        work.problems(notify.send(cloud, stage, notify.lines(record, was or "not known", notify.where(place, at))))


def _keep(cloud: Cloud | None, place: Place | None, stage: Stage, work: _Work) -> None:
    """Records go to S3 where the stage keeps them there, and old ones go altogether."""
    records.expire(work.root, stage)
    if cloud is None or place is None:
        return
    try:
        own = [work.root / entry.directory for entry in work.run.entries if entry.directory]
        records.send(cloud, place, work.root, [*own, work.run.directory])
        records.expire_remote(cloud, place, stage)
    except OpsError as error:
        work.problems([f"the records are in the folder only: {error}"])


@dataclass
class _Work:
    run: SuiteRun
    stage: Stage
    root: Path
    progress: Progress
    stop: threading.Event
    before: list[dict[str, Any]]

    def problems(self, found: list[str]) -> None:
        """Say and keep what went wrong around the run."""
        for one in found:
            self.progress(one)
        if found:
            self.run.problems += found
            self._save()

    def go(self, books: list[tuple[Task, Runbook, dict[str, Any]]], at_once: int) -> None:
        self._save()
        with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="suite") as pool:
            waiting = {pool.submit(self._one, *one) for one in books}
            try:
                while waiting:
                    waiting = self._take(*wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED))
            except KeyboardInterrupt:
                # Each run ends in order, with its record; those that have not begun do not.
                self.stop.set()
                for one in waiting:
                    one.cancel()
                self._take(*wait(one for one in waiting if not one.cancelled()))
                raise InterruptedRunError(
                    f"suite {self.run.suite}: stopped by the operator; no kernel is left running",
                    hint=f"What it found until then is in {_shown(self.run.directory)}.",
                ) from None
        self.run.finished = now_text()
        self._save()

    def _take(self, done: set[Future[Entry]], waiting: set[Future[Entry]]) -> set[Future[Entry]]:
        for one in done:
            entry = one.result()
            self.run.entries.append(entry)
            self.progress(
                f"{entry.runbook}: {entry.verdict} in {entry.seconds:.1f} s{': ' if entry.why else ''}{entry.why}"
            )
            self._save()
        return waiting

    def _one(self, task: Task, book: Runbook, values: dict[str, Any]) -> Entry:
        begun = time.monotonic()
        directory, verdict, why = "", "error", ""
        result: dict[str, Any] = {"checks": [], "figures": {}}
        for attempt in range(1, task.attempts + 1):
            try:
                outcome = runbooks.run(
                    book, self.stage, values, root=self.root, timeout_s=task.timeout_s, stop=self.stop
                )
                result = outcome.result
                directory, verdict = str(outcome.directory.relative_to(self.root)), str(result["verdict"])
                why = _why(result)
            except OpsError as error:
                why = str(error)
            if verdict != "error" or self.stop.is_set():
                break
            if attempt < task.attempts:
                self.progress(f"{book.name}: error, tried again: {why}")
        seconds = time.monotonic() - begun
        counts = verdict == "pass" or verdict in task.counts or verdict not in ("fail", "error")
        failing = [{"name": one["name"], "detail": one["detail"]} for one in result["checks"] if not one["ok"]]
        figures = suitepage.numbers(result["figures"])
        return Entry(
            book.name, book.title, verdict, why, directory, round(seconds, 3), attempt, counts, failing, figures
        )

    def _save(self) -> None:
        # What an error says may hold what an output may.
        record = Scrubber().value(self.run.record())
        write_result(self.run.directory, record, SUITE)
        suitepage.write(self.run.directory, record, self.before)


def _why(result: dict[str, Any]) -> str:
    failing = [check for check in result["checks"] if not check["ok"]]
    more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
    return f"{failing[0]['name']}: {failing[0]['detail']}{more}" if failing else ""


def earlier(suite: str, stage: str, root: Path = REPORTS, limit: int = PAST) -> list[dict[str, Any]]:
    """The records of a suite's runs that can be read, newest first."""
    directories = sorted((root / stage / DIRECTORY).glob(f"*-{suite}*/"), reverse=True)[:limit]
    found = (read_result(directory, SUITE) for directory in directories)
    return [record for record in found if is_record(record) and record["suite"] == suite]


def _missed(suite: Suite, stage: Stage, before: list[dict[str, Any]]) -> list[str]:
    """When it was due and nobody ran it, of late and since it first ran here; nothing where it is not scheduled."""
    if stage.schedule is None or suite.name not in stage.schedule.suites:
        return []
    started = [datetime.fromisoformat(record["started"]) for record in before]
    now = datetime.now(UTC)
    since = max(min(started, default=now), now - LOOKS_BACK)
    missed = schedule.timetable(stage, suite.name).missed(started, since, now)
    return [f"{due:%Y-%m-%d %H:%M}Z" for due in missed]


@contextmanager
def _alone(cloud: Cloud | None, suite: Suite, stage: Stage, progress: Progress) -> Iterator[None]:
    if cloud is None or not bucket.exists(cloud, bucket.place(cloud, stage.home_region)):
        progress("there is no operations bucket, so nothing keeps another machine from running this suite as well")
        yield
        return
    with lease.hold(cloud, f"report-{suite.name}"):
        yield


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)

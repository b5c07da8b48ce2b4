"""All runs there are, from their records alone: of runbooks, from ``result.json``; of suites, from ``suite.json``.

A directory without a result (a run under way, or one whose runner was killed) is listed as that, never left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ops import markup, page
from ops.record import REPORTS, RESULT, RUN_DIRECTORY, read_result
from ops.report import suitepage
from ops.report.records import DIRECTORY, SUITE, is_record

_DIRECTORY = re.compile(RUN_DIRECTORY)
# As many figures as a line has room for.
FIGURES_SHOWN = 4


@dataclass(frozen=True)
class Run:
    """One run of a runbook, or of a suite (``kind``).

    ``figures`` is what it found, or why it did not pass; ``page`` is a relative link, empty when there is no page.
    """

    stage: str
    runbook: str
    verdict: str
    started: str
    took: str
    figures: str
    why: str
    page: str
    kind: str = "runbook"

    @property
    def badge_html(self) -> str:
        return markup.badge(self.verdict)

    @property
    def word(self) -> str:
        return markup.VERDICT_WORDS[self.verdict].lower()


def runs(root: Path = REPORTS) -> list[Run]:
    """Every run under ``root``, newest first."""
    found = [path for path in root.glob("*/*") if path.is_dir() and _DIRECTORY.fullmatch(path.name)]
    return [_run(path, root) for path in sorted(found, key=lambda p: (p.name[:16], p.stat().st_mtime_ns), reverse=True)]


def _run(directory: Path, root: Path) -> Run:
    result = read_result(directory)
    name = _DIRECTORY.fullmatch(directory.name)
    assert name is not None
    link = quote(str((directory / page.PAGE).relative_to(root))) if (directory / page.PAGE).exists() else ""
    try:
        assert result is not None
        failing = [check for check in result["checks"] if not check["ok"]]
        why = "; ".join(f"{check['name']}: {check['detail']}" for check in failing[:2])
        why += f" (and {len(failing) - 2} more)" if len(failing) > 2 else ""
        return Run(
            stage=directory.parent.name,
            runbook=result["runbook"],
            verdict=result["verdict"] if result["verdict"] in markup.VERDICT_WORDS else "none",
            started=markup.moment(result["started"]).removesuffix(" UTC"),
            took=markup.duration(markup.seconds_between(result["started"], result["finished"])),
            figures=why if result["verdict"] != "pass" and why else _figures(result["figures"]),
            why=why,
            page=link,
        )
    except (AssertionError, KeyError, TypeError):
        year, month, day, hour, minute, second, runbook, _ = name.groups()
        why = (
            f"{RESULT} cannot be read" if (directory / RESULT).exists() else "still under way, or its runner was killed"
        )
        started = f"{year}-{month}-{day} {hour}:{minute}:{second}"
        return Run(directory.parent.name, runbook, "none", started, markup.NOTHING, why, why, link)


def _figures(figures: dict[str, Any]) -> str:
    shown = [markup.figure(name, value) for name, value in list(figures.items())[:FIGURES_SHOWN]]
    return " · ".join(f"{label} {text}" for label, text in shown)


def suites(root: Path = REPORTS) -> list[Run]:
    """Every run of a suite under ``root``, newest first; ``runbook`` is the suite's name."""
    found = []
    for directory in root.glob(f"*/{DIRECTORY}/*"):
        record = read_result(directory, SUITE)
        if not is_record(record):
            continue
        path = directory / suitepage.PAGE
        found.append(
            Run(
                stage=record["stage"],
                runbook=record["suite"],
                verdict=record["verdict"] if record["finished"] else "none",
                started=markup.moment(record["started"]).removesuffix(" UTC"),
                took=markup.duration(markup.seconds_between(record["started"], record["finished"])),
                figures=suitepage.headline(record),
                why=suitepage.headline(record),
                page=quote(path.relative_to(root).as_posix()) if path.exists() else "",
                kind="suite",
            )
        )
    return sorted(found, key=lambda run: run.started, reverse=True)

"""The index of all runs: ``reports/index.html``, the verdict first, then the latest run of each runbook, then the rest.

It is made from the ``result.json`` files alone, so it can be written again at any time. A directory without a result
(a run under way, or one whose runner was killed) is listed as that, never left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ops import markup, page
from ops.record import REPORTS, RESULT, now_text, read_result

_DIRECTORY = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-(.+?)(-\d+)?")
# As many figures as a line of the index has room for.
FIGURES_SHOWN = 4


@dataclass(frozen=True)
class Run:
    """One line of the index.

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


def write_index(root: Path = REPORTS) -> Path:
    """Write ``index.html`` under ``root``, in one step; returns its path."""
    everything = runs(root)
    stages = []
    latest_of_all: list[Run] = []
    for stage in dict.fromkeys(run.stage for run in everything):
        own = [run for run in everything if run.stage == stage]
        latest = list({run.runbook: run for run in reversed(own)}.values())
        latest.sort(key=lambda run: (run.verdict == "pass", run.runbook))
        stages.append({"name": stage, "latest": latest, "earlier": [r for r in own if not any(r is x for x in latest)]})
        # A refused run changed nothing and looked at nothing: it says nothing of the stage.
        latest_of_all += [run for run in latest if run.verdict != "refused"]
    failing = [run for run in latest_of_all if run.verdict != "pass"]
    verdict, headline, saying = _verdict(latest_of_all, failing)
    html = (
        page.environment()
        .get_template("index.html.j2")
        .render(
            verdict=verdict,
            icon_html=markup.icon(verdict),
            headline=headline,
            saying=saying,
            failing=failing,
            stages=stages,
            written=markup.moment(now_text()),
        )
    )
    root.mkdir(parents=True, exist_ok=True)
    path = root / "index.html"
    temporary = root / "index.html.part"
    temporary.write_text(html, encoding="utf-8")
    temporary.replace(path)
    return path


def _verdict(latest: list[Run], failing: list[Run]) -> tuple[str, str, str]:
    if not latest:
        return "none", "No runs yet", "Run a runbook: ops run RUNBOOK --stage local"
    newest = max(run.started for run in latest)
    when = f"The newest run started {newest} UTC."
    if not failing:
        return "pass", "All latest runs pass", f"{len(latest)} runbook{'' if len(latest) == 1 else 's'}. {when}"
    worst = next(v for v in ("fail", "error", "refused", "none") if any(run.verdict == v for run in failing))
    names = ", ".join(dict.fromkeys(run.runbook for run in failing))
    does = "does" if len(failing) == 1 else "do"
    return worst, f"{len(failing)} of {len(latest)} latest runs {does} not pass: {names}", when

"""The index of all runs: ``reports/index.html``, the verdict first, then the latest run of each runbook, then the rest.

It is made from the ``result.json`` files alone, so it can be written again at any time. A directory without a result
(a run under way, or one whose runner was killed) is listed as that, never left out.
"""

from __future__ import annotations

from pathlib import Path

from ops import markup, page
from ops.files import write_whole
from ops.record import REPORTS, now_text
from ops.report import history
from ops.report.rows import Run, runs, suites


def write_index(root: Path = REPORTS) -> Path:
    """Write ``index.html`` under ``root``, in one step, and the history beside it; returns its path."""
    everything = runs(root)
    reports = suites(root)
    latest_reports = list({(run.stage, run.runbook): run for run in reversed(reports)}.values())
    history.write(root, sorted([*everything, *reports], key=lambda run: run.started, reverse=True))
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
            suites=sorted(latest_reports, key=lambda run: (run.verdict == "pass", run.stage, run.runbook)),
            written=markup.moment(now_text()),
        )
    )
    return write_whole(root / "index.html", html)


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

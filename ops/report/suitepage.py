"""The page of a suite's run: its verdict first, then what changed since the run before, then every runbook.

Made from the records alone, so that it can be written as each runbook ends: a suite that is killed has its page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ops import markup, page
from ops.files import write_whole
from ops.report.changes import Figure, changes, figures
from ops.report.sparkline import sparkline

PAGE = "index.html"
# Runs that a sparkline goes back.
PAST = 30


def write(directory: Path, record: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> Path:
    """Write the page beside ``suite.json``, in one step. ``earlier`` are records of this suite, newest first."""
    return write_whole(directory / PAGE, render(record, earlier[:PAST]))


def render(record: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> str:
    """The page's HTML."""
    runs = sorted(record["runs"], key=lambda run: (run["verdict"] == "pass" or not run["counts"], run["runbook"]))
    wrong = [run for run in runs if run["verdict"] != "pass"]
    shown = figures(record, earlier)
    shown.sort(key=lambda one: (not one.unusual, one.runbook))
    facts = {
        "Stage": record["stage"],
        "Started": markup.moment(record["started"]),
        "Took": markup.duration(markup.seconds_between(record["started"], record["finished"])),
        "Run before": f"{markup.moment(earlier[0]['started'])}, {earlier[0]['verdict']}" if earlier else "none",
    }
    return (
        page.environment()
        .get_template("suite.html.j2")
        .render(
            title=record["title"],
            verdict=record["verdict"] if record["finished"] else "none",
            headline=headline(record),
            record=record,
            facts=facts,
            wrong=[{**run, "link": _link(run)} for run in wrong],
            runs=[{**run, "link": _link(run), "took": markup.duration(run["seconds"])} for run in runs],
            changes=changes(record, earlier),
            figures=[_row(one) for one in shown],
            first=not earlier,
            icon=markup.icon,
            badge=markup.badge,
        )
    )


def headline(record: Mapping[str, Any]) -> str:
    """The verdict in a line."""
    if not record["finished"]:
        return f"{len(record['runs'])} ended so far: under way, or killed"
    wrong = [run["runbook"] for run in record["runs"] if run["verdict"] != "pass" and run["counts"]]
    if not wrong:
        return f"Pass: {len(record['runs'])} runbook{'' if len(record['runs']) == 1 else 's'}"
    return f"{markup.VERDICT_WORDS[record['verdict']]}: {', '.join(wrong)}"


def _row(one: Figure) -> dict[str, Any]:
    label, now = markup.figure(one.name, one.now)
    before = markup.figure(one.name, one.before)[1] if one.before is not None else markup.NOTHING
    known = [value for value in one.past if value is not None]
    told = f"{one.runbook} {label} over {len(known) + 1} runs: "
    low, high = (markup.figure(one.name, edge([*known, one.now]))[1] for edge in (min, max))
    return {
        "runbook": one.runbook,
        "label": label,
        "now": now,
        "before": before,
        "unusual": one.unusual,
        "line": sparkline((*one.past, one.now), f"{told}{low} to {high}, now {now}", one.usual),
    }


def _link(run: Mapping[str, Any]) -> str:
    """From ``suites/<run>/`` to the run's page; empty where it has none."""
    return f"../../{quote(run['directory'].partition('/')[2])}/{page.PAGE}" if run["directory"] else ""


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a result that are numbers: those that can be followed from run to run."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }

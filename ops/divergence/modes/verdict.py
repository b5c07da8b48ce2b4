"""The part of the page that all modes share which name differences: tables, charts, findings, and the next command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ops import tables
from ops.divergence import findings, pictures
from ops.divergence.comparison import Comparison, Subject, conclude
from ops.divergence.modes.mode import Job, Result, nothing
from ops.divergence.naming import short
from ops.divergence.survey import Survey
from ops.markup import Html

# Of a table on the page; findings have all.
ROWS = 100


def judged(job: Job, subject: Subject, survey: Survey) -> Comparison:
    """The verdict on what the mode found in one table, with the run's own parameters."""
    request = job.request
    job.run.progress(f"{subject.table}: {len(survey.suspects):,} suspects")
    return conclude(
        job.run.cloud,
        subject,
        survey,
        ignore=request.ignore,
        only=request.counted,
        attempts=request.attempts,
        settle_s=request.settle_s,
        progress=job.run.progress,
    )


def result(job: Job, found: Sequence[Comparison]) -> Result:
    """The page of these comparisons. What was confirmed is kept for the repair."""
    kept = {one.table: _keep(job, one, several=len(found) > 1) for one in found if one.confirmed}
    differing = [part for one in found for part in _differences(one, kept.get(one.table, ""))]
    drawn = [part for one in found if one.confirmed for part in _pictures(one)]
    figures: dict[str, Any] = found[0].figures() if len(found) == 1 else _several(found)
    if kept:
        figures["findings"] = [*kept.values()]
    return Result(
        read=tables.together(*(tables.table(one.survey.frame(), f"What was read of {one.table}") for one in found)),
        differences=tables.together(*differing),
        pictures=tables.together(*drawn) if drawn else nothing("no item differs, so there is nothing to draw"),
        figures=figures,
        checks=[one.check() for one in found],
    )


def _several(found: Sequence[Comparison]) -> dict[str, Any]:
    own = {one.table: one.figures() for one in found}
    return {
        "items": {f"{table} {label}": count for table, one in own.items() for label, count in one["items"].items()},
        "differences": sum(one["differences"] for one in own.values()),
        "keys": [f"{table}: {key}" for table, one in own.items() for key in one["keys"]],
        "tables": own,
    }


def _differences(one: Comparison, kept: str) -> list[Html]:
    named = f" of {one.table}"
    shown = [
        tables.table(one.classes_frame(), f"What became of the suspects{named}", empty="there were none"),
        tables.table(one.frame(), f"Items{named} that differ", empty="none", max_rows=ROWS),
        tables.table(one.attributes_frame(), f"Attributes{named} that differ, by replica", empty="none", max_rows=ROWS),
        tables.table(pictures.pairs_frame(one.confirmed), f"By class and pair{named}", empty="none", folded=True),
    ]
    if one.unsettled:
        rows = [{"key": short(key)} for key in one.unsettled]
        shown.append(tables.table(rows, f"Items{named} that kept changing and were not judged", folded=True))
    if kept:
        shown.append(tables.table([{"findings": kept} | _next(kept)], "Kept for the repair"))
    return shown


def _next(kept: str) -> dict[str, str]:
    """The command that repairs, where that is a mode."""
    from ops.divergence.modes import MODES

    command = f"ops run divergence -p mode=repair -p findings={kept} -p policy=newest"
    return {"next": command} if "repair" in MODES else {}


def _pictures(one: Comparison) -> list[Any]:
    names, confirmed = one.subject.schema.names, one.confirmed
    return [
        pictures.by_write_time(confirmed),
        pictures.by_hash(confirmed, names),
        pictures.by_prefix(confirmed, names),
        pictures.by_pair(confirmed),
    ]


def _keep(job: Job, one: Comparison, several: bool) -> str:
    run, record = job.run, job.run.record
    name = f"{record.directory.name}/{one.table}" if several else record.directory.name
    made = one.findings(name, run.stage.stage, run.cloud.account)
    return findings.save(run.cloud, made, record.directory, job.request.keep, progress=run.progress)

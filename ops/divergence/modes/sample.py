"""Mode ``sample``: random slices of every replica, and how many items can differ at the most."""

from __future__ import annotations

from dataclasses import replace

from ops import tables
from ops.divergence.modes.mode import Job, Mode, Result
from ops.divergence.modes.verdict import judged, result
from ops.divergence.request import VERDICT, WHERE
from ops.divergence.sampling import sample


def _run(job: Job) -> Result:
    request, found, concluded = job.request, [], []
    for subject in job.subjects:
        described = {replica: one for replica, one in subject.described.items() if one is not None}
        sampled = sample(
            job.run.cloud,
            subject.replicas,
            subject.schema,
            described,
            per_million=request.per_million,
            seed=request.seed,
            read_units_per_s=request.read_units_per_s,
            settle_s=request.settle_s or 1.0,
            ignore=request.ignore,
            only=request.counted,
            progress=job.run.progress,
        )
        comparison = judged(job, subject, sampled.survey)
        found.append(comparison)
        concluded.append((subject.table, sampled, sampled.conclude({one.key for one in comparison.confirmed})))
    page = result(job, found)
    arithmetic = [
        tables.table(one.arithmetic_frame(), f"{table}: from the sample to the bound") for table, _, one in concluded
    ]
    warnings = [{"table": table, "warning": said} for table, _, one in concluded for said in one.warnings]
    figures = {table: one.figures() | {"seed": sampled.seed} for table, sampled, one in concluded}
    checks = [replace(check, name=f"{table}: {check.name}") for table, _, one in concluded for check in one.checks()]
    return Result(
        read=tables.together(page.read, *arithmetic, *(tables.table(warnings, "Mind") for _ in warnings[:1])),
        differences=page.differences,
        pictures=tables.together(*(one.chart() for _, _, one in concluded), page.pictures),
        figures=page.figures | (next(iter(figures.values())) if len(figures) == 1 else {"bounds": figures}),
        checks=checks,
    )


SAMPLE = Mode(
    name="sample",
    says="random slices of every replica; bounds how many items differ, with 95 % confidence",
    takes=WHERE | VERDICT | {"per_million", "seed", "read_units_per_s"},
    run=_run,
)

"""Mode ``scan``: every replica is read once, and what differs is named."""

from __future__ import annotations

from pathlib import Path

from ops.divergence.comparison import Subject
from ops.divergence.modes.mode import Job, Mode, Result
from ops.divergence.modes.verdict import judged, result
from ops.divergence.pace import Pace
from ops.divergence.request import VERDICT, WHERE
from ops.divergence.scanning import scan
from ops.errors import UsageError


def _run(job: Job) -> Result:
    request = job.request
    pace = Pace(
        segments=request.segments,
        read_units_per_s=request.read_units_per_s,
        max_latency_ms=request.max_latency_ms,
        max_throttles=request.max_throttles,
    )
    found = []
    for subject in job.subjects:
        survey = scan(
            job.run.cloud,
            subject.replicas,
            subject.schema,
            ignore=request.ignore,
            only=request.counted,
            pace=pace,
            checkpoint=_checkpoint(job, subject),
            progress=job.run.progress,
        )
        found.append(judged(job, subject, survey))
    return result(job, found)


def _checkpoint(job: Job, subject: Subject) -> Path:
    asked = Path(job.request.resume).expanduser() if job.request.resume else None
    if asked is not None and not asked.is_file():
        raise UsageError(f"resume: there is no checkpoint {asked}; accepted: the path that the stopped run named")
    return asked or job.run.record.directory / f"{subject.table}.checkpoint"


SCAN = Mode(
    name="scan",
    says="every replica is read once; names every item that differs",
    takes=WHERE | VERDICT | {"segments", "read_units_per_s", "max_latency_ms", "max_throttles", "resume"},
    run=_run,
)

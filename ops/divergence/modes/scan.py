"""Mode ``scan``: every replica is read once, and what differs is named."""

from __future__ import annotations

from ops.divergence.checkpoint import until_judged
from ops.divergence.modes.mode import Job, Mode, Result, checkpoint
from ops.divergence.modes.verdict import judged, result
from ops.divergence.pace import Pace
from ops.divergence.request import VERDICT, WHERE
from ops.divergence.scanning import scan


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
        path = checkpoint(job, subject)
        survey = scan(
            job.run.cloud,
            subject.replicas,
            subject.schema,
            ignore=request.ignore,
            only=request.counted,
            pace=pace,
            checkpoint=path,
            progress=job.run.progress,
        )
        with until_judged(path, f"the same again with -p resume={path}"):
            found.append(judged(job, subject, survey))
    return result(job, found)


SCAN = Mode(
    name="scan",
    says="every replica is read once; names every item that differs",
    takes=WHERE | VERDICT | {"segments", "read_units_per_s", "max_latency_ms", "max_throttles", "resume"},
    run=_run,
)

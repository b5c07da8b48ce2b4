"""Mode ``export``: exports of every replica as of one second, made by plan and token, or those that are there."""

from __future__ import annotations

from collections.abc import Sequence

from ops.aws import Cloud
from ops.divergence import exports
from ops.divergence.checkpoint import until_judged
from ops.divergence.comparison import Subject
from ops.divergence.modes.mode import Job, Mode, Result, checkpoint, dry
from ops.divergence.modes.verdict import judged, result
from ops.divergence.request import VERDICT, WHERE, Request
from ops.plan import Plan


def _plan(cloud: Cloud, request: Request, subjects: Sequence[Subject]) -> Plan | None:
    """None where the exports are there: reading them writes nothing."""
    if request.exports:
        return None
    (subject,) = subjects
    return exports.plan(
        cloud,
        subject.replicas,
        subject.described,
        at=request.at,
        since=request.since,
        export_format=request.export_format,
        keep=request.keep,
        parameters=request.given(),
    )


def _run(job: Job) -> Result:
    (subject,), request = job.subjects, job.request
    arns = [*request.exports]
    if not arns:
        assert job.plan is not None
        made = job.run.apply(job.plan, exports.make)
        if made is None:
            return dry(job, "a dry run: nothing was exported")
        arns = made
    path = checkpoint(job, subject)
    survey = exports.survey(
        job.run.cloud,
        subject.replicas,
        subject.schema,
        subject.described,
        arns,
        ignore=request.ignore,
        only=request.counted,
        checkpoint=path,
        progress=job.run.progress,
    )
    with until_judged(path, f"-p mode=export -p exports={','.join(arns)} -p resume={path}"):
        comparison = judged(job, subject, survey)
    return result(job, [comparison])


EXPORT = Mode(
    name="export",
    says="exports of every replica as of one second, from S3; takes no capacity of the tables",
    takes=WHERE | VERDICT | {"exports", "at", "since", "export_format", "resume"},
    run=_run,
    plan=_plan,
    alone=True,
)

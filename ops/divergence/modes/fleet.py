"""Mode ``fleet``: each region reads its own replica, and only sketches cross regions; by plan and token."""

from __future__ import annotations

from collections.abc import Sequence

from ops.aws import Cloud
from ops.divergence import fleet
from ops.divergence.comparison import Subject
from ops.divergence.modes.mode import Job, Mode, Result, dry
from ops.divergence.modes.verdict import judged, result
from ops.divergence.request import VERDICT, WHERE, Request
from ops.plan import Plan


def _plan(cloud: Cloud, request: Request, subjects: Sequence[Subject]) -> Plan:
    (subject,) = subjects
    return fleet.plan(
        cloud,
        subject.replicas,
        subject.schema,
        subject.described,
        ignore=request.ignore,
        only=request.counted,
        segments=request.segments,
        read_units_per_s=request.read_units_per_s,
        parameters=request.given(),
    )


def _run(job: Job) -> Result:
    assert job.plan is not None
    (subject,) = job.subjects
    survey = job.run.apply(job.plan, fleet.survey)
    if survey is None:
        return dry(job, "a dry run: nothing was read")
    return result(job, [judged(job, subject, survey)])


FLEET = Mode(
    name="fleet",
    says="each region reads its own replica in functions; names every item that differs",
    takes=WHERE | VERDICT | {"segments", "read_units_per_s"},
    run=_run,
    plan=_plan,
    alone=True,
)

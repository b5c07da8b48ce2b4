"""Mode ``probe``: what can be known without reading an item; heartbeats, which write, by plan and token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ops import tables
from ops.aws import Cloud
from ops.divergence import beating
from ops.divergence.beats import Beats
from ops.divergence.comparison import Subject
from ops.divergence.modes.mode import Job, Mode, Result, nothing
from ops.divergence.probing import probe
from ops.divergence.replicas import Described, Replica
from ops.divergence.request import WHERE, Request
from ops.plan import Plan, Report


def _described(subject: Subject) -> dict[Replica, Described]:
    return {replica: one for replica, one in subject.described.items() if one is not None}


def _plan(cloud: Cloud, request: Request, subjects: Sequence[Subject]) -> Plan:
    (subject,) = subjects
    return beating.plan(cloud, subject.schema, _described(subject), rounds=request.rounds, parameters=request.given())


def _run(job: Job) -> Result:
    (subject,) = job.subjects
    described = _described(subject)
    found = probe(job.run.cloud, described)

    def beat(cloud: Cloud, plan: Plan, token: str, progress: Callable[[str], None], report: Report) -> Beats:
        return beating.apply(
            cloud,
            plan,
            token,
            subject.schema,
            described,
            rounds=job.request.rounds,
            report=report,
            progress=progress,
        )

    assert job.plan is not None
    beats = job.run.apply(job.plan, beat)
    timed = (
        tables.table(beats.frame(), "Heartbeats", folded=True) if beats else nothing("a dry run: no heartbeat was sent")
    )
    return Result(
        read=tables.together(
            tables.side_by_side(found.frame(), "replica", "Settings of the replicas"),
            tables.table(found.members_frame(), "Members, as each replica sees them", empty="no global table"),
            tables.table(found.latency_frame(), "Replication latency, from CloudWatch", empty="no pair replicates"),
        ),
        differences=timed,
        pictures=tables.together(found.chart(), *([beats.chart()] if beats else [])),
        figures=found.figures() | (beats.figures() if beats else {}),
        checks=found.checks() + (beats.checks() if beats else job.run.plannable(job.plan)),
    )


PROBE = Mode(
    name="probe",
    says="descriptions and metrics, no item; with a token, heartbeats that time replication",
    takes=WHERE | {"rounds"},
    run=_run,
    plan=_plan,
    alone=True,
)

"""Modes ``repair`` and ``undo``: what a comparison confirmed is mended, and taken back; by plan and token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from ops import tables
from ops.aws import Cloud
from ops.divergence import findings, repair
from ops.divergence.comparison import Subject
from ops.divergence.modes.mode import Job, Mode, Result, nothing
from ops.divergence.request import Request
from ops.markup import Html
from ops.plan import Plan, Report

# Of a table on the page.
ROWS = 100
# What no policy decides, in the run's directory, to be filled in and given back as ``decisions``.
UNDECIDED = "decisions.csv"
_WRITES = frozenset({"policy", "force", "rate_per_s", "keep"})


def _plan(cloud: Cloud, request: Request, _: Sequence[Subject]) -> Plan:
    return repair.plan(
        cloud,
        findings.load(cloud, request.findings, request.keep),
        request.policy,
        decisions=request.decisions,
        force=request.force,
        rate_per_s=request.rate_per_s,
        keep=request.keep,
        attempts=request.attempts,
        settle_s=request.settle_s,
        reference=request.findings,
    )


def _plan_undo(cloud: Cloud, request: Request, _: Sequence[Subject]) -> Plan:
    return repair.plan_undo(
        cloud,
        request.undo,
        policy=request.policy,
        force=request.force,
        rate_per_s=request.rate_per_s,
        keep=request.keep,
    )


def _run(job: Job) -> Result:
    plan = cast("repair.RepairPlan", job.plan)
    read = tables.table(plan.frame(), "What is done about each item", empty="no item is left to mend", max_rows=ROWS)
    left = _template(job, plan)
    applied = job.run.apply(plan, _carry_out) if plan.changes else None
    if applied is None:
        return Result(read, left, nothing("nothing was written"), checks=job.run.plannable(plan))
    done, proof = applied
    undo = {"undo": f"ops run divergence --stage {plan.stage} -p mode=undo -p undo={plan.token}"}
    return Result(
        read=tables.together(read, tables.table(done.frame(), "What was written", empty="nothing", max_rows=ROWS)),
        differences=left,
        pictures=tables.table([undo], "The way back"),
        figures=done.figures() | {"undo": plan.token},
        checks=[*done.checks(), *proof.checks()],
    )


def _carry_out(
    cloud: Cloud, plan: Plan, token: str, progress: Callable[[str], None], report: Report
) -> tuple[repair.Repaired, repair.Proof]:
    done = repair.apply(cloud, cast("repair.RepairPlan", plan), token, progress, report)
    return done, repair.prove(cloud, done, progress=progress)


def _template(job: Job, plan: repair.RepairPlan) -> Html:
    """The items that nothing decides, as a file to be filled in."""
    if not plan.undecided or job.request.mode != "repair":
        return nothing("the policy decides every item")
    path = job.run.record.directory / UNDECIDED
    path.write_text(repair.template(plan.undecided, plan.work.schema), encoding="utf-8")
    where = {"items": len(plan.undecided), "file": str(path), "then": "-p policy=decisions -p decisions=FILE"}
    return tables.table([where], "Not decided: fill in a replica's label, delete or keep")


REPAIR = Mode(
    name="repair",
    says="what a comparison confirmed is mended",
    takes=_WRITES | {"findings", "decisions", "attempts", "settle_s"},
    run=_run,
    plan=_plan,
    compares=False,
)
UNDO = Mode(
    name="undo",
    says="what a repair wrote is taken back",
    takes=_WRITES | {"undo"},
    run=_run,
    plan=_plan_undo,
    compares=False,
)

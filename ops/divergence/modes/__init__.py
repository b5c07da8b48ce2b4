"""The modes of the ``divergence`` runbook, and what its notebook calls.

A mode is one entry of ``MODES``: what it is for, which parameters it takes, how it plans (if it writes anything) and
what it does. What always holds: a mode that only reads runs at once; whatever writes goes through a plan and its token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ops import tables
from ops.divergence import estimates
from ops.divergence import request as requests
from ops.divergence.comparison import Subject, look
from ops.divergence.modes.export import EXPORT
from ops.divergence.modes.fleet import FLEET
from ops.divergence.modes.mode import Job, Mode, Result, nothing
from ops.divergence.modes.probe import PROBE
from ops.divergence.modes.repair import REPAIR, UNDO
from ops.divergence.modes.sample import SAMPLE
from ops.divergence.modes.scan import SCAN
from ops.divergence.request import Request
from ops.errors import UsageError
from ops.markup import Html

if TYPE_CHECKING:
    from ops.plan import Plan
    from ops.runbook import Run

# Cheapest first, and then what writes items.
MODES: dict[str, Mode] = {mode.name: mode for mode in (PROBE, SAMPLE, SCAN, FLEET, EXPORT, REPAIR, UNDO)}

__all__ = [
    "MODES",
    "Job",
    "Mode",
    "Request",
    "Result",
    "carry_out",
    "estimate",
    "plan",
    "replicas",
    "request",
    "subjects",
]


def request(run: Run, apply: str = "", **asked: Any) -> Request:
    """What was asked, checked.

    Raises:
        UsageError: a parameter is wrong, or another mode's.
    """
    made = requests.request({name: mode.takes for name, mode in MODES.items()}, **asked)
    mode = MODES[made.mode]
    if apply and (mode.plan is None or made.exports):
        what = f"mode {mode.name}, given exports," if made.exports else f"mode {mode.name}"
        raise UsageError(f"--apply: {what} only reads, so there is no plan to apply")
    if mode.alone and len(made.tables) > 1:
        raise UsageError(f"tables: mode {mode.name} takes one at a time, got {', '.join(made.tables)}")
    for region in made.regions:
        if not made.tables:
            run.stage.require_region(region)
    run.known({"mode": made.mode})
    return made


def subjects(run: Run, request: Request) -> list[Subject]:
    """The tables to compare, each with its replicas; none where findings say what it is about.

    Raises:
        UsageError, RefusedError: they cannot be compared; the message says why.
    """
    if not MODES[request.mode].compares:
        return []
    return [look(run.cloud, table, request.regions, request.replicas) for table in request.tables or ("",)]


def replicas(found: list[Subject]) -> Html:
    """What the descriptions say of each replica, and what differs between them though it stops nothing."""
    rows = [
        {
            "table": subject.table,
            "replica": one.replica.label,
            "key": str(one.schema),
            "status": one.raw.get("TableStatus", ""),
            "items": one.items,
            "size_bytes": one.size_bytes,
            "time to live": one.ttl_attribute or "none",
            "indexes": len(one.indexes),
        }
        for subject in found
        for one in subject.described.values()
        if one is not None
    ]
    warnings = [f"{subject.table}: {warning}" for subject in found for warning in subject.warnings]
    shown = [tables.table(rows, "Replicas", empty="this mode looks at none")]
    return tables.together(
        *shown, *(tables.table([{"warning": one} for one in warnings], "What differs") for _ in warnings[:1])
    )


def estimate(run: Run, request: Request, found: list[Subject]) -> Html:
    """What the mode will read and what that takes, beside what other modes would take."""
    mode = MODES[request.mode]
    if not mode.compares:
        return nothing("the plan says what it takes")
    rows = estimates.of(request, found)
    run.known(estimates.figures(rows))
    own = tables.table(estimates.frame(request, found), f"What mode {mode.name} takes: {mode.says}")
    others = tables.table(estimates.comparison_frame(found, request.per_million), "Ways to compare", folded=True)
    return tables.together(own, others)


def plan(run: Run, request: Request, found: list[Subject]) -> Plan | None:
    """Show the plan of a mode that writes anything; None of one that only reads."""
    making = MODES[request.mode].plan
    if making is None:
        return None
    made = making(run.cloud, request, found)
    if made is not None:
        run.plan(made)
    return made


def carry_out(run: Run, request: Request, found: list[Subject], plan: Plan | None) -> Result:
    """Read, or apply the plan; on a dry run of a mode that writes, what can be known without it."""
    result = MODES[request.mode].run(Job(run, request, found, plan))
    run.known(result.figures)
    return result

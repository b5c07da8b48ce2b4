"""The runbook ``failover``, a call a cell: what is asked, what was found, the plan, and what came of it.

A drill on a stage that approves drills goes on without a token; leaving a region and coming back never do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from ops.aws import Cloud
from ops.charts.timeline import Timeline
from ops.failover import planning
from ops.failover.drill import drill
from ops.failover.evacuation import Moved, evacuate
from ops.failover.outcome import Drilled
from ops.failover.pictures import of_drill, of_watch
from ops.failover.preflight import Preflight, preflight
from ops.failover.request import Request, request
from ops.failover.returning import Returned, return_to
from ops.failover.timeline import Progress
from ops.plan import Plan, Report
from ops.record import Check
from ops.runbook import Run

Done = Moved | Drilled | Returned
__all__ = [
    "Done",
    "Request",
    "approval",
    "carrying_out",
    "checks",
    "compared",
    "figures",
    "look",
    "pictures",
    "plan",
    "request",
    "timeline",
]


def look(run: Run, asked: Request) -> Preflight:
    """Every reason not to, and how each thing stands."""
    run.progress(f"{asked.mode} of {asked.region}: looking for reasons not to")
    return preflight(run.cloud, asked)


def plan(run: Run, asked: Request, found: Preflight) -> Plan:
    return planning.plan(run.cloud, asked, found)


def approval(run: Run, asked: Request) -> str:
    """What lets the run go on without a token; empty where nothing does."""
    return planning.approval(run.stage, asked)


def carrying_out(run: Run, asked: Request, found: Preflight) -> Callable[[Cloud, Plan, str, Progress, Report], Done]:
    """What ``run.apply`` carries the plan out with. The run's own name marks its flag, its events, its experiments."""
    name = run.record.directory.name

    def carry_out(cloud: Cloud, plan: Plan, token: str, progress: Progress, report: Report) -> Done:
        del token  # run.apply has held it against the plan
        match asked.mode:
            case "evacuate":
                return evacuate(cloud, plan, name, found.api_urls, progress, report)
            case "failback":
                return return_to(cloud, plan, found.api_urls, progress, report)
            case "drill":
                return drill(cloud, plan, asked, name, found.api_urls, progress, report, run.known)

    return carry_out


def timeline(done: Done | None) -> pd.DataFrame:
    """What was seen when; no rows of a dry run."""
    return done.timeline.frame() if done else pd.DataFrame()


def pictures(done: Done | None) -> Timeline:
    """What was seen on one axis of time, its phases shaded; of a dry run, no data."""
    if done is None:
        return of_watch(pd.DataFrame(), pd.DataFrame(), [])
    phases, health = done.timeline.phases, done.watch.frame("region")
    if isinstance(done, Drilled):
        return of_drill(done.record, done.arrivals.frame(), done.arrivals.unreachable, phases, health)
    return of_watch(done.watch.frame("city"), health, phases)


def compared(done: Done | None) -> pd.DataFrame:
    """What became of it: of a drill beside what was expected, else by city."""
    if done is None:
        return pd.DataFrame()
    return done.compared() if isinstance(done, Drilled) else done.frame()


def figures(plan: Plan, done: Done | None) -> dict[str, Any]:
    """What was measured; of a dry run, what is expected."""
    return done.figures() if done else {"rto_bound_s": plan.estimates["rto_bound_s"]}


def checks(run: Run, found: Preflight, plan: Plan, done: Done | None) -> list[Check]:
    """The preflight's, and those of what was done or could be."""
    if done is not None:
        return [*found.checks(), *done.checks()]
    return found.checks() if plan.refusals else [*found.checks(), *run.plannable(plan)]

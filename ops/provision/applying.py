"""Carrying out a plan, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from ops.aws import Cloud, explained
from ops.errors import OpsError
from ops.plan import Outcome, Plan, Report, authorize
from ops.provision.desired import RUNBOOK
from ops.provision.destroying import DESTROYERS
from ops.provision.writers import WRITERS, Waits

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Applied:
    """What an apply did, in order."""

    outcomes: list[Outcome] = field(default_factory=list)

    def frame(self) -> pd.DataFrame:
        rows = [(o.step.resource, o.step.region or "global", o.done, round(o.duration_s, 1)) for o in self.outcomes]
        return pd.DataFrame(rows, columns=["resource", "region", "done", "duration_s"])


def apply(
    cloud: Cloud,
    plan: Plan,
    token: str,
    progress: Progress = lambda line: None,
    report: Report = lambda outcome: None,
    *,
    waits: Waits | None = None,
) -> Applied:
    """Carry out a plan, step by step, each reading before it writes.

    Raises:
        RefusedError: the token is not the plan's, or the plan holds a refusal. Nothing was changed.
        OpsError: a step failed; those before it are done and were reported, and the next plan goes on from there.
    """
    authorize(plan, token)
    waits = waits or Waits()
    destroys = bool(plan.parameters.get("destroy"))
    writers, outcomes = DESTROYERS if destroys else WRITERS, []
    for number, step in enumerate(plan.changes, start=1):
        kind = step.resource.partition(" ")[0]
        where = f"{step.resource}{f' in {step.region}' if step.region else ''}"
        progress(f"[{number}/{len(plan.changes)}] {step.action} {where}")
        begun = waits.clock()
        try:
            with explained(f"{step.action} {where}"):
                done = writers[kind](cloud, step, waits)
        except OpsError as error:
            report(Outcome(step, f"failed: {error}", waits.clock() - begun))
            again = f"ops run {RUNBOOK} --stage {plan.stage}{' -p destroy=true' if destroys else ''}"
            error.hint = error.hint or f"Plan again, and apply what is left: {again}"
            raise
        outcomes.append(Outcome(step, done, waits.clock() - begun))
        report(outcomes[-1])
    return Applied(outcomes)

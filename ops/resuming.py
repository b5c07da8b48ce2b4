"""Going on with a run that failed or was stopped: its parameters, its approval, and what is left of its plan.

What only reads is done again. What was carried out stands in the record, step by step (``plan.applied``, written as
each step is done): such a step is not taken twice. What always holds: nothing is done that the plan which was approved
did not have; a plan with anything else in it is refused, to be read first. An operation that keeps a journal of its own
by the plan's token (replay, redrive, repair) makes the same plan again and skips by that what it has finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.errors import RefusedError, UsageError
from ops.plan import Plan, Step
from ops.record import PARTIAL, REPORTS, plain_value, read_result
from ops.stage import ROOT

# Tells the kernel which run it goes on with.
RESUMES_VARIABLE = "ATOLL_RESUMES"
LATEST = "latest"
_NOT_DONE = ("failed", "stopped")
_DONE_BY = "done by "
# What is one step, however its present state is described.
_Identity = tuple[str, str | None, str]


@dataclass(frozen=True)
class Earlier:
    """A run that did not come to its end. ``parameters`` are all of its parameters, as they were."""

    directory: Path
    runbook: str
    stage: str
    verdict: str
    parameters: dict[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return self.directory.name

    def left(self, plan: Plan) -> Plan:
        """The plan without what this run carried out already; as it is where its operation keeps a journal of that.

        Raises:
            RefusedError: there is something in it that was not approved, or nothing was.
        """
        if self.plan is None:
            raise RefusedError(
                f"{self.name} was given a token and has no plan in its record, so there is nothing to go on with",
                hint=f"Make a new plan: ops run {self.runbook} --stage {self.stage}",
            )
        if plan.journaled and plan.token == self.plan["token"]:
            return plan
        approved = {_identity(step) for step in self.plan["steps"] if step["action"] not in ("keep", "refuse")}
        carried_out = {_identity(step) for step in self.plan["applied"] if not step["done"].startswith(_NOT_DONE)}
        # By a run that this one went on with.
        carried_out |= {_identity(step) for step in self.plan["steps"] if step["detail"].startswith(_DONE_BY)}
        strangers = [step for step in plan.changes if _identity(step.model_dump()) not in approved | carried_out]
        if strangers:
            named = "; ".join(f"{step.action} {step.resource}{_place(step)}" for step in strangers[:5])
            more = f" (and {len(strangers) - 5} more)" if len(strangers) > 5 else ""
            raise RefusedError(
                f"the plan that {self.name} was given the token of did not have: {named}{more}",
                hint=f"Read the plan as it is now, and apply that: ops run {self.runbook} --stage {self.stage}",
            )
        steps = [_kept(step, self.name) if _identity(step.model_dump()) in carried_out else step for step in plan.steps]
        return plan.model_copy(update={"steps": steps})


def _identity(step: Mapping[str, Any]) -> _Identity:
    return step["resource"], step["region"], json.dumps(plain_value(step["after"]), sort_keys=True)


def _place(step: Step) -> str:
    return f" in {step.region}" if step.region else ""


def _kept(step: Step, run: str) -> Step:
    if step.action in ("keep", "refuse"):
        return step
    return step.model_copy(update={"action": "keep", "detail": f"{_DONE_BY}{run}"})


def find(run: str, stage: str, root: Path = REPORTS) -> Earlier:
    """The run of this name, or at this path, or the ``latest`` of the stage that did not come to its end.

    Raises:
        UsageError: there is none, or it came to its end.
    """
    directory = _latest(stage, root) if run == LATEST else _directory(run, stage, root)
    earlier = read(directory)
    if earlier is None:
        raise UsageError(
            f"--resume: {_shown(directory)} has no record of its parameters, so it cannot be gone on with",
            hint="Run it again: ops list has the runbooks, ops run --help how.",
        )
    if earlier.verdict in ("pass", "fail"):
        raise UsageError(
            f"--resume: {earlier.name} came to its end, with verdict {earlier.verdict}",
            hint=f"Run it again: ops run {earlier.runbook} --stage {earlier.stage}",
        )
    if earlier.stage != stage:
        raise UsageError(
            f"--resume: {earlier.name} is of stage {earlier.stage!r}, not {stage!r}",
            hint=f"ops run --stage {earlier.stage} --resume {run}",
        )
    return earlier


def read(directory: Path) -> Earlier | None:
    """What is known of a run; None when not even its parameters are."""
    result = read_result(directory) or read_result(directory, PARTIAL)
    try:
        notebook = json.loads((directory / "run.ipynb").read_text(encoding="utf-8"))
        parameters = notebook["metadata"]["papermill"]["parameters"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if result is None:
        return None
    verdict = result["verdict"] if read_result(directory) else "unknown"
    return Earlier(
        directory, result["runbook"], result["stage"], verdict, _with_checkpoint(parameters, directory), result["plan"]
    )


def _with_checkpoint(parameters: dict[str, Any], directory: Path) -> dict[str, Any]:
    """What was read and kept is gone on from, where a runbook takes that (``resume``) and there is one to take."""
    kept = sorted(directory.glob("*.checkpoint"))
    return {**parameters, "resume": str(kept[0])} if parameters.get("resume") == "" and len(kept) == 1 else parameters


def _directory(run: str, stage: str, root: Path) -> Path:
    for path in (Path(run).expanduser(), root / stage / run, *sorted(root.glob(f"*/{Path(run).name}"))):
        if path.is_dir():
            return path.resolve()
    raise UsageError(
        f"--resume: there is no run {run!r} under {_shown(root)}; accepted: the name or the path of its directory, or "
        f"{LATEST!r}",
        hint=f"ls {_shown(root / stage)}",
    )


def _latest(stage: str, root: Path) -> Path:
    for path in sorted((root / stage).glob("*-*/"), reverse=True):
        if (earlier := read(path)) is not None and earlier.verdict not in ("pass", "fail"):
            return path.resolve()
    raise UsageError(f"--resume: every run of stage {stage!r} under {_shown(root)} came to its end")


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)

"""Plans: what an operation would change, made by reading only, and applied only by whoever holds its token.

The token is a digest over the runbook, account, stage, regions, parameters and steps of the plan, so that applying
needs exactly the plan that was read: when the world or the request has changed since, the new plan has another token
and the old one is refused. Estimates and warnings are information and do not enter the token.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ops.errors import RefusedError

# ``change``: what is not finished yet, because the same plan or an earlier one makes it. ``drift``: what is finished
# and differs from what it should be, by hand or because the stage file says something else now. Both are carried out.
Action = Literal["create", "change", "drift", "delete", "keep", "run", "refuse"]


class Step(BaseModel):
    """One line of a plan. ``before`` and ``after`` are JSON values; ``keep`` steps change nothing.

    A ``keep`` with a ``before`` is something that nobody asks for and that is left alone.
    """

    model_config = ConfigDict(frozen=True)

    action: Action
    resource: str
    region: str | None = None
    detail: str = ""
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class Outcome:
    """One step of a plan whose turn came: what was done about it (``created``, ``already so``, ``failed: ...``)."""

    step: Step
    done: str
    duration_s: float

    def record(self) -> dict[str, Any]:
        """The outcome as ``result.json`` keeps it: with the values before and after, so that it can be undone."""
        return {**self.step.model_dump(mode="json"), "done": self.done, "duration_s": round(self.duration_s, 3)}


# Told of each outcome as it is known, so that an apply that stops half-way leaves the record of what it did.
Report = Callable[[Outcome], None]


class Plan(BaseModel):
    """A plan as printed, recorded and applied.

    ``parameters`` are the *resolved* parameters (absolute times, not "2h"): a run with them makes the same plan again.
    ``estimates`` has figures with their unit in the name (``duration_s``, ``events``, ``cost_usd``). ``journaled``: the
    operation keeps a journal by the token and, given the same plan once more, skips what it has finished.
    """

    model_config = ConfigDict(frozen=True)

    runbook: str
    stage: str
    account: str
    regions: list[str]
    parameters: dict[str, Any] = Field(default_factory=dict)
    steps: list[Step]
    estimates: dict[str, Any] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    journaled: bool = False

    @property
    def changes(self) -> list[Step]:
        """The steps that would change something."""
        return [step for step in self.steps if step.action not in ("keep", "refuse")]

    @property
    def refusals(self) -> list[Step]:
        return [step for step in self.steps if step.action == "refuse"]

    @property
    def settled(self) -> bool:
        """Whether all is as it should be: nothing to change, and nothing refused."""
        return not self.changes and not self.refusals

    @property
    def token(self) -> str:
        """16 hexadecimal digits that stand for exactly this plan."""
        bound = self.model_dump(mode="json", exclude={"estimates", "warnings", "journaled"})
        text = json.dumps(bound, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def record(self) -> dict[str, Any]:
        """The plan as ``result.json`` keeps it, token included."""
        return {**self.model_dump(mode="json"), "token": self.token}


def apply_command(record: Mapping[str, Any]) -> str:
    """The run that makes the same plan again, given its token: with the parameters that the plan was made with."""
    parts = ["ops", "run", record["runbook"], "--stage", record["stage"]]
    for name, value in record.get("parameters", {}).items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        if isinstance(value, bool):
            # Also what is false: it may be true unless it is said.
            text = text.lower()
        if text:
            parts += ["-p", f"{name}={text}"]
    return shlex.join([*parts, "--apply", record["token"]])


def authorize(plan: Plan, token: str) -> None:
    """Let an apply go on only with this plan's own token and nothing in the way.

    Raises:
        RefusedError: the token is another plan's, or the plan holds a step that must not be taken.
    """
    if plan.refusals:
        reasons = "; ".join(f"{step.resource}: {step.detail}" for step in plan.refusals)
        raise RefusedError(f"{plan.runbook}: the plan cannot be applied: {reasons}")
    if token != plan.token:
        raise RefusedError(
            f"{plan.runbook}: token {token!r} is not this plan's: the plan, its parameters or the system changed",
            hint=f"Read the plan again and apply its token: ops run {plan.runbook} --stage {plan.stage}",
        )

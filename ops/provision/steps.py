"""One line of the plan: what a difference between the stage file and the world is called, and how it is put in words.

The words mean the same for every resource:

- ``create``: it is absent;
- ``drift``: it is there and differs from the stage file, because somebody changed it or the file says something else
  now (no record tells these two apart, and both values are shown); it is brought back to the stage file;
- ``change``: it is not finished: this plan makes it, or an apply that was interrupted did;
- ``keep``: it is as the stage file says; with a ``before``, it is nobody's wish and left alone;
- ``delete`` and ``refuse`` are what they say.
"""

from __future__ import annotations

from typing import Any

from ops.errors import OpsError
from ops.plan import Action, Step
from ops.provision.desired import RUNBOOK
from ops.stage import Stage


def step(
    resource: str, region: str | None, before: Any, after: Any, detail: str = "", *, unfinished: bool = False
) -> Step:
    """Create what is absent (``before`` None), keep what is equal, and bring back what differs.

    Args:
        unfinished: it is still being made, so that a difference is no drift.
    """
    if before == after:
        return Step(action="keep", resource=resource, region=region)
    if before is None:
        return Step(action="create", resource=resource, region=region, detail=detail, before=before, after=after)
    action: Action = "change" if unfinished else "drift"
    return Step(
        action=action, resource=resource, region=region, detail=difference(before, after), before=before, after=after
    )


def difference(before: Any, after: Any) -> str:
    """The fields that differ, with both values."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return f"is {before}, should be {after}"
    found = []
    for name, wanted in after.items():
        held = before.get(name)
        if held == wanted:
            continue
        if isinstance(held, dict) and isinstance(wanted, dict):
            found.append(f"{name}: {difference(held, wanted)}")
        else:
            found.append(f"{name} is {held}, should be {wanted}")
    found += [f"{name} is {before[name]}, should not be there" for name in before if name not in after]
    return "; ".join(found)


def region_of(planned: Step) -> str:
    if planned.region is None:
        raise OpsError(f"{planned.resource}: the step names no region")
    return planned.region


def tags(stage: Stage) -> list[dict[str, str]]:
    return [{"Key": "atoll:stage", "Value": stage.stage}, {"Key": "atoll:owner", "Value": RUNBOOK}]

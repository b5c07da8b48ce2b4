"""One line of a plan from two values: what is there and what is wanted. Pure."""

from __future__ import annotations

from typing import Any

from ops.plan import Action, Step


def step_for(resource: str, region: str | None, before: Any, after: Any, detail: str = "") -> Step:
    """Create what is absent (``before`` None), change what differs, keep what is equal."""
    action: Action = "keep" if before == after else "create" if before is None else "change"
    if action == "keep":
        return Step(action=action, resource=resource, region=region)
    if action == "change":
        detail = difference(before, after)
    return Step(action=action, resource=resource, region=region, detail=detail, before=before, after=after)


def difference(before: Any, after: Any) -> str:
    """The fields that differ, with both values."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return f"is {before}, should be {after}"
    names = [name for name in after if before.get(name) != after[name]]
    return "; ".join(f"{name} is {before.get(name)}, should be {after[name]}" for name in names)

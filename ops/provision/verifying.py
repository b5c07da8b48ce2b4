"""The world, read anew and held against the stage file."""

from __future__ import annotations

from ops.aws import Cloud
from ops.plan import Plan, Step
from ops.provision.desired import INDEXES, KEYS, TTL_ATTRIBUTE
from ops.provision.destroying import verify_destroyed
from ops.provision.planning import decide
from ops.provision.steps import difference
from ops.provision.world import observe
from ops.record import Check


def verify(cloud: Cloud, plan: Plan | None = None) -> list[Check]:
    """Hold the world against the stage file: a check for each resource, and for each replica's own state.

    After the plan of a destroy: that nothing is left, and that what is not ours is as it was.
    """
    if plan is not None and plan.parameters.get("destroy"):
        return verify_destroyed(cloud, plan)
    world = observe(cloud)
    checks = []
    for step in decide(cloud.stage, world).steps:
        name = f"{step.resource}{f' in {step.region}' if step.region else ''}"
        checks.append(Check(name, step.action == "keep", _seen(step)))
    for region, state in world.regions.items():
        table = state.table
        ok = table is not None and table.status == "ACTIVE" and table.ttl == TTL_ATTRIBUTE
        ok = ok and table is not None and INDEXES.items() <= table.indexes.items() and table.keys == KEYS
        seen = f"{table.status}, TTL on {table.ttl}, indexes {', '.join(table.indexes)}" if table else "absent"
        checks.append(Check(f"data of table {cloud.stage.table_name} in {region}", ok, seen))
    return checks


def _seen(step: Step) -> str:
    if step.action == "keep":
        return step.detail or "as the stage file says"
    if step.action == "create":
        return "absent"
    if step.action == "delete":
        return f"not wanted: {step.before}"
    return step.detail if step.action == "refuse" else difference(step.before, step.after)

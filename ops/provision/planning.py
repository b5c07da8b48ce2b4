"""The difference between what the stage file asks for and what is there, as a plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ops.aws import Cloud
from ops.errors import UsageError
from ops.plan import Plan, Step
from ops.prices import (
    HOSTED_ZONE_USD_PER_MONTH,
    TABLE_RESTORE_USD_PER_GB,
    alarm_usd_per_month,
    health_check_usd_per_month,
)
from ops.provision.alerting import alarm_steps
from ops.provision.desired import (
    RUNBOOK,
    desired_archives,
    desired_encryption,
)
from ops.provision.destroying import plan_destroy
from ops.provision.dns import dns_steps
from ops.provision.keys import AWS_OWNED
from ops.provision.steps import step as _step
from ops.provision.storage import bucket_steps
from ops.provision.table.leaving import check_regions
from ops.provision.table.planning import copied_bytes, deleted, table_steps, table_warnings
from ops.provision.table.planning import own_key as _own_key
from ops.provision.table.scaling import usd_per_month
from ops.provision.world import World, observe
from ops.stage import Stage


def plan(
    cloud: Cloud,
    remove_replicas: Sequence[str] = (),
    *,
    destroy: bool = False,
    discard_data: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Plan:
    """What would be created, changed or deleted to make the world what the stage file says; read-only.

    With ``destroy``, what would be deleted so that nothing global is left.

    Args:
        remove_replicas: regions, no longer the stage's, whose replica of the table is to be deleted. The tables are
            compared whole for it.
        discard_data: lets a destroy delete items too.

    Raises:
        UsageError: one of ``remove_replicas`` is no region, ``discard_data`` without ``destroy``, which discards
            nothing, or ``remove_replicas`` with it.
    """
    if discard_data and not destroy:
        raise UsageError("discard_data: only a destroy discards data; accepted: with -p destroy=true")
    if destroy and remove_replicas:
        raise UsageError("remove_replicas: a destroy removes every replica; accepted: without -p destroy=true")
    if destroy:
        return plan_destroy(cloud, discard_data)
    return decide(cloud.stage, observe(cloud, check_regions(remove_replicas), sleep))


def decide(stage: Stage, world: World) -> Plan:
    """The plan for a world that was read; a pure function."""
    steps = [
        *_stack_steps(stage, world),
        *_key_steps(stage, world),
        *table_steps(stage, world),
        *_archive_steps(stage, world),
        *bucket_steps(stage, world),
        *dns_steps(stage, world),
        *alarm_steps(stage, world),
    ]
    result = Plan(
        runbook=RUNBOOK,
        stage=stage.stage,
        account=world.account,
        regions=stage.regions,
        parameters={"remove_replicas": list(world.leaving)},
        steps=steps,
    )
    return result.model_copy(
        update={
            "estimates": {"changes": len(result.changes), **_replica_estimates(stage, world, result.changes)}
            | _estimates(result.changes),
            "warnings": _warnings(stage, world),
        }
    )


# What a change usually takes on AWS, in seconds. A replica: "a few minutes for an empty table, or up to several hours
# for large tables" (CloudFormation user guide, AWS::DynamoDB::GlobalTable, Replicas); a DNS change: within 60 s
# (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-creating.html). The others are calls
# that are answered in seconds, with a margin.
_USUAL_S = {"replica": 300, "replicas": 300, "table": 60, "encryption": 60, "zone": 60, "name": 60, "record": 60}
_CALL_S = 5


def _replica_estimates(stage: Stage, world: World, changes: list[Step]) -> dict[str, Any]:
    """How many replicas there will be more, and what they are filled with."""
    made = [step for step in changes if step.action == "create"]
    new = sum(step.resource.startswith("replica ") for step in made)
    new += sum(len(step.after["replicas"]) for step in made if step.resource.startswith("replicas "))
    copied = copied_bytes(stage, world) if new else 0
    return {
        "new_replicas": new,
        "copied_bytes": copied,
        "cost_usd": copied / 2**30 * TABLE_RESTORE_USD_PER_GB,
        **deleted(changes, world),
    }


def _estimates(changes: list[Step]) -> dict[str, Any]:
    """How long the changes usually take one after another, and what the bill grows by besides what is used."""
    monthly = 0.0
    for step in changes:
        sign = {"create": 1, "delete": -1}.get(step.action, 0)
        kind = step.resource.partition(" ")[0]
        if kind == "zone":
            monthly += sign * HOSTED_ZONE_USD_PER_MONTH
        elif kind == "health-check":
            monthly += sign * health_check_usd_per_month(step.after if step.action == "create" else step.before)
        elif kind == "alarm":
            monthly += sign * alarm_usd_per_month(step.after if step.action == "create" else step.before)
        elif kind == "scaling":
            monthly += usd_per_month(step.after) - usd_per_month(step.before)
    return {
        "duration_s": sum(_USUAL_S.get(step.resource.partition(" ")[0], _CALL_S) for step in changes),
        "cost_usd_per_month": monthly,
    }


def _stack_steps(stage: Stage, world: World) -> list[Step]:
    steps = []
    for region in stage.regions:
        state = world.regions[region]
        if state.domain:
            steps.append(Step(action="keep", resource=f"stack {stage.stack}", region=region, detail=state.stack))
        else:
            detail = f"the regional stack is {state.stack}; run: ops deploy --stage {stage.stage} --region {region}"
            steps.append(Step(action="refuse", resource=f"stack {stage.stack}", region=region, detail=detail))
    return steps


def _key_steps(stage: Stage, world: World) -> list[Step]:
    """The keys that the regional stacks make, and that what is made here has to be under from its first byte on."""
    steps = []
    for region in stage.regions if stage.key_alias else []:
        state, resource = world.regions[region], f"key {stage.key_alias}"
        if state.domain is None:
            continue  # the stack is refused already, and the key is its own
        if state.key is None:
            detail = f"the regional stack has not made it; run: ops deploy --stage {stage.stage} --region {region}"
            steps.append(Step(action="refuse", resource=resource, region=region, detail=detail))
        elif not state.key.usable:
            detail = f"{state.key.arn} is {state.key.state} and encrypts nothing; enable it, then plan again"
            steps.append(Step(action="refuse", resource=resource, region=region, detail=detail))
        else:
            steps.append(Step(action="keep", resource=resource, region=region, detail=state.key.arn))
    return steps


def _archive_steps(stage: Stage, world: World) -> list[Step]:
    steps = []
    for region in stage.regions:
        state = world.regions[region]
        if state.domain is None:
            continue
        for name, wanted in desired_archives(stage, world.account, region).items():
            archive, resource = state.archives.get(name), f"archive {name}"
            before = archive.shape() if archive else None
            held = archive.encryption if archive else None
            wanted |= {"encryption": desired_encryption(_own_key(stage, state), held)}
            if archive is not None and (archive.bus_arn != wanted["bus"] or archive.state.endswith("FAILED")):
                detail = f"it is {archive.state} and belongs to {archive.bus_arn}; delete it, then plan again"
                steps.append(Step(action="refuse", resource=resource, region=region, detail=detail, before=before))
            else:
                whose = (
                    "platform events" if name == stage.archive_name else f"events of {stage.journaled_region(region)}"
                )
                steps.append(_step(resource, region, before, wanted, f"{whose} only"))
    return steps


def _warnings(stage: Stage, world: World) -> list[str]:
    strangers = [name or "(simple)" for name in world.records if name not in stage.regions]
    found = [f"record {stage.dns.record}: {name} is no region of the stage; it is left alone" for name in strangers]
    if stage.key_alias is None:
        found += _under_other_keys(stage, world)
    return [*found, *table_warnings(stage, world)]


def _under_other_keys(stage: Stage, world: World) -> list[str]:
    """What somebody put under a key that the stage file does not ask for: shown, and never taken from under it."""
    found = []
    for region, state in world.regions.items():
        held = {f"table {stage.table_name}": state.table.encryption} if state.table else {}
        held |= {f"archive {name}": archive.encryption for name, archive in state.archives.items()}
        if state.bucket is not None and not state.bucket.foreign:
            held[f"bucket {stage.operations_bucket(world.account, region)}"] = state.bucket.encryption
        found += [
            f"{resource} in {region}: it is under {key}, and the stage asks for {AWS_OWNED}; it is left alone"
            for resource, key in held.items()
            if key != AWS_OWNED
        ]
    return found

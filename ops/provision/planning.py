"""The difference between what the stage file asks for and what is there, as a plan."""

from __future__ import annotations

from typing import Any

from ops.aws import Cloud
from ops.errors import UsageError
from ops.plan import Plan, Step
from ops.prices import HOSTED_ZONE_USD_PER_MONTH, alarm_usd_per_month, health_check_usd_per_month
from ops.provision.alerting import alarm_steps
from ops.provision.desired import (
    INDEXES,
    KEYS,
    RUNBOOK,
    TTL_ATTRIBUTE,
    desired_archives,
    desired_encryption,
    desired_shape,
)
from ops.provision.destroying import plan_destroy
from ops.provision.dns import dns_steps
from ops.provision.keys import AWS_MANAGED, AWS_OWNED
from ops.provision.steps import difference
from ops.provision.steps import step_for as _step
from ops.provision.world import COMING_UP, RegionState, Table, World, observe
from ops.stage import Stage


def plan(cloud: Cloud, *, destroy: bool = False, discard_data: bool = False) -> Plan:
    """What would be created, changed or deleted to make the world what the stage file says; read-only.

    With ``destroy``, what would be deleted so that nothing global is left; ``discard_data`` lets it delete items too.

    Raises:
        UsageError: ``discard_data`` without ``destroy``, which discards nothing.
    """
    if discard_data and not destroy:
        raise UsageError("discard_data: only a destroy discards data; accepted: with -p destroy=true")
    if destroy:
        return plan_destroy(cloud, discard_data)
    return decide(cloud.stage, observe(cloud))


def decide(stage: Stage, world: World) -> Plan:
    """The plan for a world that was read; a pure function."""
    steps = [
        *_stack_steps(stage, world),
        *_key_steps(stage, world),
        *_table_steps(stage, world),
        *_archive_steps(stage, world),
        *dns_steps(stage, world),
        *alarm_steps(stage, world),
    ]
    result = Plan(runbook=RUNBOOK, stage=stage.stage, account=world.account, regions=stage.regions, steps=steps)
    new_replicas = sum(step.action == "create" and step.resource.startswith("replica ") for step in steps)
    return result.model_copy(
        update={
            "estimates": {"changes": len(result.changes), "new_replicas": new_replicas, **_estimates(result.changes)},
            "warnings": _warnings(stage, world),
        }
    )


# What a table is once KMS no longer lets DynamoDB use its key.
_WITHOUT_KEY = {"INACCESSIBLE_ENCRYPTION_CREDENTIALS", "ARCHIVING", "ARCHIVED"}

# What a change usually takes on AWS, in seconds. A replica: "a few minutes for an empty table, or up to several hours
# for large tables" (CloudFormation user guide, AWS::DynamoDB::GlobalTable, Replicas); a DNS change: within 60 s
# (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-creating.html). The others are calls
# that are answered in seconds, with a margin.
_USUAL_S = {"replica": 300, "table": 60, "encryption": 60, "zone": 60, "name": 60, "record": 60}
_CALL_S = 5


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


def _own_key(stage: Stage, state: RegionState) -> str | None:
    """The stage's own key in a region, by its alias as long as it is not there (which is refused)."""
    return state.key.arn if state.key else stage.key_alias


def _table_steps(stage: Stage, world: World) -> list[Step]:
    name, home = stage.table_name, stage.home_region
    tables = {region: state.table for region, state in world.regions.items()}
    own = tables[home]
    refused = [*_table_refusals(stage, tables), *_encryption_refusals(stage, world)]
    if refused:
        return refused
    key = _own_key(stage, world.regions[home])
    shape, wanted_shape = None, desired_shape()
    if own is None and key is not None:
        wanted_shape |= {"encryption": key}
    if own is not None:
        # Indexes that are not ours are none of our business.
        shape = own.shape() | {"indexes": {i: k for i, k in own.indexes.items() if i in INDEXES}}
    steps = [_step(f"table {name}", home, shape, wanted_shape, "on demand, with streams")]
    steps.append(_step(f"ttl {name}", home, {"attribute": own.ttl} if own else None, {"attribute": TTL_ATTRIBUTE}))
    # Before a replica is added: all of them have a key of the same kind.
    steps += _encryption_steps(stage, world)
    for region in stage.regions:
        if region != home:
            status, key = own.replicas.get(region) if own else None, _own_key(stage, world.regions[region])
            detail = f"of the table in {home}{f', under {key}' if key else ''}"
            steps.append(_step(f"replica {name}", region, status, "ACTIVE", detail))
    for region in stage.regions:
        table = tables[region]
        wanted = {"deletion_protection": stage.table.deletion_protection}
        before = {"deletion_protection": table.deletion_protection} if table else {"deletion_protection": False}
        steps.append(_step(f"protection {name}", region, before, wanted))
        wanted = {"point_in_time_recovery": stage.table.point_in_time_recovery}
        before = {"point_in_time_recovery": table.recovery if table else False}
        steps.append(_step(f"recovery {name}", region, before, wanted))
    return steps


def _table_refusals(stage: Stage, tables: dict[str, Table | None]) -> list[Step]:
    """What no API call can bring to the desired state without losing data."""
    name, home = stage.table_name, stage.home_region
    own, refused = tables[home], []

    def refuse(region: str, detail: str, before: Any = None, after: Any = None) -> None:
        refused.append(
            Step(action="refuse", resource=f"table {name}", region=region, detail=detail, before=before, after=after)
        )

    if own is not None and own.keys != KEYS:
        refuse(home, "its key schema is another, and a key schema cannot be changed", own.keys, KEYS)
    for index, keys in INDEXES.items():
        if own is not None and own.indexes.get(index, keys) != keys:
            refuse(home, f"index {index} has other keys; delete the index, then plan again", own.indexes[index], keys)
    for region, table in tables.items():
        status = own.replicas.get(region) if own else None
        if region == home:
            continue
        if table is not None and status is None:
            refuse(region, f"a table of this name stands alone here; it is no replica of the one in {home}")
        elif status is not None and status != "ACTIVE" and status not in COMING_UP:
            refuse(region, f"the replica is {status}; see the divergence runbook before you touch it")
    return refused


def _encryption_steps(stage: Stage, world: World) -> list[Step]:
    """One step for the whole table, because DynamoDB changes the keys of all its replicas in one call."""
    held, wanted = _encryption(stage, world)
    if stage.key_alias is None or not held:
        return []
    return [_step(f"encryption {stage.table_name}", stage.home_region, held, wanted)]


def _encryption(stage: Stage, world: World) -> tuple[dict[str, str], dict[str, str]]:
    """Region -> the key that its replica has, and the one that it should have; regions without a replica are absent."""
    held = {region: state.table.encryption for region, state in world.regions.items() if state.table}
    wanted = {r: desired_encryption(_own_key(stage, world.regions[r]), key) for r, key in held.items()}
    return held, wanted


def _encryption_refusals(stage: Stage, world: World) -> list[Step]:
    """What DynamoDB would refuse: every replica has a key of the same kind, and only all together get others.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/globaltables-security.html
    """
    name, home = stage.table_name, stage.home_region
    own = world.regions[home].table
    if own is None:
        return []
    held, wanted = _encryption(stage, world)
    strangers = sorted(set(own.replicas) - set(stage.regions))
    detail = None
    if own.status in _WITHOUT_KEY:
        detail = f"it is {own.status}: enable {own.encryption} and its policy again, then plan again"
    elif held != wanted and strangers:
        detail = (
            f"{difference(held, wanted)}; the keys of all replicas are set in one call, and {', '.join(strangers)} is "
            "no region of the stage and has none; add it to the stage file or remove that replica, then plan again"
        )
    elif (
        stage.key_alias is None
        and own.encryption not in (AWS_OWNED, AWS_MANAGED)
        and any(region not in own.replicas for region in stage.regions if region != home)
    ):
        detail = (
            f"it is under {own.encryption}, so a new replica needs a customer-managed key too, and the stage has none; "
            "set encryption.customer_managed_key, deploy, then plan again"
        )
    if detail is None:
        return []
    return [Step(action="refuse", resource=f"encryption {name}", region=home, detail=detail, before=held, after=wanted)]


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
    own = world.regions[stage.home_region].table
    for region in sorted(set(own.replicas) - set(stage.regions)) if own else []:
        found.append(
            f"table {stage.table_name}: it has a replica in {region}, no region of the stage; it is left alone"
        )
    if own and any(own.replicas.get(region) is None for region in stage.regions if region != stage.home_region):
        found.append("a replica of a table that holds items may take hours, not the minutes that are estimated")
    if stage.key_alias is None:
        found += _under_other_keys(stage, world)
    if not stage.table.deletion_protection:
        found.append(f"table {stage.table_name}: deletion protection is off for this stage")
    return found


def _under_other_keys(stage: Stage, world: World) -> list[str]:
    """What somebody put under a key that the stage file does not ask for: shown, and never taken from under it."""
    found = []
    for region, state in world.regions.items():
        held = {f"table {stage.table_name}": state.table.encryption} if state.table else {}
        held |= {f"archive {name}": archive.encryption for name, archive in state.archives.items()}
        found += [
            f"{resource} in {region}: it is under {key}, and the stage asks for {AWS_OWNED}; it is left alone"
            for resource, key in held.items()
            if key != AWS_OWNED
        ]
    return found

"""What would be done to the table, from what is there and what the stage file says; pure."""

from __future__ import annotations

from typing import Any

from ops.plan import Step
from ops.provision.desired import INDEXES, KEYS, desired_encryption
from ops.provision.keys import AWS_MANAGED, AWS_OWNED
from ops.provision.steps import difference, step
from ops.provision.table import leaving
from ops.provision.table.desired import (
    EVENTUAL,
    PROVISIONED,
    desired_group,
    desired_shape,
    desired_ttl,
    is_strong,
    other_regions,
)
from ops.provision.table.scaling import desired_scaling
from ops.provision.table.world import COMING_UP, Table
from ops.provision.world import RegionState, World
from ops.stage import Stage

# What a table is once KMS no longer lets DynamoDB use its key.
_WITHOUT_KEY = {"INACCESSIBLE_ENCRYPTION_CREDENTIALS", "ARCHIVING", "ARCHIVED"}


def own_key(stage: Stage, state: RegionState) -> str | None:
    """The stage's own key in a region, by its alias as long as it is not there (which is refused)."""
    return state.key.arn if state.key else stage.key_alias


def table_steps(stage: Stage, world: World) -> list[Step]:
    """What is to be done, in the order in which DynamoDB takes it."""
    name, home = stage.table_name, stage.home_region
    tables = {region: state.table for region, state in world.regions.items()}
    own = tables[home]
    refused = [
        *_table_refusals(stage, tables),
        *_consistency_refusals(stage, world),
        *_encryption_refusals(stage, world),
    ]
    if refused:
        return refused
    key = own_key(stage, world.regions[home])
    shape, wanted_shape = None, desired_shape(stage)
    if own is None and key is not None:
        wanted_shape |= {"encryption": key}
    if own is not None:
        # Indexes that are not ours are none of our business.
        shape = own.shape() | {"indexes": {i: k for i, k in own.indexes.items() if i in INDEXES}}
    billing = "with provisioned capacity" if stage.table.capacity else "on demand"
    steps = [step(f"table {name}", home, shape, wanted_shape, f"{billing}, with streams")]
    # Before a replica is added: DynamoDB takes none of a table whose writes are provisioned and not autoscaled.
    steps += _scaling_steps(stage, world, [home])
    ttl = desired_ttl(stage)
    if own is not None or ttl is not None:
        steps.append(step(f"ttl {name}", home, {"attribute": own.ttl} if own else None, {"attribute": ttl}))
    # Before a replica is added: all of them have a key of the same kind.
    steps += _encryption_steps(stage, world)
    steps += _replica_steps(stage, world)
    steps += _scaling_steps(stage, world, other_regions(stage))
    for region in stage.regions:
        table = tables[region]
        wanted = {"deletion_protection": stage.table.deletion_protection}
        before = {"deletion_protection": table.deletion_protection if table else False}
        steps.append(step(f"protection {name}", region, before, wanted, unfinished=table is None))
        wanted = {"point_in_time_recovery": stage.table.point_in_time_recovery}
        before = {"point_in_time_recovery": table.recovery if table else False}
        steps.append(step(f"recovery {name}", region, before, wanted, unfinished=table is None))
    return [*steps, *leaving.removal_steps(stage, own, world.leaving)]


def table_warnings(stage: Stage, world: World) -> list[str]:
    own, name = world.regions[stage.home_region].table, f"table {stage.table_name}"
    found = []
    for region in leaving.strangers(stage, own):
        if region not in world.leaving:
            found.append(
                f"{name}: it has a replica in {region}, no region of the stage; it is left alone, and removed by "
                f"{leaving.removing(stage, region)}"
            )
    for region in world.leaving:
        if region in world.records and region not in stage.regions:
            found.append(f"record {stage.dns.record}: it still leads to {region}, whose replica is to go")
    missing = [region for region in other_regions(stage) if own is None or region not in own.replicas]
    if own is not None and missing and own.items:
        found.append(
            f"{name}: its {own.items:,} items are copied to {', '.join(missing)}: DynamoDB gives no rate for that, and "
            "several hours for a large table, not the minutes that are estimated; they are charged as a restore, and "
            "for their way between regions"
        )
    if is_strong(stage):
        found.append(
            f"{name}: it is strongly consistent and so has no time to live: what is older than "
            f"{stage.table.event_retention_days} days is hidden from readers and stays stored, and paid for"
        )
    if own is not None and own.billing == PROVISIONED and stage.table.capacity is None:
        found.append(f"{name}: DynamoDB lets a table become on demand four times in 24 hours")
    if own is not None and own.billing != PROVISIONED and stage.table.capacity is not None:
        found.append(
            f"{name}: it begins with the `initial` of its capacity (else `min`) in every replica; less than today's "
            "peak is throttled until autoscaling has followed, which takes minutes"
        )
    if not stage.table.deletion_protection:
        found.append(f"{name}: deletion protection is off for this stage")
    return found


def copied_bytes(stage: Stage, world: World) -> int:
    """How much the new replicas are filled with."""
    own = world.regions[stage.home_region].table
    if own is None:
        return 0
    return own.size_bytes * sum(region not in own.replicas for region in other_regions(stage))


def deleted(changes: list[Step], world: World) -> dict[str, int]:
    """What goes with the replicas that go; nothing is said when none goes."""
    going = [s.region for s in changes if s.action == "delete" and s.resource.startswith("replica ")]
    tables = [table for region in going if region and (table := world.leaving[region].table)]
    if not tables:
        return {}
    return {"deleted_items": sum(t.items for t in tables), "deleted_bytes": sum(t.size_bytes for t in tables)}


def _scaling_steps(stage: Stage, world: World, regions: list[str]) -> list[Step]:
    """One step a region: the capacity of the table and its indexes, or their leftovers on a table that is on demand."""
    steps = []
    for region in regions:
        found, wanted = world.regions[region].scaling, desired_scaling(stage, region)
        resource = f"scaling {stage.table_name}"
        if wanted is not None:
            # What tracks indexes that are not ours is not read, and nothing is more than what is wanted.
            detail = "; ".join(f"{p} {t['min']} to {t['max']} at {t['target_percent']} %" for p, t in wanted.items())
            steps.append(step(resource, region, found, wanted, detail))
        elif found is not None:
            detail = "the table is on demand, which needs none"
            steps.append(Step(action="delete", resource=resource, region=region, detail=detail, before=found))
    return steps


def _replica_steps(stage: Stage, world: World) -> list[Step]:
    name, home, own = stage.table_name, stage.home_region, world.regions[stage.home_region].table
    group, wanted = (own.group() if own else None), desired_group(stage)
    steps = []
    if is_strong(stage):
        # One call makes the whole group, and nothing changes it afterwards.
        members = [*other_regions(stage), *([f"a witness in {stage.table.witness}"] if stage.table.witness else [])]
        steps.append(step(f"replicas {name}", home, group, wanted, f"strongly consistent, with {', '.join(members)}"))
        if group is None:
            return steps
    for region in other_regions(stage):
        status, key = own.replicas.get(region) if own else None, own_key(stage, world.regions[region])
        detail = f"of the table in {home}{f', under {key}' if key else ''}"
        # One that exists and is not ACTIVE is coming up: the others are refused.
        steps.append(step(f"replica {name}", region, status, "ACTIVE", detail, unfinished=True))
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
        elif own is not None and index in own.partial_indexes:
            detail = f"index {index} holds some attributes only; delete the index, then plan again"
            refuse(home, detail, {"projection": "in part"}, {"projection": "ALL"})
    for region, table in tables.items():
        status = own.replicas.get(region) if own else None
        if region == home:
            continue
        if table is not None and status is None:
            refuse(region, f"a table of this name stands alone here; it is no replica of the one in {home}")
        elif status is not None and status != "ACTIVE" and status not in COMING_UP:
            refuse(region, f"the replica is {status}; see the divergence runbook before you touch it")
    return refused


def _consistency_refusals(stage: Stage, world: World) -> list[Step]:
    """A group keeps the consistency that it was made with, and a strong one its regions; it is made of an empty table.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html
    """
    own, home = world.regions[stage.home_region].table, stage.home_region
    if own is None:
        return []
    group, wanted = own.group(), desired_group(stage)
    consistency = wanted["consistency"] if wanted else EVENTUAL
    before: Any = group
    after: Any = wanted
    detail = None
    if group is not None and group["consistency"] != consistency:
        detail = f"consistency is {group['consistency']}, should be {consistency}; it never changes: make a new table"
    elif is_strong(stage) and group is not None and group != wanted:
        detail = f"{difference(group, wanted)}; a strongly consistent table keeps the three regions it was made with"
    elif is_strong(stage) and group is None and own.local_indexes:
        before, after = {"local_indexes": list(own.local_indexes)}, {"local_indexes": []}
        detail = f"{difference(before, after)}; a strongly consistent table has no local secondary indexes"
    elif world.holds_items:
        before, after = {"empty": False}, {"empty": True}
        detail = f"{difference(before, after)}; DynamoDB makes a strongly consistent table of an empty one only"
    if detail is None:
        return []
    name = f"replicas {stage.table_name}"
    return [Step(action="refuse", resource=name, region=home, detail=detail, before=before, after=after)]


def _encryption_steps(stage: Stage, world: World) -> list[Step]:
    """One step for the whole table, because DynamoDB changes the keys of all its replicas in one call."""
    held, wanted = _encryption(stage, world)
    if stage.key_alias is None or not held:
        return []
    return [step(f"encryption {stage.table_name}", stage.home_region, held, wanted)]


def _encryption(stage: Stage, world: World) -> tuple[dict[str, str], dict[str, str]]:
    """Region -> the key that its replica has, and the one that it should have; regions without a replica are absent."""
    held = {region: state.table.encryption for region, state in world.regions.items() if state.table}
    wanted = {r: desired_encryption(own_key(stage, world.regions[r]), key) for r, key in held.items()}
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
    strangers = leaving.strangers(stage, own)
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
        and any(region not in own.replicas for region in other_regions(stage))
    ):
        detail = (
            f"it is under {own.encryption}, so a new replica needs a customer-managed key too, and the stage has none; "
            "set encryption.customer_managed_key, deploy, then plan again"
        )
    if detail is None:
        return []
    return [Step(action="refuse", resource=f"encryption {name}", region=home, detail=detail, before=held, after=wanted)]

"""A replica that is to go: what stands in the way, and taking it out of the global table.

Removing a replica deletes the table of its region. So it happens only to regions that the run names, and never while
that replica holds something that another lacks. What autoscaled it stays behind, and goes in a step of its own.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ReplicationGroupUpdate.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ops import divergence
from ops.aws import Cloud
from ops.errors import OpsError, RefusedError, UsageError
from ops.plan import Step
from ops.provision.desired import RUNBOOK
from ops.provision.steps import region_of
from ops.provision.table.desired import STRONG
from ops.provision.table.scaling import Settings, find_scaling
from ops.provision.table.world import Table, find_table, is_ready
from ops.provision.waits import Waits
from ops.stage import Stage

SHOWN_KEYS = 10
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


@dataclass(frozen=True)
class Leaving:
    """A region that is to lose its replica, and what its table holds.

    Attributes
    ----------
    only_there
        Keys of items that another replica lacks, or has in an older or an undecidable version.
    unsettled
        Keys of items that kept changing while they were compared.
    scaling
        The capacity that is autoscaled there.
    """

    table: Table | None
    only_there: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()
    scaling: Settings | None = None


def check_regions(regions: Sequence[str]) -> list[str]:
    """The regions to leave, each once and in order.

    Raises:
        UsageError: one is no region's name.
    """
    wrong = [region for region in regions if not _REGION.fullmatch(region)]
    if wrong:
        raise UsageError(f"remove_replicas: {', '.join(map(repr, wrong))}: no AWS region's name, as us-east-1 is")
    return sorted(set(regions))


def examine(cloud: Cloud, region: str, sleep: Callable[[float], None] = time.sleep) -> Leaving:
    """Look at the table of a region that is to go; with the items of every replica that stays, where both are there.

    Reads each of these tables whole.
    """
    stage, home = cloud.stage, cloud.stage.home_region
    table, own = find_table(cloud, region), find_table(cloud, home)
    scaling = find_scaling(cloud, region)
    if table is None or own is None or table.keys != own.keys or region in stage.regions:
        return Leaving(table, scaling=scaling)
    if own.replicas.get(region) == "DELETING":
        return Leaving(table, scaling=scaling)
    staying = [r for r in stage.regions if r == home or own.replicas.get(r) == "ACTIVE"]
    found = divergence.compare(cloud, regions=[region, *staying], sleep=sleep)
    if not found.complete:
        raise RefusedError(
            f"replica of {region}: {found.check().detail}",
            hint=f"Look at it first: ops run divergence --stage {stage.stage}",
        )
    held = [
        difference.text
        for difference in found.confirmed
        if region not in difference.missing_in and (not difference.newest or region in difference.newest)
    ]
    return Leaving(table, tuple(held), found.unsettled, scaling)


def obstacle(stage: Stage, own: Table | None, region: str, leaving: Leaving) -> str | None:
    """Why the replica of a region may not be removed, with what to do about it; None if nothing is in the way."""
    table, status = leaving.table, own.replicas.get(region) if own else None
    if region == stage.home_region:
        return "it is the home region, through which the table is kept; choose another home_region, then plan again"
    if region in stage.regions:
        return f"the stage file names it; take it out of `regions` of {stage.shown_file}, then plan again"
    if own is not None and own.consistency == STRONG and status is not None:
        return (
            "the table is strongly consistent: DynamoDB takes no single replica out of its three regions, and adds none"
        )
    if table is None or status == "DELETING":
        return None
    if status is None:
        return (
            f"a table of this name stands alone here, no replica of the one in {stage.home_region}{_held(leaving)}; "
            f"delete it by hand: aws dynamodb delete-table --table-name {stage.table_name} --region {region}"
        )
    return _of_a_member(stage, status, region, table, leaving)


def _of_a_member(stage: Stage, status: str, region: str, table: Table, leaving: Leaving) -> str | None:
    if status != "ACTIVE":
        return f"the replica is {status}; see the divergence runbook before you touch it"
    if table.deletion_protection:
        return (
            "its deletion protection is on; turn it off, then plan again: aws dynamodb update-table "
            f"--table-name {stage.table_name} --region {region} --no-deletion-protection-enabled"
        )
    if leaving.only_there or leaving.unsettled:
        return f"removing it would lose data{_held(leaving)}; stop what writes there, then plan again"
    return None


def removal_steps(stage: Stage, own: Table | None, leaving: dict[str, Leaving]) -> Iterator[Step]:
    """A line for each region that is to go, and one for each replica that nobody asks for and that stays."""
    name = f"replica {stage.table_name}"
    for region, state in leaving.items():
        status, table = (own.replicas.get(region) if own else None), state.table
        reason, before = obstacle(stage, own, region, state), {"status": status}
        if reason is not None:
            yield Step(action="refuse", resource=name, region=region, detail=reason, before=before)
            continue
        if status is None and table is None:
            yield Step(action="keep", resource=name, region=region, detail="there is none")
        else:
            detail = "the replica and its copy of the items are deleted; every item is in the others"
            yield Step(action="delete", resource=name, region=region, detail=detail, before=before)
        if state.scaling is not None:
            resource, detail = f"scaling {stage.table_name}", "it stays behind when a replica goes"
            yield Step(action="delete", resource=resource, region=region, detail=detail, before=state.scaling)
    for region in strangers(stage, own):
        if region not in leaving:
            detail = f"no region of the stage; it is left alone, and removed by {removing(stage, region)}"
            kept = {"status": own.replicas[region] if own else None}
            yield Step(action="keep", resource=name, region=region, detail=detail, before=kept)


def strangers(stage: Stage, own: Table | None) -> list[str]:
    """The regions of replicas that the stage file does not name."""
    return sorted(set(own.replicas) - set(stage.regions)) if own else []


def removing(stage: Stage, region: str) -> str:
    return f"ops run {RUNBOOK} --stage {stage.stage} -p remove_replicas={region}"


def remove(cloud: Cloud, step: Step, waits: Waits) -> str:
    """Take the replica out of the table and wait until it is gone.

    Raises:
        OpsError: since the plan, something came in the way.
    """
    stage, home, region = cloud.stage, cloud.stage.home_region, region_of(step)
    own = find_table(cloud, home)
    leaving = examine(cloud, region, waits.sleep)
    if (own is None or region not in own.replicas) and leaving.table is None:
        return "already so"
    reason = obstacle(stage, own, region, leaving)
    if own is None or reason is not None:
        raise OpsError(f"{step.resource} in {region}: {reason or f'the table in {home} has gone since the plan'}")
    if own.replicas.get(region) != "DELETING":
        waits.until(f"table {stage.table_name} in {home}", lambda: is_ready(cloud, home))
        delete: Any = [{"Delete": {"RegionName": region}}]
        cloud.client("dynamodb", home).update_table(TableName=stage.table_name, ReplicaUpdates=delete)

    def gone() -> bool:
        table = find_table(cloud, home)
        return table is not None and region not in table.replicas and find_table(cloud, region) is None

    waits.until(f"the end of the replica of {stage.table_name} in {region}", gone)
    return "deleted"


def _held(leaving: Leaving) -> str:
    """What would be lost, in words; empty when nothing would be."""
    parts = []
    if keys := leaving.only_there:
        more = f"; and {len(keys) - SHOWN_KEYS:,} more" if len(keys) > SHOWN_KEYS else ""
        parts.append(
            f"it holds {len(keys):,} item{'' if len(keys) == 1 else 's'} that another replica lacks or has otherwise: "
            f"{'; '.join(keys[:SHOWN_KEYS])}{more}"
        )
    if leaving.unsettled:
        parts.append(f"{len(leaving.unsettled):,} kept changing and could not be compared")
    return f": {'; '.join(parts)}" if parts else ""

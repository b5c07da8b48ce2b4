"""What the stage file asks of the global table, in the terms in which a table is read. Pure."""

from __future__ import annotations

from typing import Any

from ops.provision.desired import INDEXES, KEYS, TTL_ATTRIBUTE
from ops.stage import Stage

ON_DEMAND, PROVISIONED = "PAY_PER_REQUEST", "PROVISIONED"
STREAM = "NEW_AND_OLD_IMAGES"
EVENTUAL, STRONG = "EVENTUAL", "STRONG"


def desired_billing(stage: Stage) -> str:
    return ON_DEMAND if stage.table.capacity is None else PROVISIONED


def desired_shape(stage: Stage) -> dict[str, Any]:
    """The table as :meth:`ops.provision.table.world.Table.shape` describes one."""
    return {"keys": KEYS, "indexes": INDEXES, "billing": desired_billing(stage), "stream": STREAM}


def is_strong(stage: Stage) -> bool:
    return stage.table.consistency == "strong"


def other_regions(stage: Stage) -> list[str]:
    """Where the table has a replica besides the home region's."""
    return [region for region in stage.regions if region != stage.home_region]


def desired_group(stage: Stage) -> dict[str, Any] | None:
    """The replicas as a group, as :meth:`ops.provision.table.world.Table.group` describes one; None if there is one
    region only."""
    if not other_regions(stage):
        return None
    return {
        "consistency": STRONG if is_strong(stage) else EVENTUAL,
        "replicas": sorted(other_regions(stage)),
        "witness": stage.table.witness,
    }


def desired_ttl(stage: Stage) -> str | None:
    """The attribute by which DynamoDB deletes what has expired; None where it deletes nothing.

    A strongly consistent global table has no time to live. The functions hide what has expired all the same.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html
    """
    return None if is_strong(stage) else TTL_ATTRIBUTE

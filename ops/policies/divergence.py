"""Grants of the ``divergence`` runbook, a part a mode."""

from __future__ import annotations

from collections.abc import Iterator

from ops.bucket import REPAIR
from ops.divergence.reserved import NAMESPACE
from ops.policies.grant import Grant, Names
from ops.policies.shared import keys, metrics, reading_items


def reading_replicas(names: Names) -> Iterator[Grant]:
    actions = ("dynamodb:Scan", "dynamodb:BatchGetItem", "dynamodb:DescribeTimeToLive")
    yield Grant("Items", actions, names.everywhere("dynamodb", names.table))
    yield from reading_items(names)


def probing(names: Names) -> Iterator[Grant]:
    """What replicas tell of themselves, and the heartbeats that are timed in an apply."""
    table = names.everywhere("dynamodb", names.table)
    settings = ("dynamodb:DescribeContinuousBackups", "dynamodb:GetResourcePolicy")
    yield Grant("ReplicaSettings", settings, table)
    yield from keys(names, "ReplicaKey", ("kms:DescribeKey",))
    yield from metrics(names)
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    own = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [f"{NAMESPACE}{one}" for one in names.stage.regions]}}
    yield Grant("Heartbeats", ("dynamodb:GetItem",), table, condition=own)
    writes = ("dynamodb:PutItem", "dynamodb:DeleteItem")
    yield Grant("WriteHeartbeats", writes, table, changes=True, condition=own)


def repairing(names: Names) -> Iterator[Grant]:
    """Repair and undo: the writes of an apply, and the images that are kept before them. Beside the ledger, which has
    the listing of the bucket and the use of its key."""
    table = names.everywhere("dynamodb", names.table)
    writes = ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")
    yield Grant("RepairItems", writes, table, changes=True)
    images, why = names.kept(f"{REPAIR}/*"), "images are kept under their plan's token, a chunk an object"
    yield Grant("ReadImages", ("s3:GetObject",), images, why)
    yield Grant("KeepImages", ("s3:PutObject",), images, why, changes=True)

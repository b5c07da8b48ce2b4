"""Grants of the ``divergence`` runbook, a part a mode."""

from __future__ import annotations

from collections.abc import Iterator

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

"""Grants of the ``divergence`` runbook, a part a mode."""

from __future__ import annotations

from collections.abc import Iterator

from ops.policies.grant import Grant, Names
from ops.policies.shared import reading_items


def reading_replicas(names: Names) -> Iterator[Grant]:
    actions = ("dynamodb:Scan", "dynamodb:BatchGetItem", "dynamodb:DescribeTimeToLive")
    yield Grant("Items", actions, names.everywhere("dynamodb", names.table))
    yield from reading_items(names)

"""Do the replicas of a DynamoDB table hold the same items, and if not, which differ, why, and how to mend them.

Works on any tables that have the same key schema, in any regions or accounts. A mode reduces each replica to a sketch
and subtracts them (``survey``), which leaves the *suspects*; what is confirmed of them is the verdict.
"""

from __future__ import annotations

from ops.divergence.comparing import (
    AttributeDiff,
    Comparison,
    Difference,
    RegionScan,
    attribute_diffs,
    compare,
    difference,
    estimate,
    shown,
)
from ops.divergence.replicas import Described, Replica, Schema, agree, client, describe, resolve
from ops.divergence.survey import Side, Survey, Suspicion

__all__ = [
    "AttributeDiff",
    "Comparison",
    "Described",
    "Difference",
    "RegionScan",
    "Replica",
    "Schema",
    "Side",
    "Survey",
    "Suspicion",
    "agree",
    "attribute_diffs",
    "client",
    "compare",
    "describe",
    "difference",
    "estimate",
    "resolve",
    "shown",
]

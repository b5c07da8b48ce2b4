"""Do the replicas of a DynamoDB table hold the same items, and if not, which differ, why, and how to mend them.

Works on any tables that have the same key schema, in any regions or accounts. A mode reduces each replica to a sketch
and subtracts them (``survey``), which leaves the *suspects*; what is confirmed of them is the verdict. A notebook calls
what ``modes`` offers; other operations compare one table with ``compare``.
"""

from __future__ import annotations

from ops.divergence.classes import CONFIRMED, KINDS, MEANINGS, Kind
from ops.divergence.comparison import Comparison, Subject, compare, conclude, look
from ops.divergence.diffs import AttributeDiff, attribute_diffs, shown
from ops.divergence.findings import Finding, Findings
from ops.divergence.judging import Difference, Judged, judge
from ops.divergence.replicas import Described, Replica, Schema, agree, client, describe, resolve
from ops.divergence.scanning import Pace, scan
from ops.divergence.survey import Side, Survey, Suspicion

__all__ = [
    "CONFIRMED",
    "KINDS",
    "MEANINGS",
    "AttributeDiff",
    "Comparison",
    "Described",
    "Difference",
    "Finding",
    "Findings",
    "Judged",
    "Kind",
    "Pace",
    "Replica",
    "Schema",
    "Side",
    "Subject",
    "Survey",
    "Suspicion",
    "agree",
    "attribute_diffs",
    "client",
    "compare",
    "conclude",
    "describe",
    "judge",
    "look",
    "resolve",
    "scan",
    "shown",
]

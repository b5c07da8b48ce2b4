"""What a mode will read and what that takes, before it reads: items, bytes, read units, minutes and dollars.

From the table descriptions, which DynamoDB refreshes about every six hours. What always holds: nothing is read for it
but these; where a figure is a bound or rests on an assumption, the table says which.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from ops.divergence.budget import default_units_per_s
from ops.divergence.comparison import Subject
from ops.divergence.designing import Design
from ops.divergence.replicas import Described, Replica
from ops.divergence.request import Request
from ops.prices import INTER_REGION_USD_PER_GB, READ_REQUEST_UNIT_USD, TABLE_EXPORT_USD_PER_GB

if TYPE_CHECKING:
    import pandas as pd

# An eventually consistent read takes half a unit for 4 KB.
SCAN_BYTES_PER_UNIT = 8192
# What one machine of two cores reads over TLS, of all replicas together.
ITEMS_PER_S = 200_000
# A page as JSON against the size that DynamoDB counts: names of types, quotes and base64 besides.
WIRE = 1.4
GB = 1e9
COLUMNS = ["table", "replica", "items", "size_bytes", "read units", "duration_min", "cost_usd", "for"]


@dataclass(frozen=True)
class Estimate:
    """Of one replica, or of several together. ``paid_for`` says what the dollars are for."""

    table: str
    replica: str
    items: int
    size_bytes: int
    read_units: float
    duration_min: float
    cost_usd: float
    paid_for: str


def of(request: Request, subjects: Sequence[Subject]) -> list[Estimate]:
    """Of the mode that was asked for, a row a table and replica."""
    return [one for subject in subjects for one in _of(request, subject)]


def frame(request: Request, subjects: Sequence[Subject]) -> pd.DataFrame:
    """The same as a table."""
    import pandas as pd

    return pd.DataFrame([astuple(one) for one in of(request, subjects)], columns=COLUMNS)


def figures(estimates: Sequence[Estimate]) -> dict[str, float]:
    """What it adds up to; replicas are read side by side, tables one after the other."""
    tables = {one.table for one in estimates}
    longest = (max(one.duration_min for one in estimates if one.table == table) for table in tables)
    return {
        "estimated_read_units": round(sum(one.read_units for one in estimates)),
        "estimated_duration_s": round(60 * sum(longest)),
        "estimated_cost_usd": round(sum(one.cost_usd for one in estimates), 4),
    }


def comparison_frame(subjects: Sequence[Subject], per_million: float) -> pd.DataFrame:
    """What each way of comparing would take, so that the cheapest that answers the question can be chosen."""
    import pandas as pd

    rows = []
    for mode, answers in (
        ("sample", f"whether fewer than {per_million:,.0f} items per million differ"),
        ("scan", "which items differ"),
        ("export", "which items differed at one second; takes no capacity of the tables"),
    ):
        found = of(Request(mode=mode, per_million=per_million), subjects)
        total = figures(found)
        minutes = total["estimated_duration_s"] / 60
        rows.append((mode, answers, total["estimated_read_units"], minutes, total["estimated_cost_usd"]))
    return pd.DataFrame(rows, columns=["mode", "answers", "read units", "duration_min", "cost_usd"])


def _of(request: Request, subject: Subject) -> list[Estimate]:
    described = {replica: one for replica, one in subject.described.items() if one is not None}
    if request.mode == "sample":
        return [_sample(subject, request, described)]
    total = sum(one.items for one in described.values())
    made = []
    for replica, one in described.items():
        # Each region's replica is its own, so it is told apart by label.
        label, gb = replica.label, one.size_bytes / GB
        if request.mode == "export":
            minutes, usd, what = total / ITEMS_PER_S / 60, gb * TABLE_EXPORT_USD_PER_GB, "the export"
            made.append(Estimate(subject.table, label, one.items, one.size_bytes, 0, minutes, usd, what))
        elif request.mode == "probe":
            made.append(Estimate(subject.table, label, 0, 0, 0, 0.1, 0.0, "descriptions and metrics: nothing"))
        else:
            made.append(_scan(subject.table, label, one, total, request.read_units_per_s))
    return made


def _scan(table: str, label: str, one: Described, total: int, asked_per_s: float) -> Estimate:
    units = math.ceil(one.size_bytes / SCAN_BYTES_PER_UNIT)
    rate = asked_per_s or default_units_per_s(one.raw)[0]
    minutes = max(units / rate, total / ITEMS_PER_S) / 60
    on_demand = _on_demand(one.raw)
    usd = (units * READ_REQUEST_UNIT_USD if on_demand else 0.0) + one.size_bytes * WIRE / GB * INTER_REGION_USD_PER_GB
    what = "read requests, and the way to another region" if on_demand else "the way to another region"
    return Estimate(table, label, one.items, one.size_bytes, units, minutes, usd, what)


def _sample(subject: Subject, request: Request, described: Mapping[Replica, Described]) -> Estimate:
    design = Design.of(described, per_million=request.per_million)
    row = design.frame().iloc[0]
    mean = max((one.size_bytes / one.items for one in described.values() if one.items), default=0.0)
    items = int(row["items"])
    return Estimate(
        subject.table,
        "each",
        items,
        round(items * mean),
        float(row["read units"]),
        float(row["duration_min"]),
        float(row["cost_usd"]),
        "strong reads, if no item differs",
    )


def _on_demand(description: Mapping[str, object]) -> bool:
    billing = description.get("BillingModeSummary")
    return isinstance(billing, Mapping) and billing.get("BillingMode") == "PAY_PER_REQUEST"

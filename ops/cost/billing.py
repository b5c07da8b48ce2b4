"""Usage times prices: by service and region, what stands, what grows with events, and what a million of them cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from ops.cost.rates import rates
from ops.cost.usage import DERIVED, Usage
from ops.prices import HOURS_PER_MONTH
from ops.record import Check

MILLION = 1_000_000
# What is part of a bill and is not counted here.
LEFT_OUT = (
    "data transfer between regions and to the internet",
    "data through interface endpoints",
    "requests to KMS, Secrets Manager, S3 and DynamoDB streams",
    "DNS queries",
    "requests to CloudWatch by runbooks",
    "runs of the fleet and drills (their plans say what they cost)",
    "what is larger than one unit (512 KB a request, 64 KB an event or a message)",
    "free allowances, discounts by volume, savings plans and taxes",
)


@dataclass(frozen=True)
class Bill:
    """``rows``: region, service, item, quantity, unit, unit_price, usd, standing, basis; a row a region and item."""

    usage: Usage
    rows: pd.DataFrame

    @property
    def total_usd(self) -> float:
        return float(self.rows["usd"].sum())

    def variable_usd(self) -> float:
        """What grows with events."""
        return float(self.rows.loc[~self.rows["standing"], "usd"].sum())

    def by_service(self) -> pd.DataFrame:
        """Service, region, usd_per_month and its share of the whole, the dearest service first."""
        monthly = HOURS_PER_MONTH / self.usage.hours
        grouped = self.rows.groupby(["service", "region"], sort=False)["usd"].sum().reset_index()
        grouped["usd_per_month"] = grouped["usd"] * monthly
        grouped["share_rate"] = grouped["usd"] / self.total_usd if self.total_usd else float("nan")
        order = grouped.groupby("service")["usd"].sum().sort_values(ascending=False)
        grouped["rank"] = grouped["service"].map({name: rank for rank, name in enumerate(order.index)})
        ordered = grouped.sort_values(["rank", "region"], kind="stable", ignore_index=True)
        return ordered[["service", "region", "usd_per_month", "share_rate"]]

    def per_million(self) -> pd.DataFrame:
        """Service and usd_per_million_events, of what grows with events alone; empty without events."""
        events = self.usage.events()
        if not events:
            return pd.DataFrame(columns=["service", "usd_per_million_events"])
        own = self.rows[~self.rows["standing"]].groupby("service", sort=False)["usd"].sum().sort_values(ascending=False)
        return (own / events * MILLION).rename("usd_per_million_events").reset_index()

    def lines(self) -> pd.DataFrame:
        """Everything that costs something, for a table."""
        shown = self.rows[self.rows["usd"] > 0]
        return shown[["region", "service", "item", "quantity", "unit", "unit_price", "usd", "basis"]]

    def left_out(self) -> list[dict[str, str]]:
        """What is not in the bill, and why."""
        told = [{"not counted": one, "why": "used, and CloudWatch says nothing of it"} for one in self.usage.unknown]
        return told + [{"not counted": one, "why": "not looked at"} for one in LEFT_OUT]

    def figures(self) -> dict[str, Any]:
        """Unknown is None."""
        events, monthly = self.usage.events(), HOURS_PER_MONTH / self.usage.hours
        derived = float(self.rows.loc[self.rows["basis"] == DERIVED, "usd"].sum())
        return {
            "events": round(events),
            "total_usd": self.total_usd,
            "at_this_rate_usd_per_month": self.total_usd * monthly,
            "standing_usd_per_month": (self.total_usd - self.variable_usd()) * monthly,
            "a_million_events_usd": self.variable_usd() / events * MILLION if events else None,
            "a_million_events_all_in_usd": self.total_usd / events * MILLION if events else None,
            "derived_rate": derived / self.total_usd if self.total_usd else None,
        }

    def checks(self, *, max_usd_per_month: float = 0.0, max_usd_per_million: float = 0.0) -> list[Check]:
        """Usage in full, and within what was asked for; a limit of 0 is none."""
        figures, partial = self.figures(), self.usage.incomplete
        found = [Check("usage complete", not partial, "; ".join(partial[:5]) or "every series in full")]
        for name, limit, per in (
            ("at_this_rate_usd_per_month", max_usd_per_month, "a month"),
            ("a_million_events_usd", max_usd_per_million, "a million events"),
        ):
            if limit:
                usd = figures[name]
                seen = "no events" if usd is None else f"{usd:,.2f} USD {per}"
                found.append(Check(f"cost of {per}", usd is None or usd <= limit, f"{seen}; accepted: {limit:,.2f}"))
        return found


def bill(usage: Usage) -> Bill:
    """Price what was used."""
    known = rates(usage.stage)
    rows = [
        {
            "region": one.region,
            "service": known[one.item].service,
            "item": one.item,
            "quantity": one.quantity,
            "unit": known[one.item].unit,
            "unit_price": known[one.item].usd,
            "usd": one.quantity * known[one.item].usd,
            "standing": known[one.item].standing,
            "basis": one.basis,
        }
        for one in usage.lines
    ]
    keys = ["region", "service", "item", "unit", "unit_price", "standing", "basis"]
    frame = pd.DataFrame(rows).groupby(keys, sort=False, as_index=False)[["quantity", "usd"]].sum()
    return Bill(usage, frame)

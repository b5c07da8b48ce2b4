"""What a month would cost with another setting of the stage file: log retention, zones of interface endpoints."""

from __future__ import annotations

from typing import get_args

import pandas as pd

from ops import network, prices
from ops.cost.usage import Usage
from ops.stage import RetentionDays


def log_retention(usage: Usage) -> pd.DataFrame:
    """Retention days, gb_kept, kept_usd_per_month and what it differs from the setting; all regions together.

    What is kept is what comes in a day, at the rate of the window, for so many days: the state after that time. What
    comes in is paid once, whatever is kept. Empty where nothing came in.
    """
    gb_a_day = sum(one.quantity for one in usage.lines if one.item == "logs taken in") / usage.hours * 24
    if not gb_a_day:
        return pd.DataFrame(columns=["days", "gb_kept", "kept_usd_per_month", "difference_usd_per_month"])
    current = usage.stage.lambda_.log_retention_days
    usd = {days: gb_a_day * days * prices.LOGS_USD_PER_GB_MONTH for days in get_args(RetentionDays)}
    rows = [
        {
            "days": days,
            "gb_kept": gb_a_day * days,
            "kept_usd_per_month": cost,
            "difference_usd_per_month": cost - usd[current],
            "now": "set" if days == current else "",
        }
        for days, cost in usd.items()
        if days in {1, 7, 14, 30, 90, 180, 365, current}
    ]
    return pd.DataFrame(rows)


def endpoint_zones(usage: Usage) -> pd.DataFrame:
    """Zones, usd_per_month of all regions and what it differs from the setting; empty where there is no network."""
    stage = usage.stage
    if stage.network is None:
        return pd.DataFrame(columns=["zones", "usd_per_month", "difference_usd_per_month"])
    now = network.monthly_usd(stage) * len(stage.regions)
    rows = []
    for zones in range(1, stage.network.zones + 1):
        other = stage.model_copy(update={"network": stage.network.model_copy(update={"endpoint_zones": zones})})
        usd = network.monthly_usd(other) * len(stage.regions)
        rows.append(
            {
                "zones": zones,
                "usd_per_month": usd,
                "difference_usd_per_month": usd - now,
                "now": "set" if zones == stage.network.endpoint_zones else "",
            }
        )
    return pd.DataFrame(rows)

"""Frames as CloudWatch would give them, from counts that a test spells out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd

from ops import service_levels
from ops.metrics import COLUMNS
from ops.stage import Objective, load_stage

# Fine periods of a minute and thirty days as on AWS; a minute to settle, so that the data known at NOW end at noon.
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NOW = NOON + timedelta(seconds=90)
STAGE = load_stage("local")
SETTINGS = STAGE.service_levels.model_copy(
    update={
        "availability": Objective(objective=0.99),
        "latency": Objective(objective=0.99, threshold_ms=3000),
        "freshness": Objective(objective=0.99, threshold_ms=60_000),
        "min_events": 20,
        "period_s": 60,
        "settle_s": 60,
    }
)
STAGE = STAGE.model_copy(update={"service_levels": SETTINGS})
HOME, OTHER = STAGE.regions

COUNT, ERRORS = ("api", "Count", "Sum"), ("api", "5xx", "Sum")
QUICK, SLOW = ("api", "Latency", "TC(:3000)"), ("api", "Latency", "TC(3000:)")
ACCEPTED, IN_TIME = ("service/ingest", "EventsAccepted", "Sum"), ("service/store", "EndToEndLatency", "TC(:60000)")
WAITED = ("service/store", "EndToEndLatency", "TS(:60000)")


def series(region, what, values, end=NOON, period_s=60):
    """A value a period, the last one ending at ``end``; None is a gap."""
    first = end - len(values) * timedelta(seconds=period_s)
    return [
        (first + n * timedelta(seconds=period_s), region, *what, "count", float(value))
        for n, value in enumerate(values)
        if value is not None
    ]


def frame(rows=(), *, period_s=60, start=NOON - timedelta(days=4), incomplete=()):
    found = pd.DataFrame(list(rows), columns=["time", "region", "resource", "metric", "statistic", "unit", "value"])
    found = found[COLUMNS]
    found["time"] = pd.to_datetime(found["time"], utc=True)
    found["value"] = found["value"].astype("float64")
    found.attrs.update(period_s=period_s, start=start.isoformat(), incomplete=list(incomplete))
    return found


def hours(rows=(), start=NOON - timedelta(days=31)):
    return frame(rows, period_s=3600, start=start)


def evaluate(fine, coarse=None, now=NOW, stage=STAGE):
    return service_levels.evaluate(fine, hours() if coarse is None else coarse, stage, now)


def level(name, region, fine, coarse=None, *, now=NOW, stage=STAGE):
    return next(one for one in evaluate(fine, coarse, now, stage) if (one.name, one.region) == (name, region))

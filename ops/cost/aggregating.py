"""What it costs to take events in, by how many come in one request: as measured, and as it follows for other sizes.

The API and the invocation of ingest are paid by request, its duration by what it takes. That is split in two, so much a
request and so much an event, by least squares over the periods of the window, each weighted alike. Where no period had
more events a request than another, it cannot be told, and all of it counts as the events': the saving is then the least
that it can be. What comes after ingest is paid by event and stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ops import charts, metrics
from ops.cost.billing import MILLION
from ops.cost.rates import rates
from ops.cost.usage import Usage

FACTORS = (1, 2, 3, 5, 10, 20, 30, 50)
# A period with fewer requests is a matter of chance.
MIN_REQUESTS = 5
# Sizes of requests that differ by less are the same.
SPREAD = 1.5
MEASURED, MODELLED = "measured", "modelled"


@dataclass(frozen=True)
class Intake:
    """``points``: events, requests and duration_ms a period and region. Costs are in US dollars.

    ``told`` says whether the window tells a request's duration from its events'.
    """

    points: pd.DataFrame
    request_usd: float
    ms_usd: float
    per_request_ms: float
    per_event_ms: float
    told: bool

    @property
    def factor(self) -> float | None:
        """Events a request, over the whole window; None without any."""
        requests = self.points["requests"].sum()
        return float(self.points["events"].sum() / requests) if requests else None

    def usd_per_million(self, factor: float) -> float:
        """What taking in a million events costs when so many come in one request."""
        request = self.request_usd + self.per_request_ms * self.ms_usd
        return MILLION * (request / factor + self.per_event_ms * self.ms_usd)

    def measured(self) -> pd.DataFrame:
        """Periods of like factors put together: events_per_request, usd, events."""
        points = self.points[self.points["requests"] >= MIN_REQUESTS]
        if points.empty:
            return pd.DataFrame(columns=["events_per_request", "usd", "events"])
        ratio = points["events"] / points["requests"]
        bins = np.round(np.log(ratio.clip(lower=1e-9)) / np.log(SPREAD)).astype(int)
        summed = points.assign(bin=bins).groupby("bin")[["events", "requests", "duration_ms"]].sum()
        usd = summed["requests"] * self.request_usd + summed["duration_ms"] * self.ms_usd
        made = {
            "events_per_request": summed["events"] / summed["requests"],
            "usd": MILLION * usd / summed["events"],
            "events": summed["events"],
        }
        return pd.DataFrame(made).reset_index(drop=True)


def intake(usage: Usage) -> Intake:
    """Of all regions together."""
    stage, known = usage.stage, rates(usage.stage)
    frames = [
        _column(usage.frame, "function/ingest", "Invocations", "requests"),
        _column(usage.frame, "function/ingest", "Duration", "duration_ms"),
        _column(usage.frame, "service/ingest", "EventsAccepted", "accepted"),
        _column(usage.frame, "service/ingest", "EventsDuplicate", "duplicate"),
    ]
    points = pd.concat(frames, axis=1).fillna(0.0)
    points["events"] = points["accepted"] + points["duplicate"]
    # A period in which the counters came later than the invocations, or requests brought no event, tells nothing.
    points = points[(points["events"] > 0) & (points["requests"] > 0)].reset_index()
    per_request_ms, per_event_ms, told = _split(points)
    return Intake(
        points=points[["time", "region", "events", "requests", "duration_ms"]],
        request_usd=known["requests to the API"].usd + known["invocations"].usd,
        ms_usd=stage.lambda_.memory_mb / 1024 / 1000 * known["duration"].usd,
        per_request_ms=per_request_ms,
        per_event_ms=per_event_ms,
        told=told,
    )


def _column(frame: pd.DataFrame, resource: str, metric: str, name: str) -> pd.Series[float]:
    rows = metrics.select(frame, resource, metric)
    return rows.groupby(["time", "region"])["value"].sum().rename(name)


def _split(points: pd.DataFrame) -> tuple[float, float, bool]:
    """Milliseconds a request, milliseconds an event, neither below zero, and whether the two could be told apart."""
    usable = points[points["requests"] >= MIN_REQUESTS]
    every = usable if len(usable) else points
    events = float(every["events"].sum())
    if not events:
        return 0.0, 0.0, False
    flat = float(every["duration_ms"].sum()) / events
    ratio = usable["events"] / usable["requests"]
    if len(usable) < 2 or ratio.max() < SPREAD * ratio.min():
        return 0.0, flat, False
    # By request, so that a busy period does not outweigh the others.
    x, y = ratio.to_numpy(), (usable["duration_ms"] / usable["requests"]).to_numpy()
    design = np.column_stack([np.ones_like(x), x])
    (request_ms, event_ms), *_ = np.linalg.lstsq(design, y, rcond=None)
    if request_ms < 0:
        return 0.0, float((x @ y) / (x @ x)), True
    if event_ms < 0:
        return float(y.mean()), 0.0, True
    return float(request_ms), float(event_ms), True


def aggregation(found: Intake) -> charts.Chart | charts.NoData:
    """What a million events cost to take in, by events a request: what was measured, over what follows from it."""
    title = "Taking in a million events"
    if found.factor is None:
        return charts.NoData(title, "no events came in")
    rows: list[dict[str, Any]] = [
        {"events_per_request": factor, "usd": found.usd_per_million(factor), "basis": MODELLED} for factor in FACTORS
    ]
    rows += [
        {"events_per_request": row["events_per_request"], "usd": row["usd"], "basis": MEASURED}
        for row in found.measured().to_dict("records")
    ]
    return charts.lines(
        rows,
        x="events_per_request",
        y="usd",
        colour="basis",
        title=title,
        x_title="events a request",
        y_title="a million events",
        unit="USD",
        even=False,
    )


def aggregation_figures(found: Intake, target: int = 10) -> dict[str, Any]:
    """``aggregated_rate`` is the saving measured between the smallest and the largest requests; ``with_<n>_rate`` what
    ``target`` events a request would save over what came. Unknown is None."""
    measured, factor = found.measured(), found.factor
    several = len(measured) > 1
    now = found.usd_per_million(factor) if factor else 0.0
    return {
        "events_per_request": round(factor, 3) if factor else None,
        "intake_usd": now if factor else None,
        "measured_saving_rate": 1 - measured["usd"].iloc[-1] / measured["usd"].iloc[0] if several else None,
        f"saving_at_{target}_rate": 1 - found.usd_per_million(max(target, factor)) / now if factor and now else None,
    }

"""Whether the survivors can carry everything: the stage's busiest minute against what the API lets in and runs.

The arithmetic is shown, because each of its figures is a guess about the future: the busiest minute of the last hours
is taken for what comes, and a function's measured duration for what it will be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ops.metrics import Series
from ops.stage import Stage

# The functions that answer requests; the processors work off queues, which wait.
ANSWERING = ("ingest", "query")


@dataclass(frozen=True)
class Capacity:
    """Requests a second: wanted in the busiest minute, and let through by the survivors. ``limit`` says by what."""

    wanted_per_s: float
    offered_per_s: float
    arithmetic: str

    @property
    def enough(self) -> bool:
        return self.wanted_per_s <= self.offered_per_s


def series(stage: Stage, api_id: str | None) -> list[Series]:
    """What is read of each region: requests by the minute, and how long the functions take."""
    api = [Series("api", "AWS/ApiGateway", "Count", (("ApiId", api_id),), "Sum", "count")] if api_id else []
    functions = [
        Series(f"function/{name}", "AWS/Lambda", "Duration", (("FunctionName", stage.function(name)),), "p95", "ms")
        for name in ANSWERING
    ]
    return [*api, *functions]


def capacity(
    stage: Stage, frames: Mapping[str, pd.DataFrame], survivors: Sequence[str], extra_per_s: float
) -> Capacity:
    """What ``frames`` (region -> the points of :func:`series`) add up to, with ``extra_per_s`` of a drill's own load.

    The busiest minute is the highest sum over all regions that were read: traffic of a region that could not be read is
    not in it, and the arithmetic says so.
    """
    counts = [frame[frame["resource"] == "api"] for frame in frames.values() if len(frame)]
    points = pd.concat(counts) if counts else pd.DataFrame(columns=["time", "value"])
    by_minute = points.groupby("time")["value"].sum()
    peak = float(by_minute.max()) / 60 if len(by_minute) else 0.0
    wanted = peak + extra_per_s
    throttle = stage.access.throttle.rate_per_s * len(survivors)
    when = f" at {by_minute.idxmax():%H:%M}Z" if len(by_minute) else ""
    read = ", ".join(sorted(frames)) or "no region"
    parts = [f"busiest minute{when}: {peak:.1f}/s (read in {read})"]
    if extra_per_s:
        parts.append(f"+ {extra_per_s:g}/s of the drill's own load")
    parts.append(f"against throttle {stage.access.throttle.rate_per_s}/s * {len(survivors)} = {throttle}/s")
    offered = float(throttle)
    for name in ANSWERING if stage.concurrency else ():
        reserved = getattr(stage.concurrency, name)
        took = [
            float(frame.loc[frame["resource"] == f"function/{name}", "value"].max())
            for region, frame in frames.items()
            if region in survivors and (frame["resource"] == f"function/{name}").any()
        ]
        if not took:
            parts.append(f"{name}: no duration was measured")
            continue
        runs = reserved / (max(took) / 1000) * len(survivors)
        parts.append(f"{name}: {reserved} reserved / {max(took) / 1000:.3f} s (p95) * {len(survivors)} = {runs:.0f}/s")
        offered = min(offered, runs)
    if stage.concurrency is None:
        parts.append("no concurrency is reserved: the account's own limit is not looked at")
    return Capacity(wanted, offered, "; ".join(parts))

"""A drill as a picture: what clients got, how long it took, what was replicated when and whom the edge led where."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ops.charts.timeline import Timeline, TimePanel, timeline
from ops.failover import measures
from ops.failover.arrivals import Span
from ops.failover.measures import FAILED, Phase
from ops.load import LoadRecord


def of_watch(cities: pd.DataFrame, health: pd.DataFrame, phases: Sequence[Phase]) -> Timeline:
    """The charts of an evacuation or a failback: the health of each region, and who answered each city.

    ``cities`` has ``time``, ``city`` and ``region``, ``health`` has ``time``, ``region`` and ``health``, a row a look.
    """
    panels = [
        TimePanel("Health", health, "steps", y="region", colour="health", strong="unhealthy", empty="not watched"),
        TimePanel(
            "Who answered each city", cities, "steps", y="city", colour="region", strong=FAILED, empty="not watched"
        ),
    ]
    return timeline(panels, phases, title="what was watched")


def of_drill(
    record: LoadRecord,
    arrivals: pd.DataFrame,
    unreachable: Sequence[Span],
    phases: Sequence[Phase],
    health: pd.DataFrame | None = None,
) -> Timeline:
    """The charts of a drill on one axis of time.

    ``arrivals`` is :meth:`ops.failover.arrivals.Arrivals.frame`; ``health`` has a row (``time``, ``region``,
    ``health``) whenever the health of a region was looked at.
    """
    each, every_s = measures.per_second(record)
    panels = [
        TimePanel(
            f"Attempts by the region that answered{'' if every_s == 1 else f', mean of {every_s:g} s'}",
            each,
            "bars",
            y="per_s",
            colour="series",
            unit="a second",
            strong=FAILED,
            empty="nothing was sent",
        ),
        TimePanel(
            "Whom the edge led each city to",
            measures.answering(record),
            "steps",
            y="city",
            colour="region",
            strong=FAILED,
            legend=False,
            empty="nothing was sent through the edge",
        ),
        TimePanel(
            "Time of an answer",
            measures.latencies(record),
            "points",
            y="latency_ms",
            colour="region",
            unit="ms",
            log=True,
            legend=False,
            empty="nothing was answered",
        ),
        TimePanel(
            "Replication lag",
            measures.lags(arrivals, unreachable),
            "points",
            y="lag_ms",
            colour="direction",
            unit="ms",
            log=True,
            empty="nothing was replicated",
        ),
    ]
    if health is not None:
        panels.insert(
            1,
            TimePanel("Health", health, "steps", y="region", colour="health", strong="unhealthy", empty="not watched"),
        )
    return timeline(panels, phases, title="the drill")

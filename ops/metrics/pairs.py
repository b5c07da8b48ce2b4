"""From one region to another: how long replication takes, and how long from acceptance to every replica.

Replication is measured twice. CloudWatch's ReplicationLatency is of what was written anyway, averaged over each period,
and kept in the region of the write. Atoll's heartbeats (:mod:`ops.divergence.heartbeats`) are written for the purpose,
by plan and token, and timed by strong reads: they also tell when replication stands still, where CloudWatch has no
data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ops import charts
from ops.metrics.frames import select, whole

if TYPE_CHECKING:
    import pandas as pd

    from ops.divergence.beats import Beats

_METRIC = "ReplicationLatency"


def matrix(frame: pd.DataFrame, beats: Beats | None = None) -> pd.DataFrame:
    """A row an ordered pair of regions.

    ``newest_ms``, ``mean_ms`` (of the periods' averages), ``max_ms``, by CloudWatch; ``heartbeat_p95_ms``, by Atoll's
    own, where they were sent and all arrived; ``periods`` that CloudWatch has a point of.
    """
    import pandas as pd

    regions = list(frame.attrs.get("regions", dict.fromkeys(frame["region"])))
    timed: Mapping[tuple[str, str], float] = beats.latency_ms() if beats is not None else {}
    rows = []
    for source in regions:
        own = frame[frame["region"] == source]
        for target in regions:
            if source == target:
                continue
            average = select(own, f"replication/{target}", _METRIC, "Average").sort_values("time")["value"]
            most = select(own, f"replication/{target}", _METRIC, "Maximum")["value"]
            rows.append(
                {
                    "source": source,
                    "target": target,
                    "newest_ms": average.iloc[-1] if len(average) else None,
                    "mean_ms": average.mean() if len(average) else None,
                    "max_ms": most.max() if len(most) else None,
                    "heartbeat_p95_ms": timed.get((source, target)),
                    "periods": len(average),
                }
            )
    columns = ["source", "target", "newest_ms", "mean_ms", "max_ms", "heartbeat_p95_ms", "periods"]
    return pd.DataFrame(rows, columns=columns)


def matrix_chart(found: pd.DataFrame, measure: str = "mean_ms") -> charts.Chart | charts.NoData:
    """The matrix as a heat map of one of its columns; a pair without data says so."""
    by = {"heartbeat_p95_ms": "heartbeats, p95", "mean_ms": "CloudWatch, mean", "newest_ms": "CloudWatch, newest"}
    return charts.heatmap(
        found.assign(words=["no data" if missing else "" for missing in found[measure].isna()]),
        x="target",
        y="source",
        value=measure,
        text="words",
        title=f"Replication latency ({by.get(measure, measure)})",
        x_title="received in",
        y_title="written in",
        unit="ms",
    )


def end_to_end(frame: pd.DataFrame) -> pd.DataFrame:
    """From acceptance in a region to its own replica and to each other: a row a period, ``region`` and ``replica``.

    ``value`` is the p95 of acceptance to storage, in ms, and for another region the mean of the replication from there
    in the same period on top; a period that lacks either has no row. A sum of a percentile and a mean is no percentile
    of the whole: it is what can be said of every event without following each one (``ops run trace`` follows one).
    """
    import pandas as pd

    frame = whole(frame)
    stored = select(frame, "service/store", "EndToEndLatency", "p95")[["time", "region", "value"]]
    found = [stored.assign(replica=stored["region"])]
    replicated = select(frame, "replication/", _METRIC, "Average")[["time", "region", "resource", "value"]]
    both = stored.merge(replicated, on=["time", "region"], suffixes=("", "_more"))
    both["replica"] = both["resource"].str.removeprefix("replication/")
    both["value"] += both["value_more"]
    found.append(both[["time", "region", "value", "replica"]])
    return pd.concat(found, ignore_index=True)


def slowest_replica(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a period and ``region`` of acceptance: the last replica to have what was accepted there."""
    every = end_to_end(frame)
    last = every.groupby(["time", "region"])["value"].idxmax()
    return every.loc[last].sort_values("time", ignore_index=True)


def end_to_end_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a pair: ``accepted in``, ``replica``, ``median_ms``, ``worst_ms`` of its periods, ``periods``."""
    rows = end_to_end(frame).groupby(["region", "replica"], sort=False)["value"]
    found = rows.agg(median_ms="median", worst_ms="max", periods="count").reset_index()
    return found.rename(columns={"region": "accepted in"})

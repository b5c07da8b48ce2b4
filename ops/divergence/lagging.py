"""ReplicationLatency of every ordered pair, as CloudWatch keeps it: in the region where the writes were made.

No data is not zero: CloudWatch has points only of minutes in which something was replicated. A strongly consistent
global table (MRSC) has none, because nothing is ever on its way.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html#ReplicationLatency
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ops import metrics
from ops.aws import Cloud
from ops.divergence.groups import is_strong
from ops.divergence.replicas import Described, Replica
from ops.divergence.settings import service
from ops.errors import OpsError
from ops.fanout import each

if TYPE_CHECKING:
    import pandas as pd

WINDOW = timedelta(hours=3)
NO_DATA = "no data: nothing was replicated in this time, or replication stands still"


@dataclass(frozen=True)
class Latency:
    """Of one pair; without points, ``said`` tells why there are none.

    ``newest_ms`` and ``mean_ms`` are of averages over minutes, ``max_ms`` of their maxima.
    """

    source: str
    target: str
    points: int = 0
    newest_ms: float | None = None
    newest_at: datetime | None = None
    mean_ms: float | None = None
    max_ms: float | None = None
    said: str = ""


def read(
    cloud: Cloud,
    linked: Sequence[tuple[Replica, Replica]],
    described: Mapping[Replica, Described],
    *,
    window: timedelta = WINDOW,
    now: datetime | None = None,
) -> tuple[Latency, ...]:
    """The latency of these pairs within the window; reads only. A region that does not answer is told as such."""
    end = now or datetime.now(UTC)
    targets: dict[Replica, list[Replica]] = {}
    for source, target in linked:
        targets.setdefault(source, []).append(target)

    def look(source: Replica) -> list[Latency]:
        own, table = targets[source], described[source]
        if is_strong(table):
            return [Latency(source.label, one.label, said="none: it is strongly consistent (MRSC)") for one in own]
        name = str(table.raw.get("TableName", source.table))
        series = [
            metrics.Series(
                one.label,
                "AWS/DynamoDB",
                "ReplicationLatency",
                (("TableName", name), ("ReceivingRegion", one.region)),
                statistic,
                "ms",
            )
            for one in own
            for statistic in ("Average", "Maximum")
        ]
        try:
            client = service(cloud, source, "cloudwatch")
            frame = metrics.read(cloud, source.region, series, end - window, end, client=client)
        except OpsError as error:
            return [Latency(source.label, one.label, said=f"not known: {error}") for one in own]
        return [_of(frame, source.label, one.label) for one in own]

    return tuple(one for found in each(targets, look).values() for one in found)


def _of(frame: pd.DataFrame, source: str, target: str) -> Latency:
    own = frame[frame["resource"] == target].sort_values("time")
    average, highest = (own[own["statistic"] == statistic] for statistic in ("Average", "Maximum"))
    if average.empty:
        return Latency(source, target, said=NO_DATA)
    newest = average.iloc[-1]
    return Latency(
        source,
        target,
        points=len(average),
        newest_ms=float(newest["value"]),
        newest_at=newest["time"].to_pydatetime(),
        mean_ms=float(average["value"].mean()),
        max_ms=float(highest["value"].max()) if len(highest) else float(average["value"].max()),
    )

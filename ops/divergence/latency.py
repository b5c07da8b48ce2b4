"""How long replication between the compared replicas takes, as DynamoDB measured it itself.

Replicas that are no global table have no such metric, and a table that was not written to lately has no data.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html (ReplicationLatency)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ops import metrics
from ops.aws import Cloud
from ops.divergence.replicas import Replica
from ops.errors import OpsError
from ops.fanout import each
from ops.metrics import Series

WINDOW = timedelta(minutes=15)

Latencies = Mapping[tuple[str, str], float]


def measured(
    cloud: Cloud,
    replicas: Sequence[Replica],
    *,
    now: datetime | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Latencies:
    """The longest latency of the last quarter of an hour in ms, by (from, to); pairs without data are not in it.

    Replicas read with a profile of their own are left out, as are tables named by their ARN: their metrics are
    another account's. A region that does not answer is said, and left out.
    """
    own = [one for one in replicas if not one.profile and not one.table.startswith("arn:")]
    until = now or datetime.now(UTC)

    def read(source: Replica) -> dict[tuple[str, str], float]:
        peers = [one.region for one in own if one.table == source.table and one.region != source.region]
        series = [_series(source.table, peer) for peer in dict.fromkeys(peers)]
        if not series:
            return {}
        try:
            frame = metrics.read(cloud, source.region, series, until - WINDOW, until)
        except OpsError as error:
            progress(f"the replication latency from {source.label} is not known: {error}")
            return {}
        longest = frame.groupby("resource")["value"].max().dropna()
        return {(source.region, str(peer)): float(value) for peer, value in longest.items()}

    return {pair: value for found in each(own, read).values() for pair, value in found.items()}


def _series(table: str, peer: str) -> Series:
    dimensions = (("TableName", table), ("ReceivingRegion", peer))
    return Series(peer, "AWS/DynamoDB", "ReplicationLatency", dimensions, "Maximum", "ms")

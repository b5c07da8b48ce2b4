"""From region to region: the matrix, and the way from acceptance to every replica."""

from __future__ import annotations

import math

from ops import charts
from ops.divergence.beats import Beat, Beats
from ops.metrics import end_to_end, end_to_end_summary, matrix, matrix_chart, slowest_replica
from tests.unit.ops.metrics.made import AP, EU, US, frame

ROWS = [
    (0, US, "service/store", "EndToEndLatency", "p95", 100.0),
    (1, US, "service/store", "EndToEndLatency", "p95", 140.0),
    (2, US, "service/store", "EndToEndLatency", "p95", 120.0),
    (0, US, f"replication/{AP}", "ReplicationLatency", "Average", 900.0),
    (1, US, f"replication/{AP}", "ReplicationLatency", "Average", 700.0),
    (0, US, f"replication/{EU}", "ReplicationLatency", "Average", 300.0),
    (1, US, f"replication/{EU}", "ReplicationLatency", "Average", 1300.0),
    (0, US, f"replication/{AP}", "ReplicationLatency", "Maximum", 2000.0),
]


def test_end_to_end_adds_replication_to_storage_and_leaves_gaps() -> None:
    found = end_to_end(frame(ROWS, periods=3))
    shown = {(row.replica, row.time.minute): row.value for row in found.itertuples()}
    assert shown == {
        (US, 0): 100, (US, 1): 140, (US, 2): 120,
        (AP, 0): 1000, (AP, 1): 840,
        (EU, 0): 400, (EU, 1): 1440,
    }  # fmt: skip
    slowest = slowest_replica(frame(ROWS, periods=3))
    assert list(slowest["replica"]) == [AP, EU, US]
    assert list(slowest["value"]) == [1000, 1440, 120]
    summary = end_to_end_summary(frame(ROWS, periods=3)).set_index("replica")
    assert (summary.loc[AP, "median_ms"], summary.loc[AP, "worst_ms"], summary.loc[AP, "periods"]) == (920, 1000, 2)


def test_matrix_has_every_pair_measured_twice() -> None:
    beats = Beats("r", (Beat(US, AP, 1, 250.0, 200.0, 3), Beat(AP, US, 1, None, 0.0, 9, "never")), 30.0, {})
    found = matrix(frame(ROWS, periods=3), beats).set_index(["source", "target"])
    assert len(found) == 6
    own = found.loc[(US, AP)]
    assert (own["newest_ms"], own["mean_ms"], own["max_ms"], own["heartbeat_p95_ms"], own["periods"]) == (
        700, 800, 2000, 250, 2,
    )  # fmt: skip
    silent = found.loc[(AP, US)]
    assert silent["periods"] == 0
    assert math.isnan(silent["mean_ms"])
    assert math.isnan(silent["heartbeat_p95_ms"])


def test_matrix_chart_says_where_there_is_no_data() -> None:
    drawn = matrix_chart(matrix(frame(ROWS, periods=3)))
    assert isinstance(drawn, charts.Chart)
    assert "no data" in drawn.svg
    assert isinstance(matrix_chart(matrix(frame([], periods=3, regions=(US,)))), charts.NoData)


def test_end_to_end_of_nothing_is_nothing() -> None:
    assert end_to_end(frame([], periods=3)).empty
    assert slowest_replica(frame([], periods=3)).empty

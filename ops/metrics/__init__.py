"""Every region's metrics as one tidy table, what they add up to per region, and whether that is good enough.

``collect(cloud, start, end)`` asks CloudWatch; the rest takes the frame that it gives:
``golden_signals``, ``summarise``, ``figures`` and ``checks``, ``matrix`` and ``end_to_end``, ``odd``, ``compare``.
"""

from __future__ import annotations

from ops.metrics.catalogue import catalogue
from ops.metrics.collecting import collect, derive_period, finest_s, read
from ops.metrics.comparing import compare
from ops.metrics.frames import COLUMNS, percentiles, select, together
from ops.metrics.golden import dead_letters, golden_signals
from ops.metrics.pairs import end_to_end, end_to_end_summary, matrix, matrix_chart, slowest_replica
from ops.metrics.peers import Oddity, odd
from ops.metrics.series import PERCENTILES, Series
from ops.metrics.summary import checks, figures, summarise

__all__ = [
    "COLUMNS",
    "PERCENTILES",
    "Oddity",
    "Series",
    "catalogue",
    "checks",
    "collect",
    "compare",
    "dead_letters",
    "derive_period",
    "end_to_end",
    "end_to_end_summary",
    "figures",
    "finest_s",
    "golden_signals",
    "matrix",
    "matrix_chart",
    "odd",
    "percentiles",
    "read",
    "select",
    "slowest_replica",
    "summarise",
    "together",
]

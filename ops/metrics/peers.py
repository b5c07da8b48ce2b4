"""A region that behaves unlike its peers, by robust statistics: no outlier moves what it is measured against.

Traffic differs between regions as cities do, so only what should not is compared: shares of failures, times, ages.

*Times and ages*: in each period, the logarithm of the region's value over the median of its peers'. The median of these
over the periods is how many times the region is its peers; divided by its own standard error (from the median absolute
deviation, MAD, scaled to a normal distribution's) it is a score. *Shares* are counts, of which the difference to all
peers together is divided by its standard error under one common share (two-proportion z test).

A region is named when it is worse by a factor of :data:`FACTOR` **and** its score reaches :data:`SCORE`: the factor
keeps out what is sure and small, the score what is large and chance. 3.5 is what Iglewicz and Hoaglin recommend for
such a score (How to Detect and Handle Outliers, ASQC, 1993;
https://www.itl.nist.gov/div898/handbook/eda/section3/eda35h.htm).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.markup import number
from ops.metrics.frames import select, whole
from ops.metrics.golden import AGE

if TYPE_CHECKING:
    import pandas as pd

FACTOR, SCORE = 2.0, 3.5
# Of fewer periods, or fewer failures, nothing is said.
LEAST_PERIODS, LEAST_FAILURES = 5, 5
# Added to both sides, so that twice next to nothing is next to nothing: milliseconds and seconds nobody waits for.
FLOOR = {"ms": 20.0, "s": 5.0}
# The MAD of a normal distribution is its standard deviation divided by this; its median's standard error is larger
# than its mean's by the other.
_MAD, _MEDIAN = 1.4826, 1.2533


@dataclass(frozen=True)
class Oddity:
    """What a region does unlike its peers. ``value`` and ``peers_median`` are in ``unit``, ``mad`` is of logarithms."""

    region: str
    metric: str
    unit: str
    value: float
    peers_median: float
    mad: float
    score: float
    over: str

    def __str__(self) -> str:
        def shown(value: float) -> str:
            return f"{value:.2%}" if self.unit == "share" else f"{number(value)} {self.unit}"

        times = f"{self.value / self.peers_median:.1f} times" if self.peers_median else ""
        against = f"{times} its peers' {shown(self.peers_median)}" if self.peers_median else "its peers none"
        return f"{self.region}: {self.metric} {shown(self.value)}, {against} (score {self.score:.1f}, {self.over})"


def odd(frame: pd.DataFrame) -> list[Oddity]:
    """What regions do unlike their peers, the highest score first; nothing where there is one region only."""
    frame = whole(frame)
    found = [*_times(frame), *_shares(frame)]
    return sorted(found, key=lambda one: (-one.score, one.region, one.metric))


def _times(frame: pd.DataFrame) -> Iterator[Oddity]:
    wanted = [
        ("API latency p95", "ms", select(frame, "api", "Latency", "p95")),
        ("acceptance to storage p95", "ms", select(frame, "service/store", "EndToEndLatency", "p95")),
        ("age of the oldest message", "s", _worst(select(frame, "queue/", AGE))),
        (
            "replication to its slowest peer",
            "ms",
            _worst(select(frame, "replication/", "ReplicationLatency", "Average")),
        ),
    ]
    for name, own in select(frame, "function/", "Duration", "p95").groupby("resource"):
        wanted.append((f"duration p95 of {str(name).removeprefix('function/')}", "ms", own))
    for metric, unit, rows in wanted:
        table = rows.pivot_table(index="time", columns="region", values="value", aggfunc="max")
        for region in table.columns if table.shape[1] > 1 else ():
            oddity = _time(region, metric, unit, table)
            if oddity is not None:
                yield oddity


def _worst(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.groupby(["time", "region"])["value"].max().reset_index()


def _time(region: str, metric: str, unit: str, table: pd.DataFrame) -> Oddity | None:
    import numpy as np
    import pandas as pd

    peers = table.drop(columns=region).median(axis=1)
    both = table[region].notna() & peers.notna()
    if both.sum() < LEAST_PERIODS:
        return None
    own, others, floor = table[region][both], peers[both], FLOOR[unit]
    logs = pd.Series(np.log((own + floor) / (others + floor)))
    middle = float(logs.median())
    mad = float((logs - middle).abs().median())
    # Where more than half of the periods are alike to the last digit, the deviation is taken as that of a percent.
    score = middle / (_MEDIAN * max(_MAD * mad, 0.01) / math.sqrt(len(logs)))
    if math.exp(middle) < FACTOR or score < SCORE:
        return None
    return Oddity(region, metric, unit, float(own.median()), float(others.median()), mad, score, f"{len(logs)} periods")


def _shares(frame: pd.DataFrame) -> Iterator[Oddity]:
    wanted = [("share of 5xx", "api", "5xx", "Count")]
    names = dict.fromkeys(frame["resource"][frame["resource"].str.startswith("function/")])
    for name in names:
        function = str(name).removeprefix("function/")
        wanted.append((f"failed invocations of {function}", str(name), "Errors", "Invocations"))
        wanted.append((f"throttled invocations of {function}", str(name), "Throttles", "Invocations"))
    for metric, resource, failures, events in wanted:
        whole_of = select(frame, resource, events, "Sum").groupby("region")["value"].sum()
        part_of = select(frame, resource, failures, "Sum").groupby("region")["value"].sum()
        counts = {str(r): (min(float(part_of.get(r, 0.0)), float(n)), float(n)) for r, n in whole_of.items() if n > 0}
        for region, (failed, total) in counts.items():
            others = [pair for peer, pair in counts.items() if peer != region]
            if not others or failed < LEAST_FAILURES:
                continue
            there, of = sum(pair[0] for pair in others), sum(pair[1] for pair in others)
            share, common = failed / total, (failed + there) / (total + of)
            deviation = math.sqrt(common * (1 - common) * (1 / total + 1 / of))
            score = (share - there / of) / deviation if deviation else 0.0
            if share >= FACTOR * there / of and score >= SCORE:
                over = f"{failed:,.0f} of {total:,.0f} against {there:,.0f} of {of:,.0f}"
                yield Oddity(region, metric, "share", share, there / of, 0.0, score, over)

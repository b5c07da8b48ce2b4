"""What became of heartbeats: how long each took from a write in one region to a strong read in another, if it came."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ops import charts
from ops.divergence.replicas import Replica
from ops.record import Check

NEVER = "never arrived"


@dataclass(frozen=True)
class Beat:
    """One heartbeat from one region to another; ``latency_ms`` None: not seen, for the reason ``problem``."""

    source: str
    target: str
    round: int
    latency_ms: float | None
    at_least_ms: float
    reads: int
    problem: str = ""


@dataclass(frozen=True)
class Left:
    """A heartbeat that is there though no run may need it: ``source`` wrote it, ``replica`` holds it."""

    replica: Replica
    source: str
    run: str
    until_s: float

    def __str__(self) -> str:
        return f"of {self.source} in {self.replica.label}, run {self.run}"


@dataclass(frozen=True)
class Beats:
    """What became of the heartbeats of one run. ``apart``: the pairs that do not replicate, each with why."""

    run: str
    beats: tuple[Beat, ...]
    deadline_s: float
    apart: Mapping[tuple[str, str], str]
    left: tuple[Left, ...] = ()

    def frame(self) -> pd.DataFrame:
        """A row a heartbeat and region that it was looked for in; NaN where it never arrived."""
        rows = [(b.source, b.target, b.round, b.latency_ms, b.at_least_ms, b.reads, b.problem) for b in self.beats]
        columns = ["source", "target", "round", "latency_ms", "at_least_ms", "reads", "problem"]
        return pd.DataFrame(rows, columns=columns).astype({"latency_ms": "float64"})

    def matrix(self) -> pd.DataFrame:
        """A row a pair: rounds tried, those that arrived, and p50, p95 and maximum of the latency.

        Percentiles are values that were measured (nearest rank): with fewer than 20 rounds, p95 is the maximum.
        """
        rows = []
        for source, target in dict.fromkeys((beat.source, beat.target) for beat in self.beats):
            own = [beat for beat in self.beats if (beat.source, beat.target) == (source, target)]
            seen = sorted(beat.latency_ms for beat in own if beat.latency_ms is not None)
            problem = next((beat.problem for beat in own if beat.problem), "")
            spread = [_rank(seen, share) for share in (0.5, 0.95, 1.0)]
            rows.append((source, target, len(own), len(seen), *spread, problem))
        columns = ["source", "target", "rounds", "arrived", "p50_ms", "p95_ms", "max_ms", "problem"]
        return pd.DataFrame(rows, columns=columns)

    def chart(self) -> charts.Chart | charts.NoData:
        """The matrix of p95 as a heat map; a pair that nothing arrived in says so."""
        frame = self.matrix()
        frame["said"] = ["never" if not arrived else "" for arrived in frame["arrived"]]
        return charts.heatmap(
            frame,
            x="target",
            y="source",
            value="p95_ms",
            text="said",
            title="From a write in one region to a strong read in another, p95",
            x_title="seen in",
            y_title="written in",
            unit="ms",
        )

    def checks(self) -> list[Check]:
        """A check a pair that replicates, and one for what could not be deleted again."""
        found = []
        for row in self.matrix().to_dict("records"):
            name = f"heartbeats from {row['source']} to {row['target']}"
            timed = f"p50 {row['p50_ms']:,.0f} ms, p95 {row['p95_ms']:,.0f} ms, max {row['max_ms']:,.0f} ms"
            counted = f"{row['arrived']} of {row['rounds']} arrived"
            if row["problem"]:
                seen = f"{counted}; {row['problem']}. {_advice(row['problem'], row['source'], row['target'])}"
                found.append(Check(name, False, seen))
            else:
                found.append(Check(name, True, f"{counted}: {timed}"))
        if self.left:
            listed = "; ".join(map(str, self.left))
            detail = f"not deleted: {listed}. The next run that is applied removes them, and no comparison counts them"
            found.append(Check("heartbeats are gone again", False, detail))
        return found

    def figures(self) -> dict[str, Any]:
        """The p95 of each pair, None where nothing arrived."""
        return {
            "heartbeat_p95_ms": {
                f"{row['source']} to {row['target']}": None if math.isnan(row["p95_ms"]) else round(row["p95_ms"], 1)
                for row in self.matrix().to_dict("records")
            }
        }

    def latency_ms(self) -> dict[tuple[str, str], float]:
        """The p95 of each pair in which all arrived, by the labels of source and target."""
        return {
            (row["source"], row["target"]): float(row["p95_ms"])
            for row in self.matrix().to_dict("records")
            if not row["problem"]
        }


def _rank(values: Sequence[float], share: float) -> float:
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


def _advice(problem: str, source: str, target: str) -> str:
    if problem.startswith(NEVER):
        return (
            f"Replication from {source} to {target} stands still or is slower than that: look at the status of the "
            "pair, and scan before traffic is moved"
        )
    return "The pair was not timed: mend that and repeat"

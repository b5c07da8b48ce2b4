"""What a drill measured: how long clients were without the platform, where they were led, and how long they waited.

Pure functions of a load's record. *Failed* is an attempt without an answer or with one that asks for another attempt.

The recovery time (RTO) is taken at the edge and from first attempts only: what a client that does not retry goes
through. It ends with the last of them that failed, and holds for the outage: what fails after the outage has ended
and clients have had their answers again is counted, and is no part of it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ops.failover.arrivals import Span
from ops.load import EDGE, Attempt, LoadRecord
from ops.stage import Stage

NONE = "no answer"
FAILED = "failed"
# Seconds that one bar stands for: the least with which a run has no more bars than can be told apart.
STEPS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
MAX_STEPS = 240
MAX_DIRECTIONS = 6


@dataclass(frozen=True)
class Phase:
    """A stretch of a drill, in Unix seconds; ``ended`` None: it goes on."""

    name: str
    started: float
    ended: float | None

    def holds(self, at: float) -> bool:
        return self.started <= at and (self.ended is None or at < self.ended)


@dataclass(frozen=True)
class Recovery:
    """What clients went through from the start of an outage.

    ``rto_s``: from the outage's start to the end of the last first attempt through the edge that failed; 0 when none
    did. ``by_city`` has the same for each city. ``recovered`` is False while nothing got through after that failure:
    then the time is a lower bound. ``waits_s``: accepted events' times from first attempt to 202, sorted.
    """

    rto_s: float
    by_city: dict[str, float]
    recovered: bool
    attempts: int
    failed: int
    first_attempts: int
    first_failed: int
    unanswered: int
    waits_s: tuple[float, ...]

    @property
    def failed_share(self) -> float:
        return self.failed / self.attempts if self.attempts else 0.0

    @property
    def first_failed_share(self) -> float:
        return self.first_failed / self.first_attempts if self.first_attempts else 0.0

    def figures(self) -> dict[str, Any]:
        """For result.json."""
        return {
            "rto_s": round(self.rto_s, 2),
            "rto_by_city_s": {city: round(value, 2) for city, value in self.by_city.items()},
            "recovered": self.recovered,
            "attempts": self.attempts,
            "failed_attempts": self.failed,
            "failed_rate": round(self.failed_share, 4),
            "first_attempts_failed": self.first_failed,
            "first_attempts_failed_rate": round(self.first_failed_share, 4),
            "attempts_without_answer": self.unanswered,
            "wait_p50_s": _rounded(quantile(self.waits_s, 0.5)),
            "wait_p99_s": _rounded(quantile(self.waits_s, 0.99)),
            "wait_max_s": _rounded(self.waits_s[-1] if self.waits_s else None),
        }


def expected_rto_s(stage: Stage) -> float:
    """What the stage's settings promise: so many failed probes, and then the record's time to live."""
    return float(stage.health_check.interval_s * stage.health_check.failure_threshold + stage.dns.ttl_s)


def recovery(record: LoadRecord, outage_started: float, outage_ended: float | None) -> Recovery:
    """Measure from ``outage_started``; attempts that began after ``outage_ended`` (None: it goes on) do not count."""

    def within(at: float) -> bool:
        return at >= outage_started and (outage_ended is None or at <= outage_ended)

    counted = [one for one in record.attempts if within(one.started)]
    first = [one for one in counted if one.number == 1 and one.via == EDGE]
    cities = list(dict.fromkeys(one.city for one in record.attempts))
    by_city = {city: _last_failure(first, outage_started, city) for city in cities}
    failures = [one for one in first if one.failed]
    last = max((one.started for one in failures), default=None)
    # What got through later, also when the outage was over by then, shows that the failure was the last one.
    later = last is None or any(
        not one.failed and one.started > last for one in record.attempts if one.number == 1 and one.via == EDGE
    )
    return Recovery(
        rto_s=max(by_city.values(), default=0.0),
        by_city=by_city,
        recovered=later,
        attempts=len(counted),
        failed=sum(one.failed for one in counted),
        first_attempts=len(first),
        first_failed=len(failures),
        unanswered=sum(one.status == 0 for one in counted),
        waits_s=tuple(sorted(event.waited_s for event in record.accepted.values() if within(event.began))),
    )


def _last_failure(attempts: Iterable[Attempt], since: float, city: str) -> float:
    return max((one.ended - since for one in attempts if one.failed and one.city == city), default=0.0)


def moved(record: LoadRecord, phases: Sequence[Phase]) -> pd.DataFrame:
    """Which region answered each city's first attempts in each phase: a row a city, phase and region, with its share.

    Attempts that failed stand under ``failed``, whoever answered them.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    for one in record.attempts:
        if one.number == 1 and one.via == EDGE:
            for phase in phases:
                if phase.holds(one.started):
                    counts[one.city, phase.name, FAILED if one.failed else one.region or NONE] += 1
    totals: Counter[tuple[str, str]] = Counter()
    for (city, phase_name, _), count in counts.items():
        totals[city, phase_name] += count
    rows = [
        (city, name, region, count, count / totals[city, name])
        for (city, name, region), count in sorted(counts.items())
    ]
    frame = pd.DataFrame(rows, columns=["city", "phase", "region", "attempts", "share"])
    order = {phase.name: place for place, phase in enumerate(phases)}
    return frame.sort_values(["city", "phase"], key=lambda c: c.map(order) if c.name == "phase" else c, kind="stable")


def left_at(record: LoadRecord, region: str, since: float, until: float | None = None) -> float | None:
    """When the edge last led a client to ``region`` within the window (Unix seconds); None when it never did."""
    times = [
        one.started
        for one in record.attempts
        if one.via == EDGE and one.region == region and one.started >= since and (until is None or one.started <= until)
    ]
    return max(times, default=None)


def returned_at(record: LoadRecord, region: str, since: float) -> float | None:
    """When the edge first led a client to ``region`` again, with success, from ``since`` on; None when it did not."""
    times = [
        one.ended
        for one in record.attempts
        if one.via == EDGE and one.region == region and not one.failed and one.started >= since
    ]
    return min(times, default=None)


# --- what is drawn -------------------------------------------------------------------------------------------------


def per_second(record: LoadRecord) -> tuple[pd.DataFrame, float]:
    """Attempts a second by the region that answered, and those that failed; and how many seconds a row stands for.

    Every series has a row at every step, zero where there was none, so that a pause is seen as one.
    """
    columns = ["time", "series", "per_s"]
    if not record.attempts:
        return pd.DataFrame(columns=columns), STEPS_S[0]
    begun = [one.started for one in record.attempts]
    fitting = (step for step in STEPS_S if (max(begun) - min(begun)) / step <= MAX_STEPS)
    every_s = next(fitting, STEPS_S[-1])
    counts: Counter[tuple[int, str]] = Counter()
    for one in record.attempts:
        counts[math.floor(one.started / every_s), FAILED if one.failed else one.region or NONE] += 1
    steps = [step for step, _ in counts]
    series = sorted({name for _, name in counts}, key=lambda name: (name in (FAILED, NONE), name))
    rows = [
        (step * every_s, name, counts[step, name] / every_s)
        for name in series
        for step in range(min(steps), max(steps) + 1)
    ]
    return _timed(rows, columns), every_s


def latencies(record: LoadRecord) -> pd.DataFrame:
    """A row an attempt that was answered for good: when it began, who answered, and its latency."""
    rows = [
        (one.started, one.region or NONE, (one.ended - one.started) * 1000) for one in record.attempts if not one.failed
    ]
    return _timed(sorted(rows), ["time", "region", "latency_ms"])


def answering(record: LoadRecord) -> pd.DataFrame:
    """By city, whom the edge led to: a row an attempt through the edge, ``failed`` where it was of no use."""
    rows = [
        (one.started, one.city, FAILED if one.failed else one.region or NONE)
        for one in record.attempts
        if one.via == EDGE and one.number == 1
    ]
    return _timed(sorted(rows), ["time", "city", "region"])


def lags(arrivals: pd.DataFrame, unreachable: Sequence[Span] = ()) -> pd.DataFrame:
    """Replication lag by direction, at the time of each event's 202; many directions are put together by their end.

    ``arrivals`` is :meth:`ops.failover.arrivals.Arrivals.frame`. What was accepted while the other replica could not
    be read has no lag: when it arrived was not seen. Nor has what was not seen at all.
    """
    across = arrivals[arrivals["accepted_region"] != arrivals["region"]].copy()
    across["direction"] = across["accepted_region"] + " to " + across["region"]
    if across["direction"].nunique() > MAX_DIRECTIONS:
        across["direction"] = "to " + across["region"]
    for span in unreachable:
        unseen = (across["region"] == span.region) & (
            across["accepted"] >= pd.Timestamp(span.started, unit="s", tz="UTC")
        )
        if span.ended is not None:
            unseen &= across["accepted"] < pd.Timestamp(span.ended, unit="s", tz="UTC")
        across.loc[unseen, "lag_ms"] = math.nan
    rows = across[["accepted", "direction", "lag_ms"]].rename(columns={"accepted": "time"})
    return rows.sort_values(["direction", "time"], ignore_index=True)


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value that ``share`` of the values do not exceed (nearest rank); None of none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _timed(rows: list[Any], columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=columns)
    frame["time"] = pd.to_datetime(frame["time"].astype(float), unit="s", utc=True)
    return frame

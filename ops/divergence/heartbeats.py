"""Heartbeats: an item written in one region and looked for in the others, so that replication is timed as it is now.

Each region has one heartbeat in a table, under a key that nothing else bears (:mod:`ops.divergence.reserved`), written
anew in every round and deleted at the end, which replicates like any write. What always holds: a heartbeat never takes
the place of another run's; an item that is not a heartbeat is never touched, because every write and deletion is under
the condition of the run; all waits end at a deadline; a killed run leaves items that the next one finds by their keys,
and where the table has a time to live, they go by themselves.

An arrival is seen by strong reads of the other region, so it is known only to lie between the last of them that did not
see it and the first that did: ``at_least_ms`` and ``latency_ms``, counted from when the write was acknowledged.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
from botocore.exceptions import BotoCoreError, ClientError

from ops import charts
from ops.aws import Cloud, error_code
from ops.divergence.groups import pairs
from ops.divergence.replicas import Described, Replica, Schema, client
from ops.divergence.reserved import heartbeat_key
from ops.errors import UsageError
from ops.fanout import each
from ops.record import Check, now_text

ROUNDS, DEADLINE_S = 5, 30.0
MAX_ROUNDS, MAX_DEADLINE_S = 100, 600.0
ATTRIBUTE = "atoll_heartbeat"
# Pauses between two reads: short at first, when most arrive, and never long beside the deadline.
FIRST_PAUSE_S, LAST_PAUSE_S, GROWTH = 0.02, 0.5, 1.5
# A heartbeat outlives the deadlines of its run by this, in case deletion fails, before its time to live is over.
AFTERWARDS_S = 3600
# Threads at a time; a pair that waits for one would be timed too long.
THREADS = 64

Progress = Callable[[str], None]


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
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else float(np.nan)


def _advice(problem: str, source: str, target: str) -> str:
    if problem.startswith("never arrived"):
        return (
            f"Replication from {source} to {target} stands still or is slower than that: look at the status of the "
            "pair, and scan before traffic is moved"
        )
    return "The pair was not timed: mend that and repeat"


def beat(
    cloud: Cloud,
    replicas: Sequence[Replica],
    schema: Schema,
    *,
    rounds: int = ROUNDS,
    deadline_s: float = DEADLINE_S,
    described: Mapping[Replica, Described] | None = None,
    progress: Progress = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> Beats:
    """Write heartbeats and time their arrival. This changes the tables: call it from an apply only.

    Args:
        rounds: heartbeats of each region.
        deadline_s: how long one is waited for. A pair in which one did not arrive is not waited for again.
        described: what the tables tell of themselves, from which it follows which pairs replicate and where heartbeats
            expire; without it, all pairs are held to replicate.

    Raises:
        UsageError: a number is out of range.
    """
    check_range(rounds, deadline_s)
    linked, apart = pairs(described) if described is not None else (list(permutations(replicas, 2)), {})
    ttl = {replica: one.ttl_attribute for replica, one in (described or {}).items()}
    until_s = now() + rounds * deadline_s * 2 + deadline_s
    run = _Run(cloud, schema, uuid.uuid4().hex, deadline_s, until_s, ttl, clock, sleep)
    found: list[Beat] = []
    try:
        for number in range(1, rounds + 1):
            failed = {(one.source, one.target) for one in found if one.problem}
            open_pairs = [pair for pair in linked if (pair[0].label, pair[1].label) not in failed]
            found += run.round(number, open_pairs)
            seen = sum(1 for one in found if one.latency_ms is not None)
            progress(f"heartbeats, round {number} of {rounds}: {seen} of {len(found)} arrived")
    finally:
        left = run.clear(dict.fromkeys(replica for pair in linked for replica in pair))
    order = {(a.label, b.label): place for place, (a, b) in enumerate(linked)}
    found.sort(key=lambda one: (order[one.source, one.target], one.round))
    return Beats(run.name, tuple(found), deadline_s, apart, left)


def check_range(rounds: int, deadline_s: float) -> None:
    """Raise UsageError for what is not accepted."""
    if not 1 <= rounds <= MAX_ROUNDS:
        raise UsageError(f"rounds: 1 to {MAX_ROUNDS}, is {rounds}")
    if not 1 <= deadline_s <= MAX_DEADLINE_S:
        raise UsageError(f"deadline_s: 1 to {MAX_DEADLINE_S:g}, is {deadline_s:g}")


def find_left(cloud: Cloud, replicas: Sequence[Replica], schema: Schema) -> list[Left]:
    """The heartbeats that are in the tables now; reads only."""

    def look(place: tuple[Replica, str]) -> Left | None:
        replica, region = place
        key = heartbeat_key(schema.names, schema.types, region)
        item = client(cloud, replica).get_item(TableName=replica.table, Key=key, ConsistentRead=True).get("Item")
        return None if item is None else _left(replica, region, item)

    regions = list(dict.fromkeys(replica.region for replica in replicas))
    found = each([(replica, region) for replica in replicas for region in regions], look)
    return [one for one in found.values() if one is not None]


def remove(cloud: Cloud, schema: Schema, left: Left) -> bool:
    """Delete one that was left; False: it had gone, or another run has written it anew since."""
    names = {"#mark": ATTRIBUTE, "#run": "run"}
    try:
        answer = client(cloud, left.replica).delete_item(
            TableName=left.replica.table,
            Key=heartbeat_key(schema.names, schema.types, left.source),
            ConditionExpression="#mark.#run = :run",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={":run": {"S": left.run}},
            ReturnValues="ALL_OLD",
        )
    except ClientError as error:
        if error_code(error) == "ConditionalCheckFailedException":
            return False
        raise
    return "Attributes" in answer


def _left(replica: Replica, region: str, item: Mapping[str, Any]) -> Left:
    mark = item.get(ATTRIBUTE, {}).get("M", {})
    return Left(replica, region, mark.get("run", {}).get("S", ""), float(mark.get("until", {}).get("N", "0")))


class _Run:
    """The heartbeats of one run."""

    def __init__(
        self,
        cloud: Cloud,
        schema: Schema,
        name: str,
        deadline_s: float,
        until_s: float,
        ttl: Mapping[Replica, str],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.cloud, self.schema, self.name, self.deadline_s, self.until_s = cloud, schema, name, deadline_s, until_s
        self.ttl, self.clock, self.sleep = ttl, clock, sleep

    def round(self, number: int, linked: Sequence[tuple[Replica, Replica]]) -> list[Beat]:
        """One heartbeat of each source, timed in its targets at the same time."""
        targets: dict[Replica, list[Replica]] = {}
        for source, target in linked:
            targets.setdefault(source, []).append(target)
        found: list[Beat] = []
        for group in _groups(targets):
            threads = sum(1 + len(targets[source]) for source in group)
            with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="atoll-heartbeat") as pool:
                started = [pool.submit(self._send, source, targets[source], number, pool) for source in group]
                for one in started:
                    found += [future.result() for future in one.result()]
        return found

    def _send(
        self, source: Replica, targets: Sequence[Replica], number: int, pool: ThreadPoolExecutor
    ) -> list[Future[Beat]]:
        try:
            self._write(source, number)
        except (ClientError, BotoCoreError) as error:
            problem = f"not written in {source.label}: {_why(error)}"
            return [pool.submit(Beat, source.label, one.label, number, None, 0.0, 0, problem) for one in targets]
        written = self.clock()
        return [pool.submit(self._await, source, target, number, written) for target in targets]

    def _write(self, source: Replica, number: int) -> None:
        key = heartbeat_key(self.schema.names, self.schema.types, source.region)
        mark = {
            "run": {"S": self.name},
            "round": {"N": str(number)},
            "until": {"N": str(math.ceil(self.until_s))},
            "written_region": {"S": source.region},
            "written_at": {"S": now_text()},
        }
        item: dict[str, Any] = {**key, ATTRIBUTE: {"M": mark}}
        expiry = self.ttl.get(source, "")
        if expiry and expiry not in key:
            item[expiry] = {"N": str(math.ceil(self.until_s) + AFTERWARDS_S)}
        client(self.cloud, source).put_item(
            TableName=source.table,
            Item=item,
            ConditionExpression="attribute_not_exists(#key) OR #mark.#run = :run",
            ExpressionAttributeNames={"#key": self.schema.names[0], "#mark": ATTRIBUTE, "#run": "run"},
            ExpressionAttributeValues={":run": {"S": self.name}},
        )

    def _await(self, source: Replica, target: Replica, number: int, written: float) -> Beat:
        """Read strongly, at growing intervals, until the heartbeat is there or the deadline is."""
        unseen, pause_s, reads = written, FIRST_PAUSE_S, 0
        for _ in range(math.ceil(self.deadline_s / FIRST_PAUSE_S) + 1):
            asked = self.clock()
            try:
                mark = self._mark(target, source.region)
            except (ClientError, BotoCoreError) as error:
                problem = f"not read in {target.label}: {_why(error)}"
                return Beat(source.label, target.label, number, None, 0.0, reads, problem)
            reads, answered = reads + 1, self.clock()
            if mark.get("run") == self.name and int(mark.get("round", 0)) >= number:
                latency, least = (max(0.0, 1000 * (moment - written)) for moment in (answered, unseen))
                return Beat(source.label, target.label, number, latency, least, reads)
            unseen, left_s = asked, written + self.deadline_s - answered
            if left_s <= 0:
                break
            self.sleep(min(pause_s, left_s))
            pause_s = min(GROWTH * pause_s, LAST_PAUSE_S)
        problem = f"never arrived within {self.deadline_s:g} s"
        return Beat(source.label, target.label, number, None, 1000 * (unseen - written), reads, problem)

    def _mark(self, replica: Replica, region: str) -> dict[str, str]:
        """What the heartbeat of ``region`` says in this replica; empty when it is not there."""
        key = heartbeat_key(self.schema.names, self.schema.types, region)
        found = client(self.cloud, replica).get_item(TableName=replica.table, Key=key, ConsistentRead=True)
        mark = found.get("Item", {}).get(ATTRIBUTE, {}).get("M", {})
        return {name: str(next(iter(value.values()))) for name, value in mark.items()}

    def clear(self, replicas: Mapping[Replica, None]) -> tuple[Left, ...]:
        """Delete this run's heartbeats where they were written; what any replica still holds at the deadline."""
        for replica in replicas:
            try:
                remove(self.cloud, self.schema, Left(replica, replica.region, self.name, self.until_s))
            except (ClientError, BotoCoreError):
                continue  # it is seen below, if the replica answers at all
        pause_s, end = FIRST_PAUSE_S, self.clock() + self.deadline_s
        for _ in range(math.ceil(self.deadline_s / FIRST_PAUSE_S) + 1):
            left = self._left(list(replicas))
            if not left or self.clock() >= end:
                break
            self.sleep(pause_s)
            pause_s = min(GROWTH * pause_s, LAST_PAUSE_S)
        return tuple(left)

    def _left(self, replicas: Sequence[Replica]) -> list[Left]:
        found = []
        for replica in replicas:
            for region in dict.fromkeys(one.region for one in replicas):
                try:
                    mark = self._mark(replica, region)
                except (ClientError, BotoCoreError):
                    continue
                if mark.get("run") == self.name:
                    found.append(Left(replica, region, self.name, self.until_s))
        return found


def _groups(targets: Mapping[Replica, Sequence[Replica]]) -> list[list[Replica]]:
    """The sources that are timed at the same time: as many as there are threads for."""
    made: list[list[Replica]] = []
    room = 0
    for source, own in targets.items():
        if room < 1 + len(own):
            made.append([])
            room = THREADS
        made[-1].append(source)
        room -= 1 + len(own)
    return made


def _why(error: Exception) -> str:
    if not isinstance(error, ClientError):
        return type(error).__name__
    if error_code(error) == "ConditionalCheckFailedException":
        return "another run's heartbeat is there"
    return error_code(error)

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
from itertools import permutations
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops.aws import Cloud, error_code
from ops.divergence.beats import NEVER, Beat, Beats, Left
from ops.divergence.groups import pairs
from ops.divergence.replicas import Described, Replica, Schema, client
from ops.divergence.reserved import heartbeat_key
from ops.errors import UsageError
from ops.fanout import each
from ops.record import now_text

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
    run = _Run(cloud, schema, uuid.uuid4().hex, deadline_s=deadline_s, ttl=ttl, clock=clock, sleep=sleep, now=now)
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
        *,
        deadline_s: float,
        ttl: Mapping[Replica, str],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        now: Callable[[], float],
    ) -> None:
        self.cloud, self.schema, self.name, self.deadline_s = cloud, schema, name, deadline_s
        self.ttl, self.clock, self.sleep, self.now = ttl, clock, sleep, now
        self.until_s = 0.0

    def round(self, number: int, linked: Sequence[tuple[Replica, Replica]]) -> list[Beat]:
        """One heartbeat of each source, timed in its targets at the same time."""
        targets: dict[Replica, list[Replica]] = {}
        for source, target in linked:
            targets.setdefault(source, []).append(target)
        found: list[Beat] = []
        groups = _groups(targets)
        # The round, and deleting what is in the tables after it.
        self.until_s = self.now() + (len(groups) + 2) * self.deadline_s
        for group in groups:
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
        problem = f"{NEVER} within {self.deadline_s:g} s"
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

"""The plan of heartbeats and its apply: the part of mode ``probe`` that writes.

A dry run shows what would be written and what an earlier run left behind. What always holds: nothing is written without
the plan's own token; a heartbeat of a run that may still be under way is in the way of another, and is not removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ops.aws import Cloud, explained
from ops.divergence import heartbeats
from ops.divergence.beats import Beats, Left
from ops.divergence.groups import pairs
from ops.divergence.heartbeats import DEADLINE_S, ROUNDS, check_range
from ops.divergence.replicas import Described, Replica, Schema
from ops.divergence.reserved import heartbeat_key
from ops.plan import Outcome, Plan, Report, Step, authorize
from ops.prices import READ_REQUEST_UNIT_USD, WRITE_REQUEST_UNIT_USD
from sketch import keys

# Reads of one heartbeat that arrives within a second or two, which is what a plan reckons with.
USUAL_READS = 8
# Seconds from a write to its arrival, usually: what a plan's duration reckons with.
USUAL_S = 1.5


def plan(
    cloud: Cloud,
    schema: Schema,
    described: Mapping[Replica, Described],
    *,
    rounds: int = ROUNDS,
    deadline_s: float = DEADLINE_S,
    runbook: str = "divergence",
    parameters: Mapping[str, Any] | None = None,
    now: Callable[[], float] = time.time,
) -> Plan:
    """What would be written, and which leftovers would be removed; reads only.

    Args:
        described: the tables that are there; heartbeats go between those that replicate.
        runbook: whose plan it is.
        parameters: the runbook's, with which a run makes this plan again.

    Raises:
        UsageError: a number is out of range.
        OpsError: a table could not be read.
    """
    check_range(rounds, deadline_s)
    linked, apart = pairs(described)
    sources = list(dict.fromkeys(source for source, _ in linked))
    with explained("looking for heartbeats of earlier runs"):
        left = heartbeats.find_left(cloud, list(described), schema)
    steps = [_removal(schema, one, now()) for one in left]
    for source in sources:
        targets = ", ".join(target.label for one, target in linked if one == source)
        key = keys.text(keys.pack(heartbeat_key(schema.names, schema.types, source.region), schema.names), schema.names)
        detail = f"{key}: written {rounds} times, looked for in {targets} for up to {deadline_s:g} s, then deleted"
        steps.append(Step(action="run", resource=f"heartbeat of {source.label}", region=source.region, detail=detail))
    writes = sum((rounds + 1) * (1 + sum(1 for one, _ in linked if one == source)) for source in sources)
    reads = len(linked) * rounds * USUAL_READS
    reasons = [f"no heartbeat from {source} to {target}: {why}" for (source, target), why in apart.items()]
    return Plan(
        runbook=runbook,
        stage=cloud.stage.stage,
        account=cloud.account,
        regions=list(dict.fromkeys(replica.region for replica in described)),
        parameters=dict(parameters or {"mode": "probe"}),
        steps=steps,
        estimates={
            "heartbeats": rounds * len(sources),
            "write_units": writes,
            "read_units": reads,
            "duration_s": rounds * USUAL_S,
            "duration_at_most_s": (rounds + 1) * deadline_s,
            "cost_usd": writes * WRITE_REQUEST_UNIT_USD + reads * READ_REQUEST_UNIT_USD,
        },
        warnings=reasons,
    )


def apply(
    cloud: Cloud,
    plan: Plan,
    token: str,
    schema: Schema,
    described: Mapping[Replica, Described],
    *,
    rounds: int = ROUNDS,
    deadline_s: float = DEADLINE_S,
    report: Report = lambda outcome: None,
    **options: Any,
) -> Beats:
    """Remove what earlier runs left, write the heartbeats, time them and delete them.

    Args:
        report: told of each step as it is done.
        options: ``progress``, ``clock``, ``sleep``, ``now``: as :func:`ops.divergence.heartbeats.beat` has them.

    Raises:
        RefusedError: the token is not this plan's, or another run is under way.
        OpsError: a leftover could not be removed.
    """
    authorize(plan, token)
    with explained("removing heartbeats of earlier runs"):
        for one in heartbeats.find_left(cloud, list(described), schema):
            step = next((step for step in plan.changes if step.after is None and step.before == _told(one)), None)
            if step is not None:
                gone = heartbeats.remove(cloud, schema, one)
                report(Outcome(step, "deleted" if gone else "gone already", 0.0))
    found = heartbeats.beat(
        cloud, list(described), schema, rounds=rounds, deadline_s=deadline_s, described=described, **options
    )
    for step in plan.changes:
        if step.action == "run":
            own = [one for one in found.beats if f"heartbeat of {one.source}" == step.resource]
            arrived = sum(1 for one in own if one.latency_ms is not None)
            took_s = sum(one.latency_ms or 0.0 for one in own) / 1000
            report(Outcome(step, f"{arrived} of {len(own)} arrived", took_s))
    return found


def _removal(schema: Schema, left: Left, now_s: float) -> Step:
    """The step that removes a leftover, or that is in the way as long as its run may be under way."""
    until = datetime.fromtimestamp(left.until_s, UTC)
    resource = f"heartbeat of {left.source} in {left.replica.label}"
    if left.until_s > now_s:
        why = f"run {left.run} may be under way until {until:%H:%M:%S}Z; after that it is a leftover that is removed"
        return Step(action="refuse", resource=resource, region=left.replica.region, detail=why)
    why = f"left behind by run {left.run}, which was to end by {until:%Y-%m-%d %H:%M:%S}Z"
    return Step(action="delete", resource=resource, region=left.replica.region, detail=why, before=_told(left))


def _told(left: Left) -> dict[str, str]:
    return {"replica": left.replica.label, "source": left.source, "run": left.run}

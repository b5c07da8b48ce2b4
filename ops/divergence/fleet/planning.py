"""What a fleet run would do: which regions read how many segments, at what pace, how long it takes and what it costs.

What always holds: nothing is started; what a fleet cannot read (another table, another account, a region whose stack
has no fleet) is a step that refuses, with the mode that can read it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops import bucket, stack
from ops.aws import Cloud, explained
from ops.divergence.budget import default_units_per_s
from ops.divergence.replicas import Described, Replica, Schema
from ops.errors import UsageError
from ops.fanout import each
from ops.plan import Plan, Step
from ops.prices import LAMBDA_GB_SECOND_USD, LAMBDA_REQUEST_USD, READ_REQUEST_UNIT_USD, S3_PUT_USD, STATE_TRANSITION_USD
from sketch import Layout

# What a distributed Map takes as the array of one execution's input, 256 KiB of numbers and commas, holds 10,000.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_SEGMENTS = 10_000
# A segment that one invocation reads in minutes, so that little is lost with one.
SEGMENT_BYTES = 2 << 30
# Less is not worth an invocation.
SMALLEST_SEGMENT_BYTES = 16 << 20
# Enough for some 6,000 changed items a segment; 144 bytes each where they are used.
CELLS = 16_383
# Sizes as DynamoDB counts them, a second of one function with one processor: set by the answers of Scan, one page of
# 1 MB after another, and by the digest without the native core (docs/divergence-fleet.md).
BYTES_PER_S = {"native": 20e6, "reference": 1.2e6}
START_S = 5.0
# A Map's iteration, its task, its choice, its end.
TRANSITIONS = 5
# An eventually consistent read of 4 KB is half a unit.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
BYTES_PER_UNIT = 8192


@dataclass(frozen=True)
class Region:
    """What is known of a region that is to read. ``problem``: why it cannot."""

    arn: str = ""
    implementation: str = ""
    problem: str = ""


def plan(
    cloud: Cloud,
    replicas: Sequence[Replica],
    schema: Schema,
    described: Mapping[Replica, Described | None],
    *,
    ignore: Sequence[str] = (),
    only: Sequence[str] | None = None,
    segments: int = 0,
    read_units_per_s: float = 0.0,
    parameters: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of one comparison, a step a replica.

    Args:
        segments: how many each replica is cut into; 0: by the size of the largest.
        read_units_per_s: that a region may take of its table; 0: a quarter of what the table serves.
        parameters: of the run, as the plan is to record them.

    Raises:
        UsageError: ``segments`` or ``read_units_per_s`` make no sense.
    """
    if not 0 <= segments <= MAX_SEGMENTS:
        raise UsageError(f"segments: {segments} is not between 0 and {MAX_SEGMENTS}")
    if read_units_per_s < 0:
        raise UsageError(f"read_units_per_s: {read_units_per_s:g} is less than 0")
    layout = Layout(schema.names, tuple(ignore), None if only is None else tuple(only), CELLS)
    sizes = {one: found.size_bytes for one, found in described.items() if found is not None}
    count = segments or segments_of(max(sizes.values(), default=0), cloud.stage.divergence.fleet_concurrency)
    regions = each(replicas, lambda one: _look(cloud, one))
    steps = []
    for replica in replicas:
        found, region = described.get(replica), regions[replica]
        resource = f"{cloud.stage.fleet}: {replica.label}"
        if region.problem:
            steps.append(Step(action="refuse", resource=resource, region=replica.region, detail=region.problem))
            continue
        pace = read_units_per_s or default_units_per_s(found.raw if found else {})[0]
        # How much it holds is an estimate: what is written between plan and apply makes no other plan of it.
        steps.append(
            Step(
                action="run",
                resource=resource,
                region=replica.region,
                detail=f"{count} segments of {replica.table}; at most {pace:,.0f} read units/s; "
                f"{region.implementation} sketch",
                after={
                    "label": replica.label,
                    "state_machine": region.arn,
                    "table": replica.table,
                    "layout": layout_record(layout),
                    "segments": count,
                    "read_units_per_s": pace,
                },
            )
        )
    slow = [one.region for one, region in regions.items() if region.implementation == "reference"]
    warnings = [
        f"{', '.join(slow)}: the function's package holds no native core for this architecture, so digests are made in "
        f"Python, about {BYTES_PER_S['native'] / BYTES_PER_S['reference']:.0f} times slower, with the same results"
    ]
    return Plan(
        journaled=True,
        runbook="divergence",
        stage=cloud.stage.stage,
        account=cloud.account,
        regions=[one.region for one in replicas],
        parameters=dict(parameters or {"mode": "fleet"}),
        steps=steps,
        estimates=estimates(
            cloud,
            sizes=[sizes.get(one, 0) for one in replicas],
            described=described,
            segments=count,
            steps=steps,
            slow=bool(slow),
        ),
        warnings=warnings if slow else [],
    )


def segments_of(size_bytes: int, concurrency: int) -> int:
    """How many segments a table of this size is cut into: enough to keep all functions busy, none small or large."""
    busy = min(concurrency, math.ceil(size_bytes / SMALLEST_SEGMENT_BYTES))
    return max(1, min(MAX_SEGMENTS, max(busy, math.ceil(size_bytes / SEGMENT_BYTES))))


def layout_record(layout: Layout) -> dict[str, Any]:
    """A layout as the function is told it."""
    only = None if layout.only is None else list(layout.only)
    return {"names": list(layout.names), "ignore": list(layout.ignore), "only": only, "cells": layout.cells}


def estimates(
    cloud: Cloud,
    *,
    sizes: Sequence[int],
    described: Mapping[Replica, Described | None],
    segments: int,
    steps: Sequence[Step],
    slow: bool,
) -> dict[str, Any]:
    """Of all regions together; they read side by side, so the largest says how long."""
    settings = cloud.stage.divergence
    units = [math.ceil(size / BYTES_PER_UNIT) for size in sizes]
    each_s = BYTES_PER_S["reference" if slow else "native"]
    invocations = len(sizes) * segments
    busy_s = sum(sizes) / each_s + invocations * 1.0
    at_once = min(settings.fleet_concurrency, segments)
    durations = [size / each_s / at_once for size in sizes]
    for number, step in enumerate(steps):
        if step.after:
            durations[number] = max(durations[number], units[number] / step.after["read_units_per_s"])
    gb_s, transitions = busy_s * settings.fleet_memory_mb / 1024, invocations * TRANSITIONS
    cost = (
        sum(units) * READ_REQUEST_UNIT_USD
        + gb_s * LAMBDA_GB_SECOND_USD
        + invocations * (LAMBDA_REQUEST_USD + S3_PUT_USD)
        + transitions * STATE_TRANSITION_USD
    )
    return {
        "items": sum(found.items for found in described.values() if found is not None),
        "size_bytes": sum(sizes),
        "read_units": sum(units),
        "invocations": invocations,
        "lambda_gb_s": round(gb_s, 1),
        "state_transitions": transitions,
        "duration_s": round(max(durations, default=0.0) + START_S, 1),
        "cost_usd": round(cost, 4),
    }


def _look(cloud: Cloud, replica: Replica) -> Region:
    stage = cloud.stage
    other = "; read it with -p mode=scan"
    if replica.profile or replica.table != stage.table_name or replica.region not in stage.regions:
        own = f"stage {stage.stage!r}'s own table, and the function may read nothing else"
        return Region(problem=f"{replica.label} is not {own}{other}")
    if not stage.divergence.fleet:
        return Region(problem=f"divergence.fleet is off in {stage.shown_file}; turn it on and deploy{other}")
    with explained(f"{replica.region}: reading stack {stage.stack}"):
        outputs = stack.read(cloud, replica.region).outputs
    if "FleetArn" not in outputs:
        return Region(problem=f"stack {stage.stack} has no fleet: ops deploy --stage {stage.stage}{other}")
    if not bucket.exists(cloud, bucket.place(cloud, replica.region)):
        return Region(problem=f"there is no operations bucket: ops run provision --stage {stage.stage}{other}")
    return Region(outputs["FleetArn"], outputs["FleetSketch"])

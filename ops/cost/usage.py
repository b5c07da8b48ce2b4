"""What each region used in a window: CloudWatch's sums, and what AWS tells of what is kept and what stands there.

Each line says on what it rests: ``measured``; ``described`` (what is there now, taken for the whole window); ``stage
file``; or ``derived``, from Atoll's own counters where CloudWatch has nothing of the service itself, and then it is the
least that it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pandas as pd

from ops import metrics, network, stack
from ops.aws import Cloud, explained
from ops.cost.described import Described, describe
from ops.cost.series import usage_series
from ops.errors import UsageError
from ops.fanout import each
from ops.prices import HOURS_PER_MONTH
from ops.provision.desired import INDEXES
from ops.stage import Stage

GLOBAL = "global"
MEASURED, DESCRIBED, STAGE_FILE, DERIVED = "measured", "described", "stage file", "derived"
GB = 1e9
# The claim of an event in the record of accepted events, and its completion.
CLAIM_WRITES = 2


class Line(NamedTuple):
    """How much of one item of :func:`ops.cost.rates.rates` a region used."""

    region: str
    item: str
    quantity: float
    basis: str


@dataclass(frozen=True)
class Usage:
    """``lines`` are what was used; ``frame`` is CloudWatch's part, as :mod:`ops.metrics` has it.

    ``incomplete`` are series that CloudWatch gave in part only, ``unknown`` what was used and nobody tells how much.
    """

    stage: Stage
    start: datetime
    end: datetime
    lines: tuple[Line, ...]
    frame: pd.DataFrame
    incomplete: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def hours(self) -> float:
        return (self.end - self.start).total_seconds() / 3600

    def events(self, region: str = "") -> float:
        """Events accepted for the first time: by one region, or by all."""
        return sum(one.quantity for one in self.lines if one.item == "events published" and region in ("", one.region))


def collect(
    cloud: Cloud,
    start: datetime,
    end: datetime | None = None,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Usage:
    """What every region used from ``start`` to ``end`` (default: now), widened to CloudWatch's periods; reads only.

    Raises:
        UsageError: the range is empty or too old.
        OpsError: AWS did not answer.
    """
    end = end or now()
    if start >= end:
        raise UsageError(f"start: {start.isoformat()} is not before end, {end.isoformat()}")
    stage, period_s = cloud.stage, metrics.derive_period(start, end, now())
    start, end = _whole(start, end, period_s, now())
    hours = (end - start).total_seconds() / 3600

    def look(region: str) -> tuple[Described, pd.DataFrame]:
        with explained(f"{region}: looking at what is there"):
            found = describe(cloud, region)
            api_id = stack.read(cloud, region).api_id
        series = usage_series(stage, api_id, found.log_groups)
        return found, metrics.read(cloud, region, series, start, end, period_s=period_s)

    seen = each(stage.regions, look)
    frame = metrics.together(frame for _, frame in seen.values())
    frame.attrs["period_s"] = period_s
    lines = [one for region, (found, own) in seen.items() for one in _region(stage, region, found, own, period_s)]
    lines += [one for region, (found, _) in seen.items() for one in _standing(stage, region, found, hours)]
    lines += _replicated(stage, {region: own for region, (_, own) in seen.items()})
    lines += _global(stage, hours)
    incomplete = [f"{region} {one}" for region, (_, own) in seen.items() for one in own.attrs.get("incomplete", [])]
    unknown = [text for region, (found, own) in seen.items() for text in _unknown(stage, region, found, own)]
    return Usage(stage, start, end, tuple(lines), frame, tuple(incomplete), tuple(unknown))


def _whole(start: datetime, end: datetime, period_s: int, now: datetime) -> tuple[datetime, datetime]:
    """The time that the sums of whole periods stand for: nothing is used after ``now``."""
    first = int(start.timestamp()) // period_s * period_s
    last = -(-int(end.timestamp()) // period_s) * period_s
    return datetime.fromtimestamp(first, UTC), max(min(datetime.fromtimestamp(last, UTC), now), end)


def total(frame: pd.DataFrame, resource: str, metric: str) -> float | None:
    """The sum of a series; None where CloudWatch has nothing of it."""
    rows = metrics.select(frame, resource, metric)
    return float(rows["value"].sum()) if len(rows) else None


def _region(stage: Stage, region: str, found: Described, frame: pd.DataFrame, period_s: int) -> Iterator[Line]:
    def used(resource: str, metric: str) -> float:
        # A function that was not invoked, or a rule that matched nothing, has no series: that is none.
        return total(frame, resource, metric) or 0.0

    accepted = used("service/ingest", "EventsAccepted")
    requests = used("api", "Count")
    yield Line(region, "requests to the API", requests, MEASURED)
    for name in stage.stack_functions:
        fleet = name == "sketch"
        memory_mb = stage.divergence.fleet_memory_mb if fleet else stage.lambda_.memory_mb
        yield Line(region, "invocations", used(f"function/{name}", "Invocations"), MEASURED)
        yield Line(region, "duration", used(f"function/{name}", "Duration") / 1000 * memory_mb / 1024, MEASURED)
    yield Line(region, "events published", accepted, MEASURED)
    journaled = used("rule/journal", "Invocations")
    yield Line(region, "events to the journal of another region", journaled, MEASURED)
    if found.archived_event_bytes is not None:
        yield Line(region, "archived", accepted * found.archived_event_bytes / GB, DERIVED)
    for processor in stage.processor_names:
        sent = total(frame, f"queue/{processor}", "NumberOfMessagesSent")
        basis = DERIVED if sent is None else MEASURED
        delivered = used(f"rule/{processor}", "Invocations") if sent is None else sent
        # Lambda asks for a batch and deletes it: a request each, beside those that find nothing.
        asked = 2 * used(f"function/{processor}", "Invocations")
        empty = used(f"queue/{processor}", "NumberOfEmptyReceives")
        yield Line(region, "requests to queues", delivered + asked + empty, basis)
    yield from _consumed(stage, region, frame, accepted)
    for end, item in (("Read", "read capacity"), ("Write", "write capacity")):
        if stage.table.capacity is not None:
            unit_hours = used(f"table/{stage.table_name}", f"Provisioned{end}CapacityUnits") * period_s / 3600
            yield Line(region, item, unit_hours, MEASURED)
    if (taken_in := total(frame, "log/", "IncomingBytes")) is not None:
        yield Line(region, "logs taken in", taken_in / GB, MEASURED)
    if stage.tracing.enabled:
        yield Line(region, "traces", requests * stage.tracing.rate, DERIVED)


def _unknown(stage: Stage, region: str, found: Described, frame: pd.DataFrame) -> Iterator[str]:
    """What a region that ran must have used, and CloudWatch says nothing of."""
    if not (total(frame, "function/ingest", "Invocations") or 0.0):
        return
    if total(frame, "log/", "IncomingBytes") is None:
        yield f"{region}: logs taken in"
    if total(frame, f"table/{stage.idempotency_table}", "ConsumedReadCapacityUnits") is None:
        yield f"{region}: reads of tables"
    if found.archived_event_bytes is None:
        yield f"{region}: events archived, whose size the archive does not tell yet"


def _consumed(stage: Stage, region: str, frame: pd.DataFrame, accepted: float) -> Iterator[Line]:
    """Request units of the tables that are billed by them; those of :func:`_replicated` come besides."""
    on_demand = [stage.idempotency_table, *([stage.table_name] if stage.table.capacity is None else [])]
    for table in on_demand:
        for kind, item in (("Read", "reads"), ("Write", "writes")):
            units = total(frame, f"table/{table}", f"Consumed{kind}CapacityUnits")
            if units is not None:
                yield Line(region, item, units, MEASURED)
            elif table == stage.idempotency_table and kind == "Write" and accepted:
                yield Line(region, item, CLAIM_WRITES * accepted, DERIVED)


def _replicated(stage: Stage, frames: dict[str, pd.DataFrame]) -> Iterator[Line]:
    """Every replica takes every event that is stored anywhere, and its entry in each index: derived where a region's
    CloudWatch says nothing of the table. Events of more than 1 KB, and counts, come on top."""
    if stage.table.capacity is not None:
        return
    stored = sum(total(frame, "service/store", "EventsStored") or 0.0 for frame in frames.values())
    for region, frame in frames.items():
        if stored and total(frame, f"table/{stage.table_name}", "ConsumedWriteCapacityUnits") is None:
            yield Line(region, "writes", stored * (1 + len(INDEXES)), DERIVED)


def _standing(stage: Stage, region: str, found: Described, hours: float) -> Iterator[Line]:
    """What is there whether it is used or not, for the part of a month that the window is."""
    months = hours / HOURS_PER_MONTH
    yield Line(region, "kept in archives", found.archive_bytes / GB * months, DESCRIBED)
    yield Line(region, "kept in tables", sum(found.table_bytes.values()) / GB * months, DESCRIBED)
    if stage.table.point_in_time_recovery:
        kept = found.table_bytes.get(stage.table_name, 0)
        yield Line(region, "point-in-time recovery", kept / GB * months, DESCRIBED)
    yield Line(region, "logs kept", sum(found.log_groups.values()) / GB * months, DESCRIBED)
    yield Line(region, "metrics of our own", _own_metrics(stage) * months, STAGE_FILE)
    yield Line(region, "dashboards", (2 if region == stage.home_region else 1) * months, STAGE_FILE)
    for item, count in found.alarms.items():
        yield Line(region, item, count * months, DESCRIBED)
    if stage.key_alias is not None:
        yield Line(region, "key", months, STAGE_FILE)
    if stage.network is not None:
        zones = len(network.interface_endpoints(stage)) * stage.network.endpoint_zones
        yield Line(region, "interface endpoints", zones * hours, STAGE_FILE)


def _own_metrics(stage: Stage) -> int:
    every = metrics.catalogue(stage, None, stage.home_region)
    own: set[Any] = {(one.metric, one.dimensions) for one in every if one.namespace == "Atoll"}
    return len(own)


def _global(stage: Stage, hours: float) -> Iterator[Line]:
    months = hours / HOURS_PER_MONTH
    yield Line(GLOBAL, "hosted zone", months, STAGE_FILE)
    yield Line(GLOBAL, "health checks", len(stage.regions) * months, STAGE_FILE)

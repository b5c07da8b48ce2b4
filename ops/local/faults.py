"""Break the local cloud on purpose, and mend it: one face for drills, tests and demos.

``ops.local.record`` says what a fault is and where it is kept, ``ops.local.effects`` what each kind breaks. Injecting
a fault that is there already, and healing one that is not, change nothing. Faults that belong to an experiment of the
played Fault Injection Service are listed and healed here too; healing one ends its experiment as stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from ops.errors import OpsError, UsageError
from ops.local.cloud import LocalCloud
from ops.local.effects import API_FAULT_KINDS, SERVICES, ApiFaultKind, rules
from ops.local.processes import call
from ops.local.record import HOWS, PARTS, Fault, Record
from ops.stage import Stage

__all__ = [
    "API_FAULT_KINDS",
    "HOWS",
    "PARTS",
    "ApiFaultKind",
    "Fault",
    "api_fault",
    "heal",
    "list_faults",
    "region_down",
    "replication_cut",
    "rules",
]

DEFAULT_LATENCY_MS = 1000.0


def region_down(
    cloud: LocalCloud, stage: Stage, region: str, *, parts: Sequence[str] = PARTS, how: str = "reset"
) -> Fault:
    """Take ``region`` away, or ``parts`` of it. Replication goes on: cut it with ``replication_cut``.

    Parameters
    ----------
    parts : of ``api``, ``calls`` and ``processing``.
    how : what AWS calls to it end with: ``reset``, ``timeout`` or ``throttle``; without the part ``calls``, nothing.

    Raises:
        UsageError: the region is not in the stage, or a part or ``how`` is unknown.
    """
    stage.require_region(region)
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"part: {part!r} is unknown; accepted: {', '.join(PARTS)}")
    if how not in HOWS:
        raise UsageError(f"how: {how!r} is unknown; accepted: {', '.join(HOWS)}")
    chosen = tuple(part for part in PARTS if part in parts) or PARTS
    if how != "reset" and "calls" not in chosen:
        raise UsageError(f"how: {how!r} is about AWS calls; accepted: with the part calls")
    name = f"region-down:{region}" + ("" if chosen == PARTS else f":{'+'.join(chosen)}")
    return _inject(cloud, Fault(name, "region-down", _now(), region=region, parts=chosen, how=how))


def replication_cut(cloud: LocalCloud, stage: Stage, a: str, b: str, *, lose: bool = False) -> Fault:
    """Stop replication between two regions, both ways; with ``lose``, drop what is held and what is written meanwhile.

    Raises:
        UsageError: a region is not in the stage, or both are the same.
    """
    first, second = sorted((stage.require_region(a), stage.require_region(b)))
    if first == second:
        raise UsageError(f"b: {b!r} is the same region as a; accepted: another of {', '.join(stage.regions)}")
    name = f"replication-cut:{first}:{second}"
    return _inject(cloud, Fault(name, "replication-cut", _now(), region=first, other_region=second, lose=lose))


def api_fault(
    cloud: LocalCloud,
    stage: Stage,
    kind: str,
    service: str,
    *,
    region: str | None = None,
    rate: float = 1.0,
    latency_ms: float = DEFAULT_LATENCY_MS,
) -> Fault:
    """Throttle, delay, reset or leave without an answer a share of the AWS calls to one service.

    Raises:
        UsageError: unknown kind, service or region, or a rate outside 0 to 1.
    """
    if kind not in API_FAULT_KINDS:
        raise UsageError(f"kind: {kind!r} is unknown; accepted: {', '.join(API_FAULT_KINDS)}")
    if service not in SERVICES:
        raise UsageError(f"service: {service!r} is unknown; accepted: {', '.join(SERVICES)}")
    if region is not None:
        stage.require_region(region)
    if not 0 < rate <= 1:
        raise UsageError(f"rate: {rate} is not a share; accepted: more than 0, up to 1")
    if kind == "latency" and not 0 < latency_ms <= 60_000:
        raise UsageError(f"latency_ms: {latency_ms} is out of range; accepted: more than 0, up to 60000")
    fault = Fault(
        f"{kind}:{service}" + (f":{region}" if region else ""),
        kind,
        _now(),
        region=region,
        service=service,
        rate=rate,
        latency_ms=latency_ms if kind == "latency" else None,
    )
    return _inject(cloud, fault)


def list_faults(cloud: LocalCloud, stage: Stage) -> list[Fault]:
    """What is broken now, oldest first; experiments' faults too."""
    del stage  # every face of this module takes both
    return Record(cloud.state_dir).read()


def heal(cloud: LocalCloud, stage: Stage, fault_id: str | None = None) -> list[Fault]:
    """Mend one fault, those of one experiment, or all when ``fault_id`` is None or "all"; returns what was mended.

    Raises:
        UsageError: there is no such fault; the message has those there are.
    """
    del stage  # every face of this module takes both
    record = Record(cloud.state_dir)
    with record.held():
        faults = record.read()
        everything = fault_id in (None, "all")
        healed = faults if everything else [fault for fault in faults if fault_id in (fault.id, fault.owner)]
        if not healed and not everything:
            there = ", ".join(fault.id for fault in faults) or "none: nothing is broken"
            raise UsageError(f"fault: {fault_id!r} is not active; accepted: {there}")
        remaining = [fault for fault in faults if fault not in healed]
        _enforce(cloud, remaining)
        record.write(remaining)
        return healed


def _inject(cloud: LocalCloud, fault: Fault) -> Fault:
    record = Record(cloud.state_dir)
    with record.held():
        faults = record.read()
        before = next((one for one in faults if one.id == fault.id), None)
        if before is not None:
            fault = replace(fault, since=before.since)
        faults = [one for one in faults if one.id != fault.id] + [fault]
        # Recorded first: should this process end half-way, the fault is listed and can be healed.
        record.write(faults)
        _enforce(cloud, faults)
        return fault


def _enforce(cloud: LocalCloud, faults: Sequence[Fault]) -> None:
    """Have the emulator break exactly what ``faults`` says."""
    url = f"{cloud.emulator_url}/_atoll/faults"
    try:
        call("PUT", url, {"faults": [asdict(fault) for fault in faults]})
    except OSError as error:
        raise OpsError(
            f"the local cloud did not take the change: PUT {url}: {error}",
            hint="`ops fault list` shows what is recorded; `ops fault heal` mends all; or `ops down` and `ops up`.",
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

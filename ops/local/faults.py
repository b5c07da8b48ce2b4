"""Break the local cloud on purpose, and mend it: one face for drills, tests and demos.

Faults are recorded in ``faults.json`` beside ``local.json``, so that any process can list and heal what another
injected, and are kept in three places: rules of the proxy (API faults), the emulator's list of regions that are down,
and its replication links. What is recorded is the truth: every change recomputes all three from the record. Injecting a
fault that is there already, and healing one that is not, change nothing.

- *region-down*: the region's APIs answer 503, AWS calls signed for it are reset, its queues and streams are not
  read. Nothing is changed in its configuration, so there is nothing to put back.
- *replication-cut*: both directions of one pair of regions; ``lose`` drops for ever what is held or written meanwhile.
- *throttle*, *latency*, *reset*: a share of the AWS calls to one service, of the toolkit and of the functions alike.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

from ops.errors import OpsError, UsageError
from ops.local.cloud import LocalCloud
from ops.local.processes import call
from ops.local.supervisor import FAULTS_FILE, write_atomically
from ops.stage import Stage

ApiFaultKind = Literal["throttle", "latency", "reset"]
API_FAULT_KINDS: tuple[str, ...] = get_args(ApiFaultKind)
DEFAULT_LATENCY_MS = 1000.0
LOCK_FILE = "faults.lock"

# The service as an operator says it -> its signing name, by which the proxy knows it.
SERVICES = {
    "all": "*",
    "apigateway": "apigateway",
    "cloudformation": "cloudformation",
    "cloudwatch": "monitoring",
    "dynamodb": "dynamodb",
    "events": "events",
    "iam": "iam",
    "lambda": "lambda",
    "logs": "logs",
    "route53": "route53",
    "s3": "s3",
    "secretsmanager": "secretsmanager",
    "sqs": "sqs",
    "ssm": "ssm",
    "sts": "sts",
}

# What each service answers when it throttles, so that SDKs back off as they do on AWS.
_THROTTLE_ERRORS = {
    "apigateway": ("TooManyRequestsException", 429),
    "cloudformation": ("Throttling", 400),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "iam": ("Throttling", 400),
    "lambda": ("TooManyRequestsException", 429),
    "monitoring": ("Throttling", 400),
    "s3": ("SlowDown", 503),
    "sts": ("Throttling", 400),
}
_THROTTLE_DEFAULT = ("ThrottlingException", 400)


@dataclass(frozen=True)
class Fault:
    """One thing that is broken. ``id`` names it for ``heal``."""

    id: str
    kind: str
    since: str
    region: str | None = None
    other_region: str | None = None
    service: str | None = None
    rate: float = 1.0
    latency_ms: float | None = None
    lose: bool = False

    def __str__(self) -> str:
        where = f" in {self.region}" if self.region else ""
        match self.kind:
            case "region-down":
                what = f"{self.region} is down: its API answers 503, AWS calls to it are reset, its queues are not read"
            case "replication-cut":
                loss = ", what is written meanwhile is lost" if self.lose else ""
                what = f"replication between {self.region} and {self.other_region} is cut{loss}"
            case "latency":
                what = f"{self.rate:.0%} of calls to {self.service}{where} take {self.latency_ms:.0f} ms longer"
            case "throttle":
                what = f"{self.rate:.0%} of calls to {self.service}{where} are throttled"
            case _:
                what = f"{self.rate:.0%} of calls to {self.service}{where} are reset"
        return f"{self.id}: {what} (since {self.since})"


def region_down(cloud: LocalCloud, stage: Stage, region: str) -> Fault:
    """Take ``region`` away: API, AWS calls and processing. Replication goes on: cut it with ``replication_cut``.

    Raises:
        UsageError: the region is not in the stage.
    """
    stage.require_region(region)
    return _inject(cloud, stage, Fault(f"region-down:{region}", "region-down", _now(), region=region))


def replication_cut(cloud: LocalCloud, stage: Stage, a: str, b: str, *, lose: bool = False) -> Fault:
    """Stop replication between two regions, both ways; with ``lose``, drop what is held and what is written meanwhile.

    Raises:
        UsageError: a region is not in the stage, or both are the same.
    """
    first, second = sorted((stage.require_region(a), stage.require_region(b)))
    if first == second:
        raise UsageError(f"b: {b!r} is the same region as a; accepted: another of {', '.join(stage.regions)}")
    fault = Fault(
        f"replication-cut:{first}:{second}", "replication-cut", _now(), region=first, other_region=second, lose=lose
    )
    return _inject(cloud, stage, fault)


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
    """Throttle, delay or reset a share of the AWS calls to one service.

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
    return _inject(cloud, stage, fault)


def list_faults(cloud: LocalCloud, stage: Stage) -> list[Fault]:
    """What is broken now, oldest first."""
    del stage  # every face of this module takes both
    return _read(cloud)


def heal(cloud: LocalCloud, stage: Stage, fault_id: str | None = None) -> list[Fault]:
    """Mend one fault, or all when ``fault_id`` is None or "all"; returns what was mended.

    Raises:
        UsageError: there is no such fault; the message has those there are.
    """
    with _locked(cloud):
        faults = _read(cloud)
        everything = fault_id in (None, "all")
        healed = faults if everything else [fault for fault in faults if fault.id == fault_id]
        if not healed and not everything:
            there = ", ".join(fault.id for fault in faults) or "none: nothing is broken"
            raise UsageError(f"fault: {fault_id!r} is not active; accepted: {there}")
        remaining = [fault for fault in faults if fault not in healed]
        _enforce(cloud, stage, remaining)
        _write(cloud, remaining)
        return healed


def rules(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """The proxy's rules for ``faults``. The first that matches a call decides, so regions that are down come first."""
    found: list[dict[str, Any]] = []
    for fault in sorted(faults, key=lambda one: (one.kind != "region-down", one.since, one.id)):
        if fault.kind == "region-down":
            found.append({"service": "*", "region": fault.region, "reset": True})
        elif fault.kind in API_FAULT_KINDS:
            found.append(_api_rule(fault))
    return found


def _api_rule(fault: Fault) -> dict[str, Any]:
    service = SERVICES[fault.service or "all"]
    rule: dict[str, Any] = {"service": service, "probability": fault.rate}
    if fault.region:
        rule["region"] = fault.region
    if fault.kind == "reset":
        return rule | {"reset": True}
    if fault.kind == "latency":
        return rule | {"latency": fault.latency_ms}
    code, status = _THROTTLE_ERRORS.get(service, _THROTTLE_DEFAULT)
    return rule | {"error": {"code": code, "status": status, "message": "Rate exceeded (ops fault throttle)"}}


def _inject(cloud: LocalCloud, stage: Stage, fault: Fault) -> Fault:
    with _locked(cloud):
        faults = _read(cloud)
        before = next((one for one in faults if one.id == fault.id), None)
        if before is not None:
            fault = Fault(**(asdict(fault) | {"since": before.since}))
        faults = [one for one in faults if one.id != fault.id] + [fault]
        # Recorded first: should this process end half-way, the fault is listed and can be healed.
        _write(cloud, faults)
        _enforce(cloud, stage, faults)
        return fault


def _enforce(cloud: LocalCloud, stage: Stage, faults: list[Fault]) -> None:
    """Make the proxy and the emulator do exactly what ``faults`` says."""
    _call("POST", f"{cloud.endpoint_url}/_microburst/rules", rules(faults))
    down = {fault.region for fault in faults if fault.kind == "region-down"}
    known = set(_call("GET", f"{cloud.emulator_url}/_atoll/regions", None)["down"])
    for region in sorted(known | set(stage.regions) | {name for name in down if name}):
        _call("PATCH", f"{cloud.emulator_url}/_atoll/regions", {"region": region, "down": region in down})
    cuts = {(fault.region, fault.other_region): fault for fault in faults if fault.kind == "replication-cut"}
    links = _call("GET", f"{cloud.emulator_url}/_atoll/replication", None)["links"]
    pairs = {tuple(sorted((link["source"], link["destination"]))) for link in links}
    for pair in sorted(pairs | cast("set[tuple[str, ...]]", set(cuts))):
        cut = cuts.get(cast("tuple[str, str]", pair))
        change = {"source": pair[0], "destination": pair[1], "cut": cut is not None, "lose": bool(cut and cut.lose)}
        _call("PATCH", f"{cloud.emulator_url}/_atoll/replication", change)


def _call(method: str, url: str, body: Any) -> Any:
    try:
        return call(method, url, body)
    except OSError as error:
        raise OpsError(
            f"the local cloud did not take the change: {method} {url}: {error}",
            hint="`ops fault list` shows what is recorded; `ops fault heal` mends all; or `ops down` and `ops up`.",
        ) from error


@contextmanager
def _locked(cloud: LocalCloud) -> Iterator[None]:
    """One change at a time, whichever process makes it."""
    with (cloud.state_dir / LOCK_FILE).open("a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _read(cloud: LocalCloud) -> list[Fault]:
    try:
        data = json.loads((cloud.state_dir / FAULTS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [Fault(**one) for one in data]


def _write(cloud: LocalCloud, faults: list[Fault]) -> None:
    write_atomically(cloud.state_dir / FAULTS_FILE, [asdict(fault) for fault in faults])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

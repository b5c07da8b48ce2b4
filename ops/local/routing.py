"""How Route 53 answers a name with latency records: pure decisions over records, health and a caller's city.

What holds, as documented for Route 53: of the records whose health check is healthy (or that have none) the one with
the lowest latency for the caller answers; if all are unhealthy, all count as healthy; a new health check counts as
healthy until it has enough data, unless it is inverted; a disabled one counts as healthy, unless it is inverted; a
status turns after ``FailureThreshold`` consecutive probes say otherwise.
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

ALIAS_TTL_S = 60


@dataclass(frozen=True)
class LatencyRecord:
    """One latency record set of the name: where it points, and which health check speaks for it."""

    set_id: str
    region: str
    target: str
    ttl_s: int
    health_check_id: str | None


@dataclass(frozen=True)
class HealthCheck:
    """A Route 53 health check: of an endpoint, or calculated from others."""

    id: str
    kind: str
    host: str = ""
    port: int = 443
    path: str = "/"
    interval_s: int = 30
    failure_threshold: int = 3
    inverted: bool = False
    disabled: bool = False
    children: tuple[str, ...] = ()
    healthy_children: int = 0

    @property
    def probed(self) -> bool:
        return self.kind in ("HTTP", "HTTPS") and not self.disabled


@dataclass
class ProbeHistory:
    """Consecutive probes of one health check; ``healthy`` is None until there is enough data."""

    healthy: bool | None = None
    streak: int = 0
    last_ok: bool | None = None
    last_detail: str = "not probed yet"

    def add(self, ok: bool, threshold: int, detail: str = "") -> bool:
        """Take one probe; answers whether the status has just turned."""
        self.streak = self.streak + 1 if ok == self.last_ok else 1
        self.last_ok, self.last_detail = ok, detail
        if self.streak >= threshold and self.healthy is not ok:
            turned = self.healthy is not None or not ok
            self.healthy = ok
            return turned
        return False


@dataclass
class Health:
    """The status of every health check, from what the probes saw."""

    checks: dict[str, HealthCheck] = field(default_factory=dict)
    probes: dict[str, ProbeHistory] = field(default_factory=dict)

    def update(self, checks: Iterable[HealthCheck]) -> None:
        """Take the health checks that exist now; history of those that are gone is dropped."""
        self.checks = {check.id: check for check in checks}
        self.probes = {key: value for key, value in self.probes.items() if key in self.checks}

    def probe(self, check_id: str) -> ProbeHistory:
        return self.probes.setdefault(check_id, ProbeHistory())

    def status(self, check_id: str | None, seen: frozenset[str] = frozenset()) -> tuple[bool, str]:
        """Healthy or not, and why."""
        if check_id is None:
            return True, "no health check"
        check = self.checks.get(check_id)
        if check is None or check_id in seen:
            return True, "health check does not exist"
        if check.disabled:
            healthy, why = True, "disabled"
        elif check.kind == "CALCULATED":
            states = [self.status(child, seen | {check_id})[0] for child in check.children]
            healthy = sum(states) >= check.healthy_children
            why = f"{sum(states)} of {len(states)} child checks healthy, {check.healthy_children} needed"
        elif not check.probed:
            healthy, why = True, f"type {check.kind} is not probed locally"
        else:
            history = self.probe(check_id)
            healthy = history.healthy if history.healthy is not None else True
            why = history.last_detail if history.healthy is not None else "not enough data yet"
        return (not healthy, f"inverted: {why}") if check.inverted else (healthy, why)


class Candidate(NamedTuple):
    """One record, seen from one city."""

    record: LatencyRecord
    rtt_ms: float | None
    healthy: bool
    why: str


@dataclass(frozen=True)
class Choice:
    """Which record answers, and why."""

    chosen: Candidate | None
    candidates: tuple[Candidate, ...]
    reason: str


def choose(records: Iterable[LatencyRecord], health: Health, round_trip_ms: Callable[[str], float | None]) -> Choice:
    """Pick the answer for a caller whose round trip to a region is ``round_trip_ms(region)``."""
    candidates = sorted(
        (Candidate(record, round_trip_ms(record.region), *health.status(record.health_check_id)) for record in records),
        key=lambda one: (one.rtt_ms is None, one.rtt_ms or 0.0, one.record.set_id),
    )
    if not candidates:
        return Choice(None, (), "the name has no latency records")
    healthy = [one for one in candidates if one.healthy]
    if not healthy:
        return Choice(
            candidates[0], tuple(candidates), "no record is healthy, so all count as healthy: the nearest one"
        )
    nearest = healthy[0]
    if nearest is candidates[0]:
        return Choice(nearest, tuple(candidates), "the nearest region, and healthy")
    return Choice(nearest, tuple(candidates), f"the nearest healthy region; {candidates[0].record.region} is unhealthy")


def parse_records(record_sets: Iterable[Mapping[str, Any]], name: str) -> list[LatencyRecord]:
    """The latency records of ``name`` among what ListResourceRecordSets answers, one a set identifier."""
    found: dict[str, LatencyRecord] = {}
    for one in record_sets:
        if one.get("Name", "").rstrip(".").lower() != name.lower() or "Region" not in one:
            continue
        alias, values = one.get("AliasTarget"), one.get("ResourceRecords") or []
        target = alias["DNSName"] if alias else values[0]["Value"] if values else ""
        if one.get("Type") not in ("A", "AAAA", "CNAME") or not target:
            continue
        record = LatencyRecord(
            set_id=one.get("SetIdentifier", one["Region"]),
            region=one["Region"],
            target=target.rstrip("."),
            ttl_s=ALIAS_TTL_S if alias else int(one.get("TTL", 0)),
            health_check_id=one.get("HealthCheckId"),
        )
        found.setdefault(record.set_id, record)  # A and AAAA of one region say the same
    return list(found.values())


def parse_health_checks(checks: Iterable[Mapping[str, Any]]) -> list[HealthCheck]:
    """What ListHealthChecks answers."""
    return [
        HealthCheck(
            id=one["Id"],
            kind=(config := one["HealthCheckConfig"])["Type"],
            host=config.get("FullyQualifiedDomainName") or config.get("IPAddress") or "",
            port=int(config.get("Port") or (80 if config["Type"] == "HTTP" else 443)),
            path=config.get("ResourcePath") or "/",
            interval_s=int(config.get("RequestInterval") or 30),
            failure_threshold=int(config.get("FailureThreshold") or 3),
            inverted=bool(config.get("Inverted", False)),
            disabled=bool(config.get("Disabled", False)),
            children=tuple(config.get("ChildHealthChecks") or ()),
            healthy_children=int(config.get("HealthThreshold") or 0),
        )
        for one in checks
    ]


@dataclass
class ResolverCache:
    """What the callers' resolvers keep: an answer stays as long as its TTL, whatever happens to health meanwhile."""

    clock: Callable[[], float]
    _answers: dict[str, tuple[float, LatencyRecord]] = field(default_factory=dict)

    def get(self, city: str) -> tuple[LatencyRecord, float] | None:
        """The cached answer and the seconds it has left."""
        entry = self._answers.get(city)
        if entry is None or entry[0] <= self.clock():
            return None
        return entry[1], entry[0] - self.clock()

    def put(self, city: str, record: LatencyRecord) -> None:
        self._answers[city] = (self.clock() + record.ttl_s, record)

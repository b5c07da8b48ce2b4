"""Whether a health check is healthy: from probes, from other checks or from an alarm.

What holds, as documented for Route 53, and is played here:

- The status of an endpoint turns after ``FailureThreshold`` consecutive probes that say otherwise, in either direction.
- Until there is enough data a new check counts as healthy; if it is inverted, as unhealthy.
- ``Inverted`` turns the status round, whatever made it.
- A disabled check counts as healthy; with ``Inverted`` as unhealthy, which is how traffic is stopped by hand.
- A ``CALCULATED`` check is healthy when at least ``HealthThreshold`` of its children are: 0 is always healthy, more
  than there are children is never. Children count with their own inversion.
- A ``CLOUDWATCH_METRIC`` check is healthy in ``OK``, unhealthy in ``ALARM``; without enough data it is what
  ``InsufficientDataHealthStatus`` says, where ``LastKnownStatus`` begins as healthy.

One prober stands for Route 53's checkers all over the world, so that their rule of 18 percent becomes all or nothing.
``RECOVERY_CONTROL`` is not played: the emulator has no Application Recovery Controller.
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html
https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

HTTP_TYPES = ("HTTP", "HTTPS", "HTTP_STR_MATCH", "HTTPS_STR_MATCH")
PROBED_TYPES = (*HTTP_TYPES, "TCP")
PLAYED_TYPES = (*PROBED_TYPES, "CALCULATED", "CLOUDWATCH_METRIC")
NOT_PROBED_YET = "not probed yet"


@dataclass(frozen=True)
class HealthCheck:
    """A Route 53 health check as it is configured."""

    id: str
    kind: str
    host: str = ""
    address: str = ""
    port: int = 443
    path: str = "/"
    search: str = ""
    interval_s: int = 30
    failure_threshold: int = 3
    inverted: bool = False
    disabled: bool = False
    children: tuple[str, ...] = ()
    healthy_children: int = 0
    alarm_region: str = ""
    alarm_name: str = ""
    without_data: str = "Healthy"

    @property
    def probed(self) -> bool:
        return self.kind in PROBED_TYPES and not self.disabled

    @property
    def endpoint(self) -> tuple[str, ...]:
        """What a probe depends on: while this stays, what was probed stays true."""
        return (self.kind, self.host, self.address, str(self.port), self.path, self.search)


@dataclass
class ProbeHistory:
    """Consecutive probes of one health check; ``healthy`` is None until there is enough data. Times are monotonic."""

    healthy: bool | None = None
    streak: int = 0
    last_ok: bool | None = None
    last_detail: str = NOT_PROBED_YET
    last_at_s: float | None = None
    since_s: float | None = None

    def add(self, ok: bool, threshold: int, detail: str = "", now_s: float = 0.0) -> bool:
        """Take one probe; answers whether the status has just turned."""
        self.streak = self.streak + 1 if ok == self.last_ok else 1
        self.last_ok, self.last_detail, self.last_at_s = ok, detail, now_s
        if self.streak >= threshold and self.healthy is not ok:
            turned = self.healthy is not None or not ok
            self.healthy, self.since_s = ok, now_s
            return turned
        return False


@dataclass(frozen=True)
class Status:
    """A health check as it counts now. ``last_probe_age_s`` and ``for_s`` are None where nothing is probed."""

    healthy: bool
    why: str
    check: HealthCheck | None = None
    last_probe: str = ""
    last_probe_age_s: float | None = None
    streak: int = 0
    for_s: float | None = None
    children: tuple[Status, ...] = ()
    not_played: str = ""


NO_CHECK = Status(True, "no health check")


@dataclass
class Health:
    """The status of every health check, from what the probes and the alarms say."""

    checks: dict[str, HealthCheck] = field(default_factory=dict)
    probes: dict[str, ProbeHistory] = field(default_factory=dict)
    alarms: dict[tuple[str, str], str] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    _last_known: dict[str, bool] = field(default_factory=dict)

    def update(self, checks: Iterable[HealthCheck], alarms: Mapping[tuple[str, str], str] | None = None) -> None:
        """Take the health checks and alarm states that are now; history of an endpoint that changed is dropped."""
        before, self.checks = self.checks, {check.id: check for check in checks}
        self.alarms = dict(alarms or {})
        self.probes = {
            key: history
            for key, history in self.probes.items()
            if key in self.checks and (key not in before or before[key].endpoint == self.checks[key].endpoint)
        }
        self._last_known = {key: value for key, value in self._last_known.items() if key in self.checks}
        for check in self.checks.values():
            state = self.alarms.get((check.alarm_region, check.alarm_name))
            if check.kind == "CLOUDWATCH_METRIC" and not check.disabled and state in ("OK", "ALARM"):
                self._last_known[check.id] = state == "OK"

    def history(self, check_id: str) -> ProbeHistory:
        return self.probes.setdefault(check_id, ProbeHistory())

    def add(self, check_id: str, ok: bool, detail: str = "") -> bool:
        """Take one probe of a check that exists; answers whether its status has just turned."""
        return self.history(check_id).add(ok, self.checks[check_id].failure_threshold, detail, self.clock())

    def status(self, check_id: str | None, seen: frozenset[str] = frozenset()) -> Status:
        """How a health check counts now, and why."""
        if check_id is None:
            return NO_CHECK
        check = self.checks.get(check_id)
        if check is None:
            # AWS promises nothing for what still names a deleted check: its "future status can't be predicted".
            return Status(True, f"health check {check_id} does not exist")
        if check_id in seen:
            return Status(True, f"health check {check_id} has itself as a child")
        status = replace(self._status(check, seen | {check_id}), check=check)
        if check.inverted:
            return replace(status, healthy=not status.healthy, why=f"inverted: {status.why}")
        return status

    def _status(self, check: HealthCheck, seen: frozenset[str]) -> Status:
        """The status before inversion."""
        if check.disabled:
            return Status(True, "disabled")
        if check.kind == "CALCULATED":
            children = tuple(self.status(child, seen) for child in check.children)
            healthy = sum(child.healthy for child in children)
            why = f"{healthy} of {len(children)} child checks healthy, {check.healthy_children} needed"
            if unhealthy := [child.why for child in children if not child.healthy]:
                why = f"{why}; unhealthy: {', '.join(unhealthy)}"
            not_played = next((child.not_played for child in children if child.not_played), "")
            return Status(healthy >= check.healthy_children, why, children=children, not_played=not_played)
        if check.kind == "CLOUDWATCH_METRIC":
            return self._alarmed(check)
        if check.kind not in PROBED_TYPES:
            why = f"health check {check.id} is of type {check.kind}, which is not played"
            return Status(True, why, not_played=why)
        history, now_s = self.history(check.id), self.clock()
        return Status(
            healthy=history.healthy is not False,
            why=history.last_detail if history.healthy is not None else f"not enough data yet: {history.last_detail}",
            last_probe=history.last_detail,
            last_probe_age_s=None if history.last_at_s is None else now_s - history.last_at_s,
            streak=history.streak,
            for_s=None if history.since_s is None else now_s - history.since_s,
        )

    def _alarmed(self, check: HealthCheck) -> Status:
        state = self.alarms.get((check.alarm_region, check.alarm_name))
        named = f"alarm {check.alarm_name} in {check.alarm_region}"
        if state in ("OK", "ALARM"):
            return Status(state == "OK", f"{named} is {state}")
        why = f"{named} {'does not exist' if state is None else 'has insufficient data'}"
        if check.without_data == "LastKnownStatus":
            known = self._last_known.get(check.id)
            healthy = known is not False
            last = "none, so healthy" if known is None else "healthy" if known else "unhealthy"
            return Status(healthy, f"{why}; last known status: {last}")
        return Status(check.without_data == "Healthy", f"{why}, which counts as {check.without_data.lower()}")


def parse_health_checks(checks: Iterable[Mapping[str, Any]]) -> list[HealthCheck]:
    """What ListHealthChecks answers."""
    return [_parse(one["Id"], one["HealthCheckConfig"]) for one in checks]


def _parse(check_id: str, config: Mapping[str, Any]) -> HealthCheck:
    alarm = config.get("AlarmIdentifier") or {}
    return HealthCheck(
        id=check_id,
        kind=config["Type"],
        host=config.get("FullyQualifiedDomainName") or "",
        address=config.get("IPAddress") or "",
        port=int(config.get("Port") or (80 if config["Type"] in ("HTTP", "HTTP_STR_MATCH") else 443)),
        path=config.get("ResourcePath") or "/",
        search=config.get("SearchString") or "",
        interval_s=int(config.get("RequestInterval") or 30),
        failure_threshold=int(config.get("FailureThreshold") or 3),
        inverted=bool(config.get("Inverted", False)),
        disabled=bool(config.get("Disabled", False)),
        children=tuple(config.get("ChildHealthChecks") or ()),
        healthy_children=int(config.get("HealthThreshold") or 0),
        alarm_region=alarm.get("Region", ""),
        alarm_name=alarm.get("Name", ""),
        without_data=config.get("InsufficientDataHealthStatus") or "Healthy",
    )

"""The health checks of a stage: which there are, what each has to be, and how it is found again. Reads only.

A check has a *slot*, and is found by its caller reference, ``<prefix>/<slot>/<number>``:

- ``<region>``: the region's own ``/status``.
- ``<region>/evacuation``: inverted, ``GET /evacuated/<region>`` at the next region of the ring: healthy unless that
  peer says that the region is evacuated, so that a peer which is down takes nobody out.
- ``<region>/combined``: calculated, healthy while both are. The region's latency record uses it; in a stage of one
  region, which has no peer, the record uses the region's own.
- ``platform``: calculated, healthy while one region's own is. Alarms look at it.

So an evacuation needs nothing of the region that is left, and nothing of Route 53's control plane: what changes is an
answer that Route 53's checkers ask for anyway. The children of a calculated check are probes only, never other
calculated checks; it takes up to 256, and counts them with their own inversion.
https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html

Route 53 takes a new check for healthy until it has data, and an inverted one for *unhealthy* (same page). Whatever
answers already is therefore led to an evacuation probe only once that has data: see :func:`settled_at`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.aws import Cloud
from ops.provision.desired import desired_probe
from ops.stage import Stage

PLATFORM, EVACUATION, COMBINED = "platform", "evacuation", "combined"
CREATED_TAG = "atoll:created"  # Route 53 does not tell when a check was made: unix seconds
MARGIN_S = 10  # for a new check to reach all checkers

_PROBE_DEFAULTS = {
    "Type": None,
    "FullyQualifiedDomainName": None,
    "Port": 443,
    "ResourcePath": None,
    "RequestInterval": 30,
    "FailureThreshold": 3,
    "Inverted": False,
    "Disabled": False,
}
_CALCULATED_DEFAULTS: dict[str, Any] = {
    "Type": None,
    "HealthThreshold": 0,
    "ChildHealthChecks": [],
    "Inverted": False,
    "Disabled": False,
}


@dataclass(frozen=True)
class HealthCheck:
    """One of ours, as Route 53 has it; ``created`` is in unix seconds."""

    id: str
    number: int
    name: str
    config: dict[str, Any]
    created: float | None = None

    @property
    def children(self) -> list[str]:
        """The ids of a calculated check's children."""
        return list(self.config.get("ChildHealthChecks", []))


def evacuation(region: str) -> str:
    return f"{region}/{EVACUATION}"


def combined(region: str) -> str:
    return f"{region}/{COMBINED}"


def routing(stage: Stage, region: str) -> str:
    """The slot of the check that the region's latency record uses."""
    return region if stage.journal_region(region) is None else combined(region)


def slot_name(stage: Stage, slot: str) -> str:
    """What a check is called in its ``Name`` tag, and in plans."""
    return f"{stage.prefix} {slot.replace('/', ' ')}"


def region_of(slot: str) -> str | None:
    region = slot.partition("/")[0]
    return None if region == PLATFORM else region


def desired_checks(stage: Stage, domains: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Slot -> configuration, children by their names and before their parents; ``domains`` are the regions' APIs.

    What asks a region whose API is not there yet is left out.
    """
    known = [region for region in stage.regions if region in domains]
    own = {region: desired_probe(stage, domains[region]) for region in known}
    probes, calculated = {}, {}
    for region in known:
        peer = stage.journal_region(region)
        if peer is not None and peer in domains:
            probes[evacuation(region)] = desired_probe(stage, domains[peer]) | {
                "ResourcePath": f"/evacuated/{region}",
                "Inverted": True,
            }
            calculated[combined(region)] = _calculated(stage, [region, evacuation(region)], 2)
    if len(known) == len(stage.regions):
        calculated[PLATFORM] = _calculated(stage, known, 1)
    return own | probes | calculated


def _calculated(stage: Stage, slots: list[str], threshold: int) -> dict[str, Any]:
    children = sorted(slot_name(stage, slot) for slot in slots)
    return _CALCULATED_DEFAULTS | {"Type": "CALCULATED", "HealthThreshold": threshold, "ChildHealthChecks": children}


def find_health_checks(cloud: Cloud) -> dict[str, list[HealthCheck]]:
    """Ours by slot, the newest last."""
    route53 = cloud.client("route53", cloud.stage.home_region)
    found: dict[str, list[HealthCheck]] = {}
    for page in route53.get_paginator("list_health_checks").paginate():
        for check in page["HealthChecks"]:
            prefix, _, rest = check["CallerReference"].partition("/")
            slot, _, number = rest.rpartition("/")
            if prefix != cloud.stage.prefix or not slot or not number.isdecimal():
                continue
            answer = route53.list_tags_for_resource(ResourceType="healthcheck", ResourceId=check["Id"])
            tags = {tag["Key"]: tag["Value"] for tag in answer["ResourceTagSet"].get("Tags", [])}
            created = tags.get(CREATED_TAG, "")
            found.setdefault(slot, []).append(
                HealthCheck(
                    check["Id"],
                    int(number),
                    tags.get("Name", ""),
                    config_of(dict(check["HealthCheckConfig"])),
                    float(created) if created.isdecimal() else None,
                )
            )
    return {slot: sorted(checks, key=lambda check: check.number) for slot, checks in found.items()}


def config_of(config: dict[str, Any]) -> dict[str, Any]:
    """The fields that are desired, of a check that exists, with Route 53's defaults for those it leaves out."""
    defaults = _CALCULATED_DEFAULTS if config.get("Type") == "CALCULATED" else _PROBE_DEFAULTS
    found = {name: config.get(name, default) for name, default in defaults.items()}
    if "ChildHealthChecks" in found:
        found["ChildHealthChecks"] = sorted(found["ChildHealthChecks"] or [])
    return found


def usable(ours: list[HealthCheck], wanted: Mapping[str, Any]) -> HealthCheck | None:
    """The check to go on with: Route 53 changes neither type nor interval of one that exists.

    Nor is an inverted probe led elsewhere: it would count as unhealthy until it has data about its new endpoint.
    """
    fixed = ["Type", "RequestInterval", *(["FullyQualifiedDomainName", "ResourcePath"] if wanted["Inverted"] else [])]
    fit = [check for check in ours if all(check.config.get(field) == wanted.get(field) for field in fixed)]
    return fit[-1] if fit else None


def current_checks(
    found: Mapping[str, list[HealthCheck]], wanted: Mapping[str, Mapping[str, Any]]
) -> dict[str, HealthCheck]:
    """Slot -> the check to go on with; slots without one are absent."""
    usables = {slot: usable(found.get(slot, []), config) for slot, config in wanted.items()}
    return {slot: check for slot, check in usables.items() if check is not None}


def names_of(stage: Stage, current: Mapping[str, HealthCheck]) -> dict[str, str]:
    """Id -> name of the checks that are gone on with; what refers to any other is changed."""
    return {check.id: slot_name(stage, slot) for slot, check in current.items()}


def named(config: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A configuration with the names of its children in the place of their ids."""
    children = {"ChildHealthChecks": sorted(names.get(one, one) for one in config.get("ChildHealthChecks", []))}
    return dict(config) | (children if "ChildHealthChecks" in config else {})


def settled_at(stage: Stage, check: HealthCheck, now: float) -> float:
    """When a probe has data, in unix seconds: after as many probes as turn it, and one for the way to the checkers."""
    need_s = stage.health_check.interval_s * (stage.health_check.failure_threshold + 1) + MARGIN_S
    return min(check.created if check.created is not None else now, now) + need_s

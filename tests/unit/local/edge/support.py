"""Zones, checks and figures for the tests of the edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ops.local.edge.choosing import Choice, Resolver
from ops.local.edge.healthchecks import Health, HealthCheck
from ops.local.edge.records import Record, Zone, parse_zone
from ops.local.roundtrips import RoundTrip, round_trip

NAME = "api.atoll.example"


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def api(region: str) -> str:
    return f"abc.execute-api.{region}.amazonaws.com"


def latency_record(region: str, ttl_s: int = 10) -> Record:
    """What the provision runbook writes for a region."""
    return Record(NAME, "CNAME", api(region), region, "latency", region=region, ttl_s=ttl_s, health_check_id=region)


def zone_of(*records: Record) -> Zone:
    groups: dict[str, tuple[Record, ...]] = {}
    for record in records:
        groups[record.name] = (*groups.get(record.name, ()), record)
    return Zone(groups)


def health_of(states: Mapping[str, bool | None]) -> Health:
    """A health check for each name that is healthy, unhealthy, or (None) has not been probed."""
    health = Health()
    health.update([HealthCheck(name, "HTTPS", host=name, failure_threshold=1) for name in states])
    for name, healthy in states.items():
        if healthy is not None:
            health.add(name, healthy, "probed")
    return health


def answer(records: Iterable[Record], health: Health, city: str = "Mumbai", **more: Any) -> Choice:
    """What Route 53 would answer a caller in ``city``."""

    def latency(region: str) -> RoundTrip | None:
        return round_trip(city, region)

    return Resolver(zone_of(*records), health, latency, **more).choose(NAME)


def listed(**fields: Any) -> dict[str, Any]:
    """A record set as ListResourceRecordSets answers it."""
    return {"Name": f"{NAME}.", "Type": "CNAME", "TTL": 10, "ResourceRecords": [{"Value": "x."}], **fields}


def parsed(*record_sets: dict[str, Any]) -> Zone:
    return parse_zone(record_sets)

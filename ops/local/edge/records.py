"""What the record sets of a hosted zone say: one routing policy a name and type, and where each record leads.

What holds, as documented: the record sets of one name and type have one routing policy; an alias has no TTL of its own
(that of its target counts, 60 s for an AWS resource); a name that has no alias and no CNAME in the zone is a leaf.
https://docs.aws.amazon.com/Route53/latest/APIReference/API_ResourceRecordSet.html
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-choosing-alias-non-alias.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Policy = Literal["simple", "latency", "weighted", "failover", "multivalue"]
ALIAS_TTL_S = 60
# A client asks for an address: a CNAME stands in for one, and AAAA says the same as A.
ANSWERING_TYPES = ("A", "CNAME", "AAAA")
_NOT_PLAYED = {
    "GeoLocation": "geolocation",
    "GeoProximityLocation": "geoproximity",
    "CidrRoutingConfig": "IP-based",
}


@dataclass(frozen=True)
class Record:
    """One record set. ``target`` is a host name or an address; an alias and a CNAME may lead on inside the zone."""

    name: str
    kind: str
    target: str
    set_id: str = ""
    policy: Policy = "simple"
    region: str = ""
    weight: int = 0
    failover: str = ""
    alias: bool = False
    evaluate_target_health: bool = False
    ttl_s: int = ALIAS_TTL_S
    health_check_id: str | None = None
    not_played: str = ""

    @property
    def leads_on(self) -> bool:
        """Whether the target may be another name of the zone."""
        return self.alias or self.kind == "CNAME"


@dataclass(frozen=True)
class Zone:
    """The answering record sets of a hosted zone, by name."""

    groups: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)

    def group(self, name: str) -> tuple[Record, ...]:
        """The record sets that answer for ``name``: those of one type, A before CNAME before AAAA; empty if none."""
        return self.groups.get(plain(name), ())


def plain(name: str) -> str:
    """A name as it is compared: without the last dot, in lower case."""
    return name.rstrip(".").lower()


def parse_zone(record_sets: Iterable[Mapping[str, Any]]) -> Zone:
    """What ListResourceRecordSets answers."""
    found: dict[str, dict[str, list[Record]]] = {}
    for one in record_sets:
        if one.get("Type") in ANSWERING_TYPES:
            record = parse_record(one)
            found.setdefault(record.name, {}).setdefault(record.kind, []).append(record)
    return Zone(
        {
            name: next(tuple(by_type[kind]) for kind in ANSWERING_TYPES if kind in by_type)
            for name, by_type in found.items()
        }
    )


def parse_record(one: Mapping[str, Any]) -> Record:
    """One record set of ListResourceRecordSets."""
    alias, values = one.get("AliasTarget"), one.get("ResourceRecords") or []
    reason = "".join(f"{what} routing is not played" for key, what in _NOT_PLAYED.items() if key in one)
    return Record(
        name=plain(one["Name"]),
        kind=one["Type"],
        target=plain(alias["DNSName"] if alias else values[0]["Value"] if values else ""),
        set_id=one.get("SetIdentifier", ""),
        policy=_policy(one),
        region=one.get("Region", ""),
        weight=int(one.get("Weight", 0)),
        failover=one.get("Failover", ""),
        alias=alias is not None,
        evaluate_target_health=bool(alias and alias.get("EvaluateTargetHealth", False)),
        ttl_s=ALIAS_TTL_S if alias else int(one.get("TTL", 0)),
        health_check_id=one.get("HealthCheckId"),
        not_played=reason,
    )


def _policy(one: Mapping[str, Any]) -> Policy:
    if "Region" in one:
        return "latency"
    if "Weight" in one:
        return "weighted"
    if "Failover" in one:
        return "failover"
    return "multivalue" if one.get("MultiValueAnswer") else "simple"

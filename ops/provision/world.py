"""What is there: everything that provisioning looks at, read once and without a change."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError

from ops import stack
from ops.aws import Cloud, error_code, explained
from ops.fanout import each
from ops.provision.alarms import Alarm, Topic, find_alarms, find_topic
from ops.provision.buckets import Bucket, find_bucket
from ops.provision.desired import desired_archives
from ops.provision.healthchecks import HealthCheck, find_health_checks
from ops.provision.keys import AWS_OWNED, Key, find_key, identify
from ops.provision.table.desired import is_strong
from ops.provision.table.leaving import Leaving, examine
from ops.provision.table.scaling import Settings, find_scaling
from ops.provision.table.world import Table, find_table, holds_items


@dataclass(frozen=True)
class Archive:
    state: str
    bus_arn: str
    pattern: Any
    retention_days: int
    encryption: str = AWS_OWNED

    def shape(self) -> dict[str, Any]:
        """In the terms in which it is desired."""
        return {
            "bus": self.bus_arn,
            "pattern": self.pattern,
            "retention_days": self.retention_days,
            "encryption": self.encryption,
        }


@dataclass(frozen=True)
class RegionState:
    """What one region has. ``domain``, the name of its API, is None when the regional stack does not serve; ``stack``
    says why. With a domain of the stage's, the latency record leads to ``shared_target`` and the API's own name to
    ``own_target``; without one, the API's name is the generated one, and DNS knows it. ``key`` is looked for where the
    stage asks for one of its own. ``scaling`` is the capacity that is autoscaled. ``bucket`` bears the name of the
    operations bucket."""

    stack: str
    domain: str | None
    table: Table | None
    archives: dict[str, Archive]
    shared_target: str | None = None
    own_target: str | None = None
    key: Key | None = None
    scaling: Settings | None = None
    bucket: Bucket | None = None

    @property
    def target(self) -> str | None:
        """Where the latency record leads."""
        return self.shared_target or self.domain


@dataclass(frozen=True)
class World:
    """Everything that provisioning looks at, read once.

    ``leaving`` are the regions whose replica is to go. ``holds_items`` is looked for where it decides something: in a
    table without replicas that is to become strongly consistent.
    """

    account: str
    regions: dict[str, RegionState]
    zones: list[str]
    health_checks: dict[str, list[HealthCheck]]
    records: dict[str, dict[str, Any]]
    names: dict[str, dict[str, Any]] = field(default_factory=dict)  # the simple records of the regions' own names
    topic: Topic | None = None
    alarms: dict[str, Alarm] = field(default_factory=dict)
    leaving: dict[str, Leaving] = field(default_factory=dict)
    holds_items: bool = False


def observe(cloud: Cloud, remove_replicas: Sequence[str] = (), sleep: Callable[[float], None] = time.sleep) -> World:
    """Read all that the desired state speaks of, and what the replicas that are to go hold; changes nothing."""
    stage = cloud.stage
    with explained(f"reading what stage {stage.stage!r} has"):
        regions = each(stage.regions, lambda region: _observe_region(cloud, region))
        zones = find_zones(cloud)
        own = regions[stage.home_region].table
        return World(
            account=cloud.account,
            regions=regions,
            zones=zones,
            health_checks=find_health_checks(cloud),
            records=find_records(cloud, zones[0]) if zones else {},
            names=find_names(cloud, zones[0]) if zones else {},
            topic=find_topic(cloud),
            alarms=find_alarms(cloud),
            leaving={region: examine(cloud, region, sleep) for region in remove_replicas},
            holds_items=own is not None
            and is_strong(stage)
            and not own.replicas
            and holds_items(cloud, stage.home_region),
        )


def _observe_region(cloud: Cloud, region: str) -> RegionState:
    found = stack.read(cloud, region)
    wanted = desired_archives(cloud.stage, cloud.account, region)
    archives = {name: archive for name in wanted if (archive := find_archive(cloud, region, name))}
    table, key, scaling = find_table(cloud, region), find_key(cloud, region), find_scaling(cloud, region)
    state = RegionState(
        found.status, None, table, archives, key=key, scaling=scaling, bucket=find_bucket(cloud, region)
    )
    if not found.serving or found.api_id is None:
        return state
    own_name = cloud.stage.regional_host(region)
    if own_name is None:
        domain = f"{found.api_id}.execute-api.{region}.amazonaws.com"
        return replace(state, domain=domain)
    shared, own = found.outputs.get("SharedDomainTarget"), found.outputs.get("RegionalDomainTarget")
    if shared is None or own is None:
        return replace(state, stack=f"{found.status} without the stage's domain")
    return replace(state, domain=own_name, shared_target=shared, own_target=own)


def find_domains(cloud: Cloud) -> dict[str, str]:
    """Region -> the name of its API; regions whose stack does not serve are absent."""
    found = each(cloud.stage.regions, lambda region: stack.read(cloud, region))
    return {
        region: cloud.stage.regional_host(region) or f"{one.api_id}.execute-api.{region}.amazonaws.com"
        for region, one in found.items()
        if one.serving and one.api_id is not None
    }


def find_archive(cloud: Cloud, region: str, name: str) -> Archive | None:
    try:
        found = cloud.client("events", region).describe_archive(ArchiveName=name)
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise
    return Archive(
        state=found.get("State", "ENABLED"),
        bus_arn=found["EventSourceArn"],
        pattern=json.loads(found["EventPattern"]) if found.get("EventPattern") else None,
        retention_days=found.get("RetentionDays", 0),
        encryption=identify(cloud, region, found.get("KmsKeyIdentifier")),
    )


def find_zones(cloud: Cloud) -> list[str]:
    route53, name = cloud.client("route53", cloud.stage.home_region), f"{cloud.stage.dns.zone}."
    answer = route53.list_hosted_zones_by_name(DNSName=name, MaxItems="100")
    return [
        zone["Id"].rpartition("/")[2]
        for zone in answer["HostedZones"]
        if zone["Name"] == name and not zone.get("Config", {}).get("PrivateZone")
    ]


def find_records(cloud: Cloud, zone: str) -> dict[str, dict[str, Any]]:
    """The CNAME records of the stage's name, by set identifier ("" for a simple one)."""
    return _cnames(cloud, zone, cloud.stage.dns.record)


def find_names(cloud: Cloud, zone: str) -> dict[str, dict[str, Any]]:
    """The simple CNAME records of the regions' own names, by region; none are looked for without a domain."""
    hosts = {region: cloud.stage.regional_host(region) for region in cloud.stage.regions}
    found = {region: _cnames(cloud, zone, host).get("") for region, host in hosts.items() if host is not None}
    return {region: record for region, record in found.items() if record is not None}


def _cnames(cloud: Cloud, zone: str, host: str) -> dict[str, dict[str, Any]]:
    route53, name = cloud.client("route53", cloud.stage.home_region), f"{host}."
    # One page holds 300 records, and a name has one for each region.
    answer = route53.list_resource_record_sets(
        HostedZoneId=zone, StartRecordName=name, StartRecordType="CNAME", MaxItems="300"
    )
    return {
        record.get("SetIdentifier", ""): {
            "region": record.get("Region"),
            "ttl_s": record.get("TTL"),
            "value": ", ".join(v["Value"].removesuffix(".") for v in record.get("ResourceRecords", [])),
            "health_check": record.get("HealthCheckId"),
        }
        for record in answer["ResourceRecordSets"]
        if record["Name"] == name and record["Type"] == "CNAME"
    }

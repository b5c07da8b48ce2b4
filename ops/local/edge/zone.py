"""Reads what the edge plays: zone, record sets and health checks from Route 53, alarm states from CloudWatch.

One call of :func:`Reader.read` is one look at all of it. Pages are read to the end; nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from ops.local.edge.healthchecks import HealthCheck, parse_health_checks
from ops.local.edge.records import Zone, parse_zone, plain
from ops.local.processes import TEST_CREDENTIALS

_CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5)
_ALARMS_A_CALL = 100  # DescribeAlarms takes as many names


@dataclass(frozen=True)
class Reading:
    """What Route 53 and CloudWatch say at one moment."""

    zone: Zone
    checks: list[HealthCheck]
    alarms: dict[tuple[str, str], str]


class Reader:
    """Reads one hosted zone, and all health checks of the account."""

    def __init__(self, endpoint: str, zone: str) -> None:
        self._endpoint, self._zone = endpoint, plain(zone)
        self._clients: dict[tuple[str, str], Any] = {}

    def read(self) -> Reading:
        """Read everything once. Raises what botocore raises."""
        route53 = self.client("route53", "us-east-1")
        record_sets: list[Any] = []
        for page in route53.get_paginator("list_hosted_zones").paginate():
            for zone in page["HostedZones"]:
                if plain(zone["Name"]) == self._zone:
                    for sets in route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone["Id"]):
                        record_sets += sets["ResourceRecordSets"]
        listed: list[Any] = []
        for found in route53.get_paginator("list_health_checks").paginate():
            listed += found["HealthChecks"]
        checks = parse_health_checks(listed)
        return Reading(parse_zone(record_sets), checks, self._alarms(checks))

    def _alarms(self, checks: list[HealthCheck]) -> dict[tuple[str, str], str]:
        wanted = {(one.alarm_region, one.alarm_name) for one in checks if one.kind == "CLOUDWATCH_METRIC"}
        states: dict[tuple[str, str], str] = {}
        for region in {region for region, _ in wanted}:
            names = sorted(name for alarm_region, name in wanted if alarm_region == region)
            for at in range(0, len(names), _ALARMS_A_CALL):
                answer = self.client("cloudwatch", region).describe_alarms(AlarmNames=names[at : at + _ALARMS_A_CALL])
                states |= {(region, one["AlarmName"]): one["StateValue"] for one in answer["MetricAlarms"]}
        return states

    def client(self, service: Any, region: str) -> Any:
        """A client of the emulator, made once."""
        if (service, region) not in self._clients:
            self._clients[service, region] = boto3.client(
                service,
                endpoint_url=self._endpoint,
                region_name=region,
                aws_access_key_id=TEST_CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=TEST_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                config=_CONFIG,
            )
        return self._clients[service, region]

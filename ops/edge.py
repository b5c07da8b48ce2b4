"""Which region answers a caller, and why: asked of Route 53 itself, with TestDNSAnswer.

Route 53 knows callers by the address of their resolver, not by a city, and publishes none of its latencies: the answer
is a fact, and the reason is the health of the records as its checkers report it. An endpoint counts as healthy when
more than 18 percent of them do. Nothing is changed.
https://docs.aws.amazon.com/Route53/latest/APIReference/API_TestDNSAnswer.html
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code, explained
from ops.errors import OpsError, UsageError
from ops.provision.world import find_zones

HEALTHY_SHARE = 0.18
ANSWERING_TYPES = ("A", "CNAME", "AAAA")
_REGION = re.compile(r"\.execute-api\.(?P<region>[a-z0-9-]+)\.amazonaws\.com\.?$")


def require_address(caller: str) -> str:
    """Return ``caller``; raise UsageError when it is not an IP address."""
    if not caller:
        return caller
    try:
        return str(ipaddress.ip_address(caller))
    except ValueError as error:
        raise UsageError(
            f"--from: {caller!r} is not an IP address, and Route 53 knows callers by that of their resolver",
            hint="Give one, such as --from 8.8.8.8; without it Route 53 asks as a resolver in us-east-1. "
            "Cities are for a stage on the local cloud.",
        ) from error


def explain(cloud: Cloud, resolver: str = "") -> dict[str, Any]:
    """What Route 53 answers a resolver at this address now, and the health of each record.

    Raises:
        UsageError: the address is none.
        OpsError: the stage has no zone or no record, or Route 53 could not be asked.
    """
    stage, address = cloud.stage, require_address(resolver)
    route53: Any = cloud.client("route53", stage.home_region)
    with explained(f"asking Route 53 for {stage.dns.record}"):
        zones = find_zones(cloud)
        records = _records(route53, zones[0], f"{stage.dns.record}.") if zones else []
        if not records:
            raise OpsError(
                f"no region answers: {stage.dns.record} has no record",
                hint=f"Run: ops run provision --stage {stage.stage}, and apply its plan.",
            )
        answer = route53.test_dns_answer(
            HostedZoneId=zones[0],
            RecordName=stage.dns.record,
            RecordType=records[0]["Type"],
            **({"ResolverIP": address} if address else {}),
        )
        candidates = [_candidate(route53, record) for record in records]
    data = [value.rstrip(".") for value in answer["RecordData"]]
    chosen = next((one for one in candidates if one["target"] in data), None)
    region = chosen["region"] if chosen else None
    return {
        "resolver": address or None,
        "record": stage.dns.record,
        "answers": region,
        "region": region,
        "reason": f"{answer['ResponseCode']} from {answer['Nameserver']}: {', '.join(data) or 'nothing'}",
        "data": data,
        "candidates": candidates,
    }


def _records(route53: Any, zone: str, name: str) -> list[dict[str, Any]]:
    """The record sets of the name, of the type that a client's question meets first."""
    # One page holds 300 records, and a name has a few for each region.
    listed = route53.list_resource_record_sets(HostedZoneId=zone, StartRecordName=name, MaxItems="300")
    named = [one for one in listed["ResourceRecordSets"] if one["Name"] == name]
    by_type = ([one for one in named if one["Type"] == kind] for kind in ANSWERING_TYPES)
    return next((group for group in by_type if group), [])


def _candidate(route53: Any, record: dict[str, Any]) -> dict[str, Any]:
    alias, values = record.get("AliasTarget"), record.get("ResourceRecords") or []
    target = (alias["DNSName"] if alias else values[0]["Value"] if values else "").rstrip(".")
    match, check = _REGION.search(target), record.get("HealthCheckId")
    healthy, health = _health(route53, check) if check else (True, "no health check")
    return {
        "region": record.get("Region") or (match["region"] if match else ""),
        "set_id": record.get("SetIdentifier", ""),
        "weight": record.get("Weight"),
        "failover": record.get("Failover"),
        "target": target,
        "healthy": healthy,
        "health": health,
    }


def _health(route53: Any, check: str) -> tuple[bool | None, str]:
    """Healthy or not as the checkers see it, and why; None where Route 53 does not tell."""
    config = route53.get_health_check(HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"]
    inverted = bool(config.get("Inverted"))
    if config.get("Disabled"):
        return not inverted, "inverted: disabled" if inverted else "disabled"
    try:
        seen = route53.get_health_check_status(HealthCheckId=check)["HealthCheckObservations"]
    except ClientError as error:
        if error_code(error) != "InvalidInput":
            raise
        return None, f"Route 53 tells no status of a {config['Type']} check"
    passing = sum(one["StatusReport"]["Status"].startswith("Success") for one in seen)
    why = f"{passing} of {len(seen)} checkers see it healthy"
    healthy = not seen or passing > HEALTHY_SHARE * len(seen)
    return healthy is not inverted, f"inverted: {why}" if inverted else why

"""What the stage file asks for, in the terms in which the world is read. Pure."""

from __future__ import annotations

from typing import Any

from ops.provision.keys import AWS_OWNED
from ops.stage import Stage

RUNBOOK = "provision"
EVENT_PATTERN = {"source": ["atoll.events"]}
TTL_ATTRIBUTE = "expires_at"
STATUS_PATH = "/status"
KEYS = {"pk": "HASH", "sk": "RANGE"}
INDEXES = {"by_time": {"gsi_pk": "HASH", "gsi_sk": "RANGE"}}


def desired_shape() -> dict[str, Any]:
    """The table as :meth:`Table.shape` describes one."""
    return {"keys": KEYS, "indexes": INDEXES, "billing": "PAY_PER_REQUEST", "stream": "NEW_AND_OLD_IMAGES"}


def desired_probe(stage: Stage, domain: str) -> dict[str, Any]:
    """The health check of a region whose API has this domain."""
    return {
        "Type": "HTTPS",
        "FullyQualifiedDomainName": domain,
        "Port": 443,
        "ResourcePath": STATUS_PATH,
        "RequestInterval": stage.health_check.interval_s,
        "FailureThreshold": stage.health_check.failure_threshold,
        "Inverted": False,
        "Disabled": False,
    }


def desired_record(stage: Stage, region: str, target: str, check: str) -> dict[str, Any]:
    """The latency record that leads to ``target`` while the health check of this name is healthy."""
    return {"region": region, "ttl_s": stage.dns.ttl_s, "value": target, "health_check": check}


def desired_name(stage: Stage, target: str) -> dict[str, Any]:
    """The simple record of a region's own name, which leads to ``target``."""
    return {"region": None, "ttl_s": stage.dns.ttl_s, "value": target, "health_check": None}


def desired_archives(stage: Stage, account: str, region: str) -> dict[str, dict[str, Any]]:
    """Name -> archive, each of the bus that bears its name: the region's own, and the journal of the region before.
    Its key is another question: :func:`desired_encryption`."""
    days = {stage.archive_name: stage.archive.retention_days}
    if stage.journaled_region(region) is not None:
        days[stage.journal_bus] = stage.journal.retention_days
    return {
        name: {"bus": bus_arn(account, region, name), "pattern": EVENT_PATTERN, "retention_days": kept}
        for name, kept in days.items()
    }


def desired_encryption(own: str | None, found: str | None) -> str:
    """The key of a table or an archive: the stage's ``own``, or else what it has, which is not ours to loosen."""
    return own or found or AWS_OWNED


def bus_arn(account: str, region: str, bus: str) -> str:
    return f"arn:aws:events:{region}:{account}:event-bus/{bus}"

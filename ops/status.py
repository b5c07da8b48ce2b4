"""What is there, region by region: stack, API, health, table replica, archives, queues and DLQs. Reads only.

A region is healthy when its stack is complete, its ``/status`` answers 200, its replica is ACTIVE, its archive and its
journal's are enabled and its DLQs are empty. One that was left on purpose says so. What is missing is shown as missing,
not as an error: a half-built stage has a status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
from botocore.exceptions import ClientError

from ops import queues, stack
from ops.aws import Cloud, explained
from ops.errors import OpsError
from ops.fanout import each
from ops.stack import MISSING

UNREACHABLE = "UNREACHABLE"


@dataclass(frozen=True)
class QueueDepth:
    """A queue and its messages: waiting, being worked on and delayed."""

    name: str
    depth: int


@dataclass(frozen=True)
class Health:
    """What a region's ``/status`` says; ``code`` is None when it gives no answer in time.

    ``checks`` are its own, by name; they say whether the region could work, whether or not it was left on purpose.
    """

    code: int | None = None
    status: str = ""
    checks: Mapping[str, bool] = field(default_factory=dict)

    @property
    def evacuated(self) -> bool:
        return self.status == "evacuated"

    @property
    def well(self) -> bool:
        """Whether it could work: every check is well, and there is nothing else that keeps it from answering 200."""
        return bool(self.checks) and all(self.checks.values()) and (self.code == 200 or self.evacuated)

    def __str__(self) -> str:
        failing = ", ".join(name for name, ok in self.checks.items() if not ok)
        if self.code is None:
            return "/status gives no answer"
        return f"/status answers {self.code}{f' {self.status}' if self.status else ''}" + (
            f", not well: {failing}" if failing else ""
        )


@dataclass(frozen=True)
class RegionStatus:
    """One region. ``None`` and ``MISSING`` say that a part is not there."""

    region: str
    healthy: bool
    stack: str
    api_url: str | None
    api_status: int | None
    evacuated: bool
    bus: str | None
    archive: str | None
    journal_archive: str | None
    table_status: str
    queues: list[QueueDepth]
    dlqs: list[QueueDepth]
    problems: list[str]


@dataclass(frozen=True)
class StageStatus:
    """All regions of a stage; ``endpoint_url`` is None on AWS."""

    stage: str
    endpoint_url: str | None
    edge_url: str
    table: str
    healthy: bool
    regions: list[RegionStatus]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def status(cloud: Cloud) -> StageStatus:
    """Look at every region at once; takes as long as the slowest. A region out of reach is shown as such."""
    regions = list(each(cloud.stage.regions, lambda region: _status_or_reason(cloud, region)).values())
    return StageStatus(
        stage=cloud.stage.stage,
        endpoint_url=cloud.endpoint_url,
        edge_url=cloud.edge_url,
        table=cloud.stage.table_name,
        healthy=all(region.healthy for region in regions),
        regions=regions,
    )


def _status_or_reason(cloud: Cloud, region: str) -> RegionStatus:
    try:
        return region_status(cloud, region)
    except OpsError as error:
        return RegionStatus(
            region, False, UNREACHABLE, None, None, False, None, None, None, UNREACHABLE, [], [], problems=[str(error)]
        )


def region_status(cloud: Cloud, region: str) -> RegionStatus:
    """Look at one region."""
    stage = cloud.stage
    with explained(f"{region}: reading the status"):
        regional = stack.read(cloud, region)
        bus = _bus(cloud, region)
        archive = _archive(cloud, region, stage.archive_name)
        journal = _archive(cloud, region, stage.journal_bus)
        table_status = _table_status(cloud, region)
        depths = queues.existing(cloud, region)
    api_url = cloud.api_url(regional.api_id, region) if regional.api_id else None
    waiting = [QueueDepth(depth.queue, depth.total) for depth in depths if not depth.dlq]
    dlqs = [QueueDepth(depth.queue, depth.total) for depth in depths if depth.dlq]
    expected = len(stage.processor_names) + len(stage.dlqs)
    health = probe(api_url) if api_url else Health()
    problems = [
        problem
        for problem, present in (
            (f"stack is {regional.status}", not regional.serving),
            ("evacuated: left on purpose, until a failback", health.evacuated),
            (str(health), health.code != 200 and not (health.evacuated and health.well)),
            ("bus is missing", bus is None),
            ("archive is missing", archive is None),
            ("journal archive is missing", journal is None and stage.journaled_region(region) is not None),
            (f"table is {table_status}", table_status != "ACTIVE"),
            (f"{expected - len(depths)} of {expected} queues are missing", len(depths) < expected),
            *((f"{dlq.name} holds {dlq.depth}", dlq.depth > 0) for dlq in dlqs),
        )
        if present
    ]
    return RegionStatus(
        region=region,
        healthy=not problems,
        stack=regional.status,
        api_url=api_url,
        api_status=health.code,
        evacuated=health.evacuated,
        bus=bus,
        archive=archive,
        journal_archive=journal,
        table_status=table_status,
        queues=waiting,
        dlqs=dlqs,
        problems=problems,
    )


def probe(api_url: str, timeout_s: float = 5.0) -> Health:
    """What the region's ``/status`` says now."""
    try:
        answer = httpx.get(f"{api_url}/status", timeout=timeout_s)
    except httpx.HTTPError:
        return Health()
    return read_health(answer)


def read_health(answer: httpx.Response) -> Health:
    """What an answer of ``/status`` says; a body that is not one of ours (a gateway's own) says nothing."""
    try:
        body = answer.json()
        checks = {name: bool(check["ok"]) for name, check in body["checks"].items()}
        return Health(answer.status_code, str(body["status"]), checks)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Health(answer.status_code)


def _bus(cloud: Cloud, region: str) -> str | None:
    try:
        return cloud.client("events", region).describe_event_bus(Name=cloud.stage.bus)["Name"]
    except ClientError as error:
        _raise_unless_missing(error)
        return None


def _archive(cloud: Cloud, region: str, name: str) -> str | None:
    try:
        archive = cloud.client("events", region).describe_archive(ArchiveName=name)
    except ClientError as error:
        _raise_unless_missing(error)
        return None
    return archive["ArchiveName"] if archive["State"] == "ENABLED" else None


def _table_status(cloud: Cloud, region: str) -> str:
    try:
        return cloud.client("dynamodb", region).describe_table(TableName=cloud.stage.table_name)["Table"]["TableStatus"]
    except ClientError as error:
        _raise_unless_missing(error)
        return MISSING


def _raise_unless_missing(error: ClientError) -> None:
    if error.response["Error"]["Code"] != "ResourceNotFoundException":
        raise error

"""What a region keeps and what stands there, as AWS describes it now: tables, archives, logs and alarms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.errors import OpsError
from ops.provision.desired import desired_archives

MAX_PAGES = 100


@dataclass(frozen=True)
class Described:
    """Sizes in bytes. DynamoDB tells a table's every six hours or so, EventBridge an archive's a day late.

    ``log_groups`` are name -> bytes kept, ``alarms`` item of usage -> how many; ``archived_event_bytes`` is the mean of
    the region's own archive, None while that is empty.
    """

    table_bytes: dict[str, int]
    archive_bytes: int
    archived_event_bytes: float | None
    log_groups: dict[str, int]
    alarms: dict[str, int]


def describe(cloud: Cloud, region: str) -> Described:
    """Read it; what is not there yet counts for nothing.

    Raises:
        ClientError: AWS did not answer.
        OpsError: a list has more pages than are read.
    """
    stage = cloud.stage
    tables = {name: _table_bytes(cloud, region, name) for name in (stage.table_name, stage.idempotency_table)}
    archives = {name: _archive(cloud, region, name) for name in desired_archives(stage, cloud.account, region)}
    size, count = archives[stage.archive_name]
    return Described(
        table_bytes=tables,
        archive_bytes=sum(kept for kept, _ in archives.values()),
        archived_event_bytes=size / count if size and count else None,
        log_groups=_log_groups(cloud, region),
        alarms=_alarms(cloud, region),
    )


def _table_bytes(cloud: Cloud, region: str, name: str) -> int:
    try:
        return int(cloud.client("dynamodb", region).describe_table(TableName=name)["Table"].get("TableSizeBytes", 0))
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return 0
        raise


def _archive(cloud: Cloud, region: str, name: str) -> tuple[int, int]:
    """Bytes and events."""
    try:
        found = cloud.client("events", region).describe_archive(ArchiveName=name)
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return 0, 0
        raise
    return int(found.get("SizeBytes", 0)), int(found.get("EventCount", 0))


def log_prefixes(prefix: str) -> tuple[str, ...]:
    """What the names of the stage's log groups begin with: functions, access log, flow logs."""
    return f"/aws/lambda/{prefix}-", f"/aws/http-api/{prefix}", f"/aws/vpc/{prefix}"


def _log_groups(cloud: Cloud, region: str) -> dict[str, int]:
    client = cloud.client("logs", region)
    found: dict[str, int] = {}
    for prefix in log_prefixes(cloud.stage.prefix):
        asked: dict[str, Any] = {"logGroupNamePrefix": prefix}
        for answer in _pages(client.describe_log_groups, asked, "nextToken", region):
            found |= {one["logGroupName"]: int(one.get("storedBytes", 0)) for one in answer["logGroups"]}
    # The names without a dash at their end are whole.
    exact = set(log_prefixes(cloud.stage.prefix)[1:])
    return {name: size for name, size in found.items() if name.startswith("/aws/lambda/") or name in exact}


def _alarms(cloud: Cloud, region: str) -> dict[str, int]:
    asked: dict[str, Any] = {
        "AlarmNamePrefix": f"{cloud.stage.prefix}-",
        "AlarmTypes": ["MetricAlarm", "CompositeAlarm"],
    }
    counts = {"alarms": 0, "alarms of high resolution": 0, "composite alarms": 0}
    for answer in _pages(cloud.client("cloudwatch", region).describe_alarms, asked, "NextToken", region):
        counts["composite alarms"] += len(answer.get("CompositeAlarms", []))
        for alarm in answer.get("MetricAlarms", []):
            # An alarm on several metrics is billed by metric.
            metrics = sum(1 for one in alarm.get("Metrics", []) if "MetricStat" in one) or 1
            fast = int(alarm.get("Period") or 60) < 60
            counts["alarms of high resolution" if fast else "alarms"] += metrics
    return counts


def _pages(call: Any, asked: dict[str, Any], token: str, region: str) -> list[dict[str, Any]]:
    answers = []
    for _ in range(MAX_PAGES):
        answers.append(call(**asked))
        if not answers[-1].get(token):
            return answers
        asked = asked | {token: answers[-1][token]}
    raise OpsError(f"{region}: a list has more than {MAX_PAGES} pages: {', '.join(map(str, asked.values()))}")

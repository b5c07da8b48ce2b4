"""The archives of the stage's buses in every region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from botocore.exceptions import ClientError

from ops.aws import NO_ANSWER, Cloud, explained
from ops.errors import UsageError
from ops.fanout import each
from ops.provision.desired import bus_arn


@dataclass(frozen=True)
class Archive:
    """One archive of the stage's buses, as EventBridge describes it; without a name where a region gave no answer."""

    region: str
    name: str
    arn: str
    bus_arn: str
    state: str
    events: int
    size_bytes: int
    retention_days: int
    created: datetime | None
    pattern: str

    @property
    def bus(self) -> str:
        """The name of the bus whose events it keeps, and onto which it is replayed."""
        return self.bus_arn.partition(":event-bus/")[2]


def archives(cloud: Cloud, regions: Sequence[str] = ()) -> list[Archive]:
    """All archives whose source is the stage's bus or its journal bus, in every region.

    A region that gives no answer is listed as such: its events are replayed from another's journal.
    """

    def find(region: str) -> list[Archive]:
        events, names = cloud.client("events", region), []
        for bus in (cloud.stage.bus, cloud.stage.journal_bus):
            request = {"EventSourceArn": bus_arn(cloud.account, region, bus)}
            for _ in range(100):
                answer: Any = events.list_archives(**request)  # type: ignore[arg-type]
                names += [archive["ArchiveName"] for archive in answer["Archives"]]
                if not answer.get("NextToken"):
                    break
                request["NextToken"] = answer["NextToken"]
        return [describe_archive(cloud, region, name) for name in sorted(names)]

    def find_or_say(region: str) -> list[Archive]:
        try:
            return find(region)
        except NO_ANSWER:
            return [Archive(region, "", "", "", "NO ANSWER", 0, 0, 0, None, "")]

    with explained("listing archives"):
        found = each(regions or cloud.stage.regions, find_or_say)
    return [archive for region in found for archive in found[region]]


def describe_archive(cloud: Cloud, region: str, name: str) -> Archive:
    found = cloud.client("events", region).describe_archive(ArchiveName=name)
    return Archive(
        region=region,
        name=name,
        arn=found["ArchiveArn"],
        bus_arn=found["EventSourceArn"],
        state=found.get("State", "ENABLED"),
        events=found.get("EventCount", 0),
        size_bytes=found.get("SizeBytes", 0),
        retention_days=found.get("RetentionDays", 0),
        created=found["CreationTime"].astimezone(UTC),
        pattern=found.get("EventPattern", ""),
    )


def archives_frame(found: Sequence[Archive]) -> pd.DataFrame:
    """A row an archive."""
    rows = [
        (a.region, a.name, a.state, a.events, a.size_bytes, a.retention_days or "for ever", a.created, a.pattern)
        for a in found
    ]
    columns = ["region", "archive", "state", "events", "size_bytes", "retention_days", "created", "pattern"]
    return pd.DataFrame(rows, columns=columns)


def find_archive(cloud: Cloud, region: str, name: str) -> Archive:
    try:
        return describe_archive(cloud, region, name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        names = ", ".join(a.name for a in archives(cloud, [region])) or "none"
        raise UsageError(
            f"archive: {name!r} does not exist in {region}; accepted: {names}",
            hint=f"An archive is made by: ops run provision --stage {cloud.stage.stage}",
        ) from error

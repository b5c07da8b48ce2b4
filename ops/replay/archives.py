"""The archives there are to replay from: those of the stage's buses in every region, or those of any bus.

What a region accepted is in its own archive and, by the journal, in the one of the region after it. So each region of
the stage has a row even when it gives no answer or has no archive: with where else its events are, and the command.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from botocore.exceptions import ClientError

from ops.aws import NO_ANSWER, Cloud, error_code, explained
from ops.errors import UsageError
from ops.fanout import each
from ops.provision.desired import bus_arn
from ops.stage import Stage

NO_ANSWER_STATE, NO_ARCHIVE_STATE = "NO ANSWER", "NONE"
MAX_PAGES = 100
COLUMNS = ("region", "archive", "holds", "state", "events", "size_bytes", "retention_days", "age", "pattern", "command")


@dataclass(frozen=True)
class Archive:
    """One archive as EventBridge describes it; without a name where a region has none, or gave no answer.

    ``events`` and ``size_bytes`` may lag by up to a day. ``holds`` says whose events they are, ``command`` plans a
    replay of them.
    """

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
    holds: str = ""
    command: str = ""

    @property
    def bus(self) -> str:
        """The name of the bus whose events it keeps, and onto which it is replayed."""
        return self.bus_arn.partition(":event-bus/")[2]


def archives(cloud: Cloud, regions: Sequence[str] = (), bus: str = "") -> list[Archive]:
    """All archives of the stage's bus and its journal bus, in every region; with ``bus``, those of that bus instead.

    Raises:
        OpsError: a region answered that it could not list them.
    """
    own = not bus or bus in (cloud.stage.bus, cloud.stage.journal_bus)
    buses = (bus,) if bus else (cloud.stage.bus, cloud.stage.journal_bus)

    def find(region: str) -> list[Archive]:
        try:
            names = [name for one in buses for name in _names(cloud, region, one)]
            found = [describe_archive(cloud, region, name) for name in sorted(names)]
        except NO_ANSWER:
            return [_absent(cloud.stage, region, NO_ANSWER_STATE, own)]
        if own and not any(archive.bus == cloud.stage.bus for archive in found) and cloud.stage.bus in buses:
            found.insert(0, _absent(cloud.stage, region, NO_ARCHIVE_STATE, own))
        return found

    with explained("listing archives"):
        listed = each(regions or cloud.stage.regions, find)
    return [archive for region in listed for archive in listed[region]]


def describe_archive(cloud: Cloud, region: str, name: str) -> Archive:
    """One archive by its name.

    Raises:
        ClientError: EventBridge does not have it, or cannot be asked.
    """
    found = cloud.client("events", region).describe_archive(ArchiveName=name)
    archive = Archive(
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
    return replace(archive, holds=_holds(cloud.stage, archive), command=command(cloud.stage, archive))


def find_archive(cloud: Cloud, region: str, name: str, bus: str = "") -> Archive:
    """The archive of this name; without one, the archive of the bus where it has exactly one.

    Raises:
        UsageError: there is none, it is of another bus, or the bus has several to choose from.
    """
    if not name:
        listed = _names(cloud, region, bus)
        if len(listed) != 1:
            raise UsageError(
                f"archive: bus {bus!r} has {len(listed) or 'no'} archives in {region}"
                + (f"; accepted: {', '.join(listed)}" if listed else ""),
                hint="Name the region whose bus it is: -p region=..." if not listed else "",
            )
        name = listed[0]
    try:
        archive = describe_archive(cloud, region, name)
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
        names = ", ".join(a.name for a in archives(cloud, [region], bus) if a.name) or "none"
        raise UsageError(
            f"archive: {name!r} does not exist in {region}; accepted: {names}",
            hint=_elsewhere_hint(cloud.stage, region, name),
        ) from error
    if bus and archive.bus != bus:
        raise UsageError(f"archive: {name!r} keeps the events of bus {archive.bus!r}, not of {bus!r}")
    return archive


def archives_frame(found: Sequence[Archive], now: datetime | None = None) -> pd.DataFrame:
    """A row an archive."""
    now = now or datetime.now(UTC)
    rows = [
        (
            a.region,
            a.name,
            a.holds,
            a.state,
            a.events if a.name else None,
            a.size_bytes if a.name else None,
            (a.retention_days or "for ever") if a.name else "",
            _age(a.created, now),
            a.pattern,
            a.command,
        )
        for a in found
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def accepted_in(stage: Stage, archive: Archive) -> str | None:
    """The region that accepted what an archive of the stage's keeps; None for a bus that is not the stage's."""
    if archive.region not in stage.regions or archive.bus not in (stage.bus, stage.journal_bus):
        return None
    return stage.journaled_region(archive.region) if archive.bus == stage.journal_bus else archive.region


def command(stage: Stage, archive: Archive) -> str:
    """What plans a replay of the last hours of it."""
    parts = ["ops", "run", "replay", "--stage", stage.stage, "-p", f"region={archive.region}"]
    if archive.bus not in (stage.bus, stage.journal_bus) or archive.region not in stage.regions:
        parts += ["-p", f"bus={archive.bus}"]
    if archive.name != stage.archive_name:
        parts += ["-p", f"archive={archive.name}"]
    return shlex.join([*parts, "-p", "window_start=2h"])


def _names(cloud: Cloud, region: str, bus: str) -> list[str]:
    """Of the archives of a bus; none where the bus is gone and EventBridge says so."""
    events: Any = cloud.client("events", region)
    names: list[str] = []
    request = {"EventSourceArn": bus_arn(cloud.account, region, bus)}
    for _ in range(MAX_PAGES):
        try:
            answer = events.list_archives(**request)
        except ClientError as error:
            if error_code(error) != "ResourceNotFoundException":
                raise
            break
        names += [archive["ArchiveName"] for archive in answer["Archives"]]
        if not answer.get("NextToken"):
            break
        request["NextToken"] = answer["NextToken"]
    return names


def _holds(stage: Stage, archive: Archive) -> str:
    accepted = accepted_in(stage, archive)
    if accepted is None:
        return f"events of bus {archive.bus}"
    kept = f", kept in {archive.region}" if accepted != archive.region else ""
    return f"events of {accepted}{kept}"


def _absent(stage: Stage, region: str, state: str, own: bool) -> Archive:
    """The row of a region that has nothing to offer itself: where its events are kept besides."""
    row = Archive(region, "", "", "", state, 0, 0, 0, None, "")
    keeper = stage.journal_region(region) if own and region in stage.regions else None
    if keeper is None:
        return row
    arn = bus_arn("", keeper, stage.journal_bus)
    journal = replace(row, region=keeper, name=stage.journal_bus, bus_arn=arn)
    return replace(row, holds=f"events of {region}, kept in {keeper}", command=command(stage, journal))


def _elsewhere_hint(stage: Stage, region: str, name: str) -> str:
    if name == stage.archive_name and region in stage.regions:
        row = _absent(stage, region, NO_ARCHIVE_STATE, own=True)
        if row.command:
            return f"{row.holds}: {row.command}"
    return f"An archive is made by: ops run provision --stage {stage.stage}"


def _age(created: datetime | None, now: datetime) -> str:
    """How old it is, as one reads it: days, or hours on the first day."""
    if created is None:
        return ""
    hours = int((now - created).total_seconds() // 3600)
    return f"{hours // 24} d" if hours >= 24 else f"{hours} h"

"""Where an event is kept besides, and what was replayed over it: archives by what they say of themselves.

An archive cannot be searched: that it holds an event follows from when the event was accepted, where, and for how long
the archive keeps what it gets. A replay of such an archive over that moment delivered the event again; the lines of the
processors say which one did (``replay_name``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ops.aws import Cloud, explained
from ops.errors import OpsError
from ops.fanout import each
from ops.replay.archives import NO_ANSWER_STATE, Archive, archives
from ops.replay.listing import replays
from ops.trace.sightings import REPLAY, Sighting


@dataclass(frozen=True)
class Copy:
    """An archive that should hold an event, until then; None: for good."""

    event_key: str
    region: str
    archive: str
    state: str
    until: datetime | None


@dataclass(frozen=True)
class Kept:
    """``copies`` by what archives say, and the replays over the events."""

    copies: tuple[Copy, ...] = ()
    replays: tuple[Sighting, ...] = ()
    unread: tuple[str, ...] = ()


def look(cloud: Cloud, accepted: dict[str, set[tuple[str, datetime]]], now: datetime) -> Kept:
    """Archives and replays of events; ``accepted`` has, by event key, in which regions they were accepted and when."""
    unread: list[str] = []
    try:
        known = archives(cloud)
    except OpsError as error:
        known = []
        unread.append(str(error))
    unread += [f"{one.region}: its archives: no answer" for one in known if one.state == NO_ANSWER_STATE]
    copies = [
        copy
        for key, moments in accepted.items()
        for region, at in sorted(moments)
        for archive in known
        if (archive.region, archive.name) in _sources(cloud, region)
        if (copy := _copy(archive, key, at, now)) is not None
    ]

    def listed(region: str) -> list[dict[str, Any]] | str:
        try:
            with explained(f"{region}: listing replays"):
                return replays(cloud, region)
        except OpsError as error:
            return str(error)

    seen: list[Sighting] = []
    for region, answer in each(cloud.stage.regions, listed).items():
        if isinstance(answer, str):
            unread.append(answer)
            continue
        for one in answer:
            seen += _over(cloud, region, one, accepted)
    return Kept(tuple(copies), tuple(sorted(set(seen), key=lambda one: one.time)), tuple(unread))


def _sources(cloud: Cloud, accepted_in: str) -> set[tuple[str, str]]:
    """The archives that get what a region accepts: its own, and the journal of the next."""
    stage = cloud.stage
    if accepted_in not in stage.regions:
        return set()
    own, journal = (accepted_in, stage.archive_name), stage.journal_region(accepted_in)
    return {own} if journal is None else {own, (journal, stage.journal_bus)}


def _copy(archive: Archive, key: str, at: datetime, now: datetime) -> Copy | None:
    if archive.created is not None and at < archive.created:
        return None
    until = at + timedelta(days=archive.retention_days) if archive.retention_days else None
    return None if until is not None and until <= now else Copy(key, archive.region, archive.name, archive.state, until)


def _over(
    cloud: Cloud, region: str, replay: dict[str, Any], accepted: dict[str, set[tuple[str, datetime]]]
) -> list[Sighting]:
    """What a replay was to the events: nothing, where it is of another archive or of another time."""
    if "ReplayStartTime" not in replay:
        return []
    source = str(replay.get("EventSourceArn", "")).rpartition("archive/")[2]
    begin, end = (replay[name].astimezone(UTC) for name in ("EventStartTime", "EventEndTime"))
    covered = [
        key
        for key, moments in accepted.items()
        if any((region, source) in _sources(cloud, accepted_in) and begin <= at < end for accepted_in, at in moments)
    ]
    begun, over = replay["ReplayStartTime"].astimezone(UTC), replay.get("ReplayEndTime")
    words = f"{replay['ReplayName']} of archive {source}, over its minute: {replay['State'].lower()}"
    until = over.astimezone(UTC) if over else None
    return [Sighting(begun, region, REPLAY, "replayed", words, key, "replays", until) for key in covered]

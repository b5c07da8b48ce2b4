"""What the tables say of events now: each region's replica, its record of accepted events, and its counts.

Strong reads. The record is of Powertools' idempotency layer, as ingest writes it (handlers/core/idempotency.py): under
the digest of the event key, whether the event was accepted there, with what answer, and a digest of its payload. It is
kept for ``idempotency.window_s`` and is no replica: each region has its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops import arrival, effects
from ops.aws import Cloud
from ops.errors import OpsError
from ops.fanout import each

FIELDS = (
    "event_key",
    "tenant",
    "version",
    "written_region",
    "written_at",
    "accepted_at",
    "accepted_region",
    "correlation_id",
    "trace_id",
    "payload_digest",
    "expires_at",
    "time",
)
COMPLETED = "COMPLETED"


@dataclass(frozen=True)
class Held:
    """An event in a region's replica. An item that has expired counts as gone."""

    region: str
    event_key: str
    tenant: str
    version: int
    written_region: str
    written_at: datetime
    accepted_at: datetime
    accepted_region: str
    correlation_id: str
    trace_id: str
    payload_digest: str
    expires_at: datetime
    time: datetime | None

    @property
    def same(self) -> tuple[Any, ...]:
        """What is alike in every replica that holds the same write."""
        return (self.version, self.written_region, self.written_at, self.accepted_at, self.payload_digest)


@dataclass(frozen=True)
class Accepted:
    """A region's record of having accepted an event; ``accepted_at`` is None while it is only claimed."""

    region: str
    event_key: str
    status: str
    accepted_at: datetime | None
    payload: str

    def agrees(self, held: Held) -> bool:
        """Whether the replica holds the payload that was accepted."""
        return not self.payload or self.payload == digest(held.payload_digest)


@dataclass(frozen=True)
class State:
    """By event key and region. ``counted`` are the buckets of counts that hold it. ``unread`` says what is missing."""

    held: dict[str, dict[str, Held]]
    accepted: dict[str, dict[str, Accepted]]
    counted: dict[str, dict[str, frozenset[str]]]
    unread: tuple[str, ...] = ()


def read(cloud: Cloud, event_keys: Sequence[str], now: Callable[[], datetime], *, counts: bool = True) -> State:
    """What every region's tables say of these events; a region that cannot be read is named."""
    regions, keys = cloud.stage.regions, list(dict.fromkeys(event_keys))
    unread: list[str] = []

    def look(reading: Callable[[str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {key: {} for key in keys}
        for region, answer in each(regions, lambda region: _tried(lambda: reading(region))).items():
            if isinstance(answer, str):
                unread.append(answer)
                continue
            for key, value in answer.items():
                found[key][region] = value
        return found

    held = look(lambda region: _held(cloud, region, keys, now()))
    accepted = look(lambda region: _accepted(cloud, region, keys))
    facts = {key: (one.tenant, one.time) for key, seen in held.items() for one in seen.values()}
    counted = look(lambda region: effects.of_events(cloud, region, facts) if facts and counts else {})
    return State(held, accepted, counted, tuple(dict.fromkeys(unread)))


def digest(value: str) -> str:
    """As Powertools makes it of a text, for keys and for payloads."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _tried(reading: Callable[[], dict[str, Any]]) -> dict[str, Any] | str:
    try:
        return reading()
    except OpsError as error:
        return str(error)


def _held(cloud: Cloud, region: str, keys: Iterable[str], now: datetime) -> dict[str, Held]:
    names = {f"#{number}": name for number, name in enumerate(FIELDS)}
    items = arrival.items(cloud, region, keys, ProjectionExpression=", ".join(names), ExpressionAttributeNames=names)
    made = {key: _item(region, item) for key, item in items.items()}
    return {key: one for key, one in made.items() if one.expires_at > now}


def _item(region: str, item: Mapping[str, Any]) -> Held:
    def text(name: str) -> str:
        return str(item.get(name, {}).get("S", ""))

    def number(name: str) -> int:
        return int(item.get(name, {}).get("N", 0))

    return Held(
        region=region,
        event_key=text("event_key"),
        tenant=text("tenant"),
        version=number("version"),
        written_region=text("written_region"),
        written_at=moment(text("written_at")),
        accepted_at=moment(text("accepted_at")),
        accepted_region=text("accepted_region"),
        correlation_id=text("correlation_id"),
        trace_id=text("trace_id"),
        payload_digest=text("payload_digest"),
        expires_at=datetime.fromtimestamp(number("expires_at"), UTC),
        time=moment(text("time")) if text("time") else None,
    )


def _accepted(cloud: Cloud, region: str, keys: Sequence[str]) -> dict[str, Accepted]:
    by_id = {f"ingest#{digest(key)}": key for key in keys}
    items = arrival.get(cloud, region, cloud.stage.idempotency_table, [{"id": {"S": one}} for one in sorted(by_id)])
    return {(key := by_id[item["id"]["S"]]): _record(region, key, item) for item in items}


def _record(region: str, key: str, item: Mapping[str, Any]) -> Accepted:
    try:
        answer = json.loads(item.get("data", {}).get("S") or "{}")
        at = moment(str(answer["accepted_at"])) if "accepted_at" in answer else None
    except ValueError:
        at = None
    status = str(item.get("status", {}).get("S", ""))
    return Accepted(region, key, status, at, str(item.get("validation", {}).get("S", "")))


def moment(text: str) -> datetime:
    """A time of an item, which is RFC 3339; what is none is the begin of time, so that it is seen as wrong."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)

"""What a processor's queue delivers: an EventBridge event whose detail ingest wrote. All else is refused, with reason.

Every identity comes from the detail. The envelope (its id, its time, ``replay-name``) says how the event came here this
time: nothing depends on it, and only the replay's name is looked at, for the log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from handlers.core import cloudevents, strictjson, timestamps, tracing

_EVENT_KEY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CORRELATION_ID = re.compile(r"[!-~]{1,128}")  # what ingest takes from a caller
_REPLAY_NAME = re.compile(r"[.\-_A-Za-z0-9]{1,64}")  # of StartReplay: botocore's model of EventBridge
_TEXTS = ("event_key", "tenant", "correlation_id", "accepted_at", "accepted_region")


class MalformedDeliveryError(Exception):
    """The message is not an event that ingest published. It carries ``event_key`` when at least that is known."""

    def __init__(self, reason: str, event_key: str | None = None) -> None:
        super().__init__(reason)
        self.event_key = event_key


@dataclass(frozen=True)
class Delivery:
    """One delivery of an accepted event. ``event`` is the CloudEvent, ``text`` its canonical JSON.

    ``trace_id`` is of the request that brought it; None for what was accepted before there was one. ``replay_name`` is
    of the replay that brought it this time.
    """

    event_key: str
    tenant: str
    correlation_id: str
    trace_id: str | None
    accepted_at: datetime
    accepted_region: str
    event: dict[str, Any]
    text: str
    time: datetime | None
    replay_name: str | None = None

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @cached_property
    def payload_digest(self) -> str:
        return cloudevents.digest(self.text)


def parse(body: str) -> Delivery:
    """Read the body of a queue message.

    Raises:
        MalformedDeliveryError: it is not an event of Atoll; the message names the field.
    """
    try:
        message = strictjson.loads(body)
    except strictjson.MalformedError as error:
        raise MalformedDeliveryError(f"the body {error}") from None
    detail = message.get("detail") if isinstance(message, dict) else None
    if not isinstance(detail, dict):
        raise MalformedDeliveryError("the body is not an EventBridge event: it has no detail object")
    key = detail.get("event_key")
    if not isinstance(key, str) or not _EVENT_KEY.fullmatch(key):
        raise MalformedDeliveryError("detail.event_key: missing or not a UUID")
    for name in _TEXTS:
        if not isinstance(detail.get(name), str) or not detail[name]:
            raise MalformedDeliveryError(f"detail.{name}: missing or not a string", key)
    event = detail.get("event")
    if not isinstance(event, dict):
        raise MalformedDeliveryError("detail.event: missing or not an object", key)
    for name in cloudevents.REQUIRED:
        if not isinstance(event.get(name), str) or not event[name]:
            raise MalformedDeliveryError(f"detail.event.{name}: missing or not a string", key)
    replay = message.get("replay-name")
    # Nothing depends on it but finding things again: never a reason to refuse an event.
    trace_id = detail["trace_id"] if tracing.is_trace_id(detail.get("trace_id")) else None
    try:
        text = strictjson.canonical(event)
    except strictjson.MalformedError as error:
        raise MalformedDeliveryError(f"detail.event: {error}", key) from None
    return Delivery(
        event_key=key,
        tenant=detail["tenant"],
        correlation_id=detail["correlation_id"],
        trace_id=trace_id,
        accepted_at=_time("detail.accepted_at", detail["accepted_at"], key),
        accepted_region=detail["accepted_region"],
        event=event,
        text=text,
        time=None if event.get("time") is None else _time("detail.event.time", event["time"], key),
        replay_name=replay if isinstance(replay, str) and _REPLAY_NAME.fullmatch(replay) else None,
    )


def identity(body: str) -> tuple[str | None, str | None]:
    """The event key and the correlation id of a message that may be malformed: each only if it looks like one."""
    try:
        detail = strictjson.loads(body)["detail"]
        key, correlation = detail.get("event_key"), detail.get("correlation_id")
    except (strictjson.MalformedError, AttributeError, KeyError, TypeError):
        return None, None
    known = isinstance(key, str) and _EVENT_KEY.fullmatch(key)
    traced = isinstance(correlation, str) and _CORRELATION_ID.fullmatch(correlation)
    return key if known else None, correlation if traced else None


def _time(field: str, value: Any, key: str) -> datetime:
    try:
        return timestamps.parse(value)
    except (TypeError, ValueError):
        raise MalformedDeliveryError(f"{field}: not an RFC 3339 timestamp", key) from None

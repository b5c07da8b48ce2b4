"""Keeping what failed again after a redrive, in S3, where no retention of a queue deletes it.

One object a message, under a key that the message itself determines: kept twice, it is there once. What always holds:
a message is reported as kept only after S3 has all of it; nothing here deletes anything.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ops import bucket
from ops.aws import Cloud
from ops.bucket import QUARANTINE, Place
from ops.redrive.messages import Letter


def key(letter: Letter) -> str:
    """Where a message is kept: by the day it came to its dead-letter queue, so that each attempt finds the same key."""
    return f"{QUARANTINE}/{letter.queue}/{letter.sent:%Y-%m-%d}/{letter.message_id}.json"


def keep(cloud: Cloud, place: Place, letter: Letter) -> str:
    """Write a message with its reason and its history; returns the object's URI.

    Raises:
        OpsError: it was not written; the message must stay where it is.
    """
    where = key(letter)
    bucket.put(cloud, place, where, json.dumps(record(letter), ensure_ascii=False, indent=1).encode())
    return place.uri(where)


def record(letter: Letter, now: datetime | None = None) -> dict[str, Any]:
    """All that is known of a message, as JSON. Binary attributes are in Base64."""
    return {
        "message_id": letter.message_id,
        "region": letter.region,
        "queue": letter.queue,
        "reason": {"code": letter.error_code, "message": letter.error_message, "handler": letter.handler},
        "event": {"key": letter.event_key, "type": letter.event_type},
        "target": None if letter.target is None else {"kind": letter.target.kind, "arn": letter.target.arn},
        "history": {
            "kind": letter.kind,
            "redrives": letter.redrives,
            "sent": _text(letter.sent),
            "receives": int(letter.system.get("ApproximateReceiveCount", 0)),
            "request_id": letter.request_id,
            "quarantined": _text(now or datetime.now(UTC)),
        },
        "attributes": {name: _plain(attribute) for name, attribute in letter.attributes.items()},
        "system": dict(letter.system),
        "body": letter.body,
    }


def _plain(attribute: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in attribute.items()
    }


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

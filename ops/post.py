"""One event and one attempt at sending it: what ``ops send`` and a drill's load have in common.

An event is a function of its ``source`` and ``id``: whoever knows the pair can make the event again, so an attempt can
be repeated anywhere with exactly the same bytes, and nothing doubles.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent

TYPES = ("com.example.order.placed", "com.example.order.paid", "com.example.cart.updated", "com.example.user.signed-in")
RETRIED = frozenset({409, 429, 500, 502, 503, 504})
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
_MAX_DOUBLINGS = 16


def slug(city: str) -> str:
    """A city as a part of a source: ``new-york``."""
    return city.lower().replace(" ", "-")


def event_for(source: str, event_id: str) -> CloudEvent:
    """The CloudEvent that ``source`` and ``event_id`` stand for; the same one every time.

    The id begins with the event's time, in milliseconds and hexadecimal, and a dash.
    """
    rng = random.Random(f"{source}|{event_id}")  # noqa: S311 - traffic, not cryptography
    sent_ms = int(event_id.split("-", 1)[0], 16)
    return CloudEvent(
        attributes={
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": rng.choice(TYPES),
            "subject": f"customer-{rng.randrange(500)}",
            "time": datetime.fromtimestamp(sent_ms / 1000, UTC),
            "datacontenttype": "application/json",
        },
        data={"amount_cents": rng.randrange(100, 50_000), "items": rng.randrange(1, 9), "currency": "EUR"},
    )


def request_for(source: str, event_id: str, valid: bool) -> tuple[dict[str, str], bytes]:
    """Headers and body of the request; an invalid one lacks the required attribute ``type``."""
    message = to_structured_event(event_for(source, event_id))
    body = bytes(message.body)
    if not valid:
        broken = json.loads(body)
        del broken["type"]
        body = json.dumps(broken).encode()
    return {**message.headers, "content-type": "application/cloudevents+json"}, body


def final(status: int) -> bool:
    """Whether an HTTP status (0: no answer) is the platform's last word, and not a reason to send again."""
    return status != 0 and status not in RETRIED


@dataclass(frozen=True)
class Answer:
    """What one attempt brought. ``status`` 0: no answer. ``region`` is the one that answered, as far as it is told."""

    status: int
    event_key: str | None = None
    region: str | None = None
    duplicate: bool = False
    retry_after: str = ""

    def pause_s(self, attempt: int) -> float:
        """How long to wait after attempt number ``attempt``: what was asked for, or twice as long each time."""
        doubled = FIRST_PAUSE_S * 2 ** min(attempt, _MAX_DOUBLINGS)
        return min(MAX_PAUSE_S, float(self.retry_after) if self.retry_after.isdecimal() else doubled)


async def attempt(client: httpx.AsyncClient, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send once. An attempt that gets no answer, or none that can be read, is an answer with status 0."""
    try:
        answer = await client.post(url, content=body, headers=headers)
        content: Any = answer.json() if answer.status_code == 202 else {}
    except (httpx.HTTPError, ValueError):
        return Answer(0)
    if not isinstance(content, dict):
        content = {}
    return Answer(
        status=answer.status_code,
        event_key=content.get("event_key"),
        region=content.get("region") or answer.headers.get("x-atoll-region"),
        duplicate=answer.headers.get("idempotent-replayed") == "true",
        retry_after=answer.headers.get("retry-after", ""),
    )

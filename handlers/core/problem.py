"""Every way a request can be declined, as RFC 9457 problem details with a stable ``type``.

``KINDS`` is the whole list: a kind's name is the last part of its type URI reference (``/problems/<kind>``) and never
changes meaning. A detail names the field, the problem and what is accepted; it never carries an event's data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One problem type. ``retry_after_s`` is given when the same request may succeed later."""

    status: int
    title: str
    retry_after_s: int | None = None


KINDS: dict[str, Kind] = {
    "malformed-body": Kind(400, "The body cannot be read"),
    "invalid-attribute": Kind(400, "A CloudEvents attribute is missing or not valid"),
    "invalid-data": Kind(400, "The event's data cannot be accepted"),
    "invalid-parameter": Kind(400, "A parameter is not valid"),
    "unknown-parameter": Kind(400, "A query parameter is not known"),
    "invalid-cursor": Kind(400, "The cursor does not belong to this query"),
    "consistency-not-available": Kind(400, "A listing cannot be strongly consistent"),
    "no-tenant": Kind(403, "The token names no tenant"),
    "not-found": Kind(404, "There is no such resource"),
    "in-progress": Kind(409, "The same event is being accepted right now", retry_after_s=1),
    "event-too-large": Kind(413, "The event is too large"),
    "batch-too-large": Kind(413, "The batch has too many events"),
    "window-too-busy": Kind(413, "The time window holds too much to count in one request"),
    "unsupported-content-type": Kind(415, "The content type is not a CloudEvents one"),
    "payload-mismatch": Kind(422, "The same source and id were used for another event"),
    "internal-error": Kind(500, "The request failed for a reason of ours"),
    "not-published": Kind(503, "The event bus did not accept the event", retry_after_s=2),
    "out-of-time": Kind(503, "There was no time left to accept the event", retry_after_s=1),
    "unavailable": Kind(503, "A service that this request needs did not answer", retry_after_s=2),
}


def type_of(kind: str) -> str:
    """The type URI reference of a kind."""
    return f"/problems/{kind}"


class ProblemError(Exception):
    """A request, or one event of it, is declined. ``field`` is the attribute or parameter at fault."""

    def __init__(self, kind: str, detail: str, *, field: str | None = None) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.field = field

    @property
    def status(self) -> int:
        return KINDS[self.kind].status

    @property
    def retry_after_s(self) -> int | None:
        return KINDS[self.kind].retry_after_s

    def as_dict(self, correlation_id: str) -> dict[str, Any]:
        """The problem as its JSON object."""
        kind = KINDS[self.kind]
        body: dict[str, Any] = {
            "type": type_of(self.kind),
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
        }
        if self.field is not None:
            body["field"] = self.field
        body["correlation_id"] = correlation_id
        return body


def shown(value: object, limit: int = 60) -> str:
    """A short, printable form of a caller's value, for a detail that has to say what was received."""
    text = ascii(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def plain(name: str) -> str:
    """A caller's name for something, short and in ASCII, fit for ``field``."""
    return shown(name, 42)[1:-1]

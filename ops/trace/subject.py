"""What is traced: an event by its key, or the events of a correlation id or of a trace id; checked before all else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ops.errors import UsageError

Kind = Literal["event_key", "correlation_id", "trace_id"]

# As ingest makes them, takes them from a caller, and X-Ray and W3C write them.
EVENT_KEY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CORRELATION_ID = re.compile(r"[!-~]{1,128}")
TRACE_ID = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}")
_HEADER = re.compile(r"(?:^|;)\s*Root=(1-[0-9a-f]{8}-[0-9a-f]{24})(?:;|$)", re.IGNORECASE)
_TRACEPARENT = re.compile(r"(?:[0-9a-f]{2}-)?([0-9a-f]{8})([0-9a-f]{24})(?:-[0-9a-f]{16}-[0-9a-f]{2})?")

ACCEPTED: dict[Kind, str] = {
    "event_key": "a UUID, as the API answers with and every item has: 0f8fad5b-d9cb-569f-a165-70867728950e",
    "correlation_id": "1 to 128 visible ASCII characters without a space, as the answer's x-correlation-id",
    "trace_id": "1-<8 hex>-<24 hex>, the 32 hex digits of a W3C trace, a traceparent, or an X-Amzn-Trace-Id with Root=",
}


@dataclass(frozen=True)
class Subject:
    """One id, and what kind of id it is."""

    kind: Kind
    value: str

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


def subject(event_key: str = "", correlation_id: str = "", trace_id: str = "") -> Subject:
    """The one id that is given.

    A trace id may come as a ``traceparent`` or a trace header has it; a key in capitals is the same key.

    Raises:
        UsageError: none or more than one is given, or it is malformed; the message says what is accepted.
    """
    given: dict[Kind, str] = {
        "event_key": event_key.strip(),
        "correlation_id": correlation_id.strip(),
        "trace_id": trace_id.strip(),
    }
    named = [kind for kind, value in given.items() if value]
    if len(named) != 1:
        problem = f"{' and '.join(named)} are given" if named else "none of them is given"
        raise UsageError(
            f"event_key, correlation_id, trace_id: {problem}; accepted: exactly one",
            hint="ops run trace -p event_key=... (or -p correlation_id=..., or -p trace_id=...)",
        )
    kind = named[0]
    value = _checked(kind, given[kind])
    if value is None:
        raise UsageError(f"{kind}: {given[kind][:200]!r} is none; accepted: {ACCEPTED[kind]}")
    return Subject(kind, value)


def _checked(kind: Kind, text: str) -> str | None:
    """The id as it stands in logs and items; None when it is none."""
    if kind == "event_key":
        return text.lower() if EVENT_KEY.fullmatch(text.lower()) else None
    if kind == "correlation_id":
        return text if CORRELATION_ID.fullmatch(text) else None
    lower = text.lower()
    if TRACE_ID.fullmatch(lower):
        return lower
    if header := _HEADER.search(text):
        return header[1].lower()
    if parts := _TRACEPARENT.fullmatch(lower):
        return f"1-{parts[1]}-{parts[2]}"
    return None

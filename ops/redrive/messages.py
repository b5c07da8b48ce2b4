"""One message of a dead-letter queue: why it is there, and where it goes back to.

Who sent it and what it goes back to is found in :mod:`ops.redrive.origin`. Nothing here calls AWS, and no body, however
hostile, raises: what cannot be understood is of kind ``unknown`` and has no target.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ops.redrive.origin import ADDED, REDRIVES, LetterKind, Target, origin_of
from ops.redrive.queues import DeadLetterQueue
from ops.redrive.transformation import member, transform

__all__ = ["REDRIVES", "Letter", "LetterKind", "Target", "read", "to_send"]

# What whoever brought a message to a DLQ added to it; a redrive takes it away again.
REASON = frozenset(
    {"ERROR_CODE", "ERROR_MESSAGE", "FUNCTION", "EVENT_KEY", "CORRELATION_ID", "RECEIVE_COUNT", REDRIVES}
)
DELIVERY = frozenset(
    {"RULE_ARN", "TARGET_ARN", "ERROR_CODE", "ERROR_MESSAGE", "EXHAUSTED_RETRY_CONDITION", "RETRY_ATTEMPTS", REDRIVES}
)
MAX_ATTRIBUTES = 10  # of one SQS message
MAX_TEXT = 1024

_KEY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Letter:
    """One message as it was received. ``target`` is None where it cannot be sent back; ``why_not`` says why then.

    ``handler`` is the name of what failed: the function, the target's queue or bus. ``redrives`` counts how often it
    was sent back before. ``request_id`` is the asynchronous invocation's. ``change`` is how the rule's target changes
    the event.
    """

    region: str
    queue: str
    message_id: str
    receipt: str
    body: str
    attributes: Mapping[str, Any]
    system: Mapping[str, str]
    kind: LetterKind
    error_code: str
    error_message: str
    handler: str
    event_type: str
    event_key: str | None
    sent: datetime
    redrives: int
    request_id: str | None
    target: Target | None
    why_not: str
    change: Mapping[str, Any] = field(default_factory=dict)
    rule_arn: str = ""


def read(raw: Mapping[str, Any], dlq: DeadLetterQueue) -> Letter:
    """What a message of ReceiveMessage says, asked for with all its attributes. Raises nothing, whatever it holds."""
    body, attributes, system = raw.get("Body", ""), raw.get("MessageAttributes") or {}, raw.get("Attributes") or {}
    texts = {name: str(value.get("StringValue") or "") for name, value in attributes.items()}
    content = _parsed(body)
    found = origin_of(body, texts, system, content, dlq)
    event = content.get("requestPayload") if found.kind == "invocation" and "requestPayload" in content else content
    event_type, event_key = _event(event)
    redrives = texts.get(REDRIVES, "")
    return Letter(
        region=dlq.region,
        queue=dlq.name,
        message_id=str(raw.get("MessageId", "")),
        receipt=str(raw.get("ReceiptHandle", "")),
        body=body,
        attributes=attributes,
        system=system,
        kind=found.kind,
        error_code=_printable(found.code),
        error_message=_printable(found.message),
        handler=_printable(found.handler),
        event_type=event_type,
        event_key=event_key or (texts["EVENT_KEY"] if _KEY.fullmatch(texts.get("EVENT_KEY", "")) else None),
        sent=_sent(system.get("SentTimestamp", "")),
        redrives=int(redrives) if re.fullmatch(r"[0-9]{1,9}", redrives) else 0,
        request_id=found.request_id,
        target=found.target,
        why_not=_printable(found.why_not),
        change=found.change,
        rule_arn=found.rule_arn,
    )


def to_send(letter: Letter) -> tuple[str, dict[str, Any]]:
    """The body (a function's payload, a bus's event) for the letter's target, and the attributes for a queue.

    Raises:
        NotRepeatableError: the rule's target changes the event in a way that cannot be repeated; such a letter has no
            target.
    """
    body = transform(letter.body, letter.change, letter.rule_arn) if letter.change else letter.body
    if letter.kind == "invocation" and (payload := member(letter.body, "requestPayload")) is not None:
        body = payload
    if letter.target is None or letter.target.kind != "sqs":
        return body, {}
    kept = {name: _sendable(value) for name, value in letter.attributes.items() if name not in ADDED[letter.kind]}
    return body, kept | {REDRIVES: {"DataType": "Number", "StringValue": str(letter.redrives + 1)}}


# --- what it is about -----------------------------------------------------------------------------------------------


def _parsed(body: str) -> Mapping[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _event(content: Any) -> tuple[str, str | None]:
    """The type and the key of the event, each only where it looks like one."""
    if not isinstance(content, dict):
        return "", None
    kind, key, detail = content.get("detail-type"), None, content.get("detail")
    if isinstance(detail, dict):
        key, event = detail.get("event_key"), detail.get("event")
        if isinstance(event, dict) and isinstance(event.get("type"), str):
            kind = event["type"]
    known = isinstance(key, str) and _KEY.fullmatch(key)
    return _printable(kind) if isinstance(kind, str) else "", key if known else None


def _sent(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000 if re.fullmatch(r"[0-9]{1,13}", milliseconds) else 0, UTC)


def _sendable(value: Mapping[str, Any]) -> dict[str, Any]:
    return {part: value[part] for part in ("DataType", "StringValue", "BinaryValue") if value.get(part) is not None}


def _printable(text: str) -> str:
    text = text[:MAX_TEXT]
    return text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text)

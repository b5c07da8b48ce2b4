"""Who sent a message to a dead-letter queue, why, and what it may go back to.

What a message says of itself is believed only as far as what is deployed agrees: a target is one that still sends its
failures to this very queue, so that nobody who can write to a DLQ can send
anything anywhere. Five kinds are told apart:

- ``sqs``: SQS moved it (``DeadLetterQueueSourceArn`` among its system attributes), and records no reason.
- ``function``: a processor gave up on it and says why (``ERROR_CODE`` and ``FUNCTION``).
- ``rule``: EventBridge could not deliver it (``RULE_ARN`` and ``TARGET_ARN``); the body is the event as the bus had it.
- ``invocation``: Lambda's record of an asynchronous invocation, or what its older DLQ setting leaves of one.
- ``bus``: a bus could not encrypt or decrypt it; the body is the event.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ops.redrive.queues import DeadLetterQueue, Feed
from ops.redrive.transformation import NotRepeatableError, member, transform

REDRIVES = "REDRIVES"
MAX_ATTRIBUTES = 10  # of one SQS message

TargetKind = Literal["sqs", "lambda", "bus"]
LetterKind = Literal["rule", "function", "sqs", "invocation", "bus", "unknown"]

_WHY = {"ERROR_CODE", "ERROR_MESSAGE", REDRIVES}
_DELIVERY = frozenset({*_WHY, "RULE_ARN", "TARGET_ARN", "EXHAUSTED_RETRY_CONDITION", "RETRY_ATTEMPTS"})
# The attributes that whoever brought a message to a DLQ added to it; a redrive takes them away again.
ADDED: dict[LetterKind, frozenset[str]] = {
    "rule": _DELIVERY,
    "bus": _DELIVERY,
    "function": frozenset({*_WHY, "FUNCTION", "EVENT_KEY", "CORRELATION_ID", "RECEIVE_COUNT"}),
    "sqs": frozenset({REDRIVES}),
    "invocation": frozenset({REDRIVES}),
    "unknown": frozenset({REDRIVES}),
}
_ARN = re.compile(r"arn:aws[a-z-]*:(sqs|lambda|events):[a-z0-9-]+:\d{12}:(\S+)")
_TARGETS: dict[str, TargetKind] = {"sqs": "sqs", "lambda": "lambda", "events": "bus"}


@dataclass(frozen=True)
class Target:
    """What a message goes back to."""

    kind: TargetKind
    arn: str


@dataclass(frozen=True)
class Origin:
    """Who failed with a message. ``target`` is None where it cannot go back; ``why_not`` says why then."""

    kind: LetterKind
    code: str
    message: str
    handler: str
    target: Target | None
    why_not: str = ""
    request_id: str | None = None
    change: Mapping[str, Any] = field(default_factory=dict)
    rule_arn: str = ""


def origin_of(
    body: str, texts: Mapping[str, str], system: Mapping[str, str], content: Mapping[str, Any], dlq: DeadLetterQueue
) -> Origin:
    """Of a message with this body (parsed: ``content``), attributes and system attributes. Raises nothing."""
    return _checked(_claimed(body, texts, system, content, dlq), body, texts)


def _claimed(  # noqa: PLR0911 - one return for each kind
    body: str, texts: Mapping[str, str], system: Mapping[str, str], content: Mapping[str, Any], dlq: DeadLetterQueue
) -> Origin:
    if source := system.get("DeadLetterQueueSourceArn"):
        return _of_queue(source, texts, dlq)
    if texts.get("RULE_ARN") and texts.get("TARGET_ARN"):
        return _of_rule(texts, dlq)
    if texts.get("FUNCTION") and texts.get("ERROR_CODE"):
        return _of_function(texts, dlq)
    context = content.get("requestContext")
    if isinstance(context, dict) and isinstance(context.get("functionArn"), str):
        return _of_invocation(body, context, content, dlq)
    if texts.get("RequestID") and texts.get("ErrorCode"):
        return _of_plain_invocation(texts, dlq)
    if dlq.fed_by("bus") and "detail-type" in content and "source" in content:
        return _of_bus(texts, content, dlq)
    return Origin(
        "unknown", texts.get("ERROR_CODE") or "Unknown", texts.get("ERROR_MESSAGE", ""), "", None,
        "nothing in it says who sent it here",
    )  # fmt: skip


def _of_queue(source: str, texts: Mapping[str, str], dlq: DeadLetterQueue) -> Origin:
    target = _target(source) if any(feed.arn == source for feed in dlq.fed_by("queue")) else None
    why_not = "" if target else f"{source} does not name this queue as its DLQ any more"
    return Origin(
        "sqs",
        texts.get("ERROR_CODE") or "MaxReceivesExceeded",
        texts.get("ERROR_MESSAGE") or "received too often; SQS records no reason",
        texts.get("FUNCTION") or source.rpartition(":")[2],
        target,
        why_not,
    )


def _of_rule(texts: Mapping[str, str], dlq: DeadLetterQueue) -> Origin:
    arn, rule = texts["TARGET_ARN"], texts["RULE_ARN"]
    same = [feed for feed in dlq.fed_by("rule") if feed.target == arn]
    feeds = [feed for feed in same if feed.arn == rule] or same
    target, why_not = _target(arn) if feeds else None, ""
    if not feeds:
        why_not = f"no rule with this DLQ sends to {arn} any more"
    elif target is None:
        why_not = f"{arn} is neither a queue, a function nor a bus"
    elif any(feed.input != feeds[0].input for feed in feeds):
        target, why_not = None, "targets of this rule change the event in different ways, and share this DLQ"
    change = feeds[0].input if feeds else {}
    code, message = texts.get("ERROR_CODE") or "Undelivered", texts.get("ERROR_MESSAGE", "")
    return Origin("rule", code, message, _name(arn), target, why_not, change=change, rule_arn=rule)


def _of_function(texts: Mapping[str, str], dlq: DeadLetterQueue) -> Origin:
    function, sources = texts["FUNCTION"], dlq.fed_by("queue")
    if len(sources) > 1:
        sources = [feed for feed in sources if _name(feed.arn) == function]
    target = _target(sources[0].arn) if len(sources) == 1 else None
    why_not = "" if target else "no queue, or more than one, has this DLQ and is this function's"
    return Origin("function", texts["ERROR_CODE"], texts.get("ERROR_MESSAGE", ""), function, target, why_not)


def _of_invocation(body: str, context: Mapping[str, Any], content: Mapping[str, Any], dlq: DeadLetterQueue) -> Origin:
    arn = context["functionArn"].removesuffix(":$LATEST")
    answer, told = content.get("responsePayload"), content.get("responseContext")
    answer, told = answer if isinstance(answer, dict) else {}, told if isinstance(told, dict) else {}
    code = answer.get("errorType") or told.get("functionError") or context.get("condition") or "Unknown"
    feeds = [feed for feed in dlq.fed_by("function") if arn == feed.arn or arn.startswith(f"{feed.arn}:")]
    target, why_not = _target(arn) if feeds else None, ""
    if not target:
        why_not = f"{arn} does not send its failures here any more"
    elif member(body, "requestPayload") is None:
        target, why_not = None, "the record holds no payload"
    request_id = context.get("requestId")
    return Origin(
        "invocation",
        str(code),
        str(answer.get("errorMessage") or context.get("condition") or ""),
        _name(feeds[0].arn if feeds else arn),
        target,
        why_not,
        request_id if isinstance(request_id, str) else None,
    )


def _of_plain_invocation(texts: Mapping[str, str], dlq: DeadLetterQueue) -> Origin:
    feeds = dlq.fed_by("function")
    target = _target(feeds[0].arn) if len(feeds) == 1 else None
    why_not = "" if target else "the message does not say which function it was for, and not one alone has this DLQ"
    handler = _name(feeds[0].arn) if target else ""
    message = texts.get("ErrorMessage", "")
    return Origin("invocation", texts["ErrorCode"], message, handler, target, why_not, texts["RequestID"])


def _of_bus(texts: Mapping[str, str], content: Mapping[str, Any], dlq: DeadLetterQueue) -> Origin:
    buses: list[Feed] = dlq.fed_by("bus")
    if len(buses) > 1:
        detail = content.get("detail")
        accepted_in = detail.get("accepted_region") if isinstance(detail, dict) else content.get("region")
        buses = [feed for feed in buses if feed.accepted_in and feed.accepted_in == accepted_in]
    target = _target(buses[0].arn) if len(buses) == 1 else None
    why_not = "" if target else "the message does not say which of the buses with this DLQ it was on"
    code, message = texts.get("ERROR_CODE") or "Undelivered", texts.get("ERROR_MESSAGE", "")
    return Origin("bus", code, message, _name(buses[0].arn) if target else "", target, why_not)


def _checked(found: Origin, body: str, attributes: Mapping[str, Any]) -> Origin:
    """The same, without the target where what it would get cannot be made."""
    why_not = ""
    if found.target is None:
        return found
    if found.change:
        try:
            transform(body, found.change, found.rule_arn)
        except NotRepeatableError as error:
            why_not = f"what the target would get cannot be repeated: {error}"
    if found.target.kind == "sqs":
        if found.target.arn.endswith(".fifo"):
            why_not = "the target is a FIFO queue, whose order a redrive would break"
        elif len(attributes.keys() - ADDED[found.kind]) >= MAX_ATTRIBUTES:
            why_not = f"it has {MAX_ATTRIBUTES} attributes of its own, and SQS takes no more to count redrives with"
    return found if not why_not else replace(found, target=None, why_not=why_not)


def _target(arn: str) -> Target | None:
    found = _ARN.fullmatch(arn)
    if found is None or (found[1] == "events" and not found[2].startswith("event-bus/")):
        return None
    return Target(_TARGETS[found[1]], arn)


def _name(arn: str) -> str:
    """What an operator calls it: of ``arn:aws:lambda:REGION:ACCOUNT:function:NAME:ALIAS`` the name."""
    parts = arn.split(":", 5)[-1].split(":")
    return (parts[1] if parts[0] == "function" and len(parts) > 1 else parts[-1]).rpartition("/")[2]

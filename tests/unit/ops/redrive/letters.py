"""Messages of dead-letter queues as SQS, EventBridge, Lambda and the processors leave them there."""

from __future__ import annotations

import json
from typing import Any

from ops.redrive.queues import DeadLetterQueue, Feed

ACCOUNT, REGION = "123456789012", "us-east-1"
SQS, LAMBDA, EVENTS = (f"arn:aws:{service}:{REGION}:{ACCOUNT}" for service in ("sqs", "lambda", "events"))
STORE = f"{SQS}:atoll-unit-store"
RULE = f"{EVENTS}:rule/atoll-unit/atoll-unit-store"
FUNCTION = f"{LAMBDA}:function:atoll-unit-query"
BUS, JOURNAL = f"{EVENTS}:event-bus/atoll-unit", f"{EVENTS}:event-bus/atoll-unit-journal"
KEY = "0f8fad5b-d9cb-569f-a165-70867728950e"
SENT_MS = 1_790_000_000_000
EVENT = {
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "order.created",
    "source": "atoll.events",
    "region": REGION,
    "detail": {
        "event_key": KEY,
        "accepted_region": REGION,
        "event": {"type": "com.shop.order.created", "data": {"total": 12, "card_token": "4111111111111111"}},
    },
}
BODY = json.dumps(EVENT)
RECORD = {
    "version": "1.0",
    "timestamp": "2026-11-14T18:16:05.568Z",
    "requestContext": {
        "requestId": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
        "functionArn": f"{FUNCTION}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    },
    "requestPayload": {"ORDER_IDS": [1, 2.50]},
    "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    "responsePayload": {"errorMessage": "Process exited", "errorType": "Runtime.ExitError"},
}


def dlq(*feeds: Feed, region: str = REGION, name: str = "atoll-unit-store-dlq") -> DeadLetterQueue:
    return DeadLetterQueue(region, name, f"https://sqs/{name}", f"arn:aws:sqs:{region}:{ACCOUNT}:{name}", 1, feeds)


def store_dlq(**change: Any) -> DeadLetterQueue:
    return dlq(Feed("rule", RULE, STORE, change), Feed("queue", STORE, STORE))


def message(body: str = BODY, attributes: dict[str, str] | None = None, **system: str) -> dict[str, Any]:
    named = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
    return {
        "MessageId": "m-1",
        "ReceiptHandle": "r-1",
        "Body": body,
        "MessageAttributes": named,
        "Attributes": {"SentTimestamp": str(SENT_MS), "ApproximateReceiveCount": "1", **system},
    }


def undelivered(body: str = BODY, target: str = STORE, rule: str = RULE, **more: str) -> dict[str, Any]:
    """What EventBridge leaves of an event that it could not deliver."""
    facts = {"RULE_ARN": rule, "TARGET_ARN": target, "ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "denied"}
    return message(body, facts | {"RETRY_ATTEMPTS": "0"} | more)


def given_up(body: str = BODY, **more: str) -> dict[str, Any]:
    """What a processor leaves of a message that it gave up on."""
    facts = {"ERROR_CODE": "AccessDeniedException", "ERROR_MESSAGE": "PutItem was refused", "EVENT_KEY": KEY}
    return message(body, facts | {"FUNCTION": "atoll-unit-store", "RECEIVE_COUNT": "5"} | more)

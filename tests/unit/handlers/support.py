"""What the tests of the handlers share: events as AWS sends them, and a region's resources with switches for faults."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ReadTimeoutError

from handlers.core import aws

REGION = "us-east-1"
TENANT = "acme"
ENVIRONMENT = {
    "ATOLL_STAGE": "test",
    "ATOLL_REGIONS": "us-east-1,ap-south-1",
    "ATOLL_BUS": "atoll-test",
    "ATOLL_TABLE": "atoll-test",
    "ATOLL_IDEMPOTENCY_TABLE": "atoll-test-idempotency",
    "ATOLL_IDEMPOTENCY_WINDOW_S": "3600",
    "ATOLL_IDEMPOTENCY_IN_PROGRESS_S": "30",
    "ATOLL_EVENT_RETENTION_DAYS": "30",
    "ATOLL_DLQ_URL": f"https://sqs.{REGION}.amazonaws.com/123456789012/atoll-test-store-dlq",
    "ATOLL_MAX_RECEIVE_COUNT": "3",
    "ATOLL_TRACE_RATE": "0.25",
    "ATOLL_OPERATIONS_BUCKET": "atoll-test-ops-123456789012-us-east-1",
    "ATOLL_RECORD": "api.atoll.test",
    "ATOLL_TOKEN_URL": "https://login.atoll.test/oauth2/token",
    "ATOLL_WRITE_SCOPE": "atoll/events:write",
    "ATOLL_READ_SCOPE": "atoll/events:read",
    "AWS_REGION": REGION,
    "POWERTOOLS_SERVICE_NAME": "unit",
    "POWERTOOLS_METRICS_NAMESPACE": "Atoll",
}
STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"


@dataclass
class Context:
    """Lambda's context, as far as the handlers look."""

    aws_request_id: str = "lambda-request-1"
    function_name: str = "atoll-test-store"
    remaining_ms: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


def cloudevent(**members: Any) -> dict[str, Any]:
    """A valid event in the JSON format; a member given as None is left out."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": "order-1",
        "source": "/shop",
        "type": "order.created",
        "time": "2026-11-20T10:15:30Z",
        "datacontenttype": "application/json",
        "data": {"total": 12.5},
    }
    event.update(members)
    return {name: value for name, value in event.items() if value is not None}


def request(
    route: str,
    body: bytes | str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    query: str = "",
    path: Mapping[str, str] | None = None,
    claims: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """An HTTP API event, payload format 2.0, of TENANT's token. Bytes travel as Base64, text as it is."""
    context: dict[str, Any] = {"requestId": "api-request-1", "http": {"method": route.split(maxsplit=1)[0]}}
    context["authorizer"] = {"jwt": {"claims": {"client_id": TENANT} if claims is None else dict(claims)}}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route,
        "rawQueryString": query,
        "headers": dict(headers or {}),
        "requestContext": context,
        "isBase64Encoded": isinstance(body, bytes),
    }
    if body is not None:
        event["body"] = base64.b64encode(body).decode() if isinstance(body, bytes) else body
    if path is not None:
        event["pathParameters"] = dict(path)
    return event


def post(value: Any, content_type: str = STRUCTURED, **options: Any) -> dict[str, Any]:
    """``POST /events`` with a JSON body."""
    headers = {"content-type": content_type, **options.pop("headers", {})}
    return request("POST /events", json.dumps(value), headers=headers, **options)


def body_of(answer: Mapping[str, Any]) -> Any:
    return json.loads(answer["body"])


def sqs_event(*bodies: str, received: int = 1) -> dict[str, Any]:
    """A queue's batch; message ids are m0, m1, ..."""
    return {"Records": [sqs_record(f"m{index}", body, received) for index, body in enumerate(bodies)]}


def sqs_record(message_id: str, body: str, received: int = 1) -> dict[str, Any]:
    return {
        "messageId": message_id,
        "receiptHandle": "handle",
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(received)},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:atoll-test-store",
        "awsRegion": REGION,
    }


def envelope(entry: Mapping[str, Any], **extra: Any) -> str:
    """What EventBridge makes of an entry: the body of a queue message."""
    return json.dumps(
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "source": entry["Source"],
            "detail-type": entry["DetailType"],
            "time": "2026-11-20T10:15:31Z",
            "detail": json.loads(entry["Detail"]),
            **extra,
        }
    )


class Cloud:
    """One region on moto: both tables, the bus, a DLQ; ``published`` is what PutEvents accepted."""

    def __init__(self) -> None:
        self.dynamodb = aws.dynamodb()
        self.events = aws.events()
        self.sqs = aws.sqs()
        self.published: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self._create()
        self.events.meta.events.register("provide-client-params.events.PutEvents", self._note)

    def _create(self) -> None:
        text = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "gsi_pk", "gsi_sk")]
        self.dynamodb.create_table(
            TableName=ENVIRONMENT["ATOLL_TABLE"],
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=text,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by_time",
                    "KeySchema": [
                        {"AttributeName": "gsi_pk", "KeyType": "HASH"},
                        {"AttributeName": "gsi_sk", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
        self.dynamodb.create_table(
            TableName=ENVIRONMENT["ATOLL_IDEMPOTENCY_TABLE"],
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
        self.events.create_event_bus(Name=ENVIRONMENT["ATOLL_BUS"])
        self.sqs.create_queue(QueueName=ENVIRONMENT["ATOLL_DLQ_URL"].rpartition("/")[2])

    def _note(self, params: dict[str, Any], **_: Any) -> None:
        self.calls.append(len(params["Entries"]))
        self.published.extend(dict(entry) for entry in params["Entries"])

    def fail(self, operation: str, *, times: int = 1_000_000, error: Exception | None = None) -> None:
        """Let the next calls of e.g. ``dynamodb.UpdateItem`` time out, or end in ``error``."""
        self.answer(operation, error or ReadTimeoutError(endpoint_url="https://aws.invalid"), times=times)

    def answer(self, operation: str, result: Exception | dict[str, Any], *, times: int = 1_000_000) -> None:
        """Answer the next calls with this instead of asking moto."""
        self._intercept(operation, repeat(result, times))

    def script(self, operation: str, results: list[dict[str, Any]]) -> None:
        """Answer the next calls with these, in order, instead of asking moto."""
        self._intercept(operation, iter(results))

    def _intercept(self, operation: str, results: Iterator[Exception | dict[str, Any]]) -> None:
        def intercept(**_: Any) -> Any:
            result = next(results, None)
            if isinstance(result, Exception):
                raise result
            return result and (SimpleNamespace(status_code=400 if "Error" in result else 200), result)

        client: Any = {"dynamodb": self.dynamodb, "events": self.events, "sqs": self.sqs}[operation.partition(".")[0]]
        client.meta.events.register_first(f"before-call.{operation}", intercept)

    def items(self, table: str = ENVIRONMENT["ATOLL_TABLE"]) -> list[dict[str, Any]]:
        return list(self.dynamodb.scan(TableName=table, ConsistentRead=True)["Items"])

    def dead_letters(self) -> list[tuple[str, dict[str, str]]]:
        """Body and attributes of each message on the DLQ, which is empty afterwards."""
        found: list[tuple[str, dict[str, str]]] = []
        while messages := self.sqs.receive_message(
            QueueUrl=ENVIRONMENT["ATOLL_DLQ_URL"], MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in messages:
                attributes = message.get("MessageAttributes", {})
                found.append((message["Body"], {name: value["StringValue"] for name, value in attributes.items()}))
                self.sqs.delete_message(QueueUrl=ENVIRONMENT["ATOLL_DLQ_URL"], ReceiptHandle=message["ReceiptHandle"])
        return found

    def clear(self) -> None:
        """Empty the table."""
        for item in self.items():
            self.dynamodb.delete_item(TableName=ENVIRONMENT["ATOLL_TABLE"], Key={"pk": item["pk"], "sk": item["sk"]})

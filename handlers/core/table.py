"""Event items of the global table. A put happens once for each key, so that any number of deliveries equal one.

An item that has expired is no item, whether time to live has deleted it yet or not.

The condition sees this region's replica only. A duplicate accepted by another region writes, under the same key, an
item that describes the same event; whichever of the two the global table keeps is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from handlers.core import retention, strictjson, timestamps
from handlers.core.delivery import Delivery

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from handlers.core.settings import Settings

    Item = dict[str, AttributeValueTypeDef]

TIME_INDEX = "by_time"
ANSWER_FIELDS = (
    "event_key",
    "tenant",
    "accepted_at",
    "accepted_region",
    "correlation_id",
    "written_region",
    "written_at",
)
_SORT_KEY = "EVENT"
_OPTIONAL = ("subject", "time")


class EventConflictError(Exception):
    """Another event is stored under the same key: someone reused a source and id for other content."""

    def __init__(self, event_key: str, stored_digest: str, delivered_digest: str) -> None:
        super().__init__(f"stored with payload digest {stored_digest}, delivered with {delivered_digest}")
        self.event_key = event_key


def item_key(event_key: str) -> Item:
    return {"pk": {"S": f"EVENT#{event_key}"}, "sk": {"S": _SORT_KEY}}


def event_item(delivery: Delivery, settings: Settings) -> Item:
    """The item of one event, as this region writes it now."""
    accepted_at = timestamps.format_ms(delivery.accepted_at)
    item: Item = {
        **item_key(delivery.event_key),
        "gsi_pk": {"S": f"{delivery.tenant}#{accepted_at[:10]}"},
        "gsi_sk": {"S": f"{accepted_at}#{delivery.event_key}"},
        "tenant": {"S": delivery.tenant},
        "event_key": {"S": delivery.event_key},
        "source": {"S": delivery.event["source"]},
        "id": {"S": delivery.event["id"]},
        "type": {"S": delivery.type},
        "accepted_at": {"S": accepted_at},
        "accepted_region": {"S": delivery.accepted_region},
        "correlation_id": {"S": delivery.correlation_id},
        "event": {"S": delivery.text},
        "payload_digest": {"S": delivery.payload_digest},
        "expires_at": {"N": str(retention.expiry_s(delivery.accepted_at, settings))},
        "version": {"N": "1"},
        "written_region": {"S": settings.region},
        "written_at": {"S": timestamps.format_ms(timestamps.now())},
    }
    if delivery.trace_id is not None:
        item["trace_id"] = {"S": delivery.trace_id}
    item.update({name: {"S": delivery.event[name]} for name in _OPTIONAL if isinstance(delivery.event.get(name), str)})
    return item


Stored = Literal["stored", "already stored", "accepted twice"]


def store(client: DynamoDBClient, delivery: Delivery, settings: Settings) -> Stored:
    """Put the event's item unless it is there: from another delivery, or because it was accepted elsewhere, too.

    Raises:
        EventConflictError: the item is there, with other content.
    """
    try:
        client.put_item(
            TableName=settings.table,
            Item=event_item(delivery, settings),
            ConditionExpression="attribute_not_exists(pk) OR expires_at <= :now",
            ExpressionAttributeValues={":now": {"N": str(retention.now_s())}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return "stored"
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        found: Any = error.response.get("Item") or read(client, settings.table, delivery.event_key, consistent=True)
        if not found:
            raise  # it expired between the refusal and the look at it: the next delivery writes it
    stored_digest = found["payload_digest"]["S"]
    if stored_digest != delivery.payload_digest:
        raise EventConflictError(delivery.event_key, stored_digest, delivery.payload_digest)
    accepted = (delivery.accepted_region, timestamps.format_ms(delivery.accepted_at))
    same = (found["accepted_region"]["S"], found["accepted_at"]["S"]) == accepted
    return "already stored" if same else "accepted twice"


def read(client: DynamoDBClient, table: str, event_key: str, *, consistent: bool) -> dict[str, Any] | None:
    """The event's item; None when there is none, or it has expired."""
    item = client.get_item(TableName=table, Key=item_key(event_key), ConsistentRead=consistent).get("Item")
    return item if item is not None and retention.lives(item, retention.now_s()) else None


def as_answer(item: dict[str, Any]) -> dict[str, Any]:
    """An event item as the API shows it."""
    return {
        **{name: item[name]["S"] for name in ANSWER_FIELDS},
        **({"trace_id": item["trace_id"]["S"]} if "trace_id" in item else {}),
        "version": int(item["version"]["N"]),
        "event": strictjson.loads(item["event"]["S"]),
    }

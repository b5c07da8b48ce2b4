"""An event's tracks as the platform leaves them, in moto's account: items, records of acceptance, counts and lines."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from ops.aws import Cloud
from ops.trace.logs import Line, groups
from ops.trace.state import digest

US, AP = "us-east-1", "ap-south-1"
KEY = "0f8fad5b-d9cb-569f-a165-70867728950e"
CORRELATION, TRACE = "c-1", "1-4bf92f35-77b34da6a3ce929d0e0e4736"
PAYLOAD = "5f" * 32
NOW = datetime.now(UTC).replace(microsecond=0)
AT = NOW - timedelta(minutes=10)


def text_of(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def tables(cloud: Cloud) -> None:
    """The global table's replicas and the records of accepted events, without provision."""
    for region in cloud.stage.regions:
        client: Any = cloud.client("dynamodb", region)
        for name, keys in ((cloud.stage.table_name, ("pk", "sk")), (cloud.stage.idempotency_table, ("id",))):
            client.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": k, "KeyType": t} for k, t in zip(keys, ("HASH", "RANGE"), strict=False)],
                AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in keys],
                BillingMode="PAY_PER_REQUEST",
            )


def item(cloud: Cloud, region: str, key: str = KEY, *, at: datetime = AT, written: str = US, **changes: Any) -> None:
    """The event in a region's replica."""
    texts = {
        "pk": f"EVENT#{key}",
        "sk": "EVENT",
        "event_key": key,
        "tenant": "acme",
        "accepted_at": text_of(at),
        "accepted_region": US,
        "correlation_id": CORRELATION,
        "trace_id": TRACE,
        "payload_digest": PAYLOAD,
        "written_region": written,
        "written_at": text_of(at + timedelta(milliseconds=200)),
    } | changes
    numbers = {"version": "1", "expires_at": str(int((at + timedelta(days=30)).timestamp()))}
    made: Any = {name: {"S": value} for name, value in texts.items()}
    made |= {name: {"N": str(texts.get(name, value))} for name, value in numbers.items()}
    cloud.client("dynamodb", region).put_item(TableName=cloud.stage.table_name, Item=made)


def counts(cloud: Cloud, region: str, key: str = KEY, *, kind: str = "order.created") -> None:
    """The event among the undated counts of a region."""
    made: Any = {
        "pk": {"S": f"ACTIVITY#acme#undated-{key[:2]}"},
        "sk": {"S": f"{kind}#{key[2:4]}#{key[0]}#{region}"},
        "seen": {"BS": [uuid.UUID(key).bytes]},
    }
    for replica in cloud.stage.regions:
        cloud.client("dynamodb", replica).put_item(TableName=cloud.stage.table_name, Item=made)


def record(cloud: Cloud, region: str, key: str = KEY, *, at: datetime = AT, payload: str = PAYLOAD) -> None:
    """The region's record of having accepted the event."""
    answer = {"event_key": key, "region": region, "accepted_at": text_of(at)}
    made: Any = {
        "id": {"S": f"ingest#{digest(key)}"},
        "status": {"S": "COMPLETED"},
        "data": {"S": json.dumps(answer)},
        "validation": {"S": digest(payload)},
        "expiration": {"N": str(int(at.timestamp()) + 86_400)},
    }
    cloud.client("dynamodb", region).put_item(TableName=cloud.stage.idempotency_table, Item=made)


def everywhere(cloud: Cloud, key: str = KEY) -> None:
    """An event to which everything happened that should."""
    for region in cloud.stage.regions:
        item(cloud, region, key)
    counts(cloud, US, key)
    record(cloud, US, key)


def fields(message: str, at: datetime = AT, **more: Any) -> dict[str, Any]:
    """The document of a line, as Powertools' Logger writes it."""
    stamp = f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d}+0000"
    ids = {"trace_id": TRACE, "correlation_id": CORRELATION, "function_request_id": "f-1"}
    return {"level": "INFO", "message": message, "timestamp": stamp, **ids, **more}


def line(component: str, message: str, region: str = US, at: datetime = AT, **more: Any) -> Line:
    """A line as :mod:`ops.trace.logs` reads it."""
    return Line(at, region, component, fields(message, at, **more))


def lines_of(key: str = KEY) -> list[Line]:
    """What the functions log of an event that is accepted, stored and counted."""
    after = timedelta(milliseconds=100)
    counted = {"accepted": 1, "duplicates": 0, "rejected": 0, "failed": 0, "problems": {}}
    return [
        line("ingest", "ingested", first_event_keys=[key], **counted),
        line("ingest", "answered", at=AT + after / 10, route="POST /events", status=202, elapsed_ms=10.0),
        line("store", "stored", at=AT + 2 * after, event_key=key, function_request_id="f-2"),
        line("activity", "counted", at=AT + 3 * after, event_key=key, function_request_id="f-3"),
    ]


def log(cloud: Cloud, *lines: Line) -> None:
    """Put lines into the logs; every group that there can be is there."""
    for region in cloud.stage.regions:
        client: Any = cloud.client("logs", region)
        for component, group in groups(cloud.stage).items():
            own = [one for one in lines if (one.region, one.component) == (region, component)]
            if not client.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
                client.create_log_group(logGroupName=group)
                client.create_log_stream(logGroupName=group, logStreamName="s")
            events = [{"timestamp": int(one.time.timestamp() * 1000), "message": json.dumps(one.fields)} for one in own]
            if events:
                client.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)

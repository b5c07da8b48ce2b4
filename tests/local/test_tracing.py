"""A trace id that a client sends is found again in the item, in every region, and in the logs of the functions."""

from __future__ import annotations

import json
import secrets
from typing import Any

import httpx

from tests.local.conftest import Atoll
from tests.local.platform import wait_until


def logged(atoll: Atoll, region: str, function: str, trace_id: str) -> list[dict[str, Any]]:
    """The lines of a function's log that bear the trace id."""
    pages = atoll.client("logs", region).get_paginator("filter_log_events")
    found = pages.paginate(logGroupName=f"/aws/lambda/{atoll.stage.function(function)}", filterPattern=f'"{trace_id}"')
    texts = [event["message"] for page in found for event in page["events"]]
    return [json.loads(text[text.index("{") :]) for text in texts if "{" in text]


def test_trace_of_the_client_is_in_every_replica_and_every_log_line(atoll: Atoll) -> None:
    digits = secrets.token_hex(16)
    trace_id = f"1-{digits[:8]}-{digits[8:]}"
    event = {"specversion": "1.0", "id": digits, "source": "/tests/trace", "type": "com.example.traced"}
    headers = {"content-type": "application/cloudevents+json", "traceparent": f"00-{digits}-00f067aa0ba902b7-01"}
    headers |= atoll.bearer()

    answer = httpx.post(f"{atoll.cloud['edge_url']}/events", headers=headers, content=json.dumps(event), timeout=30)

    assert answer.status_code == 202, answer.text
    accepted = answer.json()
    atoll.wait_until_quiet()
    key = {"pk": {"S": f"EVENT#{accepted['event_key']}"}, "sk": {"S": "EVENT"}}
    for region in atoll.stage.regions:
        item = atoll.client("dynamodb", region).get_item(TableName=atoll.stage.table_name, Key=key)["Item"]
        assert item["trace_id"] == {"S": trace_id}
    for function, message in (("ingest", "ingested"), ("store", "stored"), ("activity", "counted")):
        wait_until(
            lambda function=function: logged(atoll, accepted["region"], function, trace_id),  # type: ignore[misc]
            f"{function} has logged the trace",
            30,
        )
        lines = logged(atoll, accepted["region"], function, trace_id)
        assert message in {line["message"] for line in lines}
        assert {line["trace_id"] for line in lines} == {trace_id}

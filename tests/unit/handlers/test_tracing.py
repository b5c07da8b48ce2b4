"""Trace ids: where they come from, and that they go with the event into the log, the bus and the table."""

from __future__ import annotations

import json
import random
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import activity, ingest, query, status, store
from handlers.core import tracing
from tests.unit.handlers.support import BATCHED, Cloud, Context, body_of, cloudevent, envelope, post, request, sqs_event

LAMBDAS = "1-58406520-a006649127e371903a2de979"
CALLERS = "1-4bf92f35-77b34da6a3ce929d0e0e4736"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
FROM_LAMBDA = f"Root={LAMBDAS};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:0"


def lines(logs: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logs.getvalue().splitlines()]


# --- reading ------------------------------------------------------------------------------------------------------


def test_of_invocation_prefers_lambdas_own_trace() -> None:
    found = tracing.of_invocation(FROM_LAMBDA, {"traceparent": TRACEPARENT})
    assert found.id == LAMBDAS


def test_of_invocation_without_one_of_lambdas_takes_the_callers() -> None:
    assert tracing.of_invocation(None, {"traceparent": TRACEPARENT}).id == CALLERS
    assert tracing.of_invocation("", {"x-amzn-trace-id": f"Self=1-2-3;Root={CALLERS}"}).id == CALLERS
    both = {"traceparent": TRACEPARENT, "x-amzn-trace-id": f"Root={LAMBDAS}"}
    assert tracing.of_invocation(None, both).id == CALLERS  # API Gateway's comes with every request


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": "00-00000000000000000000000000000000-00f067aa0ba902b7-01"},
        {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"},
        {"traceparent": "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        {"traceparent": "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"},
        {"x-amzn-trace-id": "Root=1-2-3"},
        {"x-amzn-trace-id": 'Root=1-4bf92f35-77b34da6a3ce929d0e0e4736"}'},
        {"x-amzn-trace-id": ";;=;Root"},
    ],
)
def test_of_invocation_without_a_valid_id_makes_a_new_one(headers: dict[str, str]) -> None:
    first, second = (tracing.of_invocation(None, headers) for _ in range(2))
    assert tracing.is_trace_id(first.id)
    assert first.id != second.id


@given(st.text(max_size=80))
def test_of_header_of_any_text_gives_a_valid_id_or_nothing(text: str) -> None:
    found = tracing.of_header(text)
    assert found is None or tracing.is_trace_id(found.id)


# --- passing on ---------------------------------------------------------------------------------------------------


def test_header_keeps_what_lambda_decided_and_its_other_members() -> None:
    assert tracing.of_invocation(FROM_LAMBDA, {}).header(0) == FROM_LAMBDA


def test_header_of_the_callers_trace_ignores_the_callers_sampling() -> None:
    header = f"Root={CALLERS};Parent=00f067aa0ba902b7;Sampled=1"
    for headers in ({"traceparent": TRACEPARENT}, {"x-amzn-trace-id": header}):
        assert tracing.of_invocation(None, headers).header(0) == header.replace("Sampled=1", "Sampled=0")


def test_header_by_rate_samples_that_share_and_decides_alike_for_one_id() -> None:
    numbers = random.Random(7)
    traces = [tracing.Trace(f"1-00000000-{numbers.getrandbits(96):024x}", {"Parent": "a" * 16}) for _ in range(2000)]
    sampled = [trace.header(0.25).endswith("Sampled=1") for trace in traces]
    assert 0.21 < sum(sampled) / len(sampled) < 0.29
    assert sampled == [trace.header(0.25).endswith("Sampled=1") for trace in traces]
    assert all(trace.header(1).endswith("Sampled=1") for trace in traces)
    assert not any(trace.header(0).endswith("Sampled=1") for trace in traces)


def test_header_longer_than_put_events_takes_is_cut_to_what_matters() -> None:
    assert tracing.Trace(LAMBDAS, {"Lineage": "x" * 500}).header(1) == f"Root={LAMBDAS};Sampled=1"


# --- through the functions ----------------------------------------------------------------------------------------


def test_ingest_puts_the_trace_into_the_entry_its_header_and_every_log_line(cloud: Cloud, logs: StringIO) -> None:
    answer = ingest.handler(post([cloudevent(), {}], BATCHED, headers={"Traceparent": TRACEPARENT}), Context())
    assert answer["statusCode"] == 200
    (entry,) = cloud.published
    assert json.loads(entry["Detail"])["trace_id"] == CALLERS
    assert entry["TraceHeader"].startswith(f"Root={CALLERS};Parent=00f067aa0ba902b7;Sampled=")
    assert [line["trace_id"] for line in lines(logs)] == [CALLERS, CALLERS]
    assert not any("caller_trace_id" in line for line in lines(logs))


def test_ingest_in_a_traced_function_logs_the_callers_trace_beside_its_own(
    cloud: Cloud, logs: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", FROM_LAMBDA)
    ingest.handler(post(cloudevent(), headers={"traceparent": TRACEPARENT}), Context())
    (entry,) = cloud.published
    assert entry["TraceHeader"] == FROM_LAMBDA
    assert {(line["trace_id"], line["caller_trace_id"]) for line in lines(logs)} == {(LAMBDAS, CALLERS)}


def test_next_invocation_does_not_log_under_the_last_ones_trace(cloud: Cloud, logs: StringIO) -> None:
    query.handler(request("GET /events", headers={"traceparent": TRACEPARENT}), Context())
    status.handler(request("GET /status"), Context())
    first, second = (line["trace_id"] for line in lines(logs))
    assert first == CALLERS
    assert tracing.is_trace_id(second)
    assert second != CALLERS


def accepted(cloud: Cloud, event_id: str, digit: str) -> str:
    """The queue message of an event that ingest accepted under a trace of its own."""
    traceparent = f"00-{digit * 32}-00f067aa0ba902b7-01"
    ingest.handler(post(cloudevent(id=event_id), headers={"traceparent": traceparent}), Context())
    return envelope(cloud.published[-1])


def test_processors_log_each_message_under_the_trace_that_brought_it(cloud: Cloud, logs: StringIO) -> None:
    bodies = [accepted(cloud, "a", "a"), accepted(cloud, "b", "b")]
    for function, message in ((store.handler, "stored"), (activity.handler, "counted")):
        logs.truncate(0)
        logs.seek(0)
        function(sqs_event(*bodies), Context())
        ids = [line["trace_id"] for line in lines(logs) if line["message"] == message]
        assert sorted(ids) == [f"1-{d * 8}-{d * 24}" for d in "ab"]


def test_processors_log_a_refused_message_under_the_trace_of_its_header(cloud: Cloud, logs: StringIO) -> None:
    event = sqs_event("{")
    event["Records"][0]["attributes"]["AWSTraceHeader"] = f"Root={CALLERS};Sampled=1"
    for function in (store.handler, activity.handler):
        function(event, Context())
    assert [line["trace_id"] for line in lines(logs) if line["message"] == "message refused"] == [CALLERS, CALLERS]


def test_activity_logs_a_failed_message_under_the_trace_that_brought_it(cloud: Cloud, logs: StringIO) -> None:
    body = accepted(cloud, "a", "a")
    cloud.fail("dynamodb.UpdateItem")
    activity.handler(sqs_event(body), Context())
    assert [line["trace_id"] for line in lines(logs) if line["message"] == "message failed"] == [
        f"1-{'a' * 8}-{'a' * 24}"
    ]


def test_store_keeps_the_first_trace_and_the_read_api_shows_it(cloud: Cloud) -> None:
    body = accepted(cloud, "a", "a")
    store.handler(sqs_event(body), Context())
    (before,) = cloud.items()
    assert before["trace_id"] == {"S": f"1-{'a' * 8}-{'a' * 24}"}

    # Accepted a second time, elsewhere, under another trace: the same event, and no conflict.
    again = json.loads(body)
    again["detail"]["trace_id"] = CALLERS
    assert store.handler(sqs_event(json.dumps(again)), Context()) == {"batchItemFailures": []}

    assert cloud.items() == [before]
    path = {"event_key": before["event_key"]["S"]}
    shown = body_of(query.handler(request("GET /events/{event_key}", path=path), Context()))
    assert shown["trace_id"] == before["trace_id"]["S"]


@pytest.mark.parametrize("trace_id", [None, 7, "1-2-3"])
def test_store_of_an_event_without_a_valid_trace_keeps_it_without_one(cloud: Cloud, trace_id: Any) -> None:
    message = json.loads(accepted(cloud, "a", "a"))
    del message["detail"]["trace_id"]
    if trace_id is not None:
        message["detail"]["trace_id"] = trace_id
    assert store.handler(sqs_event(json.dumps(message)), Context()) == {"batchItemFailures": []}
    (item,) = cloud.items()
    assert "trace_id" not in item
    shown = body_of(
        query.handler(request("GET /events/{event_key}", path={"event_key": item["event_key"]["S"]}), Context())
    )
    assert "trace_id" not in shown

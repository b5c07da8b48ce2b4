from __future__ import annotations

import base64
import json
from functools import partial
from io import StringIO
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from cloudevents.core.bindings import http as sdk
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from handlers import ingest
from handlers.core import acceptance, batch
from handlers.core.bus import Bus
from handlers.core.identity import event_key
from tests.unit.handlers.support import (
    BATCHED,
    ENVIRONMENT,
    STRUCTURED,
    Cloud,
    Context,
    body_of,
    cloudevent,
    post,
    request,
)

LEDGER = ENVIRONMENT["ATOLL_IDEMPOTENCY_TABLE"]
KEY = event_key("acme", "/shop", "order-1")


def send(event: dict[str, Any], context: Context | None = None) -> dict[str, Any]:
    return ingest.handler(event, context or Context())


def send_one(**members: Any) -> dict[str, Any]:
    return send(post(cloudevent(**members)))


def send_batch(*events: Any, **options: Any) -> dict[str, Any]:
    return send(post(list(events), BATCHED, **options))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "Bus", partial(Bus, sleep=lambda _: None))


def metrics_in(output: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    (emf,) = [line for line in lines if "_aws" in line]
    return emf


# --- one event ----------------------------------------------------------------------------------------------------


def test_ingest_when_an_event_is_valid_answers_202_after_it_is_published(cloud: Cloud) -> None:
    answer = send_one()
    body = body_of(answer)
    assert answer["statusCode"] == 202
    assert list(body) == ["event_key", "source", "id", "region", "accepted_at"]
    assert (body["event_key"], body["source"], body["id"], body["region"]) == (KEY, "/shop", "order-1", "us-east-1")
    assert answer["headers"]["x-correlation-id"] == "api-request-1"
    assert "idempotent-replayed" not in answer["headers"]
    (entry,) = cloud.published
    detail = json.loads(entry["Detail"])
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == (
        "atoll.events",
        "order.created",
        "atoll-test",
    )
    assert body["accepted_at"].startswith(entry["Time"].isoformat(timespec="milliseconds")[:23])
    assert detail == {
        "event_key": KEY,
        "tenant": "acme",
        "correlation_id": "api-request-1",
        "trace_id": detail["trace_id"],
        "accepted_at": body["accepted_at"],
        "accepted_region": "us-east-1",
        "event": cloudevent(),
    }


def test_ingest_when_the_same_event_comes_again_gives_the_same_answer_and_publishes_nothing(cloud: Cloud) -> None:
    first = send_one()
    again = send_one()
    assert (again["statusCode"], again["body"]) == (202, first["body"])
    assert again["headers"]["idempotent-replayed"] == "true"
    assert len(cloud.published) == 1


def test_ingest_when_the_key_comes_with_another_payload_answers_422(cloud: Cloud) -> None:
    send_one()
    answer = send_one(data={"total": 13})
    assert answer["statusCode"] == 422
    assert answer["headers"]["content-type"] == "application/problem+json"
    assert body_of(answer)["type"] == "/problems/payload-mismatch"
    assert len(cloud.published) == 1


def test_ingest_when_the_same_event_is_in_progress_answers_409_with_retry_after(cloud: Cloud) -> None:
    cloud.fail("dynamodb.UpdateItem", times=1)  # the first request dies, as it were, before it completes
    send_one()
    answer = send_one()
    assert answer["statusCode"] == 409
    assert answer["headers"]["retry-after"] == "1"


def test_ingest_when_an_in_progress_claim_has_expired_publishes_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.fail("dynamodb.UpdateItem", times=1)
    send_one()
    cloud.dynamodb.update_item(
        TableName=LEDGER,
        Key={"id": cloud.items(LEDGER)[0]["id"]},
        UpdateExpression="SET in_progress_expiration = :past",
        ExpressionAttributeValues={":past": {"N": "1"}},
    )
    assert send_one()["statusCode"] == 202
    assert len(cloud.published) == 2


def test_ingest_when_the_record_fails_after_publishing_still_answers_202(cloud: Cloud, logs: StringIO) -> None:
    cloud.fail("dynamodb.UpdateItem")
    answer = send_one()
    assert answer["statusCode"] == 202
    assert len(cloud.published) == 1
    assert "accepted, but the answer was not recorded" in logs.getvalue()


def test_ingest_when_the_bus_refuses_answers_503_and_a_retry_is_accepted(cloud: Cloud) -> None:
    refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow"}]}
    cloud.answer("events.PutEvents", refused, times=5)
    answer = send_one()
    assert (answer["statusCode"], body_of(answer)["type"]) == (503, "/problems/not-published")
    assert int(answer["headers"]["retry-after"]) > 0
    assert cloud.items(LEDGER) == []
    assert send_one()["statusCode"] == 202


def test_ingest_when_the_release_fails_too_answers_503_all_the_same(cloud: Cloud) -> None:
    cloud.fail("events.PutEvents")
    cloud.fail("dynamodb.DeleteItem")
    assert send_one()["statusCode"] == 503


def test_ingest_when_the_ledger_does_not_answer_is_503_and_publishes_nothing(cloud: Cloud) -> None:
    cloud.fail("dynamodb.PutItem")
    answer = send_one()
    assert (answer["statusCode"], body_of(answer)["type"]) == (503, "/problems/unavailable")
    assert cloud.published == []


def test_ingest_when_the_refused_claim_carries_no_item_reads_it_strongly(cloud: Cloud) -> None:
    first = send_one()
    refusal = {"Error": {"Code": "ConditionalCheckFailedException", "Message": "no"}, "ResponseMetadata": {}}
    cloud.answer("dynamodb.PutItem", refusal)
    reads: list[Any] = []
    cloud.dynamodb.meta.events.register(
        "provide-client-params.dynamodb.GetItem", lambda params, **_: reads.append(params)
    )
    assert send_one()["body"] == first["body"]
    assert [read["ConsistentRead"] for read in reads] == [True]


def test_ingest_when_records_come_and_go_meanwhile_gives_up_as_in_progress(cloud: Cloud) -> None:
    refusal = {"Error": {"Code": "ConditionalCheckFailedException", "Message": "no"}, "ResponseMetadata": {}}
    cloud.answer("dynamodb.PutItem", refusal)
    assert send_one()["statusCode"] == 409


def test_ingest_of_the_same_source_and_id_by_two_tenants_accepts_both(cloud: Cloud) -> None:
    acme = body_of(send(post(cloudevent(), claims={"client_id": "acme"})))
    other = body_of(send(post(cloudevent(data=1), claims={"sub": "other"})))
    assert acme["event_key"] != other["event_key"]
    assert [json.loads(entry["Detail"])["tenant"] for entry in cloud.published] == ["acme", "other"]


def test_ingest_when_a_token_names_no_tenant_answers_403(cloud: Cloud) -> None:
    assert send(post(cloudevent(), claims={"scope": "x"}))["statusCode"] == 403
    assert cloud.published == []


def test_ingest_when_the_route_has_no_authorizer_accepts_nothing(cloud: Cloud) -> None:
    event = post(cloudevent())
    del event["requestContext"]["authorizer"]
    answer = send(event)
    assert (answer["statusCode"], body_of(answer)["type"]) == (500, "/problems/internal-error")
    assert cloud.published == []


@pytest.mark.parametrize("time", [None, "2001-01-01T00:00:00Z"])
def test_ingest_whatever_time_the_event_bears_publishes_with_the_accepted_time(cloud: Cloud, time: str | None) -> None:
    body = body_of(send_one(time=time))
    moment = cloud.published[0]["Time"]
    assert body["accepted_at"].startswith(moment.isoformat(timespec="milliseconds")[:23])


# --- modes and refusals -------------------------------------------------------------------------------------------


def test_ingest_of_one_event_in_every_mode_is_one_event(cloud: Cloud) -> None:
    event = SdkEvent(
        attributes={"id": "1", "source": "/sdk", "type": "t", "datacontenttype": "application/json"}, data={"n": 1}
    )
    statuses = []
    for message in (sdk.to_structured_event(event), sdk.to_binary_event(event)):
        for body in (message.body, message.body.decode()):  # the gateway sends text as it is and the rest in Base64
            answer = send(request("POST /events", body, headers=dict(message.headers)))
            statuses.append((answer["statusCode"], answer["headers"].get("idempotent-replayed")))
    batch_body = f"[{sdk.to_structured_event(event).body.decode()}]"
    answer = send(request("POST /events", batch_body, headers={"Content-Type": BATCHED}))
    assert statuses == [(202, None), (202, "true"), (202, "true"), (202, "true")]
    assert body_of(answer)["results"][0]["duplicate"] is True
    assert len(cloud.published) == 1


@pytest.mark.parametrize(
    ("event", "status", "kind"),
    [
        (request("POST /events", "{", headers={"content-type": STRUCTURED}), 400, "malformed-body"),
        (request("POST /events", None, headers={"content-type": STRUCTURED}), 400, "malformed-body"),
        (request("POST /events", "{}", headers={"content-type": "application/json"}), 415, "unsupported-content-type"),
        (request("POST /events", "{}"), 415, "unsupported-content-type"),
        (post({}), 400, "invalid-attribute"),
        (post(cloudevent(time="noon")), 400, "invalid-attribute"),
        (post(cloudevent(data="x" * 300_000)), 413, "event-too-large"),
    ],
)
def test_ingest_when_the_request_is_not_valid_says_so_and_publishes_nothing(
    cloud: Cloud, event: dict[str, Any], status: int, kind: str
) -> None:
    answer = send(event)
    body = body_of(answer)
    assert (answer["statusCode"], body["status"], body["type"]) == (status, status, f"/problems/{kind}")
    assert answer["headers"]["content-type"] == "application/problem+json"
    assert body["correlation_id"] == answer["headers"]["x-correlation-id"]
    assert cloud.published == []


def test_ingest_when_the_gateways_base64_is_broken_answers_400(cloud: Cloud) -> None:
    event = {**post(cloudevent()), "isBase64Encoded": True, "body": "\u00e9***"}
    assert send(event)["statusCode"] == 400


def test_ingest_of_arbitrary_bytes_never_answers_5xx(cloud: Cloud) -> None:
    prefix = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","x":'
    bodies = st.binary(max_size=80) | st.binary(max_size=30).map(lambda tail: prefix + tail) | st.text(max_size=40)
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    )
    members = st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("specversion", "id", "source", "type", "time", "data", "�"), json_values)
    )
    documents = (members | st.lists(members, max_size=3)).map(json.dumps)
    headers = st.fixed_dictionaries(
        {
            "content-type": st.sampled_from([STRUCTURED, BATCHED, "application/json", f"{STRUCTURED};charset="])
            | st.text()
        },
        optional={name: st.text() for name in ("ce-id", "ce-source", "ce-type", "ce-time", "ce-", "x-correlation-id")}
        | {"ce-specversion": st.just("1.0") | st.text()},
    )

    @given(headers, bodies | documents)
    @hypothesis_settings(max_examples=150)
    def check(given_headers: dict[str, str], body: bytes | str) -> None:
        answer = send(request("POST /events", body, headers=given_headers))
        assert 200 <= answer["statusCode"] < 500
        json.dumps(answer).encode()
        answer["body"].encode()

    check()


# --- batches ------------------------------------------------------------------------------------------------------


def test_ingest_of_a_batch_packs_it_and_answers_event_by_event(cloud: Cloud) -> None:
    answer = send_batch(*(cloudevent(id=str(n)) for n in range(23)))
    body = body_of(answer)
    assert (answer["statusCode"], body["accepted"], body["rejected"], body["region"]) == (202, 23, 0, "us-east-1")
    assert [(result["index"], result["id"]) for result in body["results"]] == [(n, str(n)) for n in range(23)]
    assert {result["duplicate"] for result in body["results"]} == {False}
    assert sorted(cloud.calls) == [3, 10, 10]


def test_ingest_of_an_empty_batch_answers_202_with_nothing_accepted(cloud: Cloud) -> None:
    answer = send_batch()
    assert answer["statusCode"] == 202
    assert body_of(answer) == {"region": "us-east-1", "accepted": 0, "rejected": 0, "results": []}


def test_ingest_of_a_batch_with_one_bad_event_loses_nothing_valid(cloud: Cloud) -> None:
    answer = send_batch(cloudevent(id="a"), cloudevent(id=None), cloudevent(id="b"))
    body = body_of(answer)
    assert (answer["statusCode"], body["accepted"], body["rejected"]) == (200, 2, 1)
    assert [result["status"] for result in body["results"]] == [202, 400, 202]
    assert body["results"][1]["problem"]["field"] == "id"
    assert sorted(json.loads(entry["Detail"])["event"]["id"] for entry in cloud.published) == ["a", "b"]


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([cloudevent(id=None), 7], 400),
        ([cloudevent(data="x" * 300_000)], 413),
        ([cloudevent(data="x" * 300_000), cloudevent(id=None)], 400),
    ],
)
def test_ingest_of_a_batch_with_no_valid_event_answers_the_shared_status_else_400(
    cloud: Cloud, events: list[Any], status: int
) -> None:
    assert send_batch(*events)["statusCode"] == status


def test_ingest_of_a_batch_that_repeats_an_event_publishes_it_once(cloud: Cloud) -> None:
    answer = send_batch(cloudevent(), cloudevent(id="other"), cloudevent())
    first, _, again = body_of(answer)["results"]
    assert answer["statusCode"] == 202
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert first["accepted_at"] == again["accepted_at"]
    assert len(cloud.published) == 2


def test_ingest_of_a_batch_that_reuses_a_key_for_another_payload_refuses_the_later_one(cloud: Cloud) -> None:
    answer = send_batch(cloudevent(data=1), cloudevent(data=2), cloudevent(data=1))
    assert [result["status"] for result in body_of(answer)["results"]] == [202, 422, 202]
    assert [json.loads(entry["Detail"])["event"]["data"] for entry in cloud.published] == [1]


def test_ingest_of_a_batch_whose_later_payload_was_accepted_before_lets_the_ledger_decide(cloud: Cloud) -> None:
    send_one(data=1)
    answer = send_batch(cloudevent(data=2), cloudevent(data=1))
    first, second = body_of(answer)["results"]
    assert (first["status"], second["status"], second["duplicate"]) == (422, 202, True)


def test_ingest_of_a_batch_when_the_bus_takes_only_some_reports_each(cloud: Cloud) -> None:
    some = {"FailedEntryCount": 1, "Entries": [{"EventId": "1"}, {"ErrorCode": "InternalFailure"}]}
    none = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
    cloud.script("events.PutEvents", [some, *[none] * 4])
    answer = send_batch(cloudevent(id="a"), cloudevent(id="b"))
    assert answer["statusCode"] == 200
    assert [result["status"] for result in body_of(answer)["results"]] == [202, 503]
    assert answer["headers"]["retry-after"]
    retried = send_batch(cloudevent(id="a"), cloudevent(id="b"))
    assert [result["duplicate"] for result in body_of(retried)["results"]] == [True, False]


def test_ingest_of_a_batch_when_time_runs_out_reports_the_rest_and_loses_nothing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "CHUNK", 2)
    left = iter([30_000, *[20_000] * 4, *[1_000] * 100])
    context = Context()
    monkeypatch.setattr(context, "get_remaining_time_in_millis", lambda: next(left))
    answer = send(post([cloudevent(id=str(n)) for n in range(6)], BATCHED), context)
    results = body_of(answer)["results"]
    assert answer["statusCode"] == 200
    assert {result["status"] for result in results} == {202, 503}
    assert {result["problem"]["type"] for result in results if result["status"] == 503} == {"/problems/out-of-time"}
    again = send_batch(*(cloudevent(id=str(n)) for n in range(6)))
    assert again["statusCode"] == 202
    assert len(cloud.published) == 6


def test_ingest_of_a_batch_whose_answer_would_not_fit_refuses_it_whole(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MAX_ANSWER_BYTES", 2000)
    answer = send_batch(*(cloudevent(id=str(n)) for n in range(8)))
    assert (answer["statusCode"], body_of(answer)["type"]) == (413, "/problems/batch-too-large")
    assert "at most 3" in body_of(answer)["detail"]
    assert cloud.published == []


@pytest.mark.parametrize("event_id", ["x", "\u20ac" * 256, '"' * 256, "\\" * 256])
def test_answer_size_of_any_event_is_never_underestimated(event_id: str, cloud: Cloud) -> None:
    events = [cloudevent(id=event_id), cloudevent(id="i" * 300), {"id": "\u20ac" * 5000}]
    answer = send_batch(*events)
    received = ingest.binding.receive({"content-type": BATCHED}, json.dumps(events).encode())
    assert sum(map(batch._answer_bytes, received.items)) > len(json.dumps(answer["body"]))


# --- what is seen from outside ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_id", "kept"), [("trace-7", True), ("x" * 129, False), ("a b", False), ("\u00e9", False)]
)
def test_correlation_id_when_valid_is_kept_else_the_requests_own(cloud: Cloud, given_id: str, kept: bool) -> None:
    answer = send(post(cloudevent(), headers={"X-Correlation-Id": given_id}))
    expected = given_id if kept else "api-request-1"
    assert answer["headers"]["x-correlation-id"] == expected
    assert json.loads(cloud.published[0]["Detail"])["correlation_id"] == expected


@pytest.mark.parametrize(("given_id", "logged"), [("trace-7", "api-request-1"), ("", None)])
def test_log_has_the_apis_own_id_where_the_caller_brought_another(
    cloud: Cloud, logs: StringIO, given_id: str, logged: str | None
) -> None:
    send(post(cloudevent(), headers={"x-correlation-id": given_id}))
    (answered,) = [one for one in map(json.loads, logs.getvalue().splitlines()) if one["message"] == "answered"]
    assert answered.get("api_request_id") == logged


def test_logs_of_accepted_and_refused_events_carry_the_correlation_id_and_no_data(
    cloud: Cloud, logs: StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "attack-at-dawn"
    send(post(cloudevent(data={"plan": secret}, subject=secret), headers={"x-correlation-id": "c-1"}))
    send(post(cloudevent(data={"plan": secret, "n": 1}), headers={"x-correlation-id": "c-1"}))
    send(post([cloudevent(id=None, data=secret)], BATCHED, headers={"x-correlation-id": "c-1"}))
    lines = [json.loads(line) for line in logs.getvalue().splitlines()]
    assert len(lines) == 6
    assert {line["correlation_id"] for line in lines} == {"c-1"}
    assert secret not in logs.getvalue() + capsys.readouterr().out


def test_metrics_of_a_batch_count_each_kind_with_stage_and_service(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    send_batch(cloudevent(id="a"), cloudevent(id="a"), cloudevent(id="b"), cloudevent(id=None))
    emf = metrics_in(capsys.readouterr().out)
    directive = emf["_aws"]["CloudWatchMetrics"][0]
    assert directive["Namespace"] == "Atoll"
    assert [sorted(names) for names in directive["Dimensions"]] == [["service", "stage"]]
    assert (emf["stage"], emf["service"]) == ("test", "unit")
    counts = {name: emf[name] for name in ("EventsAccepted", "EventsDuplicate", "EventsRejected")}
    assert counts == {"EventsAccepted": [2.0], "EventsDuplicate": [1.0], "EventsRejected": [1.0]}
    assert "IngestLatency" in emf


def test_ingest_when_something_unforeseen_happens_answers_500_without_its_message(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, logs: StringIO
) -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("quoting attack-at-dawn")

    monkeypatch.setattr("handlers.core.binding.receive", explode)
    answer = send_one()
    output = logs.getvalue()
    assert (answer["statusCode"], body_of(answer)["type"]) == (500, "/problems/internal-error")
    assert "RuntimeError" in output
    assert "attack-at-dawn" not in output + answer["body"]


def test_ingest_when_a_call_times_out_unforeseen_answers_503(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("wrapped") from ReadTimeoutError(endpoint_url="x")

    monkeypatch.setattr("handlers.core.binding.receive", explode)
    assert send_one()["statusCode"] == 503


def test_body_when_base64_is_decoded(cloud: Cloud) -> None:
    encoded = base64.b64encode(json.dumps(cloudevent()).encode()).decode()
    event = {**post(cloudevent()), "body": encoded, "isBase64Encoded": True}
    assert send(event)["statusCode"] == 202

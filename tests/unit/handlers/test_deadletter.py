"""Each message of a batch ends in exactly one place: processed, retried, or on the DLQ with its reason."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from handlers import activity as activity_function
from handlers import store
from handlers.core import deadletter
from handlers.core.delivery import MalformedDeliveryError
from handlers.core.identity import event_key
from tests.unit.handlers.support import TENANT, Cloud, Context, cloudevent, envelope, sqs_event, sqs_record
from tests.unit.handlers.test_processors import accepted, metrics_of

HANDLERS = [store.handler, activity_function.handler]
KEY = event_key(TENANT, "/shop", "order-1")
THROTTLED = {
    "Error": {"Code": "ThrottlingException", "Message": "quoting secret-1"},
    "ResponseMetadata": {"HTTPStatusCode": 400},
}


def failures(report: dict[str, Any]) -> list[str]:
    return [failure["itemIdentifier"] for failure in report["batchItemFailures"]]


def broken(name: str) -> str:
    """A message whose event lost its type; its key and its correlation id are still known."""
    return envelope(accepted(cloudevent(id=name), event=cloudevent(type=None, data="secret-2")))


@pytest.mark.parametrize("handler", HANDLERS)
def test_poisoned_message_goes_to_the_dlq_unchanged_with_its_reason(
    cloud: Cloud, handler: Any, capsys: pytest.CaptureFixture[str], logs: StringIO
) -> None:
    body = broken("order-1")
    assert failures(handler(sqs_event(body, received=1), Context(function_name="atoll-test-x"))) == []
    ((moved, reason),) = cloud.dead_letters()
    assert moved == body
    assert reason == {
        "ERROR_CODE": "MalformedDeliveryError",
        "ERROR_MESSAGE": "detail.event.type: missing or not a string",
        "FUNCTION": "atoll-test-x",
        "EVENT_KEY": KEY,
        "CORRELATION_ID": "c-1",
        "RECEIVE_COUNT": "1",
    }
    assert metrics_of(capsys.readouterr().out)["EventsDeadLettered"] == [1.0]
    assert "secret-2" not in logs.getvalue()


def test_message_of_which_nothing_is_known_carries_only_what_is(cloud: Cloud) -> None:
    store.handler(sqs_event("{"), Context())
    ((_, reason),) = cloud.dead_letters()
    assert set(reason) == {"ERROR_CODE", "ERROR_MESSAGE", "FUNCTION", "RECEIVE_COUNT"}


@pytest.mark.parametrize(
    ("carried", "counted"), [("1", "1"), ("12", "12"), ("-1", None), ("x", None), ("٣", None), (None, None)]
)
def test_message_that_was_redriven_and_fails_again_says_how_often(
    cloud: Cloud, carried: str | None, counted: str | None
) -> None:
    event = sqs_event("{")
    event["Records"][0]["messageAttributes"] = (
        {} if carried is None else {"REDRIVES": {"stringValue": carried, "dataType": "Number"}}
    )
    store.handler(event, Context())
    ((_, reason),) = cloud.dead_letters()
    assert reason.get("REDRIVES") == counted


@pytest.mark.parametrize(("handler", "operation"), [(HANDLERS[0], "PutItem"), (HANDLERS[1], "UpdateItem")])
def test_passing_failure_is_retried_until_the_last_receive_and_then_moved_with_its_reason(
    cloud: Cloud, handler: Any, operation: str
) -> None:
    cloud.answer(f"dynamodb.{operation}", THROTTLED)
    body = envelope(accepted(cloudevent()))
    for received in (1, 2):
        assert failures(handler(sqs_event(body, received=received), Context())) == ["m0"]
    assert cloud.dead_letters() == []
    assert failures(handler(sqs_event(body, received=3), Context())) == []
    ((moved, reason),) = cloud.dead_letters()
    assert moved == body
    assert (reason["ERROR_CODE"], reason["RECEIVE_COUNT"]) == ("ThrottlingException", "3")
    assert reason["ERROR_MESSAGE"] == f"{operation} was refused"


def test_message_that_cannot_be_moved_stays_in_its_queue(cloud: Cloud, logs: StringIO) -> None:
    cloud.fail("sqs.SendMessage", times=1)
    other = broken("b")
    assert failures(store.handler(sqs_event("{", other), Context())) == ["m0"]
    assert [body for body, _ in cloud.dead_letters()] == [other]
    assert "message not moved to the DLQ" in logs.getvalue()


def test_message_is_not_moved_when_the_time_is_nearly_up(cloud: Cloud) -> None:
    calls: list[Any] = []
    cloud.sqs.meta.events.register("before-call.sqs.SendMessage", lambda **_: calls.append(1))
    assert failures(store.handler(sqs_event("{"), Context(remaining_ms=6_999))) == ["m0"]
    assert calls == []


def test_reason_never_holds_event_data_and_is_bounded() -> None:
    refused = ClientError({"Error": {"Code": "ValidationException", "Message": "secret-3"}}, "PutItem")
    try:
        raise RuntimeError("secret-4")
    except RuntimeError as error:
        unexpected = deadletter.reason(error)
    assert deadletter.reason(refused) == ("ValidationException", "PutItem was refused")
    timeout = deadletter.reason(ReadTimeoutError(endpoint_url="https://x"))
    assert timeout == ("ReadTimeoutError", "AWS did not answer")
    assert unexpected[0] == "RuntimeError"
    assert unexpected[1].startswith("unexpected, in test_deadletter.py:")
    long = deadletter.reason(MalformedDeliveryError("x\n" * 1000))[1]
    assert len(long) == deadletter.MAX_REASON
    assert long.isprintable()


KINDS = ("good", "poisoned", "refused", "again")


@pytest.mark.parametrize("handler", HANDLERS)
def test_each_message_of_any_batch_ends_in_exactly_one_place(cloud: Cloud, handler: Any) -> None:
    @given(
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=10),
        counts=st.lists(st.integers(1, 4), min_size=10, max_size=10),
        movable=st.booleans(),
    )
    @hypothesis_settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def check(kinds: list[str], counts: list[int], movable: bool) -> None:
        cloud.clear()
        cloud.dead_letters()
        writes = ("provide-client-params.dynamodb.PutItem", "provide-client-params.dynamodb.UpdateItem")

        def refuse(params: dict[str, Any], **_: Any) -> None:
            if "refused.x" in json.dumps(params.get("Item") or params["Key"]):
                raise ClientError(THROTTLED, "Write")

        for name in writes:
            cloud.dynamodb.meta.events.register(name, refuse, unique_id=f"refuse-{name}")
        blocked = None if movable else ReadTimeoutError(endpoint_url="https://aws.invalid")

        def block(**_: Any) -> None:
            if blocked is not None:
                raise blocked

        cloud.sqs.meta.events.register("provide-client-params.sqs.SendMessage", block, unique_id="block")
        bodies = []
        for index, kind in enumerate(kinds):
            if kind == "poisoned":
                bodies.append(broken(str(index)))
            else:
                # "again" shares its event with other members of its kind; "refused" cannot be written.
                identifier = "same" if kind == "again" else str(index)
                bodies.append(envelope(accepted(cloudevent(id=identifier, type=f"{kind}.x"))))
        records = [sqs_record(f"m{index}", body, counts[index]) for index, body in enumerate(bodies)]
        retried = failures(handler({"Records": records}, Context()))
        moved = [body for body, _ in cloud.dead_letters()]
        cloud.sqs.meta.events.unregister("provide-client-params.sqs.SendMessage", unique_id="block")
        for name in writes:
            cloud.dynamodb.meta.events.unregister(name, unique_id=f"refuse-{name}")
        for index, kind in enumerate(kinds):
            last = kind == "poisoned" or (kind == "refused" and counts[index] >= 3)
            fails = kind in ("poisoned", "refused")
            assert (bodies[index] in moved) == (last and movable)
            assert (f"m{index}" in retried) == (fails and not (last and movable))
        assert len(moved) == len(set(moved))
        assert len(retried) == len(set(retried))
        written = json.dumps(cloud.items(), default=str)
        assert ("good.x" in written) == ("good" in kinds)
        assert ("again.x" in written) == ("again" in kinds)
        assert "refused.x" not in written

    check()

"""A failed asynchronous invocation is tried as often as it may be, and recorded once, as Lambda records it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ops.local.emulator.invocations import REQUEST_ID, Failed, Invocations, is_asynchronous
from ops.local.emulator.scopes import entered
from tests.unit.local.emulator.test_queues import SCOPE, Bench

FUNCTION = f"arn:aws:lambda:{SCOPE.region}:{SCOPE.account}:function:store"


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with entered(SCOPE):
        bench = Bench(monkeypatch)
        yield bench
        bench.sqs.reset()


class Function:
    """A function that answers as told, and sees its request ids."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: bool) -> None:
        self.pauses: list[float] = []
        self.seen: list[str] = []
        self.invocations = Invocations(self.pauses.append)
        self._errors = iter(errors)
        monkeypatch.setattr(self.invocations._lambda, "_execute_function", self._execute)

    def _execute(self, func: Any, event: Any) -> dict[str, Any]:
        self.seen.append(REQUEST_ID.get())
        body = {"errorType": "ValueError", "errorMessage": "é" * 600}
        return {"error": True, "body": body} if next(self._errors) else {"body": "fine"}

    def run(self, arn: str = FUNCTION, dead_letters: str = "", **settings: Any) -> Failed | None:
        config = {"FunctionArn": arn, "DeadLetterConfig": {"TargetArn": dead_letters}}
        token = REQUEST_ID.set("the-id")
        try:
            return self.invocations.run({"config": config, "event_invoke_config": settings}, {"n": 1})
        finally:
            REQUEST_ID.reset(token)


def test_record_says_what_lambda_says() -> None:
    failed = Failed("id", FUNCTION, {"n": 1}, "RetriesExhausted", 2, {"body": {"errorMessage": "no"}})
    assert failed.record(datetime(2026, 3, 1, 12, tzinfo=UTC)) == {
        "version": "1.0",
        "timestamp": "2026-03-01T12:00:00.000Z",
        "requestContext": {
            "requestId": "id",
            "functionArn": f"{FUNCTION}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 2,
        },
        "requestPayload": {"n": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "no"},
    }


def test_record_of_a_version_names_it() -> None:
    record = Failed("id", f"{FUNCTION}:7", {}, "RetriesExhausted", 1, {}).record(datetime.now(UTC))
    assert record["requestContext"]["functionArn"] == f"{FUNCTION}:7"
    assert record["responseContext"]["executedVersion"] == "7"


def test_invocation_that_succeeds_at_last_is_not_recorded(monkeypatch: pytest.MonkeyPatch, sqs: Bench) -> None:
    function, arn = Function(monkeypatch, True, True, False), sqs.create("failed")
    assert function.run(DestinationConfig={"OnFailure": {"Destination": arn}}) is None
    assert function.seen == ["the-id"] * 3
    assert len(function.pauses) == 2
    assert sqs.receive("failed") == []


def test_invocation_out_of_attempts_is_recorded_at_its_destination(monkeypatch: pytest.MonkeyPatch, sqs: Bench) -> None:
    function, arn = Function(monkeypatch, True, True), sqs.create("failed")
    function.run(MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": arn}})
    (message,) = sqs.receive("failed", MessageAttributeNames=["All"])
    record = json.loads(message["Body"])
    assert record["requestContext"]["requestId"] == "the-id"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert "MessageAttributes" not in message


def test_invocation_too_old_for_another_attempt_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Function(monkeypatch, True).run(MaximumEventAgeInSeconds=0.5)
    assert failed is not None
    assert (failed.condition, failed.attempts) == ("EventAgeExceeded", 1)


def test_dead_letter_queue_gets_the_bare_event_with_the_reason(monkeypatch: pytest.MonkeyPatch, sqs: Bench) -> None:
    Function(monkeypatch, True).run(dead_letters=sqs.create("dead"), MaximumRetryAttempts=0)
    (message,) = sqs.receive("dead", MessageAttributeNames=["All"])
    attributes = {name: one["StringValue"] for name, one in message["MessageAttributes"].items()}
    assert json.loads(message["Body"]) == {"n": 1}
    assert attributes == {"RequestID": "the-id", "ErrorCode": "200", "ErrorMessage": "é" * 512}


def test_answer_to_an_asynchronous_invocation_names_its_request() -> None:
    seen: list[str] = []
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(REQUEST_ID.get())
        headers = [(b"x-amzn-RequestId", b"another"), (b"x-kept", b"1")]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    asyncio.run(Invocations().serve(application, {}, receive, send))
    assert sent[0]["headers"] == [(b"x-kept", b"1"), (b"x-amzn-requestid", seen[0].encode())]
    assert REQUEST_ID.get() == ""


def test_only_an_invocation_of_type_event_is_asynchronous() -> None:
    scope = {"type": "http", "path": "/2015-03-31/functions/store/invocations"}
    asked = [(b"X-Amz-Invocation-Type", b"Event")]
    assert is_asynchronous({**scope, "headers": asked})
    assert not is_asynchronous({**scope, "headers": []})
    assert not is_asynchronous({"type": "http", "path": "/elsewhere", "headers": asked})
    assert not is_asynchronous({"type": "lifespan"})

"""Asynchronous invocations: tried again as often as the function's configuration says, and recorded when they failed.

What always holds: an invocation has one request id, which its caller is answered, its code sees in each attempt, and
its record names; one that never succeeded ends in the on-failure destination as a record, or in the function's
dead-letter queue as the bare event with three attributes.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

from __future__ import annotations

import contextvars
import importlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops.local.emulator.gateway import Receive, Send
from ops.local.emulator.messages import message_of

LAMBDA_SENDER = "AIDAEXAMPLELAMBDA"
ERROR_MESSAGE_BYTES = 1024

Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

# The id of the asynchronous invocation that is served or runs here; empty in any other.
REQUEST_ID: contextvars.ContextVar[str] = contextvars.ContextVar("asynchronous_request_id", default="")


@dataclass(frozen=True)
class Failed:
    """An invocation that will not be tried again. ``condition`` as Lambda names it."""

    request_id: str
    function_arn: str
    event: Any
    condition: str
    attempts: int
    result: Mapping[str, Any]

    def record(self, now: datetime) -> dict[str, Any]:
        """What the on-failure destination gets."""
        qualifier = self.function_arn.split(":")[7:] or ["$LATEST"]
        return {
            "version": "1.0",
            "timestamp": now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "requestContext": {
                "requestId": self.request_id,
                "functionArn": ":".join([*self.function_arn.split(":")[:7], *qualifier]),
                "condition": self.condition,
                "approximateInvokeCount": self.attempts,
            },
            "requestPayload": self.event,
            "responseContext": {
                "statusCode": 200,
                "executedVersion": qualifier[0] if qualifier[0].isdigit() else "$LATEST",
                "functionError": self.result.get("function_error") or "Unhandled",
            },
            "responsePayload": self.result.get("body"),
        }

    def attributes(self) -> dict[str, dict[str, str]]:
        """What a dead-letter queue gets beside the event.

        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html#invocation-dlq
        """
        body = self.result.get("body")
        reason = str(body.get("errorMessage", "")) if isinstance(body, Mapping) else str(body)
        reason = reason.encode()[:ERROR_MESSAGE_BYTES].decode(errors="ignore") or "Unhandled"
        return {
            "RequestID": {"DataType": "String", "StringValue": self.request_id},
            "ErrorCode": {"DataType": "Number", "StringValue": "200"},
            "ErrorMessage": {"DataType": "String", "StringValue": reason},
        }


class Invocations:
    """The asynchronous invocations of every account and region."""

    def __init__(self, pause: Callable[[float], None] = time.sleep) -> None:
        """``pause`` waits for so many seconds, between two attempts."""
        self._lambda = importlib.import_module("ministack.services.lambda_svc")
        self._sqs = importlib.import_module("ministack.services.sqs")
        self._route = self._lambda._route_async_failure
        self._pause = pause

    async def serve(self, application: Application, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve a request for an asynchronous invocation: the answer names it as the function and its record do."""
        request_id = self._lambda.new_uuid()

        async def named(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [header for header in message["headers"] if header[0].lower() != b"x-amzn-requestid"]
                message = {**message, "headers": [*kept, (b"x-amzn-requestid", request_id.encode())]}
            await send(message)

        token = REQUEST_ID.set(request_id)
        try:
            await application(scope, receive, named)
        finally:
            REQUEST_ID.reset(token)

    def take(self, func: Any, event: Any) -> None:
        """Stands in for ``invoke_async_with_retry``."""
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self.run, func, event), name="invocation", daemon=True).start()

    def run(self, func: Mapping[str, Any], event: Any) -> Failed | None:
        """Try until it succeeds or may not be tried again; returns what failed for good."""
        config = func.get("config") or func
        if not REQUEST_ID.get():
            REQUEST_ID.set(self._lambda.new_uuid())  # another service invokes it
        settings = func.get("event_invoke_config") or (func.get("event_invoke_configs") or {}).get("$LATEST") or {}
        retries = settings.get("MaximumRetryAttempts")
        most = 1 + (2 if retries is None else int(retries))
        max_age_s = float(settings.get("MaximumEventAgeInSeconds") or 21_600)
        attempts, waited_s, condition = 0, 0.0, "RetriesExhausted"
        result: Mapping[str, Any] = {}
        while attempts < most:
            if attempts:
                pause_s = min(
                    self._lambda._LAMBDA_ASYNC_RETRY_BASE_SECONDS * 2 ** (attempts - 1),
                    self._lambda._LAMBDA_ASYNC_RETRY_MAX_SECONDS,
                )
                waited_s += pause_s
                if waited_s > max_age_s:
                    condition = "EventAgeExceeded"
                    break
                self._pause(pause_s)
            attempts += 1
            result = self._lambda._execute_function(func, event)
            if not result.get("error"):
                return None
        failed = Failed(REQUEST_ID.get(), config["FunctionArn"], event, condition, attempts, result)
        self._record(failed, config, settings)
        return failed

    def _record(self, failed: Failed, config: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        destination = ((settings.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
        dead_letters = (config.get("DeadLetterConfig") or {}).get("TargetArn")
        if destination:
            self._send(destination, failed, failed.record(datetime.now(UTC)), {})
        if dead_letters:
            self._send(dead_letters, failed, failed.event, failed.attributes())

    def _send(self, target: str, failed: Failed, body: Any, attributes: Mapping[str, Any]) -> None:
        queue = self._sqs._queue_by_arn(target)
        if queue is None:  # of another kind, or gone: as the emulator has it
            self._route(target, failed.function_arn.split(":")[6], failed.event, failed.result)
            return
        queue["messages"].append(message_of(self._sqs, queue, json.dumps(body), attributes, LAMBDA_SENDER))
        self._sqs.esm_wake.set()


def is_asynchronous(scope: Mapping[str, Any]) -> bool:
    """Whether a request asks to invoke a function and not to wait for it."""
    if scope["type"] != "http" or not scope["path"].endswith("/invocations"):
        return False
    return any(name.lower() == b"x-amz-invocation-type" and value == b"Event" for name, value in scope["headers"])

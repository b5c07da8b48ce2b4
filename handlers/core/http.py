"""HTTP API requests and answers (payload format 2.0).

Every answer carries the correlation id, and every error is a problem document.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from handlers.core import observability
from handlers.core.identity import tenant
from handlers.core.problem import CONTENT_TYPE, ProblemError

JSON = "application/json"
CORRELATION_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True)
class Request:
    """A request as the handlers use it: header names in lower case, the body in bytes."""

    event: Mapping[str, Any]
    headers: Mapping[str, str]
    correlation_id: str
    remaining_ms: Callable[[], int]

    @property
    def tenant(self) -> str:
        """Raises ProblemError when the token names none."""
        return tenant(self.event)

    @property
    def route(self) -> str:
        """The route that matched, for example ``GET /events/{event_key}``."""
        return str(self.event.get("routeKey", ""))

    @property
    def query(self) -> str:
        return self.event.get("rawQueryString") or ""

    def path_parameter(self, name: str) -> str:
        return str((self.event.get("pathParameters") or {}).get(name, ""))

    @property
    def body(self) -> bytes:
        """Raises ProblemError when the gateway's Base64 is broken."""
        body = self.event.get("body") or ""
        if not self.event.get("isBase64Encoded"):
            return str(body).encode("utf-8", "surrogatepass")
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise ProblemError("malformed-body", "The body is not the Base64 that the request says it is.") from None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers. A body that is text is sent as it is."""

    status: int
    body: Mapping[str, Any] | str
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON


def correlation_id(event: Mapping[str, Any], headers: Mapping[str, str], fallback: str) -> str:
    """The caller's ``x-correlation-id`` when it is 1 to 128 visible ASCII characters, else the API's request id."""
    given = headers.get("x-correlation-id", "").strip()
    if CORRELATION_ID.fullmatch(given):
        return given
    return str((event.get("requestContext") or {}).get("requestId") or fallback)


def problem_answer(problem: ProblemError, correlation: str) -> Answer:
    headers = {} if problem.retry_after_s is None else {"retry-after": str(problem.retry_after_s)}
    return Answer(problem.status, problem.as_dict(correlation), headers, CONTENT_TYPE)


def respond(event: Mapping[str, Any], context: Any, handle: Callable[[Request], Answer]) -> dict[str, Any]:
    """Run one request and answer it: a ProblemError as it says, a silent AWS service as 503, anything else as 500."""
    started = time.perf_counter()
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    correlation = correlation_id(event, headers, context.aws_request_id)
    observability.set_correlation_id(correlation)
    api_request_id = (event.get("requestContext") or {}).get("requestId")
    request = Request(event, headers, correlation, context.get_remaining_time_in_millis)
    try:
        answer = handle(request)
    except ProblemError as problem:
        answer = problem_answer(problem, correlation)
    except Exception as error:  # noqa: BLE001 the last line of defence: logged, and answered as a problem
        answer = problem_answer(_unplanned(error), correlation)
    elapsed_ms = round((time.perf_counter() - started) * 1000, 1)
    body, declined = answer.body, None
    if not isinstance(body, str):
        declined = body.get("type")
        body = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    # The access log knows a request by the API's id alone.
    other: dict[str, Any] = {} if api_request_id in (None, correlation) else {"api_request_id": str(api_request_id)}
    observability.logger.info(
        "answered", route=request.route, status=answer.status, problem=declined, elapsed_ms=elapsed_ms, **other
    )
    return {
        "statusCode": answer.status,
        "headers": {
            "content-type": answer.content_type,
            "cache-control": "no-store",
            "x-correlation-id": correlation,
            **answer.headers,
        },
        "body": body,
        "isBase64Encoded": False,
    }


def _unplanned(error: Exception) -> ProblemError:
    failure = observability.aws_failure(error)
    if failure is not None:
        observability.logger.error(
            "service failed",
            error=observability.error_code(failure),
            operation=getattr(failure, "operation_name", None),
        )
        return ProblemError("unavailable", "A service that this request needs did not answer; retry with backoff.")
    observability.log_unexpected(error, "answering a request")
    return ProblemError("internal-error", "The request failed here; report the correlation id.")

"""What an operation answers besides its result: problems, API Gateway's own messages, and the headers of both."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from handlers.core import http, problem
from handlers.core.openapi.schemas import Schema, problem_name, problem_ref, ref
from handlers.core.routes import Route

Responses = dict[str, dict[str, Any]]

# What API Gateway answers to a route without reaching a function.
_GATEWAY = (413, 429, 500, 503)
_GATEWAY_WITH_TOKEN = (401, 403)

HEADERS: dict[str, Any] = {
    "CorrelationId": {
        "description": "The request's `x-correlation-id`, or the id that it was given. Absent when API Gateway answers "
        "by itself.",
        "schema": {"type": "string"},
    },
    "CacheControl": {
        "description": "`no-store`, save for this document.",
        "schema": {"type": "string"},
    },
    "RetryAfter": {
        "description": "Seconds after which the same request may succeed.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "IdempotentReplayed": {
        "description": "Given when the event had been accepted before; the answer is the first one's.",
        "schema": {"const": "true"},
    },
    "ETag": {"description": "Which document it is.", "required": True, "schema": {"type": "string"}},
}
_EVERY = {"x-correlation-id": "CorrelationId", "cache-control": "CacheControl"}


def headers(**more: str) -> dict[str, Any]:
    """The headers of an answer: those of every one, and ``more`` (header with underscores, component)."""
    named = _EVERY | {name.replace("_", "-"): component for name, component in more.items()}
    return {name: {"$ref": f"#/components/headers/{component}"} for name, component in named.items()}


def response(description: str, schema: Schema, example: Any, **more: str) -> dict[str, Any]:
    """A JSON answer of a function."""
    return {
        "description": description,
        "headers": headers(**more),
        "content": {http.JSON: {"schema": schema, "example": example}},
    }


def _problem(name: str) -> Schema:
    kind = problem.KINDS[name]
    own = {"type": problem.type_of(name), "title": kind.title, "status": kind.status}
    return {
        "description": kind.title + ".",
        "allOf": [ref("Problem"), {"properties": {member: {"const": value} for member, value in own.items()}}],
    }


PROBLEMS: dict[str, Schema] = {
    "Problem": {
        "type": "object",
        "description": "Why a request, or one event of a batch, was declined (RFC 9457).",
        "required": ["type", "title", "status", "detail", "correlation_id"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "enum": [*map(problem.type_of, problem.KINDS)]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "The field, what is wrong with it, and what is accepted."},
            "field": {"type": "string", "description": "The attribute, header or parameter at fault."},
            "correlation_id": {"type": "string"},
        },
    },
    **{problem_name(name): _problem(name) for name in problem.KINDS},
}


def declined(route: Route, results: Responses) -> Responses:
    """All responses of a route: its results, its problems by status, and the gateway's messages; where a status has
    several, a content type has all of its shapes."""
    responses = dict(results)
    for status, kinds in _by_status(route.problems).items():
        found = _at(responses, status, "; ".join(problem.KINDS[kind].title for kind in kinds))
        found["headers"] |= headers(**_retry(kinds))
        found["content"][problem.CONTENT_TYPE] = {"schema": problem_ref(kinds)}
    for status, kinds in _by_status(route.item_problems).items():
        # No event of a batch was accepted, and all for reasons of this status, or (400) of several.
        found = _at(responses, status, "")
        found["description"] += " (in a batch: every event)"
        found["headers"] |= headers(**_retry(route.item_problems if status == 400 else kinds))
        _add(found, ref("BatchAnswer"))
    for code in (*_GATEWAY, *(_GATEWAY_WITH_TOKEN if route.scope else ())):
        if code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and route.method == "GET":
            continue
        _add(_at(responses, code, HTTPStatus(code).phrase), ref("GatewayMessage"))
    return dict(sorted(responses.items()))


def _by_status(kinds: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for kind in sorted(kinds):
        found.setdefault(problem.KINDS[kind].status, []).append(kind)
    return found


def _retry(kinds: Iterable[str]) -> dict[str, str]:
    return {"retry_after": "RetryAfter"} if any(problem.KINDS[kind].retry_after_s for kind in kinds) else {}


def _at(responses: Responses, status: int, description: str) -> dict[str, Any]:
    return responses.setdefault(str(status), {"description": description, "headers": {}, "content": {}})


def _add(found: dict[str, Any], schema: Schema) -> None:
    present = found["content"].setdefault(http.JSON, {"schema": {"anyOf": []}})
    shapes = present["schema"].get("anyOf", [present["schema"]])
    shapes = [*shapes, schema]
    present["schema"] = {"anyOf": shapes} if len(shapes) > 1 else schema

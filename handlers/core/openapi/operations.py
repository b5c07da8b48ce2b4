"""The operations of the document: a description and examples for each route; the rest follows from its declaration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from handlers.core import batch, binding, evacuation, http, parameters, routes
from handlers.core.openapi import answers, examples
from handlers.core.openapi.schemas import BINARY_HEADERS, ref, whole
from handlers.core.routes import Route

TAGS = {
    "events": "Send and read CloudEvents",
    "activity": "How many events happened, by type and time",
    "region": "The region itself",
}
PARAMETERS: dict[str, Any] = {
    "CorrelationId": {
        "name": "x-correlation-id",
        "in": "header",
        "description": "To find the request again in logs and stored events. Anything but 1 to 128 visible ASCII "
        "characters is ignored, and an id is made.",
        "schema": {"type": "string"},
        "example": examples.CORRELATION_ID,
    }
}
_QUERY_EXAMPLES = {
    parameters.FROM.name: examples.FROM,
    parameters.TO.name: examples.TO,
    parameters.TYPE.name: examples.EVENT["type"],
}


def operation(route: Route) -> dict[str, Any]:
    """The operation of a route, without its security."""
    made = _OPERATIONS[route.key](route)
    query = [
        {
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "schema": parameter.schema,
            **({"example": _QUERY_EXAMPLES[parameter.name]} if parameter.name in _QUERY_EXAMPLES else {}),
        }
        for parameter in route.query
    ]
    made["parameters"] = [
        *made.get("parameters", []),
        *query,
        {"$ref": "#/components/parameters/CorrelationId"},
    ]
    made["responses"] = answers.declined(route, made["responses"])
    return made


def _post_events(route: Route) -> dict[str, Any]:
    binary = [
        {
            "name": header,
            "in": "header",
            "description": f"Binary mode: the attribute `{name}`, percent-encoded UTF-8.",
            "schema": {"type": "string"},
            **({"example": examples.EVENT[name]} if name in examples.EVENT else {}),
        }
        for header, name in BINARY_HEADERS
    ]
    accepted = answers.response(
        "The event bus has the event, or all events of the batch",
        {"anyOf": [ref("Accepted"), ref("BatchAnswer")]},
        None,
        idempotent_replayed="IdempotentReplayed",
    )
    accepted["content"][http.JSON] = {
        "schema": {"anyOf": [ref("Accepted"), ref("BatchAnswer")]},
        "examples": {
            "one": {"summary": "One event", "value": examples.ACCEPTED},
            "batch": {"summary": "A batch", "value": examples.batch(examples.ACCEPTED_ITEM)},
        },
    }
    accepted["links"] = {
        "GetEvent": {
            "operationId": "getEvent",
            "description": "Read it back, once it is stored",
            "parameters": {"event_key": "$response.body#/event_key"},
        }
    }
    partly = answers.response(
        "Some events of the batch were accepted",
        ref("BatchAnswer"),
        examples.batch(examples.ACCEPTED_ITEM, examples.DECLINED_ITEM),
        retry_after="RetryAfter",
    )
    return {
        "operationId": "sendEvents",
        "tags": ["events"],
        "summary": "Send one event, or a batch",
        "description": "The content type says which mode of the CloudEvents HTTP binding it is: structured, batched, "
        "or, with any other type, binary: the attributes are `ce-` headers, the body is the data. In binary mode "
        "`ce-specversion`, `ce-id`, `ce-source` and `ce-type` are required, and other `ce-` headers are extension "
        "attributes. A batch is answered event by event; one whose answer would pass "
        f"{batch.MAX_ANSWER_BYTES:,} bytes is refused whole.",
        "parameters": binary,
        "requestBody": {
            "required": False,  # an event in binary mode may have no data
            "content": {
                binding.STRUCTURED: {"schema": ref("CloudEvent"), "example": examples.EVENT},
                binding.BATCHED: {"schema": ref("CloudEventBatch"), "example": [examples.EVENT]},
                "*/*": {"schema": {}},
            },
        },
        "responses": {"200": partly, "202": accepted},
    }


def _get_event(route: Route) -> dict[str, Any]:
    key = {
        "name": "event_key",
        "in": "path",
        "required": True,
        "description": "`event_key` of an ingest answer, upper or lower case.",
        "schema": {"$ref": "#/components/schemas/EventKey"},
        "example": examples.ACCEPTED["event_key"],
    }
    return {
        "operationId": "getEvent",
        "tags": ["events"],
        "summary": "Read one event",
        "description": "An accepted event appears once it is processed, in other regions once it is replicated. What "
        "belongs to another tenant does not exist.",
        "parameters": [key],
        "responses": {"200": answers.response("The event", ref("Event"), examples.STORED)},
    }


def _list_events(route: Route) -> dict[str, Any]:
    page = answers.response("A page of events, newest first", ref("EventPage"), examples.PAGE)
    page["links"] = {
        "NextPage": {
            "operationId": "listEvents",
            "description": "While `cursor` is not null",
            "parameters": {parameters.CURSOR.name: "$response.body#/cursor"},
        }
    }
    return {
        "operationId": "listEvents",
        "tags": ["events"],
        "summary": "List events by the time they were accepted",
        "description": "A listing reads an index, which is eventually consistent. Cursors work in every region and do "
        "not expire.",
        "responses": {"200": page},
    }


def _get_activity(route: Route) -> dict[str, Any]:
    return {
        "operationId": "getActivity",
        "tags": ["activity"],
        "summary": "Count events by type, hour and minute",
        "description": "By the events' own `time`, in whole minutes. Duplicates, reordering and replays change "
        "nothing.",
        "responses": {"200": answers.response("The counts", ref("Activity"), examples.ACTIVITY)},
    }


def _get_status(route: Route) -> dict[str, Any]:
    return {
        "operationId": "getStatus",
        "tags": ["region"],
        "summary": "Whether this region can do its work",
        "description": "What the health checks of Route 53 ask.",
        "responses": {
            "200": answers.response("It can", ref("Status"), examples.status(healthy=True)),
            "503": answers.response("It cannot", ref("Status"), examples.status(healthy=False)),
        },
    }


def _get_evacuated(route: Route) -> dict[str, Any]:
    region = {
        "name": "region",
        "in": "path",
        "required": True,
        "description": "Which region; of one that the stage does not have, 404.",
        "schema": {"type": "string", "pattern": whole(evacuation.REGION)},
        "example": examples.EVACUATED["evacuated"],
    }
    return {
        "operationId": "getEvacuated",
        "tags": ["region"],
        "summary": "Whether a region was left on purpose",
        "description": "What this region's replica says of any region. The health checks of Route 53 ask it, so that "
        "leaving a region needs nothing of that region.",
        "parameters": [region],
        "responses": {"200": answers.response("It was", ref("Evacuated"), examples.EVACUATED)},
    }


def _get_document(route: Route) -> dict[str, Any]:
    headers = answers.headers(etag="ETag")
    return {
        "operationId": "getDocument",
        "tags": ["region"],
        "summary": "This document",
        "description": "OpenAPI 3.1. Send `if-none-match` with the ETag of a former answer to ask whether it changed.",
        "parameters": [
            {
                "name": "if-none-match",
                "in": "header",
                "description": "ETags that the caller has, or `*`.",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            "200": {
                "description": "The document",
                "headers": headers,
                "content": {
                    http.JSON: {
                        "schema": {
                            "type": "object",
                            "required": ["openapi", "info", "paths"],
                            "properties": {"openapi": {"type": "string", "pattern": r"^3\.1\."}},
                        }
                    }
                },
            },
            "304": {"description": "The caller has it", "headers": headers},
        },
    }


_OPERATIONS: dict[str, Callable[[Route], dict[str, Any]]] = {
    routes.POST_EVENTS.key: _post_events,
    routes.GET_EVENT.key: _get_event,
    routes.LIST_EVENTS.key: _list_events,
    routes.GET_ACTIVITY.key: _get_activity,
    routes.GET_STATUS.key: _get_status,
    routes.GET_EVACUATED.key: _get_evacuated,
    routes.GET_DOCUMENT.key: _get_document,
}

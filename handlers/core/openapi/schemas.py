"""The shapes of the API: events as they are sent, and every answer that is not a problem."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from handlers.core import (
    acceptance,
    activity_report,
    binding,
    cloudevents,
    health,
    identity,
    strictjson,
    table,
    tracing,
)
from handlers.core.parameters import MAX_WINDOW
from handlers.core.routes import POST_EVENTS

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def problem_name(kind: str) -> str:
    return "".join(part.capitalize() for part in kind.split("-")) + "Problem"


def problem_ref(kinds: Iterable[str]) -> Schema:
    """A problem of one of these kinds."""
    shapes = [ref(problem_name(kind)) for kind in sorted(kinds)]
    return shapes[0] if len(shapes) == 1 else {"oneOf": shapes}


def whole(pattern: re.Pattern[str]) -> str:
    """A pattern that the handlers match against a whole text, as JSON Schema has it."""
    return f"^(?:{pattern.pattern})$"


_TEXT = f"^[^{cloudevents.NOT_TEXT}]*$"
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_REGION: Schema = {"type": "string", "description": "The region that answers.", "examples": ["us-east-1"]}
_EVENT_KEY: Schema = {
    "type": "string",
    "format": "uuid",
    "pattern": whole(identity.EVENT_KEY),
    "description": "Which event it is: follows from tenant, `source` and `id`, the same in every region.",
}
_CORRELATION_ID: Schema = {"type": "string", "description": "As in `x-correlation-id`; also in logs and stored events."}

# No pattern of our own where a format says the same: what the parser matches is RFC 3986, too.
_ATTRIBUTES: dict[str, Schema] = {
    "specversion": {"const": cloudevents.SPECVERSION},
    "id": {"description": "With `source`, says which event it is."},
    "source": {
        "format": "uri-reference",
        "description": "Where the event comes from.",
    },
    "type": {"description": "What kind of event it is; EventBridge's DetailType."},
    "subject": {"description": "What in the source the event is about."},
    "time": {"format": "date-time", "description": "When it happened; activity is counted by it."},
    "dataschema": {
        "format": "uri",
        "description": "The schema of `data`.",
    },
    "datacontenttype": {"pattern": whole(cloudevents.MEDIA_TYPE), "description": "The media type of `data`."},
}


def attribute(name: str) -> Schema:
    """One attribute of an event, as sent; an optional one may be null, which is to leave it out."""
    if name == "specversion":
        return _ATTRIBUTES[name]
    return {
        "type": "string" if name in cloudevents.REQUIRED else ["string", "null"],
        "minLength": 1,
        "maxLength": cloudevents.MAX_CHARS[name],
        **({} if "format" in _ATTRIBUTES[name] else {"pattern": _TEXT}),
        **_ATTRIBUTES[name],
    }


def _event() -> Schema:
    lowest, highest = cloudevents.INT32
    extension = {
        "anyOf": [
            {"type": "string", "maxLength": cloudevents.MAX_EXTENSION_CHARS, "pattern": _TEXT},
            {"type": "integer", "minimum": lowest, "maximum": highest},
            {"type": ["boolean", "null"]},
        ]
    }
    given = {"properties": {"data": {"not": {"type": "null"}}, "data_base64": {"type": "string"}}}
    return {
        "type": "object",
        "description": "A CloudEvent 1.0 in the JSON format. Members beyond those listed are extension attributes. "
        f"At most {cloudevents.MAX_EVENT_BYTES:,} bytes as JSON, nested at most {strictjson.MAX_DEPTH} levels deep.",
        "required": list(cloudevents.REQUIRED),
        "properties": {
            **{name: attribute(name) for name in _ATTRIBUTES},
            "data": {
                "description": "The event's data, any JSON; not together with `data_base64`. Its integers fit 64 bits "
                f"({strictjson.INT64[0]} to {strictjson.INT64[1]}), other numbers a double, its text is valid Unicode."
            },
            "data_base64": {
                "type": ["string", "null"],
                "contentEncoding": "base64",
                "pattern": whole(cloudevents.BASE64),
                "description": "The event's data when it is not JSON; not together with `data`.",
            },
        },
        "propertyNames": {"pattern": f"^(?:{cloudevents.NAME.pattern}|data_base64)$"},
        "additionalProperties": extension,
        "not": {"required": ["data", "data_base64"], **given},
    }


def _object(properties: dict[str, Schema], *, optional: tuple[str, ...] = (), description: str = "") -> Schema:
    shape: Schema = {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }
    return {"description": description, **shape} if description else shape


# Members of answers by name: one name means the same wherever it stands.
_MEMBERS: dict[str, Schema] = {
    "event_key": ref("EventKey"),
    "source": {"type": "string"},
    "id": {"type": "string"},
    "region": _REGION,
    "tenant": {"type": "string"},
    "correlation_id": _CORRELATION_ID,
    "accepted_at": {**_MOMENT, "description": "When the event was accepted."},
    "accepted_region": {"type": "string", "description": "The region that accepted the event."},
    "written_region": {"type": "string", "description": "The region that wrote what was read."},
    "written_at": {**_MOMENT, "description": "When it was written."},
}


def _members(names: tuple[str, ...]) -> dict[str, Schema]:
    return {name: _MEMBERS[name] for name in names}


def _by_time(step: str) -> Schema:
    return {"type": "object", "description": f"Events by {step}.", "additionalProperties": {**_COUNT, "minimum": 1}}


def _activity() -> Schema:
    hours = int(activity_report.MINUTES_UP_TO.total_seconds()) // 3600
    kind = _object(
        {
            "type": {"type": "string"},
            "count": _COUNT,
            "hours": _by_time("hour"),
            "minutes": {**_by_time("minute"), "description": f"Events by minute; in windows of up to {hours} hours."},
        },
        optional=("hours", "minutes"),
    )
    return _object(
        {
            "region": _REGION,
            "consistency": {"enum": ["strong", "eventual"]},
            "from": {**_MOMENT, "description": "Absent for events without a time, as are `to`, `hours` and `minutes`."},
            "to": _MOMENT,
            "count": {**_COUNT, "description": "All events of the window."},
            "types": {"type": "array", "items": kind},
        },
        optional=("from", "to"),
        description="How many events of each type happened, each counted once.",
    )


def _status() -> Schema:
    check = _object(
        {
            "ok": {"type": "boolean"},
            "latency_ms": {"type": "number", "minimum": 0},
            "reason": {"type": "string", "description": "The name of the failure."},
        },
        optional=("reason",),
    )
    return _object(
        {
            "status": {
                "enum": ["ok", "degraded", "evacuated"],
                "description": "`evacuated`: the region was left on purpose, and is asked for nothing until that ends.",
            },
            "region": _REGION,
            "stage": {"type": "string"},
            "checks": _object(dict.fromkeys(health.CHECKS, check)),
        },
        description="Whether the region can do its work, and what each of its services answered.",
    )


def _batch_answer() -> Schema:
    index = {"index": {**_COUNT, "description": "The event's place in the batch."}}
    accepted = _object(
        {**index, "status": {"const": 202}, **_members(acceptance.ANSWER_FIELDS), "duplicate": {"type": "boolean"}}
    )
    declined = _object(
        {**index, "status": {"type": "integer", "minimum": 400}, "problem": problem_ref(POST_EVENTS.item_problems)}
    )
    return _object(
        {
            "region": _REGION,
            "accepted": _COUNT,
            "rejected": _COUNT,
            "results": {"type": "array", "items": {"oneOf": [accepted, declined]}},
        },
        description="What became of each event of a batch, in its order.",
    )


COMPONENTS: dict[str, Schema] = {
    "EventKey": _EVENT_KEY,
    "CloudEvent": _event(),
    "CloudEventBatch": {"type": "array", "items": ref("CloudEvent")},
    "Accepted": _object(_members(acceptance.ANSWER_FIELDS), description="The event bus has the event."),
    "BatchAnswer": _batch_answer(),
    "Event": _object(
        {
            **_members(table.ANSWER_FIELDS),
            "trace_id": {
                "type": "string",
                "pattern": whole(tracing.ID),
                "description": "The X-Ray trace that the event was accepted under.",
            },
            "version": {"type": "integer", "minimum": 1},
            "event": ref("CloudEvent"),
        },
        optional=("trace_id",),
        description="A stored event.",
    ),
    "EventPage": _object(
        {
            "from": _MOMENT,
            "to": _MOMENT,
            "events": {"type": "array", "items": ref("Event"), "description": "Newest first."},
            "cursor": {
                "type": ["string", "null"],
                "description": "Leads to the next page, whether or not this one is full; null on the last one.",
            },
        },
        description=f"Events by the time they were accepted, in a window of at most {MAX_WINDOW.days} days.",
    ),
    "Activity": _activity(),
    "Status": _status(),
    "Evacuated": _object(
        {
            "evacuated": {"type": "string", "description": "The region that was left."},
            "region": _REGION,
            "stage": {"type": "string"},
        },
        description="A region was left on purpose, as the region that answers knows.",
    ),
    "GatewayMessage": _object(
        {"message": {"type": ["string", "null"]}}, description="API Gateway's own answer: no function was reached."
    ),
}

BINARY_HEADERS = tuple((f"{binding.PREFIX}{name}", name) for name in _ATTRIBUTES if name not in binding.NOT_HEADERS)

"""The routes of the API: what each takes and how it can decline. Handlers read by these, and the document is made of
them; that ``serverless.yml`` deploys exactly these, each to its function, is held by a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from handlers.core import parameters
from handlers.core.parameters import Parameter

# Any route can fail so: `http.respond` turns what nobody planned for into one of these.
_FAULTS = ("internal-error", "unavailable")
_EVENT_FAULTS = ("in-progress", "payload-mismatch", "not-published", "out-of-time", "unavailable")
_EVENT_MISTAKES = ("malformed-body", "invalid-attribute", "invalid-data", "event-too-large")


@dataclass(frozen=True)
class Route:
    """One route. ``problems`` decline the request, ``item_problems`` one event of a batch (names of problem.KINDS)."""

    key: str  # as API Gateway has it: method, space, path
    function: str  # the one of serverless.yml that answers
    scope: Literal["read", "write"] | None  # None: open to anyone
    query: tuple[Parameter, ...] = ()
    problems: tuple[str, ...] = _FAULTS
    item_problems: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        return self.key.split(" ")[0]

    @property
    def path(self) -> str:
        return self.key.split(" ")[1]


POST_EVENTS = Route(
    "POST /events",
    "ingest",
    "write",
    problems=(
        *_EVENT_MISTAKES,
        *_EVENT_FAULTS,
        "no-tenant",
        "batch-too-large",
        "unsupported-content-type",
        "internal-error",
    ),
    item_problems=(*_EVENT_MISTAKES, *_EVENT_FAULTS),
)
GET_EVENT = Route(
    "GET /events/{event_key}",
    "query",
    "read",
    query=(parameters.CONSISTENCY,),
    problems=("invalid-parameter", "unknown-parameter", "no-tenant", "not-found", *_FAULTS),
)
LIST_EVENTS = Route(
    "GET /events",
    "query",
    "read",
    query=(
        parameters.FROM,
        parameters.TO,
        parameters.TYPE,
        parameters.LIMIT,
        parameters.CURSOR,
        parameters.INDEX_CONSISTENCY,
    ),
    problems=(
        "invalid-parameter",
        "unknown-parameter",
        "invalid-cursor",
        "consistency-not-available",
        "no-tenant",
        *_FAULTS,
    ),
)
GET_ACTIVITY = Route(
    "GET /activity",
    "query",
    "read",
    query=(parameters.FROM, parameters.TO, parameters.TYPE, parameters.UNDATED, parameters.CONSISTENCY),
    problems=("invalid-parameter", "unknown-parameter", "no-tenant", "window-too-busy", *_FAULTS),
)
GET_STATUS = Route("GET /status", "status", None)
GET_EVACUATED = Route("GET /evacuated/{region}", "status", None, problems=("invalid-parameter", "not-found", *_FAULTS))
GET_DOCUMENT = Route("GET /openapi.json", "status", None)

ROUTES = (POST_EVENTS, GET_EVENT, LIST_EVENTS, GET_ACTIVITY, GET_STATUS, GET_EVACUATED, GET_DOCUMENT)

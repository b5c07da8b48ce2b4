"""The three reads of the API. Each sees its caller's tenant only: what belongs to another does not exist."""

from __future__ import annotations

from typing import Any

from handlers.core import aws, cursor, listing, parameters, routes, table, timestamps
from handlers.core.http import Answer, Request
from handlers.core.identity import EVENT_KEY
from handlers.core.problem import ProblemError
from handlers.core.settings import settings


def one_event(request: Request) -> Answer:
    """``GET /events/{event_key}``"""
    tenant = request.tenant
    values = parameters.read(request.query, routes.GET_EVENT.query)
    strong = parameters.CONSISTENCY.of(values) == "strong"
    key = request.path_parameter("event_key")
    if not EVENT_KEY.fullmatch(key):
        raise ProblemError(
            "not-found", "event_key: not a UUID; use the event_key of an ingest answer.", field="event_key"
        )
    item = table.read(aws.dynamodb(), settings().table, key.lower(), consistent=strong)
    if item is None or item["tenant"]["S"] != tenant:
        raise ProblemError("not-found", "There is no such event here; it may still be on its way, or have expired.")
    return Answer(200, table.as_answer(item))


def list_events(request: Request) -> Answer:
    """``GET /events``"""
    tenant = request.tenant
    values = parameters.read(request.query, routes.LIST_EVENTS.query)
    if values.get("consistency") == "strong":  # a fair wish: it deserves the reason
        raise ProblemError(
            "consistency-not-available",
            "consistency: a listing reads a global secondary index, and DynamoDB reads those with eventual consistency "
            "only; leave it out, or read single events with GET /events/{event_key}?consistency=strong.",
            field="consistency",
        )
    parameters.INDEX_CONSISTENCY.of(values)
    event_type = parameters.TYPE.of(values)
    limit = parameters.LIMIT.of(values)
    position = _position(values, tenant, event_type)
    page = listing.Listing(aws.dynamodb(), settings().table, tenant, event_type).page(position, limit)
    following = None
    if page.below is not None:
        following = cursor.encode(cursor.Position(position.start, position.end, page.below), tenant, event_type)
    body: dict[str, Any] = {
        "from": timestamps.format_ms(position.start),
        "to": timestamps.format_ms(position.end),
        "events": [table.as_answer(item) for item in page.items],
        "cursor": following,
    }
    return Answer(200, body)


def _position(values: dict[str, str], tenant: str, event_type: str | None) -> cursor.Position:
    """Where to start: at the window's end, or where the cursor says, in the window of the listing's first page."""
    if "cursor" not in values:
        window = parameters.window(values, timestamps.now())
        return cursor.Position(window.start, window.end, timestamps.format_ms(window.end))
    position = cursor.decode(values["cursor"], tenant, event_type)
    for bound, moment in ((parameters.FROM, position.start), (parameters.TO, position.end)):
        given = bound.of(values)
        if given is not None and timestamps.format_ms(given) != timestamps.format_ms(moment):
            raise ProblemError(
                "invalid-cursor",
                f"cursor: made for another {bound.name}; leave {bound.name} out, or send the first one.",
                field="cursor",
            )
    return position


def activity(request: Request) -> Answer:
    """``GET /activity``"""
    from handlers.core import activity_report  # what only this route needs

    tenant = request.tenant
    values = parameters.read(request.query, routes.GET_ACTIVITY.query)
    consistency = parameters.CONSISTENCY.of(values)
    event_type = parameters.TYPE.of(values)
    undated = parameters.UNDATED.of(values) == "true"
    strong = consistency == "strong"
    reader = activity_report.Reader(aws.dynamodb(), settings().table, tenant, strong, request.remaining_ms)
    body: dict[str, Any] = {"region": settings().region, "consistency": consistency}
    if undated:
        if given := [name for name in ("from", "to") if name in values]:
            raise ProblemError(
                "invalid-parameter", f"{given[0]}: undated events lie in no window; leave it out.", field=given[0]
            )
        counts = reader.undated(event_type)
        types = activity_report.by_type(counts, minutes=False, hours=False)
    else:
        window = parameters.window(values, timestamps.now())
        counts = reader.dated(window, event_type)
        body |= {"from": timestamps.format_ms(window.start), "to": timestamps.format_ms(window.end)}
        minutes = window.end - window.start <= activity_report.MINUTES_UP_TO
        types = activity_report.by_type(counts, minutes=minutes, hours=True)
    return Answer(200, {**body, "count": sum(counts.values()), "types": types})

"""Reads: ``GET /events/{event_key}``, ``GET /events``, ``GET /activity``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from handlers.core import aws, http, observability, reading, routes
from handlers.core.problem import ProblemError

_ROUTES: dict[str, Callable[[http.Request], http.Answer]] = {
    routes.GET_EVENT.key: reading.one_event,
    routes.LIST_EVENTS.key: reading.list_events,
    routes.GET_ACTIVITY.key: reading.activity,
}


def _query(request: http.Request) -> http.Answer:
    read = _ROUTES.get(request.route)
    if read is None:
        raise ProblemError("not-found", f"There is no such route; there are {', '.join(_ROUTES)}.")
    answer = read(request)
    observability.count("Reads")
    return answer


@observability.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return http.respond(event, context, _query)


if aws.starting_in_lambda():
    aws.dynamodb()

"""What a region says of itself: ``GET /status``, whether it works, and ``GET /openapi.json``, what its API is; and of
any region, ``GET /evacuated/{region}``, whether it was left on purpose."""

from __future__ import annotations

import os
from typing import Any

from handlers.core import aws, evacuation, health, http, observability, routes
from handlers.core.openapi import deployment, serving
from handlers.core.settings import settings


def _answer(request: http.Request) -> http.Answer:
    match request.route:
        case routes.GET_DOCUMENT.key:
            return serving.answer(request)
        case routes.GET_EVACUATED.key:
            return evacuation.answer(settings(), request.path_parameter("region"))
        case _:
            return health.answer(settings())


@observability.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return http.respond(event, context, _answer)


if aws.starting_in_lambda():
    aws.warm_probes()
    deployment.load(os.environ)

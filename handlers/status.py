"""What a region says of itself: ``GET /status``, whether it works, and ``GET /openapi.json``, what its API is."""

from __future__ import annotations

import os
from typing import Any

from handlers.core import aws, health, http, observability, routes
from handlers.core.openapi import deployment, serving
from handlers.core.settings import settings


def _answer(request: http.Request) -> http.Answer:
    return serving.answer(request) if request.route == routes.GET_DOCUMENT.key else health.answer(settings())


@observability.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return http.respond(event, context, _answer)


if aws.starting_in_lambda():
    aws.warm_probes()
    deployment.load(os.environ)

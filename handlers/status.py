"""``GET /status``: whether this region works, for health checks and people. 200 when it does, else 503."""

from __future__ import annotations

from typing import Any

from handlers.core import aws, health, http, observability
from handlers.core.settings import settings


def _status(request: http.Request) -> http.Answer:
    checks = health.check_all(settings())
    healthy = all(check["ok"] for check in checks.values())
    observability.gauge("Unhealthy", 0 if healthy else 1)
    body = {
        "status": "ok" if healthy else "degraded",
        "region": settings().region,
        "stage": settings().stage,
        "checks": checks,
    }
    return http.Answer(200 if healthy else 503, body)


@observability.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return http.respond(event, context, _status)


if aws.starting_in_lambda():
    aws.warm_probes()

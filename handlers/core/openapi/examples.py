"""One story told by all examples: an order is sent, accepted, stored, listed and counted."""

from __future__ import annotations

from typing import Any

from handlers.core import cloudevents, health, identity
from handlers.core.problem import ProblemError

CORRELATION_ID = "checkout-7f3a"
FROM, TO = "2026-11-20T00:00:00.000Z", "2026-11-21T00:00:00.000Z"
EVENT: dict[str, Any] = {
    "specversion": cloudevents.SPECVERSION,
    "id": "order-1",
    "source": "/shop",
    "type": "order.created",
    "time": "2026-11-20T10:15:30Z",
    "data": {"total": 12.5},
}
_TENANT, _REGION, _ACCEPTED_AT = "shop-frontend", "us-east-1", "2026-11-20T10:15:31.042Z"

ACCEPTED: dict[str, Any] = {
    "event_key": identity.event_key(_TENANT, EVENT["source"], EVENT["id"]),
    "source": EVENT["source"],
    "id": EVENT["id"],
    "region": _REGION,
    "accepted_at": _ACCEPTED_AT,
}
STORED: dict[str, Any] = {
    "event_key": ACCEPTED["event_key"],
    "tenant": _TENANT,
    "accepted_at": _ACCEPTED_AT,
    "accepted_region": _REGION,
    "correlation_id": CORRELATION_ID,
    "written_region": _REGION,
    "written_at": "2026-11-20T10:15:31.377Z",
    "trace_id": "1-6a1f3c83-5b2d9e4f7a8c0b1d2e3f4a5b",
    "version": 1,
    "event": EVENT,
}
PAGE: dict[str, Any] = {"from": FROM, "to": TO, "events": [STORED], "cursor": None}
ACTIVITY: dict[str, Any] = {
    "region": _REGION,
    "consistency": "eventual",
    "from": FROM,
    "to": TO,
    "count": 1,
    "types": [
        {
            "type": EVENT["type"],
            "count": 1,
            "hours": {"2026-11-20T10:00:00Z": 1},
            "minutes": {"2026-11-20T10:15:00Z": 1},
        }
    ],
}
ACCEPTED_ITEM: dict[str, Any] = {"index": 0, "status": 202, **ACCEPTED, "duplicate": False}


def _declined() -> dict[str, Any]:
    """What the parser itself says of an event without a source."""
    try:
        cloudevents.from_json({name: value for name, value in EVENT.items() if name != "source"})
    except ProblemError as problem:
        return {"index": 1, "status": problem.status, "problem": problem.as_dict(CORRELATION_ID)}
    raise AssertionError("an event without a source was accepted")


DECLINED_ITEM = _declined()


def batch(*results: dict[str, Any]) -> dict[str, Any]:
    accepted = sum("problem" not in result for result in results)
    return {"region": _REGION, "accepted": accepted, "rejected": len(results) - accepted, "results": list(results)}


def status(*, healthy: bool) -> dict[str, Any]:
    checks: dict[str, Any] = {name: {"ok": True, "latency_ms": 6.1} for name in health.CHECKS}
    if not healthy:
        checks["table"] = {"ok": False, "latency_ms": 1000.4, "reason": "ReadTimeoutError"}
    return {"status": "ok" if healthy else "degraded", "region": _REGION, "stage": "prod", "checks": checks}


EVACUATED: dict[str, Any] = {"evacuated": "ap-south-1", "region": _REGION, "stage": "prod"}

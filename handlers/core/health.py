"""Whether this region can do its work: its table, bus and idempotency table answer, each within a second and a half.

The checks run side by side, make one attempt each, and change nothing. A reason is the name of the failure and nothing
else, because ``/status`` is open to anyone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from handlers.core import aws
from handlers.core.http import Answer
from handlers.core.observability import error_code, gauge, logger
from handlers.core.settings import Settings

_PROBE = "status-probe"  # a key nothing is stored under: finding nothing is the healthy answer


def _table(settings: Settings) -> None:
    key: Any = {"pk": {"S": _PROBE}, "sk": {"S": _PROBE}}
    aws.dynamodb(probe=True).get_item(TableName=settings.table, Key=key, ConsistentRead=True)


def _bus(settings: Settings) -> None:
    try:
        aws.events(probe=True).describe_event_bus(Name=settings.bus)
    except ClientError as error:
        # The control plane has a small quota of its own: being throttled there says nothing about PutEvents.
        if error_code(error) not in ("ThrottlingException", "Throttling"):
            raise


def _idempotency_table(settings: Settings) -> None:
    key: Any = {"id": {"S": _PROBE}}
    aws.dynamodb(probe=True).get_item(TableName=settings.idempotency_table, Key=key, ConsistentRead=True)


CHECKS: dict[str, Callable[[Settings], None]] = {"table": _table, "bus": _bus, "idempotency": _idempotency_table}


def answer(settings: Settings) -> Answer:
    """``GET /status``, for health checks and people: 200 when every check is well, else 503."""
    checks = check_all(settings)
    healthy = all(check["ok"] for check in checks.values())
    gauge("Unhealthy", 0 if healthy else 1)
    body = {
        "status": "ok" if healthy else "degraded",
        "region": settings.region,
        "stage": settings.stage,
        "checks": checks,
    }
    return Answer(200 if healthy else 503, body)


def check_all(settings: Settings) -> dict[str, dict[str, Any]]:
    """``{name: {"ok", "latency_ms", "reason"?}}``, in the order of CHECKS."""
    aws.warm_probes()
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        results = {name: pool.submit(_run, name, check, settings) for name, check in CHECKS.items()}
        return {name: result.result() for name, result in results.items()}


def _run(name: str, check: Callable[[Settings], None], settings: Settings) -> dict[str, Any]:
    started = time.perf_counter()
    reason = None
    try:
        check(settings)
    except (ClientError, BotoCoreError) as error:
        reason = error_code(error)
        logger.warning("check failed", check=name, error=reason)
    result: dict[str, Any] = {"ok": reason is None, "latency_ms": round((time.perf_counter() - started) * 1000, 1)}
    return result if reason is None else {**result, "reason": reason}

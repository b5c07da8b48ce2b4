"""Whether this region can do its work, and whether it is wanted to: its table, bus and idempotency table answer, each
within a second and a half, and no flag says that it was left on purpose.

The checks run side by side, make one attempt each, and change nothing. A reason is the name of the failure and nothing
else, and of an evacuation it is said that there is one, because ``/status`` is open to anyone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from handlers.core import aws, evacuation
from handlers.core.http import Answer
from handlers.core.observability import error_code, gauge, logger
from handlers.core.settings import Settings

_PROBE = "status-probe"  # a key nothing is stored under: finding nothing is the healthy answer


def _table(settings: Settings) -> bool:
    """Whether the region is evacuated: what a healthy table is asked for."""
    return evacuation.evacuated(settings, settings.region)


def _bus(settings: Settings) -> bool:
    try:
        aws.events(probe=True).describe_event_bus(Name=settings.bus)
    except ClientError as error:
        # The control plane has a small quota of its own: being throttled there says nothing about PutEvents.
        if error_code(error) not in ("ThrottlingException", "Throttling"):
            raise
    return False


def _idempotency_table(settings: Settings) -> bool:
    key: Any = {"id": {"S": _PROBE}}
    aws.dynamodb(probe=True).get_item(TableName=settings.idempotency_table, Key=key, ConsistentRead=True)
    return False


# Each tells whether it found the region evacuated, and raises when what it asks does not answer.
CHECKS: dict[str, Callable[[Settings], bool]] = {"table": _table, "bus": _bus, "idempotency": _idempotency_table}


def answer(settings: Settings) -> Answer:
    """``GET /status``, for health checks and people: 200 when every check is well and the region was not left."""
    checks, evacuated = check_all(settings)
    healthy = all(check["ok"] for check in checks.values())
    # A region that was left on purpose and is well rings no alarm.
    gauge("Unhealthy", 0 if healthy else 1)
    body = {
        "status": "evacuated" if evacuated else "ok" if healthy else "degraded",
        "region": settings.region,
        "stage": settings.stage,
        "checks": checks,
    }
    return Answer(200 if healthy and not evacuated else 503, body)


def check_all(settings: Settings) -> tuple[dict[str, dict[str, Any]], bool]:
    """``{name: {"ok", "latency_ms", "reason"?}}``, in the order of CHECKS, and whether the region is evacuated."""
    aws.warm_probes()
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        results = {name: pool.submit(_run, name, check, settings) for name, check in CHECKS.items()}
        found = {name: result.result() for name, result in results.items()}
    return {name: check for name, (check, _) in found.items()}, any(evacuated for _, evacuated in found.values())


def _run(name: str, check: Callable[[Settings], bool], settings: Settings) -> tuple[dict[str, Any], bool]:
    started = time.perf_counter()
    reason, evacuated = None, False
    try:
        evacuated = check(settings)
    except (ClientError, BotoCoreError) as error:
        reason = error_code(error)
        logger.warning("check failed", check=name, error=reason)
    result: dict[str, Any] = {"ok": reason is None, "latency_ms": round((time.perf_counter() - started) * 1000, 1)}
    return (result if reason is None else {**result, "reason": reason}), evacuated

"""Asks the edge of a running local cloud which region answers, and why."""

from __future__ import annotations

from typing import Any

import httpx

from ops.errors import OpsError, UsageError
from ops.local.cities import CITIES

EVERY_CITY = "all"
TIMEOUT_S = 15.0


def require_caller(caller: str) -> str:
    """Return ``caller``; raise UsageError when it is neither a city on the map nor ``all``."""
    if caller and caller != EVERY_CITY and caller not in CITIES:
        raise UsageError(f"--from: {caller!r} is not a known city; accepted: {', '.join((*CITIES, EVERY_CITY))}")
    return caller


def explain(edge_url: str, caller: str = "") -> list[dict[str, Any]]:
    """What ``GET /_edge/explain`` says, one a city; by default for the city nearest to the home region.

    Raises:
        UsageError: the city is not on the map.
        OpsError: the edge does not answer, plays no such routing, or has no record to answer with.
    """
    query = {"city": require_caller(caller)} if caller else {}
    try:
        # The edge is on this machine: no proxy of the operator's shell may come between.
        with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as client:
            answer = client.get(f"{edge_url}/_edge/explain", params=query)
            body = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise OpsError(f"the edge at {edge_url} does not answer: {error!r}", hint="Run: ops status") from error
    if not answer.is_success:
        raise OpsError(f"the edge: {body['detail']}", hint="Routing is what Route 53's records and checks say.")
    found = body if isinstance(body, list) else [body]
    for one in found:
        if one["region"] is None:
            why = f" ({one['error']})" if one["error"] else ""
            raise OpsError(
                f"no region answers: {one['reason']}{why}", hint="Run: ops run provision, and apply its plan."
            )
    return list(found)

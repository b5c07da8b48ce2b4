"""Who sent an event and which event it is. The key follows from tenant, source and id alone, so that every region,
retry and replay computes the same one."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from handlers.core.problem import ProblemError

_TENANT_MAX_CHARS = 256
EVENT_KEY = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class UnprotectedRouteError(RuntimeError):
    """A route lets callers in without a token: a fault of the deployment, to be answered as one of ours."""


@lru_cache(maxsize=256)
def _namespace(tenant: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, "atoll:tenant:" + tenant)


def event_key(tenant: str, source: str, event_id: str) -> str:
    """The event's identity: a name-based UUID over tenant, source and id."""
    name = json.dumps([source, event_id], ensure_ascii=False, separators=(",", ":"))
    return str(uuid.uuid5(_namespace(tenant), name))


def tenant(event: Mapping[str, Any]) -> str:
    """The tenant of an HTTP API request: the token's claim ``client_id``, else ``sub``.

    API Gateway lets nobody in without a token. Should a route be deployed without its authorizer, its callers are
    strangers to each other, and none of them is served.

    Raises:
        ProblemError: the token names no tenant.
        UnprotectedRouteError: there is no word of a token at all.
    """
    authorizer = (event.get("requestContext") or {}).get("authorizer") or {}
    token = authorizer.get("jwt")
    if not token:
        raise UnprotectedRouteError(f"{event.get('routeKey')} was deployed without its authorizer and serves nobody")
    claims = token.get("claims") or {}
    name = claims.get("client_id") or claims.get("sub")
    if not isinstance(name, str) or not 1 <= len(name) <= _TENANT_MAX_CHARS:
        raise ProblemError(
            "no-tenant",
            f"The token needs a client_id or sub claim of 1 to {_TENANT_MAX_CHARS} characters; ask for another token.",
        )
    return name

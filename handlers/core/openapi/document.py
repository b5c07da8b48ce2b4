"""The document as a whole."""

from __future__ import annotations

import json
from typing import Any

from handlers.core import routes
from handlers.core.openapi import answers, operations, schemas
from handlers.core.openapi.deployment import Deployment

VERSION = "1.0.0"  # of the API: its first number changes when what used to work no longer does
_SCHEME = "token"

_DESCRIPTION = """\
Accepts CloudEvents 1.0 and reads them back, with their counts by type and time. Every region offers the same API.

- **Accepted means durable**: 202 is answered once the event bus has the event. `source` and `id` say which event it \
is, so sending it again is always safe.
- **Every answer of a function** carries `x-correlation-id`; every error is a problem document (RFC 9457), whose \
`type` keeps its meaning.
- **API Gateway answers by itself** when a request reaches no function: 401 and 403 (the token), 413 (over 10 MB), \
429 (throttled), 500 and 503 (the function failed or ran out of time), and 404 for any path or method that is not in \
this document. Those are `{"message": "..."}`, without a correlation id.
"""


def document(deployment: Deployment) -> dict[str, Any]:
    """The OpenAPI document of a stage."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes.ROUTES:
        operation = operations.operation(route)
        operation["security"] = [] if route.scope is None else [{_SCHEME: [deployment.scope(route.scope)]}]
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Atoll events API", "version": VERSION, "description": _DESCRIPTION},
        "servers": [
            {"url": "./", "description": "The region that served this document"},
            {"url": f"https://{deployment.record}/", "description": "The nearest healthy region"},
        ],
        "tags": [{"name": name, "description": text} for name, text in operations.TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.COMPONENTS | answers.PROBLEMS,
            "headers": answers.HEADERS,
            "parameters": operations.PARAMETERS,
            "securitySchemes": {_SCHEME: _security_scheme(deployment)},
        },
    }


def _security_scheme(deployment: Deployment) -> dict[str, Any]:
    return {
        "type": "oauth2",
        "description": "A JSON Web Token of the client, as `authorization: Bearer <token>`. Its claim `client_id`, "
        "else `sub`, is the tenant: a caller sees its own tenant's events only.",
        "flows": {
            "clientCredentials": {
                "tokenUrl": deployment.token_url,
                "scopes": {deployment.write_scope: "Send events", deployment.read_scope: "Read events and activity"},
            }
        },
    }


def text(deployment: Deployment, *, indent: int | None = None) -> str:
    """The document as JSON, in ASCII."""
    separators = (",", ":") if indent is None else None
    return json.dumps(document(deployment), indent=indent, separators=separators)

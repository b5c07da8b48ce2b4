"""Requests to the APIs of API Gateway: counted as AWS counts them, and 503 where they are taken away."""

from __future__ import annotations

import importlib
import time
from typing import Any

from ops.local.emulator.metrics import Metrics
from ops.local.emulator.outages import Outages
from ops.local.emulator.scopes import Scope, entered


class Apis:
    """The APIs of every account and region."""

    def __init__(self, outages: Outages, metrics: Metrics) -> None:
        self._service = importlib.import_module("ministack.services.apigateway")
        self._serve = self._service.handle_execute
        self._outages = outages
        self._metrics = metrics

    async def serve(  # noqa: PLR0917 (the emulator's own parameters)
        self,
        api_id: str,
        stage: str,
        path: str,
        method: str,
        headers: Any,
        body: Any,
        query_params: Any,
        raw_query_string: str | None = None,
    ) -> Any:
        """Stands in for ``handle_execute``."""
        owner = self._service.find_api_scope(api_id)
        if owner is not None and owner[1] in self._outages.effects.apis_down:
            return 503, {"Content-Type": "application/json"}, b'{"message":"Service Unavailable"}'
        started = time.perf_counter()
        answer = await self._serve(
            api_id, stage, path, method, headers, body, query_params, raw_query_string=raw_query_string
        )
        if owner is not None:
            latency_ms = (time.perf_counter() - started) * 1000
            scope = Scope(*owner)
            with entered(scope):
                matched = self._service._match_route(api_id, method, "/" + path.lstrip("/")) or {}
            route = matched.get("routeKey", "")
            self._metrics.request(scope, api_id, stage, route, status=answer[0], latency_ms=latency_ms)
        return answer

"""What IAM is asked about a call, where the emulator asks it about something else than AWS does."""

from __future__ import annotations

import importlib
import json
from typing import Any


class Enforcement:
    """The origin of a call, and the resource that it is held against."""

    def __init__(self) -> None:
        self._pin_origin = importlib.import_module("ministack.app").pin_request_origin
        self._extract = importlib.import_module("ministack.core.iam_actions").extract_resource_arn

    def pin_request_origin(self, source_ip: str, secure_transport: bool) -> None:
        """Stands in for the function of this name: every call counts as one over TLS."""
        self._pin_origin(source_ip, True)

    def extract_resource_arn(  # noqa: PLR0917 (the emulator's own parameters)
        self,
        service: str,
        method: str,
        path: str,
        headers: Any,
        body: bytes,
        query_params: Any,
        region: str,
        account_id: str,
    ) -> str:
        """Stands in for the function of this name."""
        if service == "events" and headers.get("x-amz-target") == "AWSEvents.DescribeEventBus":
            name = str(json.loads(body or b"{}").get("Name") or "default")
            return name if name.startswith("arn:") else f"arn:aws:events:{region}:{account_id}:event-bus/{name}"
        return str(self._extract(service, method, path, headers, body, query_params, region, account_id))

"""What IAM is asked about a call, where the emulator asks it about something else than AWS does."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

_ROUTE53_PATH = re.compile(r"/((?:healthcheck|change)/[^/]+)")


class Enforcement:
    """The origin of a call, the action that it takes and the resource that it is held against."""

    def __init__(self) -> None:
        self._pin_origin = importlib.import_module("ministack.app").pin_request_origin
        actions = importlib.import_module("ministack.core.iam_actions")
        self._extract, self._lambda_action = actions.extract_resource_arn, actions._lambda_action

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
        if service == "events":
            addressed = _of_eventbridge(str(headers.get("x-amz-target")), json.loads(body or b"{}"))
            if addressed:
                place = "" if addressed.startswith("arn:") else f"arn:aws:events:{region}:{account_id}:"
                return place + addressed
        if service == "route53" and (found := _ROUTE53_PATH.search(path)):
            return f"arn:aws:route53:::{found[1]}"
        found_arn = str(self._extract(service, method, path, headers, body, query_params, region, account_id))
        if service == "monitoring" and found_arn == "*":
            # DescribeAlarms is held against all alarms; a policy for calls that know no resource allows this too.
            return f"arn:aws:cloudwatch:{region}:{account_id}:alarm:*"
        return found_arn

    def lambda_action(self, method: str, path: str) -> str | None:
        """Stands in for the function ``_lambda_action``."""
        if method == "GET" and path.endswith("/concurrency"):
            return "GetFunctionConcurrency"
        if method == "GET" and re.search(r"/event-source-mappings/[^/]+$", path):
            return "GetEventSourceMapping"
        action = self._lambda_action(method, path)
        return None if action is None else str(action)


def _of_eventbridge(target: str, request: dict[str, Any]) -> str:
    """What a call addresses, as the end of its ARN or as an ARN; empty where ministack knows or AWS has nothing."""
    if target == "AWSEvents.DescribeEventBus":
        name = str(request.get("Name") or "default")
        return name if name.startswith("arn:") else f"event-bus/{name}"
    if "ArchiveName" in request:
        return f"archive/{request['ArchiveName']}"
    if "ReplayName" in request:
        return f"replay/{request['ReplayName']}"
    if "Rule" in request:
        bus = str(request.get("EventBusName") or "default").rpartition("/")[2]
        return f"rule/{request['Rule']}" if bus == "default" else f"rule/{bus}/{request['Rule']}"
    return ""

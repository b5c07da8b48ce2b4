"""What IAM is asked about a call, where the emulator asks it about something else than AWS does."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ops.local.emulator.movetasks import dead_letters, source_of

# What a call needs beside the action of its name, on the same queue.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/troubleshooting.html ("DLQ-redrive issues")
_ALSO = {
    "sqs:StartMessageMoveTask": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    "sqs:CancelMessageMoveTask": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    "sqs:ListMessageMoveTasks": ("sqs:GetQueueAttributes",),
}
# What whoever asks for an export needs, on the objects that it writes.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport_Requesting.html
_OF_EXPORT = ("s3:AbortMultipartUpload", "s3:PutObject", "s3:PutObjectAcl")
# Calls that no action of IAM is named after.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
_ACTION_OF = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}
_ROUTE53_PATH = re.compile(r"/((?:healthcheck|change)/[^/]+)")


class Enforcement:
    """The origin of a call, the action that it takes and the resource that it is held against."""

    def __init__(self) -> None:
        self._pin_origin = importlib.import_module("ministack.app").pin_request_origin
        actions = importlib.import_module("ministack.core.iam_actions")
        self._extract, self._lambda_action = actions.extract_resource_arn, actions._lambda_action
        self._resource_arns = actions.eventbridge_resource_arns
        self._enforce: Callable[..., Any] = importlib.import_module("ministack.core.iam_evaluator").enforce
        self._queues = importlib.import_module("ministack.services.sqs")._queues
        # What the call which is served writes to besides: queues of a task, or objects of an export.
        self._destinations: ContextVar[tuple[str, ...]] = ContextVar("destinations", default=())

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
        self._destinations.set(())
        if service == "sqs" and (queue := self._of_move_task(headers, body)):
            return queue
        if service == "dynamodb" and (export := self._of_export(headers, body)):
            return export
        if service == "events":
            addressed = _of_eventbridge(str(headers.get("x-amz-target")), _json(body))
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

    def eventbridge_resource_arns(self, body: bytes, region: str, account_id: str) -> list[str]:
        """Stands in for the function of this name: all that a call addresses, each of which it needs.

        https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
        """
        place, request = f"arn:aws:events:{region}:{account_id}", _json(body)
        match request:
            case {"ReplayName": name, "EventSourceArn": archive, "Destination": {"Arn": bus}}:
                return [f"{place}:replay/{name}", str(archive), str(bus)]
            case {"ArchiveName": name, "EventSourceArn": bus}:
                return [f"{place}:archive/{name}", str(bus)]
        return [str(one) for one in self._resource_arns(body, region, account_id)]

    def enforce(  # noqa: PLR0917 (the emulator's own parameters)
        self,
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: Any = None,
    ) -> Any:
        """Stands in for the function of this name: None, or why the call is refused."""
        iam_action = _ACTION_OF.get(iam_action, iam_action)
        needed = [(action, resource_arn) for action in (iam_action, *_ALSO.get(iam_action, ()))]
        if iam_action == "sqs:StartMessageMoveTask":
            needed += [("sqs:SendMessage", one) for one in self._destinations.get()]
        if iam_action == "dynamodb:ExportTableToPointInTime":
            needed += [(action, one) for one in self._destinations.get() for action in _OF_EXPORT]
        for action, arn in needed:
            refused = self._enforce(
                access_key_id, action, service, region, resource_arn=arn, service_context=service_context
            )
            if refused:
                return refused
        return None

    def _of_move_task(self, headers: Any, body: bytes) -> str:
        """The DLQ that a call of a task addresses; empty for any other call. Notes where the task sends to."""
        operation, request = str(headers.get("x-amz-target")).rpartition(".")[2], _json(body)
        if operation == "CancelMessageMoveTask":
            try:
                return source_of(str(request.get("TaskHandle", "")))
            except ValueError:
                return ""
        if operation not in {"StartMessageMoveTask", "ListMessageMoveTasks"}:
            return ""
        source, destination = str(request.get("SourceArn", "")), request.get("DestinationArn")
        if operation == "StartMessageMoveTask":
            origins = [one for one in self._queues.all_values() if (dead_letters(one) or ("", 0))[0] == source]
            arns = [str(destination)] if destination else [str(one["attributes"]["QueueArn"]) for one in origins]
            self._destinations.set(tuple(arns))
        return source

    def _of_export(self, headers: Any, body: bytes) -> str:
        """The table or export that a call of exports addresses; empty for any other call. Notes where it writes."""
        operation, request = str(headers.get("x-amz-target")).rpartition(".")[2], _json(body)
        if operation == "DescribeExport":
            return str(request.get("ExportArn", ""))
        if operation != "ExportTableToPointInTime":
            return ""
        prefix = str(request.get("S3Prefix") or "").rstrip("/")
        folder = f"{prefix}/AWSDynamoDB" if prefix else "AWSDynamoDB"
        self._destinations.set((f"arn:aws:s3:::{request.get('S3Bucket', '')}/{folder}/",))
        return str(request.get("TableArn", ""))

    def lambda_action(self, method: str, path: str) -> str | None:
        """Stands in for the function ``_lambda_action``."""
        if method == "GET" and path.endswith("/concurrency"):
            return "GetFunctionConcurrency"
        if method == "GET" and re.search(r"/event-source-mappings/[^/]+$", path):
            return "GetEventSourceMapping"
        action = self._lambda_action(method, path)
        return None if action is None else str(action)


def _json(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


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

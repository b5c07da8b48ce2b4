"""What IAM is asked about a call is what AWS would ask."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ops.local.emulator.enforcement import Enforcement


def test_request_over_loopback_counts_as_one_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[tuple[str, bool]] = []
    monkeypatch.setattr("ministack.app.pin_request_origin", lambda *origin: pinned.append(origin))
    Enforcement().pin_request_origin("127.0.0.1", False)
    assert pinned == [("127.0.0.1", True)]


@pytest.mark.parametrize(
    ("operation", "body", "resource"),
    [
        ("DescribeEventBus", {"Name": "atoll"}, "event-bus/atoll"),
        ("DescribeEventBus", {"Name": "arn:aws:events:eu-west-1:000000000000:event-bus/atoll"}, "event-bus/atoll"),
        ("DescribeEventBus", {}, "event-bus/default"),
        ("DescribeRule", {"Name": "to-store", "EventBusName": "atoll"}, "rule/atoll/to-store"),
        ("ListTargetsByRule", {"Rule": "to-store", "EventBusName": "atoll"}, "rule/atoll/to-store"),
        ("ListTargetsByRule", {"Rule": "to-store"}, "rule/to-store"),
        ("DescribeArchive", {"ArchiveName": "atoll"}, "archive/atoll"),
        ("StartReplay", {"ReplayName": "again", "EventSourceArn": "an archive's"}, "replay/again"),
    ],
)
def test_resource_of_a_call_is_what_aws_holds_it_against(operation: str, body: dict[str, str], resource: str) -> None:
    headers = {"x-amz-target": f"AWSEvents.{operation}"}
    asked = Enforcement().extract_resource_arn(
        "events", "POST", "/", headers, json.dumps(body).encode(), {}, "eu-west-1", "000000000000"
    )
    assert asked == f"arn:aws:events:eu-west-1:000000000000:{resource}"


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/2013-04-01/healthcheck/0f1e", "arn:aws:route53:::healthcheck/0f1e"),
        ("/2013-04-01/change/C1", "arn:aws:route53:::change/C1"),
    ],
)
def test_health_checks_and_changes_of_route_53_are_resources_of_their_own(path: str, resource: str) -> None:
    asked = Enforcement().extract_resource_arn("route53", "GET", path, {}, b"", {}, "us-east-1", "000000000000")
    assert asked == resource


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/2019-09-30/functions/store/concurrency", "GetFunctionConcurrency"),
        ("PUT", "/2017-10-31/functions/store/concurrency", "PutFunctionConcurrency"),
        ("GET", "/2015-03-31/event-source-mappings/0f1e", "GetEventSourceMapping"),
        ("GET", "/2015-03-31/event-source-mappings", "ListEventSourceMappings"),
    ],
)
def test_action_of_reading_one_thing_of_a_function_is_its_own(method: str, path: str, action: str) -> None:
    assert Enforcement().lambda_action(method, path) == action


def test_call_of_cloudwatch_that_names_no_alarm_is_held_against_all_of_them() -> None:
    held = Enforcement().extract_resource_arn("monitoring", "POST", "/", {}, b"", {}, "us-east-1", "000000000000")
    assert held == "arn:aws:cloudwatch:us-east-1:000000000000:alarm:*"


ARN = "arn:aws:events:eu-west-1:000000000000"
DLQ = "arn:aws:sqs:eu-west-1:000000000000:dead"


@pytest.mark.parametrize(
    ("body", "arns"),
    [
        (
            {"ReplayName": "r", "EventSourceArn": f"{ARN}:archive/a", "Destination": {"Arn": f"{ARN}:event-bus/b"}},
            [f"{ARN}:replay/r", f"{ARN}:archive/a", f"{ARN}:event-bus/b"],
        ),
        ({"ArchiveName": "a", "EventSourceArn": f"{ARN}:event-bus/b"}, [f"{ARN}:archive/a", f"{ARN}:event-bus/b"]),
        ({"Entries": [{"EventBusName": "b"}, {}]}, [f"{ARN}:event-bus/b", f"{ARN}:event-bus/default"]),
        ({"ReplayName": "r"}, []),
    ],
)
def test_call_of_eventbridge_is_held_against_all_that_it_addresses(body: dict[str, Any], arns: list[str]) -> None:
    held = Enforcement().eventbridge_resource_arns(json.dumps(body).encode(), "eu-west-1", "000000000000")
    assert held == arns


class Policies:
    """Lets what it is told pass, and keeps what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *refused: tuple[str, str]) -> None:
        self.asked: list[tuple[str, str]] = []
        self.enforcement = Enforcement()
        self._refused = refused
        monkeypatch.setattr(self.enforcement, "_enforce", self._enforce)

    def _enforce(self, key: str, action: str, service: str, region: str, resource_arn: str, **_: Any) -> str | None:
        self.asked.append((action.removeprefix("sqs:"), resource_arn))
        return "refused" if self.asked[-1] in self._refused else None

    def call(self, operation: str, **body: str) -> Any:
        headers = {"x-amz-target": f"AmazonSQS.{operation}"}
        payload = json.dumps(body).encode()
        arn = self.enforcement.extract_resource_arn(
            "sqs", "POST", "/", headers, payload, {}, "eu-west-1", "000000000000"
        )
        return self.enforcement.enforce("key", f"sqs:{operation}", "sqs", "eu-west-1", resource_arn=arn)


def test_task_needs_what_moving_by_hand_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    policies, destination = Policies(monkeypatch), DLQ.replace("dead", "work")
    assert policies.call("StartMessageMoveTask", SourceArn=DLQ, DestinationArn=destination) is None
    on_the_dlq = [(name, DLQ) for name in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")]
    assert policies.asked == [("StartMessageMoveTask", DLQ), *on_the_dlq, ("SendMessage", destination)]
    policies.asked.clear()
    task = base64.b64encode(json.dumps({"taskId": "1", "sourceArn": DLQ}).encode()).decode()
    assert policies.call("CancelMessageMoveTask", TaskHandle=task) is None
    assert policies.asked == [("CancelMessageMoveTask", DLQ), *on_the_dlq]
    policies.asked.clear()
    assert policies.call("ListMessageMoveTasks", SourceArn=DLQ) is None
    assert policies.asked == [("ListMessageMoveTasks", DLQ), ("GetQueueAttributes", DLQ)]


def test_task_is_refused_when_one_of_its_grants_is(monkeypatch: pytest.MonkeyPatch) -> None:
    policies = Policies(monkeypatch, ("DeleteMessage", DLQ))
    assert policies.call("StartMessageMoveTask", SourceArn=DLQ) == "refused"
    assert policies.call("ListMessageMoveTasks", SourceArn=DLQ) is None


def test_call_of_a_queue_is_held_against_that_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    policies = Policies(monkeypatch)
    policies.call("ListDeadLetterSourceQueues", QueueUrl="http://localhost/000000000000/dead")
    assert policies.asked == [("ListDeadLetterSourceQueues", DLQ)]


def test_batch_needs_the_grant_of_the_single_call(monkeypatch: pytest.MonkeyPatch) -> None:
    policies = Policies(monkeypatch)
    for call in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility"):
        policies.call(f"{call}Batch", QueueUrl="http://localhost/000000000000/dead")
    assert [action for action, _ in policies.asked] == ["SendMessage", "DeleteMessage", "ChangeMessageVisibility"]


def test_export_needs_the_grants_to_write_its_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def note(access_key: str, action: str, service: str, region: str, *, resource_arn: str, **_: Any) -> None:
        asked.append((action, resource_arn))

    monkeypatch.setattr("ministack.core.iam_evaluator.enforce", note)
    enforcement, table = Enforcement(), "arn:aws:dynamodb:eu-west-1:000000000000:table/t"
    headers = {"x-amz-target": "DynamoDB_20120810.ExportTableToPointInTime"}
    body = json.dumps({"TableArn": table, "S3Bucket": "bucket", "S3Prefix": "exports"}).encode()
    arn = enforcement.extract_resource_arn("dynamodb", "POST", "/", headers, body, {}, "eu-west-1", "000000000000")
    assert enforcement.enforce("key", "dynamodb:ExportTableToPointInTime", "dynamodb", "eu-west-1", arn) is None
    written = "arn:aws:s3:::bucket/exports/AWSDynamoDB/"
    assert asked[0] == ("dynamodb:ExportTableToPointInTime", table)
    assert set(asked[1:]) == {(f"s3:{one}", written) for one in ("AbortMultipartUpload", "PutObject", "PutObjectAcl")}

"""What IAM is asked about a call is what AWS would ask."""

from __future__ import annotations

import json

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

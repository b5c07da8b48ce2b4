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
    ],
)
def test_resource_of_describe_event_bus_is_the_bus_and_of_others_what_it_was(
    operation: str, body: dict[str, str], resource: str
) -> None:
    headers = {"x-amz-target": f"AWSEvents.{operation}"}
    asked = Enforcement().extract_resource_arn(
        "events", "POST", "/", headers, json.dumps(body).encode(), {}, "eu-west-1", "000000000000"
    )
    assert asked == f"arn:aws:events:eu-west-1:000000000000:{resource}"

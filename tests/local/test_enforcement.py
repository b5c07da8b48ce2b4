"""The local cloud holds the functions to their roles: what a role does not grant fails here, as it would on AWS."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.local.conftest import Atoll
from tests.local.platform import wait_until
from tests.unit.handlers.support import body_of, cloudevent, post, request

REGION = "us-east-1"


@contextmanager
def without(atoll: Atoll, function: str, action: str) -> Iterator[None]:
    """Take one action away from the role of a function in one region, and give it back."""
    iam = atoll.client("iam", REGION)
    named = {"RoleName": f"{atoll.stage.prefix}-{function}-{REGION}", "PolicyName": function}
    whole = iam.get_role_policy(**named)["PolicyDocument"]
    less = json.loads(json.dumps(whole))
    for statement in less["Statement"]:
        statement["Action"] = [one for one in statement["Action"] if one != action]
    less["Statement"] = [statement for statement in less["Statement"] if statement["Action"]]
    assert less != whole, f"{named['RoleName']} does not grant {action}"
    iam.put_role_policy(**named, PolicyDocument=json.dumps(less))
    try:
        yield
    finally:
        iam.put_role_policy(**named, PolicyDocument=json.dumps(whole))


def invoke(atoll: Atoll, function: str, event: dict[str, Any], region: str = REGION) -> dict[str, Any]:
    """What a function answers to a request of the API; asked past the API, whose figures other tests look at."""
    client = atoll.client("lambda", region)
    answer = client.invoke(FunctionName=atoll.stage.function(function), Payload=json.dumps(event))
    return dict(json.load(answer["Payload"]))


def denied(atoll: Atoll, function: str) -> bool:
    """Whether the log of a function in REGION has a call that was denied."""
    group = f"/aws/lambda/{atoll.stage.function(function)}"
    pages = atoll.client("logs", REGION).get_paginator("filter_log_events").paginate(logGroupName=group)
    return any("AccessDenied" in event["message"] for page in pages for event in page["events"])


def accept(atoll: Atoll, region: str) -> dict[str, Any]:
    return invoke(atoll, "ingest", post(cloudevent(id=uuid.uuid4().hex)), region)


def test_ingest_without_a_permission_is_refused_in_that_region_only(atoll: Atoll) -> None:
    with without(atoll, "ingest", "events:PutEvents"):
        refused, elsewhere = accept(atoll, REGION), accept(atoll, "ap-south-1")

    assert (refused["statusCode"], body_of(refused)["type"]) == (503, "/problems/not-published")
    assert "AccessDenied" in body_of(refused)["detail"]
    assert elsewhere["statusCode"] == 202
    assert accept(atoll, REGION)["statusCode"] == 202


@pytest.mark.parametrize(
    ("action", "checks"), [("events:DescribeEventBus", {"bus"}), ("dynamodb:GetItem", {"table", "idempotency"})]
)
def test_status_without_a_permission_names_what_it_may_not_see(atoll: Atoll, action: str, checks: set[str]) -> None:
    with without(atoll, "status", action):
        answer = invoke(atoll, "status", request("GET /status"))

    assert answer["statusCode"] == 503
    reasons = {name: check.get("reason") for name, check in body_of(answer)["checks"].items() if not check["ok"]}
    assert reasons == dict.fromkeys(checks, "AccessDeniedException")
    assert invoke(atoll, "status", request("GET /status"))["statusCode"] == 200


def test_processor_without_a_permission_loses_nothing(atoll: Atoll) -> None:
    with without(atoll, "store", "dynamodb:PutItem"):
        event_key = body_of(accept(atoll, REGION))["event_key"]
        wait_until(lambda: denied(atoll, "store"), "a denied write in the log of store", timeout_s=60)
        assert event_key not in atoll.event_keys(REGION)
    atoll.wait_until_quiet()

    assert event_key in atoll.event_keys(REGION)

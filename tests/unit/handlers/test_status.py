from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from handlers import status
from handlers.core import aws
from tests.unit.handlers.support import ENVIRONMENT, Cloud, Context, body_of, request


def ask() -> dict[str, Any]:
    return status.handler(request("GET /status"), Context())


def break_probe(service: str, operation: str, error: Exception) -> None:
    client = aws.dynamodb(probe=True) if service == "dynamodb" else aws.events(probe=True)

    def explode(**_: Any) -> None:
        raise error

    client.meta.events.register_first(f"before-call.{service}.{operation}", explode)


def test_status_when_all_answer_is_200_and_names_region_and_stage(cloud: Cloud) -> None:
    answer = ask()
    body = body_of(answer)
    assert answer["statusCode"] == 200
    assert (body["status"], body["region"], body["stage"]) == ("ok", "us-east-1", "test")
    assert list(body["checks"]) == ["table", "bus", "idempotency"]
    assert all(check["ok"] and check["latency_ms"] >= 0 and "reason" not in check for check in body["checks"].values())


@pytest.mark.parametrize(
    ("service", "operation", "failed"),
    [("dynamodb", "GetItem", {"table", "idempotency"}), ("events", "DescribeEventBus", {"bus"})],
)
def test_status_when_a_service_does_not_answer_is_503_and_names_it(
    cloud: Cloud, service: str, operation: str, failed: set[str], logs: StringIO
) -> None:
    break_probe(service, operation, ConnectTimeoutError(endpoint_url="https://internal.invalid"))
    answer = ask()
    body = body_of(answer)
    assert (answer["statusCode"], body["status"]) == (503, "degraded")
    assert {name for name, check in body["checks"].items() if not check["ok"]} == failed
    assert {body["checks"][name]["reason"] for name in failed} == {"ConnectTimeoutError"}
    assert "internal.invalid" not in answer["body"] + logs.getvalue()


def test_status_when_a_table_is_missing_is_503_with_the_reason_and_no_name(cloud: Cloud) -> None:
    cloud.dynamodb.delete_table(TableName=ENVIRONMENT["ATOLL_IDEMPOTENCY_TABLE"])
    answer = ask()
    assert answer["statusCode"] == 503
    assert body_of(answer)["checks"]["idempotency"]["reason"] == "ResourceNotFoundException"
    assert ENVIRONMENT["ATOLL_IDEMPOTENCY_TABLE"] not in answer["body"]


@pytest.mark.parametrize(
    ("service", "operation", "code"), [("events", "DescribeEventBus", 200), ("dynamodb", "GetItem", 503)]
)
def test_status_when_throttled_is_down_for_data_and_not_for_the_control_plane(
    cloud: Cloud, service: str, operation: str, code: int
) -> None:
    from botocore.exceptions import ClientError

    break_probe(service, operation, ClientError({"Error": {"Code": "ThrottlingException"}}, operation))
    assert ask()["statusCode"] == code


def test_probes_make_one_short_attempt() -> None:
    for client in (aws.dynamodb(probe=True), aws.events(probe=True)):
        config = client.meta.config
        assert (config.connect_timeout, config.read_timeout) == (0.5, 1)
        assert config.retries["total_max_attempts"] == 1

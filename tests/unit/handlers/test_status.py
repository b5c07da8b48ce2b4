from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from handlers import status
from handlers.core import aws, health
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


# --- a region that was left ------------------------------------------------------------------------------------------


def leave(cloud: Cloud, region: str) -> None:
    """Put the flag as the runbook does, with what nobody outside is told."""
    item = {"pk": {"S": "CONTROL#evacuation"}, "sk": {"S": region}, "reason": {"S": "racks on fire"}}
    cloud.dynamodb.put_item(
        TableName=ENVIRONMENT["ATOLL_TABLE"],
        Item={**item, "region": {"S": region}, "since": {"S": "2026-11-22T10:00:00.000Z"}, "by": {"S": "ada"}},
    )


def ask_of(region: str) -> dict[str, Any]:
    return status.handler(request("GET /evacuated/{region}", path={"region": region}), Context())


def test_status_of_an_evacuated_region_is_503_and_says_no_more_than_that(cloud: Cloud) -> None:
    leave(cloud, "us-east-1")
    answer = ask()
    body = body_of(answer)
    assert (answer["statusCode"], body["status"]) == (503, "evacuated")
    assert all(check["ok"] for check in body["checks"].values())
    assert not [word for word in ("fire", "ada", "10:00") if word in answer["body"]]


def test_status_of_a_region_is_its_own_when_another_is_evacuated(cloud: Cloud) -> None:
    leave(cloud, "ap-south-1")
    assert (ask()["statusCode"], body_of(ask())["status"]) == (200, "ok")


def test_status_of_an_evacuated_region_that_is_sick_names_its_checks(cloud: Cloud) -> None:
    leave(cloud, "us-east-1")
    break_probe("events", "DescribeEventBus", ConnectTimeoutError(endpoint_url="https://internal.invalid"))
    body = body_of(ask())
    assert (body["status"], body["checks"]["bus"]["ok"], body["checks"]["table"]["ok"]) == ("evacuated", False, True)


def test_evacuated_tells_of_any_region_of_the_stage(cloud: Cloud) -> None:
    leave(cloud, "ap-south-1")
    answer = ask_of("ap-south-1")
    assert answer["statusCode"] == 200
    assert body_of(answer) == {"evacuated": "ap-south-1", "region": "us-east-1", "stage": "test"}
    assert ask_of("us-east-1")["statusCode"] == 404


@pytest.mark.parametrize(
    ("region", "code", "kind"),
    [
        ("eu-west-1", 404, "/problems/not-found"),
        ("us-east-1#", 400, "/problems/invalid-parameter"),
        ("US-EAST-1", 400, "/problems/invalid-parameter"),
        ("", 400, "/problems/invalid-parameter"),
        ("x" * 5000, 400, "/problems/invalid-parameter"),
    ],
)
def test_evacuated_of_what_is_no_region_of_the_stage_reads_nothing(
    cloud: Cloud, region: str, code: int, kind: str
) -> None:
    break_probe("dynamodb", "GetItem", AssertionError("the table was asked"))
    answer = ask_of(region)
    assert (answer["statusCode"], body_of(answer)["type"]) == (code, kind)
    assert len(answer["body"]) < 500


def test_evacuated_when_the_replica_is_silent_is_503(cloud: Cloud) -> None:
    break_probe("dynamodb", "GetItem", ConnectTimeoutError(endpoint_url="https://internal.invalid"))
    answer = ask_of("ap-south-1")
    assert (answer["statusCode"], body_of(answer)["type"]) == (503, "/problems/unavailable")


def test_gauge_of_an_evacuated_region_that_is_well_rings_no_alarm(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, float]] = []
    monkeypatch.setattr(health, "gauge", lambda name, value: seen.append((name, value)))
    leave(cloud, "us-east-1")
    ask()
    assert seen == [("Unhealthy", 0)]

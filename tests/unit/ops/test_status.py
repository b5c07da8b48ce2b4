"""What ``/status`` says, and what a status makes of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ops import status
from ops.aws import Cloud
from ops.status import Health

CHECKS = {"table": {"ok": True}, "bus": {"ok": True}}


@pytest.mark.parametrize(
    ("code", "body", "expected", "well"),
    [
        (200, {"status": "ok", "checks": CHECKS}, "/status answers 200 ok", True),
        (503, {"status": "evacuated", "checks": CHECKS}, "/status answers 503 evacuated", True),
        (
            503,
            {"status": "evacuated", "checks": CHECKS | {"bus": {"ok": False}}},
            "/status answers 503 evacuated, not well: bus",
            False,
        ),
        (503, {"message": "Service Unavailable"}, "/status answers 503", False),
        (200, ["not", "ours"], "/status answers 200", False),
    ],
)
def test_health_is_read_from_the_body_as_far_as_it_is_ours(code: int, body: Any, expected: str, well: bool) -> None:
    found = status.read_health(httpx.Response(code, json=body))
    assert (str(found), found.well) == (expected, well)


def test_health_of_a_page_that_is_no_json_is_its_code() -> None:
    assert status.read_health(httpx.Response(502, text="<html>")) == Health(502)


def test_health_without_an_answer_is_not_well() -> None:
    assert (str(Health()), Health().well) == ("/status gives no answer", False)


@pytest.mark.parametrize(
    ("health", "problem"),
    [
        (Health(503, "evacuated", {"table": True}), ["evacuated: left on purpose, until a failback"]),
        (
            Health(503, "evacuated", {"table": False}),
            ["evacuated: left on purpose, until a failback", "/status answers 503 evacuated, not well: table"],
        ),
        (Health(503, "degraded", {"table": False}), ["/status answers 503 degraded, not well: table"]),
        (Health(), ["/status gives no answer"]),
    ],
)
def test_region_status_says_what_is_evacuated_and_what_is_sick(
    deployed: Cloud, monkeypatch: pytest.MonkeyPatch, health: Health, problem: list[str]
) -> None:
    monkeypatch.setattr(status, "probe", lambda url: health)
    found = status.region_status(deployed, "us-east-1")
    assert found.problems[: len(problem)] == problem
    assert (found.healthy, found.evacuated) == (False, health.evacuated)

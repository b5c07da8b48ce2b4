"""The deployed API keeps its contract: schemathesis finds no server error and no answer that is not documented."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ops.stage import ROOT
from tests.local.conftest import Atoll
from tests.local.platform import wait_until

HERE = ROOT / "tests" / "local" / "contract"
RUN_TIMEOUT_S = 280
EVENT = {"specversion": "1.0", "id": "contract-1", "source": "/contract", "type": "contract.made", "data": {"a": 1}}
STRUCTURED = {"content-type": "application/cloudevents+json"}


@pytest.fixture(scope="module")
def api(atoll: Atoll) -> str:
    """The base URL of the home region's API."""
    return atoll.api(atoll.stage.home_region)


@pytest.fixture(scope="module")
def entry(atoll: Atoll) -> dict[str, str]:
    """The headers that let a caller in."""
    return atoll.bearer()


@pytest.fixture(scope="module")
def stored(api: str, entry: dict[str, str]) -> str:
    """The key of an event that can be read."""
    sent = httpx.post(f"{api}/events", headers=STRUCTURED | entry, content=json.dumps(EVENT), timeout=30)
    assert sent.status_code == 202, sent.text
    key = str(sent.json()["event_key"])
    wait_until(
        lambda: httpx.get(f"{api}/events/{key}", headers=entry, timeout=30).status_code == 200, "the event is stored"
    )
    return key


@pytest.fixture
def left(atoll: Atoll) -> Iterator[str]:
    """A region that the others say was left on purpose."""
    region, asked = "ap-south-1", atoll.client("dynamodb", atoll.stage.home_region)
    key: Any = {"pk": {"S": "CONTROL#evacuation"}, "sk": {"S": region}}
    asked.put_item(TableName=atoll.stage.table_name, Item=key)
    yield region
    asked.delete_item(TableName=atoll.stage.table_name, Key=key)
    wait_until(
        lambda: atoll.ops("edge", "explain", "--from", "Mumbai", "--json").json["region"] == region,
        f"the edge leads to {region} again",
        timeout_s=90,
    )


def test_served_document_is_the_committed_one_but_for_the_stage(atoll: Atoll, api: str) -> None:
    answer = httpx.get(f"{api}/openapi.json", timeout=30)
    served, committed = answer.json(), json.loads((ROOT / "docs" / "openapi.json").read_text())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    scopes, of_prod = atoll.stage.access.scopes, {"events:write", "events:read"}
    flow = served["components"]["securitySchemes"]["token"]["flows"]["clientCredentials"]
    assert set(flow["scopes"]) == {scopes.write, scopes.read} != of_prod
    assert flow["tokenUrl"] == f"{atoll.cloud['endpoint_url']}/oauth2/token"
    assert _without_stage(served) == _without_stage(committed)


def _without_stage(document: dict[str, Any]) -> dict[str, Any]:
    del document["servers"], document["components"]["securitySchemes"]
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["security"] = bool(operation["security"])
    return document


def test_document_that_the_caller_has_is_not_sent_again(api: str) -> None:
    etag = httpx.get(f"{api}/openapi.json", timeout=30).headers["etag"]
    again = httpx.get(f"{api}/openapi.json", headers={"if-none-match": etag}, timeout=30)
    assert (again.status_code, again.content) == (304, b"")


def test_schemathesis_finds_no_server_error_and_no_undocumented_answer(
    api: str, entry: dict[str, str], stored: str, left: str
) -> None:
    assert httpx.get(f"{api}/evacuated/{left}", timeout=30).status_code == 200
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.local.contract.hooks",
        "CONTRACT_EVENT_KEY": stored,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "120",
    }
    command = [ROOT / ".venv/bin/schemathesis", "--config-file", HERE / "schemathesis.toml", "run"]
    command += [f"{api}/openapi.json", "--url", api, "--no-color"]
    command += [part for name, value in entry.items() for part in ("--header", f"{name}: {value}")]
    begun = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout, done.stdout
    print(f"{time.monotonic() - begun:.0f} s\n{done.stdout[done.stdout.index('SUMMARY') :]}")  # noqa: T201


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/nothing/here"), ("PUT", "/events"), ("DELETE", "/activity"), ("POST", "/openapi.json")],
)
def test_unknown_route_is_answered_by_api_gateway_and_reaches_no_function(api: str, method: str, path: str) -> None:
    answer = httpx.request(method, f"{api}{path}", timeout=30)
    assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})
    assert "x-correlation-id" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/events", 415), ("GET", "/events/none", 404), ("GET", "/events?x=1", 400), ("GET", "/status", 200)],
)
def test_answer_of_a_function_carries_the_correlation_id(
    api: str, entry: dict[str, str], method: str, path: str, status: int
) -> None:
    answer = httpx.request(method, f"{api}{path}", headers={"x-correlation-id": "contract"} | entry, timeout=30)
    assert (answer.status_code, answer.headers["x-correlation-id"]) == (status, "contract")
    if status >= 400:
        assert answer.json()["correlation_id"] == "contract"

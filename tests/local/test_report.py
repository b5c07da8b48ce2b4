"""A report on a platform of its own, whose service levels nothing else has spent: well, and with a failing store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from ops import service_levels
from ops.aws import Cloud
from tests.local.conftest import Atoll, brought_up
from tests.local.platform import wait_until
from tests.local.test_enforcement import REGION, without

WELL, BROKEN = 200, 50  # events sent to each region, and to one while its store fails
RUNBOOKS = {"metrics", "parity", "divergence", "cost", "provision"}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atoll]:
    with brought_up(tmp_path_factory.mktemp("fresh")) as platform:
        yield platform


@pytest.fixture
def cloud(fresh: Atoll, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", fresh.cloud["endpoint_url"])
    return Cloud(fresh.stage, str(fresh.stage.account), boto3.Session(region_name=REGION))


def fresh_of(cloud: Cloud) -> service_levels.Level:
    """How fresh the region is whose store fails."""
    now = datetime.now(UTC)
    found = service_levels.evaluate(*service_levels.collect(cloud, now), cloud.stage, now)
    return next(one for one in found if (one.name, one.region) == ("freshness", REGION))


def test_report_after_traffic_passes_and_with_a_failing_store_names_the_region_and_its_burn(
    fresh: Atoll, cloud: Cloud
) -> None:
    for city in ("New York", "Mumbai"):
        fresh.ops("send", "--count", str(WELL), "--from", city)
    fresh.wait_until_quiet()
    wait_until(lambda: fresh_of(cloud).total == WELL, "what was sent to be judged", timeout_s=90)

    first = fresh.ops("report", "daily", "--json").json

    assert {run["runbook"]: run["verdict"] for run in first["runs"]} == dict.fromkeys(RUNBOOKS, "pass")
    assert (first["verdict"], first["missed"], first["problems"]) == ("pass", [], [])
    page = (Path(first["directory"]) / "index.html").read_text()
    assert "This is the first run of this suite" in page

    with without(fresh, "store", "dynamodb:PutItem"):
        fresh.ops("send", "--count", str(BROKEN), "--from", "New York")
        wait_until(lambda: fresh_of(cloud).total == WELL + BROKEN, "what was sent to be judged", timeout_s=90)
        second = fresh.ops("report", "daily", "--json", expect=1).json

    assert second["verdict"] == "fail"
    [metrics] = [run for run in second["runs"] if run["runbook"] == "metrics"]
    # By hand: 50 of 250 events never stored are 0.2 bad, of 0.01 that may be: a burn of 20.
    assert metrics["why"].startswith(f"freshness in {REGION}: page: 1h burns 20.0 times its budget")
    assert "50 bad of 250" in metrics["why"]
    assert metrics["figures"]["freshness_fastest_burn"] == 20
    page = (Path(second["directory"]) / "index.html").read_text()
    banner = page[page.index('aria-label="Verdict"') :][:1000]
    assert f"freshness in {REGION}" in banner
    assert "metrics</b> was pass, is fail" in page
    assert json.loads((Path(second["directory"]) / "suite.json").read_text())["verdict"] == "fail"
    history = (fresh.directory / "reports" / "history.html").read_text()
    assert history.count("(suite)") == 2

    # Another machine, whose folder of reports is empty, compares with what this one left in S3.
    elsewhere = fresh.directory / "elsewhere"
    third = fresh.ops("report", "daily", "--json", expect=1, ATOLL_REPORTS_DIR=str(elsewhere)).json
    assert third["problems"] == []
    page = (Path(third["directory"]) / "index.html").read_text()
    assert "metrics</b> was" not in page
    assert f"{second['started'][:10]}" in page
    assert len(list(elsewhere.glob("local/suites/*/suite.json"))) == 3

"""The failover runbook on the local cloud, by the commands an operator types."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.stage import ROOT
from tests.local.conftest import OPS, Atoll
from tests.local.platform import wait_until

LEFT, OTHER = "us-east-1", "ap-south-1"
DRILL = ("run", "failover", "--stage", "local", "-p", "mode=drill", "-p", f"region={LEFT}", "-p", "minutes=1")
RUN_TIMEOUT_S = 480


def run(atoll: Atoll, *arguments: str, expect: int) -> dict[str, Any]:
    """Run the runbook; its result. A drill takes longer than other commands."""
    done = subprocess.run(
        [OPS, *arguments, "--json"],
        cwd=ROOT,
        env=atoll.environment,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == expect, f"{done.stdout}\n{done.stderr}"
    return dict(json.loads(done.stdout))


def check(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in result["checks"] if one["name"] == name)


@pytest.fixture(autouse=True)
def healed(atoll: Atoll) -> Iterator[None]:
    """Each test finds a sound platform, whatever ran before: no experiment, no fault, replicas that agree."""
    _heal(atoll)
    # The latency of what was held back is a measurement for some minutes more, and a reason not to.
    wait_until(lambda: _fresh(atoll), "replication is measured as it is now", timeout_s=240)
    yield
    _heal(atoll)


def _heal(atoll: Atoll) -> None:
    atoll.ops("drill", "stop", "--stage", "local")
    atoll.ops("fault", "heal")
    wait_until(lambda: atoll.ops("status", expect=None).status == 0, "every region is healthy", timeout_s=90)


def _fresh(atoll: Atoll) -> bool:
    """Whether the newest replication latency that CloudWatch has, both ways, would let a drill begin."""
    atoll.ops("send", "--count", "4", "--json")
    now = datetime.now(UTC)

    def newest(source: str, target: str) -> float:
        points = atoll.client("cloudwatch", source).get_metric_statistics(
            Namespace="AWS/DynamoDB",
            MetricName="ReplicationLatency",
            Dimensions=[
                {"Name": "TableName", "Value": atoll.stage.table_name},
                {"Name": "ReceivingRegion", "Value": target},
            ],
            StartTime=now - timedelta(minutes=5),
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        return float(max(points, key=lambda point: point["Timestamp"])["Maximum"]) if points else 0.0

    limit = atoll.stage.failover.max_replication_lag_ms
    return all(newest(*pair) <= limit for pair in ((LEFT, OTHER), (OTHER, LEFT)))


def test_drill_loses_nothing_doubles_nothing_and_moves_traffic_in_time(atoll: Atoll) -> None:
    result = run(atoll, *DRILL, expect=0)
    figures = result["figures"]
    assert result["verdict"] == "pass"
    assert figures["approved_by"].startswith("failover.approve_drills")
    assert (figures["lost"], figures["duplicated"], figures["foreign"]) == (0, 0, 0)
    assert figures["accepted"] > 100
    assert 0 < figures["rto_s"] <= figures["rto_bound_s"] == 30
    assert figures["moved_after_s"] <= figures["rto_bound_s"]
    assert check(result, "traffic moved")["ok"]
    page = (atoll.directory / "reports" / "local").rglob("run.html")
    assert any("Whom the edge led each city to" in one.read_text(encoding="utf-8") for one in page)


def test_drill_that_is_not_healed_fails_and_names_what_is_missing_and_the_way_to_heal(atoll: Atoll) -> None:
    result = run(atoll, *DRILL, "-p", "leave=replication", expect=1)
    assert result["verdict"] == "fail"
    lost = check(result, "no accepted event is lost")
    missing = result["figures"]["missing"]
    assert not lost["ok"]
    assert any(keys for keys in missing.values())
    assert next(key for keys in missing.values() for key in keys) in lost["detail"]
    assert "ops drill stop --stage local" in check(result, "left broken")["detail"]


def test_ctrl_c_in_the_middle_leaves_the_system_healed(atoll: Atoll) -> None:
    process = subprocess.Popen(
        [OPS, *DRILL], cwd=ROOT, env=atoll.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    def running() -> bool:
        shown = atoll.ops("drill", "list", "--json", expect=None).json
        return any(one["state"] == "running" for one in shown["running"])

    try:
        wait_until(running, "an experiment runs", timeout_s=120)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == 3, said
    record = max((atoll.directory / "reports" / "local").glob("*-failover*")) / "result.json"
    left = json.loads(record.read_text(encoding="utf-8"))["checks"][-1]["detail"]
    assert "the system is healed" in left or "ops drill stop --stage local" in left, left
    wait_until(lambda: not running(), "no experiment runs", timeout_s=30)


def test_region_is_left_and_taken_back_by_hand_with_tokens(atoll: Atoll) -> None:
    plan = run(atoll, "run", "failover", "-p", f"region={LEFT}", "-p", "reason=by hand", expect=0)
    assert plan["plan"]["steps"][0]["resource"] == f"evacuation flag of {LEFT}"
    assert plan["plan"]["steps"][0]["region"] == OTHER
    left = run(atoll, "run", "failover", "--apply", plan["plan"]["token"], expect=0)
    assert left["figures"]["flag_through"] == OTHER
    assert check(left, "traffic moved")["ok"]
    shown = atoll.ops("status", "--json", expect=1).json
    assert {one["region"]: one["evacuated"] for one in shown["regions"]} == {LEFT: True, OTHER: False}

    plan = run(atoll, "run", "failover", "-p", "mode=failback", "-p", f"region={LEFT}", expect=0)
    back = run(atoll, "run", "failover", "--apply", plan["plan"]["token"], expect=0)
    assert all(check(back, name)["ok"] for name in ("stably well", "replicas equal", "flag cleared"))
    assert atoll.ops("status", "--json").json["healthy"]

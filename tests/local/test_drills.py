"""Experiments on the FIS that the local cloud plays: begun by the toolkit, seen and ended by `ops drill`."""

from __future__ import annotations

from ops.aws import Cloud
from ops.failover import experiments
from tests.local.conftest import Atoll

REGION, PARTS = "us-east-1", ("processing", "replication")


def test_drill_is_listed_while_it_runs_and_ended_by_ops_drill_stop(atoll: Atoll) -> None:
    # Under a name of the test's own: a second test run on the same cloud begins another.
    cloud, run = _cloud(atoll), f"test-{len(experiments.find(_cloud(atoll)))}"
    before = _templates(cloud)
    begun = experiments.start(cloud, REGION, PARTS, 60, run)
    try:
        (shown,) = atoll.ops("drill", "list", "--json").json["running"]
        assert (shown["id"], shown["region"], shown["breaks"]) == (begun.id, REGION, list(PARTS))
        assert shown["since"] < shown["until"]
        assert atoll.ops("drill", "list", "--region", "ap-south-1", "--json").json["running"] == []
        assert experiments.start(cloud, REGION, PARTS, 60, run).id == begun.id
    finally:
        (ended,) = atoll.ops("drill", "stop", "--json").json["ended"]

    assert (ended["id"], ended["state"]) == (begun.id, "stopped")
    assert "No drill was running" in atoll.ops("drill", "stop").out
    assert experiments.stop(cloud, begun).state == "stopped"
    assert atoll.ops("fault", "list", "--json").json == []
    assert _templates(cloud) == before


def _templates(cloud: Cloud) -> set[str]:
    found = cloud.client("fis", REGION).list_experiment_templates()["experimentTemplates"]
    return {template["id"] for template in found}


def _cloud(atoll: Atoll) -> Cloud:
    cloud = Cloud(atoll.stage, str(atoll.stage.account), None)  # type: ignore[arg-type]
    cloud.client = atoll.client  # type: ignore[method-assign]
    return cloud

"""A region that leaves the stage file: its replica stays until it is named, and until it holds nothing of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.local.conftest import COMMAND_TIMEOUT_S
from tests.local.test_third_region import Copy, copy

__all__ = ["copy"]
LEAVING = "eu-west-1"
NAMED = ("-p", f"remove_replicas={LEAVING}")


def run(copy: Copy, *arguments: str) -> tuple[int, dict[str, Any]]:
    """A run of the provision runbook: its exit status and result."""
    command = [sys.executable, "-m", "ops.cli", "run", "provision", *arguments]
    done = subprocess.run(
        command, cwd=copy.root, env=copy.environment, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False
    )
    newest = max(Path(copy.environment["ATOLL_REPORTS_DIR"]).glob("*/*-provision/result.json"), key=os.path.getmtime)
    result: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
    return done.returncode, result


def line(result: dict[str, Any]) -> tuple[str, str]:
    (found,) = [
        (step["action"], step["detail"])
        for step in result["plan"]["steps"]
        if (step["resource"], step["region"]) == ("replica atoll-local", LEAVING)
    ]
    return found


@pytest.mark.usefixtures("copy")
def test_replica_of_a_region_that_left_is_removed_when_named_and_when_others_have_its_items(copy: Copy) -> None:
    stage_file = copy.root / "deploy" / "stages" / "local.yml"
    two = stage_file.read_text()
    stage_file.write_text(two.replace("  - ap-south-1\n", f"  - ap-south-1\n  - {LEAVING}\n"))
    copy.ops("up")
    endpoint = json.loads(copy.ops("status", "--json"))["endpoint_url"]

    def dynamodb(region: str) -> Any:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client("dynamodb", region_name=region, endpoint_url=endpoint, **keys)

    for peer in ("us-east-1", "ap-south-1"):
        copy.ops("fault", "replication-cut", LEAVING, peer)
    item = {"pk": {"S": "EVENT#only-there"}, "sk": {"S": "EVENT"}}
    dynamodb(LEAVING).put_item(TableName="atoll-local", Item=item)
    stage_file.write_text(two)

    status, result = run(copy)
    assert (status, line(result)[0]) == (0, "keep")
    assert "-p remove_replicas=eu-west-1" in line(result)[1]

    status, result = run(copy, *NAMED)
    assert (status, line(result)[0]) == (1, "refuse")
    assert "it holds 1 item that another replica lacks" in line(result)[1]
    assert "pk=EVENT#only-there, sk=EVENT" in line(result)[1]

    copy.ops("fault", "heal")
    # The comparison itself gives what is in flight the time to arrive.
    status, result = run(copy, *NAMED)
    assert (status, line(result)[0]) == (0, "delete")
    status, result = run(copy, *NAMED, "--apply", result["plan"]["token"])
    assert status == 0
    # Besides, the ring of the regions is another one: who asks whether a region is left, and which alarms there are.
    done = {(step["resource"], step["region"]): step["done"] for step in result["plan"]["applied"]}
    assert done["replica atoll-local", LEAVING] == "deleted"

    with pytest.raises(dynamodb(LEAVING).exceptions.ResourceNotFoundException):
        dynamodb(LEAVING).describe_table(TableName="atoll-local")
    for region in ("us-east-1", "ap-south-1"):
        assert dynamodb(region).get_item(TableName="atoll-local", Key=item)["Item"] == item
    status, result = run(copy, *NAMED)
    assert (status, result["plan"]["estimates"]["changes"]) == (0, 0)

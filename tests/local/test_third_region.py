"""A third region is one line in the stage file: a copy of the project with that line comes up and has every event."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from ops.stage import ROOT
from tests.local.conftest import COMMAND_TIMEOUT_S, isolated_environment

REGIONS = ["us-east-1", "ap-south-1", "eu-west-1"]
PARTS = ("deploy", "handlers", "notebooks", "ops", "sketch", "serverless.yml", "package.json")


class Copy:
    """The project in a directory of its own; what is installed is shared."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "project"
        self.environment = isolated_environment(directory)
        self.root.mkdir()
        for part in PARTS:
            source = ROOT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, self.root / part)
        for installed in (".venv", "node_modules"):
            (self.root / installed).symlink_to(ROOT / installed)

    def ops(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ops.cli", *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"ops {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def archived(self, endpoint_url: str, region: str, archive: str) -> int:
        """How many events an archive holds."""
        client = boto3.client(
            "events",
            region_name=region,
            endpoint_url=endpoint_url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        return client.describe_archive(ArchiveName=archive)["EventCount"]


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    made = Copy(tmp_path)
    yield made
    made.ops("down")


def test_third_region_added_by_one_line_comes_up_and_holds_every_event(copy: Copy) -> None:
    stage_file = copy.root / "deploy" / "stages" / "local.yml"
    stage_file.write_text(stage_file.read_text().replace("  - ap-south-1\n", "  - ap-south-1\n  - eu-west-1\n"))
    out = copy.root / "sent.jsonl"

    copy.ops("up")
    copy.ops("send", "--count", "60", "--from", "London", "--from", "Mumbai", "--out", str(out))
    copy.ops("run", "divergence")
    copy.ops("run", "parity")

    status: dict[str, Any] = json.loads(copy.ops("status", "--json"))
    assert [region["region"] for region in status["regions"]] == REGIONS
    assert status["healthy"]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["city"]: line["region"] for line in lines} == {"London": "eu-west-1", "Mumbai": "ap-south-1"}
    for region in REGIONS:
        client = boto3.client(
            "dynamodb",
            region_name=region,
            endpoint_url=status["endpoint_url"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        held = {
            item["event_key"]["S"] for item in client.scan(TableName=status["table"])["Items"] if "event_key" in item
        }
        assert held == {line["event_key"] for line in lines}
    # The regions keep each other's events in a ring: each region's journal is in the next.
    for region, following in zip(REGIONS, [*REGIONS[1:], REGIONS[0]], strict=True):
        assert copy.archived(status["endpoint_url"], following, "atoll-local-journal") == copy.archived(
            status["endpoint_url"], region, "atoll-local"
        )

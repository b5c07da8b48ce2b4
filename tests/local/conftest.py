"""The whole platform, brought up once by the command an operator would use, and driven by that command."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from ops.stage import ROOT, Stage, load_stage
from sketch.canonical import Checksum, item_digest

OPS = ROOT / ".venv" / "bin" / "ops"
COMMAND_TIMEOUT_S = 240


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Atoll:
    """The platform on a local cloud of the tests' own; its state and its reports are in a temporary directory."""

    stage: Stage
    environment: dict[str, str]
    directory: Path
    tokens: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False)

    def ops(self, *arguments: str, expect: int | None = 0, **changes: str) -> Ran:
        """Run ``ops``; fail unless it exits with ``expect`` (None: whatever it is)."""
        done = subprocess.run(
            [OPS, *arguments],
            cwd=ROOT,
            env={**self.environment, **changes},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if expect is not None:
            assert done.returncode == expect, f"ops {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return Ran(done.returncode, done.stdout, done.stderr)

    @property
    def cloud(self) -> dict[str, Any]:
        return dict(json.loads((self.directory / "state" / "local.json").read_text()))

    def bearer(self, *access: str, client: str = "") -> dict[str, str]:
        """The header that lets a client in: with a token that is good for ``access`` (write, read; default: both)."""
        wanted = [part for one in access for part in ("--access", one)]
        if (key := (*access, client)) not in self.tokens:
            self.tokens[key] = self.ops("token", *wanted, *(("--client", client) if client else ())).out.strip()
        return {"authorization": f"Bearer {self.tokens[key]}"}

    def client(self, service: str, region: str) -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.cloud["endpoint_url"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def items(self, region: str) -> list[dict[str, Any]]:
        pages = self.client("dynamodb", region).get_paginator("scan").paginate(TableName=self.stage.table_name)
        return [item for page in pages for item in page["Items"]]

    def event_keys(self, region: str) -> list[str]:
        """The keys of the event items in a replica; a list, so that a doubled one would show. What other tests put in
        by hand has none."""
        items = self.items(region)
        return [item["event_key"]["S"] for item in items if item["sk"]["S"] == "EVENT" and "event_key" in item]

    def checksum(self, region: str) -> Checksum:
        """One digest for all that a replica holds."""
        return Checksum.of(item_digest(item) for item in self.items(region))

    def api(self, region: str) -> str:
        """The base URL of a region's own API."""
        regions = self.ops("status", "--json", expect=None).json["regions"]
        return next(str(found["api_url"]) for found in regions if found["region"] == region)

    def wait_until_quiet(self) -> None:
        """Wait until every queue is empty and every write is replicated."""
        from tests.local.platform import wait_until

        def quiet() -> bool:
            depths = [
                queue["depth"]
                for region in self.ops("status", "--json", expect=None).json["regions"]
                for queue in region["queues"]
            ]
            replication = httpx.get(f"{self.cloud['emulator_url']}/_atoll/replication/idle").json()
            return not any(depths) and replication["idle"]

        wait_until(quiet, "queues drained and replication settled", timeout_s=120)


def isolated_environment(directory: Path) -> dict[str, str]:
    """The environment of a newcomer whose state, reports and home are under ``directory``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ATOLL_"))}
    return {
        **inherited,
        "ATOLL_STATE_DIR": str(directory / "state"),
        "ATOLL_REPORTS_DIR": str(directory / "reports"),
        "HOME": str(directory),
    }


@contextmanager
def brought_up(directory: Path) -> Iterator[Atoll]:
    """A local cloud of its own, with the platform on it."""
    platform = Atoll(load_stage("local"), isolated_environment(directory), directory)
    try:
        platform.ops("up")
        yield platform
    finally:
        platform.ops("down")


@pytest.fixture(scope="session")
def atoll(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atoll]:
    with brought_up(tmp_path_factory.mktemp("atoll")) as platform:
        yield platform

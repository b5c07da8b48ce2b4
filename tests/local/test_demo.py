"""``make demo`` is what a newcomer runs first; this is it, with what is installed shared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ops.stage import ROOT
from tests.local.conftest import COMMAND_TIMEOUT_S, OPS, isolated_environment

RUNS = ("provision", "provision", "replay", "replay", "divergence", "metrics", "parity")


def test_demo_passes_prints_the_time_of_each_step_and_leaves_the_cloud_up(tmp_path: Path) -> None:
    environment = isolated_environment(tmp_path)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ops.demo"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        status = subprocess.run([OPS, "status"], cwd=ROOT, env=environment, capture_output=True, check=False)
    finally:
        subprocess.run([OPS, "down"], cwd=ROOT, env=environment, capture_output=True, check=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert status.returncode == 0, status.stdout
    assert "s  Run the runbooks" in done.stdout
    assert "s  in all" in done.stdout
    pages = sorted((tmp_path / "reports" / "local").glob("*/run.html"))
    assert sorted(page.parent.name.split("-", 1)[1].split("-")[0] for page in pages) == sorted(RUNS)
    index = (tmp_path / "reports" / "index.html").read_text()
    assert all(f"{page.parent.name}/run.html" in index for page in pages)

"""Ctrl-C while the platform is brought up: nothing is left running, and the command says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.local import cloud as local_cloud
from ops.stage import ROOT, load_stage
from tests.local.conftest import OPS, isolated_environment

DEADLINE_S = 120


@pytest.mark.parametrize("command", [[str(OPS), "up"], [sys.executable, "-m", "ops.demo"]], ids=["up", "demo"])
def test_ctrl_c_while_regions_are_deployed_leaves_nothing_running(tmp_path: Path, command: list[str]) -> None:
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**isolated_environment(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if "deploying" in line:
            break
    os.killpg(running.pid, signal.SIGINT)
    said += running.communicate(timeout=DEADLINE_S)[0]

    assert running.returncode == 3, said
    assert "stopped" in said
    assert local_cloud.current(tmp_path / "state") is None
    assert not (tmp_path / "state" / "local.json").exists()


def test_ctrl_c_leaves_a_cloud_running_that_was_up_before(tmp_path: Path) -> None:
    state = tmp_path / "state"
    local_cloud.up(load_stage("local"), state_dir=state)
    try:
        running = subprocess.Popen(
            [OPS, "up"],
            cwd=ROOT,
            env=isolated_environment(tmp_path),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert running.stderr is not None
        next(line for line in running.stderr if "packaging" in line)
        os.killpg(running.pid, signal.SIGINT)
        running.communicate(timeout=DEADLINE_S)

        assert running.returncode == 3
        assert local_cloud.current(state) is not None
    finally:
        local_cloud.down(state_dir=state)

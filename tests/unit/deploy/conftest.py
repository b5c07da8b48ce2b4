"""The CloudFormation templates as they would be deployed: packaged by sls, with no account and no network."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.stage import ROOT

Template = dict[str, Any]
TEMPLATE = "cloudformation-template-update-stack.json"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Template]:
    """``template("prod")``: the packaged template of a stage in its home region; packaged once a test run."""
    # The workers of one run share the parent of their temporary directories.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def packaged(stage: str) -> Template:
        directory = shared / f"package-{stage}"
        with (shared / "package.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (directory / TEMPLATE).exists():
                _package(stage, directory)
        made: Template = json.loads((directory / TEMPLATE).read_text(encoding="utf-8"))
        return made

    return packaged


def _package(stage: str, directory: Path) -> None:
    command = [ROOT / "node_modules/.bin/sls", "package", "--stage", stage, "--package", directory]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"sls package --stage {stage}\n{done.stdout}\n{done.stderr}"

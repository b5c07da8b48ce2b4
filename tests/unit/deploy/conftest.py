"""The CloudFormation templates as they would be deployed: packaged by sls, with no account and no network."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ops.deploy import LINKED
from ops.stage import ROOT, load_stage
from tests.template import Template, resolved

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


@pytest.fixture(scope="session")
def deployed(template: Callable[[str], Template]) -> Callable[[str], Template]:
    """``deployed("prod")``: the same with its conditions decided for the home region: what is really created."""
    return lambda stage: resolved(template(stage), load_stage(stage).home_region)


@pytest.fixture(scope="session")
def deployed_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Template]:
    """``deployed_with("prod", network={"zones": 2})``: as if the stage file said so; packaged for each call."""

    def packaged(stage: str, **changes: object) -> Template:
        workspace = tmp_path_factory.mktemp(f"changed-{stage}")
        shutil.copytree(ROOT / "deploy", workspace / "deploy")
        shutil.copy(ROOT / "serverless.yml", workspace)
        for name in set(LINKED) - {"deploy"}:
            (workspace / name).symlink_to(ROOT / name)
        file = workspace / "deploy" / "stages" / f"{stage}.yml"
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
        for section, values in changes.items():
            settings[section] = {**settings[section], **values} if isinstance(values, dict) else values
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        load_stage(stage, file.parent)
        _package(stage, workspace / "package", workspace)
        made = json.loads((workspace / "package" / TEMPLATE).read_text(encoding="utf-8"))
        return resolved(made, settings["home_region"])

    return packaged


def _package(stage: str, directory: Path, project: Path = ROOT) -> None:
    command = [ROOT / "node_modules/.bin/sls", "package", "--stage", stage, "--package", directory]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"sls package --stage {stage}\n{done.stdout}\n{done.stderr}"

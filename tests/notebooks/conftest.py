"""Small runbooks made on the spot, run for real: papermill, a kernel, a record. None of them needs a cloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ops import runbooks
from ops.runbooks import Runbook
from ops.stage import Stage, load_stage

BEGIN = """
from ops import runbook
run = runbook.begin("{name}", stage, {apply}offline=True)
"""


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.delenv("ATOLL_RUN_DIR", raising=False)
    return load_stage("local")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the records of a test go."""
    return tmp_path / "reports"


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Runbook]:
    """Make a runbook of code cells, each under its own heading; ``parameters`` are lines of its parameters cell."""

    def make(name: str, *cells: str, parameters: str = "", begin: bool = True, finish: bool = True) -> Runbook:
        declared = f'stage: str = "local"\n{parameters}'
        opening = BEGIN.format(name=name, apply="apply, " if "apply:" in parameters else "")
        code = [*([opening] if begin else []), *cells, *(["run.finish()"] if finish else [])]
        made: list[dict[str, object]] = [
            _markdown(f"# The {name} runbook\n\nFor a test."),
            _code(declared, "parameters"),
        ]
        for number, source in enumerate(code, 1):
            made += [_markdown(f"## Step {number}"), _code(source)]
        directory = tmp_path / "notebooks"
        directory.mkdir(exist_ok=True)
        for index, cell in enumerate(made):
            cell["id"] = f"cell-{index}"
        notebook = {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (directory / f"{name}.ipynb").write_text(json.dumps(notebook))
        return runbooks.find(name, directory)

    return make


def _markdown(source: str) -> dict[str, object]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _code(source: str, *tags: str) -> dict[str, object]:
    return {
        "cell_type": "code",
        "metadata": {"tags": list(tags)},
        "source": source.strip(),
        "execution_count": None,
        "outputs": [],
    }

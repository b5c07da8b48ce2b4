"""What holds for the package as a whole: thin entry points, nothing imported that Lambda lacks, docs that are true."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from handlers.core.cloudevents import MAX_CHARS
from handlers.core.problem import KINDS
from tests.unit.handlers.support import ENVIRONMENT

ROOT = Path(__file__).parents[3]
HANDLERS = ROOT / "handlers"
ENTRY_POINTS = ["ingest", "query", "status", "store", "activity", "sketch"]
# Those of the one function whose package has sketch/.
SKETCHING = {"segment", "sketch"}
MODULES = sorted(HANDLERS.rglob("*.py"))


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_entry_point_is_thin(name: str) -> None:
    assert len((HANDLERS / f"{name}.py").read_text().splitlines()) < 60


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_imports_neither_the_toolkit_nor_what_lambda_lacks(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    allowed = {"aws_lambda_powertools", "botocore", "handlers", "mypy_boto3_dynamodb", "mypy_boto3_events"}
    allowed |= {"mypy_boto3_s3", "mypy_boto3_sqs"}
    if path.stem in SKETCHING:
        allowed.add("sketch")
    assert imported - set(sys.stdlib_module_names) <= allowed


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_entry_point_starts_as_lambda_starts_it_without_the_network_and_what_it_does_not_need(name: str) -> None:
    heavy = ["pydantic", "jsonschema", "aws_xray_sdk", "orjson", "fastjsonschema", "requests", "yaml"]
    code = (
        f"import sys, socket; socket.socket.connect = None; import handlers.{name} as module;"
        f"assert callable(module.handler); print([name for name in {heavy} if name in sys.modules])"
    )
    environment = {
        **ENVIRONMENT,
        "AWS_LAMBDA_FUNCTION_NAME": f"atoll-test-{name}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_ingest_start_when_a_variable_is_missing_fails_naming_it() -> None:
    environment = {**ENVIRONMENT, "AWS_LAMBDA_FUNCTION_NAME": "f", "PYTHONPATH": str(ROOT)}
    del environment["ATOLL_IDEMPOTENCY_TABLE"]
    command = [sys.executable, "-c", "import handlers.ingest"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "ATOLL_IDEMPOTENCY_TABLE: is not set" in done.stderr


def test_docs_list_every_problem_with_its_status() -> None:
    text = (ROOT / "docs" / "events-api.md").read_text()
    for name, kind in KINDS.items():
        assert f"| `{name}` | {kind.status} |" in text, name
    listed = [line for line in text.splitlines() if line.startswith("| `") and line.count("|") == 4]
    assert len([line for line in listed if line.split("`")[1] in KINDS]) == len(KINDS)


def test_docs_state_every_attribute_limit() -> None:
    text = (ROOT / "docs" / "events-api.md").read_text()
    for name, limit in MAX_CHARS.items():
        assert f"`{name}` {limit}" in text, name

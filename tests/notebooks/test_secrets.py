"""Secrets never reach a record: planted wherever a run may come by one, and looked for in every file that it leaves."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ops import report, runbooks
from ops.errors import RefusedError
from ops.runbooks import Runbook
from ops.stage import Stage

Make = Callable[..., Runbook]


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> str:
    """A secret in this process's environment, as a scheduler gives one."""
    value = f"planted-{secrets.token_hex(16)}"
    monkeypatch.setenv("PAGER_API_KEY", value)
    return value


# What a runbook may do with a secret that it should not.
CELLS = {
    "printed": 'import os; print("key", os.environ["PAGER_API_KEY"])',
    "on stderr": 'import os, sys; print(os.environ["PAGER_API_KEY"], file=sys.stderr)',
    "shown": 'import os; from ops.markup import Html; Html(os.environ["PAGER_API_KEY"], os.environ["PAGER_API_KEY"])',
    "in a table": 'import os; from ops import tables; tables.table([{"key": os.environ["PAGER_API_KEY"]}], "Keys")',
    "in a chart": """
import os
from ops import charts
charts.lines([{"x": n, "y": n, "key": os.environ["PAGER_API_KEY"]} for n in range(3)], x="x", y="y", colour="key")
""",
    "in a check": 'import os; run.check("key", False, os.environ["PAGER_API_KEY"])',
    "in a figure": 'import os; run.figures(key=os.environ["PAGER_API_KEY"])',
    "said": 'import os; run.progress(os.environ["PAGER_API_KEY"])',
}


def found(root: Path, value: str) -> list[str]:
    """The files that hold it, in whatever encoding a page may have it."""
    from urllib.parse import quote

    spellings = {value.encode(), quote(value).encode(), value.encode("utf-16-le")}
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if any(one in path.read_bytes() for one in spellings)]


def suite(tmp_path: Path, *names: str) -> report.Suite:
    path = tmp_path / "suites.yml"
    path.write_text(yaml.safe_dump({"daily": {"title": "Every morning", "runbooks": [{"runbook": n} for n in names]}}))
    return report.find("daily", path)


def test_a_planted_secret_is_in_no_file_that_a_suite_leaves(
    make: Make, stage: Stage, root: Path, tmp_path: Path, planted: str
) -> None:
    make("shows", *CELLS.values())
    make("raises", 'import os; raise RuntimeError(os.environ["PAGER_API_KEY"])')
    make("declines", 'import os; from ops.errors import UsageError; raise UsageError(os.environ["PAGER_API_KEY"])')
    make("dies", 'import os; print(os.environ["PAGER_API_KEY"], flush=True); os._exit(7)')
    said: list[str] = []
    ran = report.run_suite(
        suite(tmp_path, "shows", "raises", "declines", "dies"),
        *(stage, None),
        root=root,
        progress=said.append,
        notebooks=tmp_path / "notebooks",
    )
    report.write_index(root)
    assert {one.runbook: one.verdict for one in ran.entries} == {
        "shows": "fail", "raises": "error", "declines": "refused", "dies": "error",
    }  # fmt: skip
    assert found(root, planted) == []
    assert "[secret removed]" in (ran.directory / "suite.json").read_text()
    assert not any(planted in line for line in said)


def test_a_secret_as_a_parameter_is_refused_before_anything_runs(make: Make, stage: Stage, root: Path) -> None:
    book = make("takes", parameters='password: str = ""')
    value = f"planted-{secrets.token_hex(16)}"
    with pytest.raises(RefusedError, match="password: looks like a secret given by value") as raised:
        runbooks.run(book, stage, runbooks.validate(book, {"password": value}), root=root)
    assert value not in f"{raised.value}{raised.value.hint}"
    assert not root.exists() or found(root, value) == []

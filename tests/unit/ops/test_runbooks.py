from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ops import record, runbook, runbooks
from ops.errors import OpsError, RefusedError, UsageError
from ops.plan import Outcome, Plan, Report, Step


def write(directory: Path, name: str, *cells: tuple[str, str, list[str]]) -> None:
    made = [{"cell_type": kind, "source": source, "metadata": {"tags": tags}} for kind, source, tags in cells]
    (directory / f"{name}.ipynb").write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4}))


def test_catalogue_when_notebooks_are_there_describes_each(tmp_path: Path) -> None:
    write(
        tmp_path,
        "replay",
        ("markdown", "# Replay events\n\nDelivers them\nagain.\n\nMore.", []),
        ("code", 'stage: str = "local"\napply: str = ""', ["parameters"]),
    )
    write(tmp_path, "bare")
    bare, replay = runbooks.catalogue(tmp_path)
    assert (bare.name, bare.title, bare.summary, bare.parameters, bare.changes) == ("bare", "bare", "", (), False)
    assert (replay.title, replay.summary, replay.changes) == ("Replay events", "Delivers them again.", True)
    assert [parameter.name for parameter in replay.parameters] == ["stage", "apply"]


def test_find_when_there_is_no_such_runbook_lists_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, "replay")
    write(tmp_path, "parity")
    with pytest.raises(UsageError, match=r"there is no 'rpelay' \(did you mean 'replay'\?\); accepted: parity, replay"):
        runbooks.find("rpelay", tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": [{}]}', '{"cells": 3}'])
def test_catalogue_when_a_file_is_no_notebook_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken.ipynb").write_text(content)
    with pytest.raises(OpsError, match=r"broken\.ipynb: is not a notebook"):
        runbooks.catalogue(tmp_path)


def test_listing_when_runbooks_are_read_loads_no_notebook_machinery() -> None:
    code = (
        "import sys, ops.runbooks as r; r.catalogue(); sys.exit(not {'papermill', 'nbformat'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_kernel_when_imported_does_not_compile_the_grammar_of_an_unused_format() -> None:
    code = "import sys, ops.kernel; sys.exit('rfc3987_syntax.syntax_helpers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ATOLL_RUN_DIR", raising=False)
    monkeypatch.setattr(record, "REPORTS", tmp_path)
    return tmp_path


def test_runbook_when_run_by_hand_leaves_the_same_record(by_hand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runbook.begin("replay", "local", offline=True)
    (directory,) = (by_hand / "local").iterdir()
    run.check("sum", True, "two")
    partial = json.loads((directory / "result.partial.json").read_text())
    assert partial["checks"] == [{"name": "sum", "ok": True, "detail": "two"}]

    banner = run.finish()

    assert json.loads((directory / "result.json").read_text())["verdict"] == "pass"
    assert sorted(path.name for path in directory.iterdir()) == ["result.json", "run.html"]
    assert "Pass" in banner.html
    assert "ok: sum: two" in capsys.readouterr().out


def test_apply_when_the_token_is_the_plans_carries_it_out(by_hand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(runbook="p", stage="local", account="1", regions=[], steps=[Step(action="create", resource="x")])
    calls: list[tuple[Plan, str]] = []

    def operation(cloud: object, plan: Plan, token: str, progress: Callable[[str], None], report: Report) -> str:
        calls.append((plan, token))
        report(Outcome(plan.steps[0], "created", 0.5))
        return "done"

    assert runbook.begin("p", "local", offline=True).apply(plan, operation) is None
    with pytest.raises(RefusedError):
        runbook.begin("p", "local", "another", offline=True).apply(plan, operation)
    assert calls == []
    run = runbook.begin("p", "local", plan.token, offline=True)
    monkeypatch.setattr(run, "_cloud", object())
    assert run.apply(plan, operation) == "done"
    assert [outcome.done for outcome in run.record.applied] == ["created"]
    assert calls == [(plan, plan.token)]


def test_plannable_when_a_step_is_refused_fails_with_its_reason(by_hand: Path) -> None:
    run = runbook.begin("p", "local", offline=True)
    kept, new = Step(action="keep", resource="zone"), Step(action="create", resource="table")
    refused = Step(action="refuse", resource="replica", detail="another table has the name")
    made = [Plan(runbook="p", stage="local", account="1", regions=[], steps=s) for s in ([kept], [new], [new, refused])]
    assert [(check.ok, check.detail) for plan in made for check in run.plannable(plan)] == [
        (True, "nothing would change"),
        (True, f"dry run: 1 change can be applied with token {made[1].token}"),
        (False, "another table has the name"),
    ]


def test_runbook_when_offline_has_no_cloud(by_hand: Path) -> None:
    with pytest.raises(OpsError, match="this run is offline"):
        _ = runbook.begin("replay", "local", offline=True).cloud


def test_plan_when_the_token_is_its_own_is_approved(by_hand: Path) -> None:
    plan = Plan(runbook="p", stage="local", account="1", regions=[], steps=[Step(action="create", resource="x")])
    assert runbook.begin("p", "local", offline=True).plan(plan).given is False
    assert runbook.begin("p", "local", plan.token, offline=True).plan(plan).given is True
    refused = runbook.begin("p", "local", "another", offline=True)
    with pytest.raises(RefusedError, match="'another' is not this plan's"):
        refused.plan(plan)
    assert refused.record.plan == plan

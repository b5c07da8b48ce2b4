"""Going on with a run that did not come to its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ops import resuming, runbooks
from ops.errors import RefusedError, UsageError
from ops.runbooks import Runbook, RunOutcome
from ops.stage import Stage

Make = Callable[..., Runbook]

# Makes what is not there yet, a file each, and breaks on the one that the file `broken` names.
PLAN = """
from pathlib import Path
from ops.errors import OpsError
from ops.plan import Outcome, Plan, Step
world = Path({world!r})
wanted = (world / "wanted").read_text().split()
there = {there}
steps = [Step(action="create", resource=name, after={{"name": name}}) for name in wanted if name not in there]
asked = dict(parameters={{"size": size}}, steps=steps, journaled={journaled})
plan = Plan(runbook=run.record.runbook, stage=stage, account="", regions=[], **asked)
run.plan(plan)
"""
APPLY = """
def operation(cloud, plan, token, progress, report):
    for step in plan.changes:
        with (world / "log").open("a") as log:
            log.write(step.resource + chr(10))
        if step.resource == (world / "broken").read_text():
            report(Outcome(step, "failed: it is broken", 0.1))
            raise OpsError("it is broken")
        (world / step.resource).touch()
        report(Outcome(step, "created", 0.1))
    return len(plan.changes)

type(run).cloud = None
made = run.apply(plan, operation)
run.checks(run.plannable(plan) if made is None else [])
"""
SEES, BLIND = "[path.name for path in world.iterdir()]", "[]"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    made = tmp_path / "world"
    made.mkdir()
    (made / "wanted").write_text("a b c")
    (made / "broken").write_text("b")
    return made


@pytest.fixture
def book(make: Make, world: Path) -> Callable[..., Runbook]:
    def made(there: str, journaled: bool = False) -> Runbook:
        plan = PLAN.format(world=str(world), there=there, journaled=journaled)
        return make("maker", plan, APPLY, parameters='apply: str = ""\nsize: int = 3')

    return made


def broken(book: Runbook, stage: Stage, root: Path) -> RunOutcome:
    """A run that was given the token of its plan, and stopped half-way."""
    token = runbooks.run(book, stage, {"size": 7}, root=root).result["plan"]["token"]
    outcome = runbooks.run(book, stage, apply_token=token, root=root)
    assert outcome.result["verdict"] == "error"
    return outcome


def log(world: Path) -> list[str]:
    return (world / "log").read_text().split()


@pytest.mark.parametrize("there", [SEES, BLIND])
def test_resume_when_a_step_failed_takes_what_is_left_and_nothing_twice(
    book: Callable[..., Runbook], stage: Stage, root: Path, world: Path, there: str
) -> None:
    runbook = book(there)
    stopped = broken(runbook, stage, root)
    (world / "broken").write_text("")

    earlier = resuming.find(stopped.directory.name, "local", root)
    outcome = runbooks.run(runbook, stage, root=root, resumes=earlier)

    assert outcome.result["verdict"] == "pass", outcome.result["checks"]
    assert log(world) == ["a", "b", "b", "c"]
    assert [step["resource"] for step in outcome.result["plan"]["applied"]] == ["b", "c"]
    assert outcome.result["figures"]["goes_on_from"] == stopped.directory.name
    notebook = json.loads((outcome.directory / "run.ipynb").read_text())
    assert notebook["metadata"]["papermill"]["parameters"]["size"] == 7


def test_resume_when_the_operation_keeps_a_journal_hands_it_the_very_plan(
    book: Callable[..., Runbook], stage: Stage, root: Path, world: Path
) -> None:
    runbook = book(BLIND, journaled=True)
    stopped = broken(runbook, stage, root)
    (world / "broken").write_text("")

    outcome = runbooks.run(runbook, stage, root=root, resumes=resuming.find(stopped.directory.name, "local", root))

    assert outcome.result["plan"]["token"] == stopped.result["plan"]["token"]
    assert log(world) == ["a", "b", "a", "b", "c"]  # this one has none, and takes all of it again


def test_resume_when_it_stops_again_goes_on_from_there(
    book: Callable[..., Runbook], stage: Stage, root: Path, world: Path
) -> None:
    runbook = book(BLIND)
    stopped = broken(runbook, stage, root)
    (world / "broken").write_text("c")
    again = runbooks.run(runbook, stage, root=root, resumes=resuming.find(str(stopped.directory), "local", root))
    assert again.result["verdict"] == "error"
    (world / "broken").write_text("")

    outcome = runbooks.run(runbook, stage, root=root, resumes=resuming.find("latest", "local", root))

    assert outcome.result["verdict"] == "pass", outcome.result["checks"]
    assert log(world) == ["a", "b", "b", "c", "c"]
    assert outcome.result["figures"]["goes_on_from"] == again.directory.name


def test_resume_when_there_is_something_new_to_do_is_refused_and_names_it(
    book: Callable[..., Runbook], stage: Stage, root: Path, world: Path
) -> None:
    runbook = book(SEES)
    stopped = broken(runbook, stage, root)
    (world / "wanted").write_text("a b c d")

    outcome = runbooks.run(runbook, stage, root=root, resumes=resuming.find(stopped.directory.name, "local", root))

    assert (outcome.exit_status, outcome.result["verdict"]) == (2, "refused")
    assert "did not have: create d" in outcome.result["checks"][-1]["detail"]
    assert log(world) == ["a", "b"]


def test_resume_when_the_run_only_read_does_it_again(make: Make, stage: Stage, root: Path, world: Path) -> None:
    looks = (
        f'from pathlib import Path\nrun.check("mended", not (Path({str(world)!r}) / "broken").read_text(), str(size))'
    )
    runbook = make(
        "looker", f'{looks}\nassert not (Path({str(world)!r}) / "broken").read_text()', parameters="size: int = 3"
    )
    stopped = runbooks.run(runbook, stage, {"size": 9}, root=root)
    assert stopped.result["verdict"] == "error"
    (world / "broken").write_text("")

    outcome = runbooks.run(runbook, stage, root=root, resumes=resuming.find("latest", "local", root))

    assert outcome.result["checks"] == [{"name": "mended", "ok": True, "detail": "9"}]


def test_find_when_the_run_came_to_its_end_is_refused_with_what_to_do(make: Make, stage: Stage, root: Path) -> None:
    done = runbooks.run(make("good", 'run.check("one", True, "yes")'), stage, root=root)
    with pytest.raises(UsageError, match="came to its end, with verdict pass") as refused:
        resuming.find(done.directory.name, "local", root)
    assert "ops run good --stage local" in refused.value.hint
    with pytest.raises(UsageError, match="every run of stage 'local'"):
        resuming.find("latest", "local", root)


def test_find_when_there_is_no_such_run_says_what_is_accepted(root: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no run 'nothing' .*accepted: the name or the path"):
        resuming.find("nothing", "local", root)


def test_find_when_a_checkpoint_was_left_goes_on_from_it(make: Make, stage: Stage, root: Path) -> None:
    runbook = make("reader", "1 / 0", parameters='resume: str = ""')
    stopped = runbooks.run(runbook, stage, root=root)
    (stopped.directory / "events.checkpoint").touch()
    found = resuming.find("latest", "local", root)
    assert found.parameters["resume"] == str(stopped.directory / "events.checkpoint")


def test_run_when_the_runbook_lost_a_parameter_refuses_to_go_on(make: Make, stage: Stage, root: Path) -> None:
    stopped = runbooks.run(make("changing", "1 / 0", parameters="size: int = 3"), stage, root=root)
    runbook = make("changing", "1 / 0")
    with pytest.raises(RefusedError, match="no longer knows: size"):
        runbooks.run(runbook, stage, root=root, resumes=resuming.find(str(stopped.directory), "local", root))

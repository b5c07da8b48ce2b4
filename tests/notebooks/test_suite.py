"""A suite: runbooks side by side, whose ends are their own."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ops import report
from ops.errors import UsageError
from ops.report.running import SUITE, earlier
from ops.report.suites import Suite
from ops.runbooks import Runbook
from ops.stage import Stage

Make = Callable[..., Runbook]
Declared = Callable[..., Suite]


@pytest.fixture
def suite(tmp_path: Path) -> Declared:
    """A suite of runbooks by name, each with what it is declared with besides."""

    def declared(*runbooks: str | dict[str, object], **further: object) -> Suite:
        tasks = [one if isinstance(one, dict) else {"runbook": one} for one in runbooks]
        path = tmp_path / "suites.yml"
        path.write_text(yaml.safe_dump({"daily": {"title": "Every morning", "runbooks": tasks, **further}}))
        return report.find("daily", path)

    return declared


def verdicts(ran: report.SuiteRun) -> dict[str, str]:
    return {entry.runbook: entry.verdict for entry in ran.entries}


def test_suite_when_all_pass_passes_and_leaves_its_record(
    make: Make, suite: Declared, stage: Stage, root: Path, tmp_path: Path
) -> None:
    for name in ("one", "two", "three"):
        make(name, f'run.check("{name}", True, "yes")', parameters="size: int = 3")
    said: list[str] = []

    ran = report.run_suite(
        suite("one", "two", {"runbook": "three", "parameters": {"size": 9}}),
        *(stage, None),
        root=root,
        progress=said.append,
        notebooks=tmp_path / "notebooks",
    )

    assert (ran.verdict, ran.exit_status) == ("pass", 0)
    assert verdicts(ran) == {"one": "pass", "two": "pass", "three": "pass"}
    record = json.loads((ran.directory / SUITE).read_text())
    assert record["verdict"] == "pass"
    for entry in record["runs"]:
        assert (root / entry["directory"] / "run.html").exists()
    [three] = [entry["directory"] for entry in record["runs"] if entry["runbook"] == "three"]
    notebook = json.loads((root / three / "run.ipynb").read_text())
    assert notebook["metadata"]["papermill"]["parameters"]["size"] == 9
    assert earlier("daily", "local", root) == [record]
    # The index of all runs has the three, and takes the suite for none.
    assert sorted(run.runbook for run in report.runs(root)) == ["one", "three", "two"]


def test_suite_when_one_is_killed_hangs_floods_or_raises_lets_the_others_finish(
    make: Make, suite: Declared, stage: Stage, root: Path, tmp_path: Path
) -> None:
    make("killed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    make("hanging", "import threading; threading.Event().wait()")
    make("flooding", 'print("x" * 3_000_000)')
    make("raising", "from ops.errors import OpsError\nraise OpsError('the connection was lost')")
    make("failing", 'run.check("lag", False, "us-east-1: 900 ms")')
    make("good", 'run.check("one", True, "yes")')
    once = {"attempts": 1}
    begun = time.monotonic()

    ran = report.run_suite(
        suite(
            *({"runbook": name, **once} for name in ("killed", "flooding", "raising", "failing", "good")),
            {"runbook": "hanging", "timeout_s": 10, **once},
            at_once=3,
        ),
        *(stage, None),
        root=root,
        notebooks=tmp_path / "notebooks",
    )

    assert verdicts(ran) == {
        "killed": "error",
        "hanging": "error",
        "flooding": "pass",
        "raising": "error",
        "failing": "fail",
        "good": "pass",
    }
    why = {entry.runbook: entry.why for entry in ran.entries}
    assert "killed by SIGKILL" in why["killed"]
    assert "took longer than 10 s" in why["hanging"]
    assert "the connection was lost" in why["raising"]
    assert "us-east-1: 900 ms" in why["failing"]
    assert (ran.verdict, ran.exit_status) == ("error", 3)
    # The one that was killed is known at once, not when the one that hangs is over.
    [killed] = [entry.seconds for entry in ran.entries if entry.runbook == "killed"]
    assert killed < time.monotonic() - begun


def test_suite_when_a_run_does_not_come_to_its_end_tries_it_again(
    make: Make, suite: Declared, stage: Stage, root: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "tried"
    make(
        "shaky",
        f"import os, pathlib\nmark = pathlib.Path({str(mark)!r})\n"
        "if not mark.exists():\n    mark.touch()\n    os._exit(3)",
    )
    [entry] = report.run_suite(suite("shaky"), stage, None, root=root, notebooks=tmp_path / "notebooks").entries
    assert (entry.verdict, entry.attempts) == ("pass", 2)


def test_suite_when_a_verdict_does_not_count_passes_without_it(
    make: Make, suite: Declared, stage: Stage, root: Path, tmp_path: Path
) -> None:
    make("failing", 'run.check("lag", False, "late")')
    told = suite({"runbook": "failing", "counts": ["error"]})
    ran = report.run_suite(told, stage, None, root=root, notebooks=tmp_path / "notebooks")
    assert (ran.verdict, verdicts(ran)) == ("pass", {"failing": "fail"})


def test_suite_when_many_are_asked_runs_no_more_at_once_than_it_says(
    make: Make, suite: Declared, stage: Stage, root: Path, tmp_path: Path
) -> None:
    tally = tmp_path / "tally"
    tally.mkdir()
    counts = f"""
import os, pathlib, threading
tally = pathlib.Path({str(tally)!r})
mine = tally / str(os.getpid())
mine.touch()
run.figures(at_once=len(list(tally.glob("[0-9]*"))))
threading.Event().wait(0.5)
mine.unlink()
"""
    for number in range(5):
        make(f"book{number}", counts)
    names = [f"book{number}" for number in range(5)]
    ran = report.run_suite(suite(*names, at_once=2), stage, None, root=root, notebooks=tmp_path / "notebooks")
    figures = [json.loads((root / one.directory / "result.json").read_text())["figures"] for one in ran.entries]
    assert max(one["at_once"] for one in figures) == 2


def test_suite_when_stopped_ends_every_run_in_order(  # noqa: PLR0917
    make: Make, suite: Declared, stage: Stage, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ops.errors import InterruptedRunError
    from ops.report import running

    for name in ("one", "two", "three"):
        make(name, f'open({str(tmp_path / name)!r}, "w").close()\nimport threading; threading.Event().wait()')
    waited = running.wait

    def interrupted(*args: object, **kwargs: object) -> object:
        if all((tmp_path / name).exists() for name in ("one", "two")) and not stopped.is_set():
            stopped.set()
            raise KeyboardInterrupt
        return waited(*args, **kwargs)  # type: ignore[arg-type]

    stopped = threading.Event()
    monkeypatch.setattr(running, "wait", interrupted)

    with pytest.raises(InterruptedRunError, match="no kernel is left running"):
        report.run_suite(
            suite("one", "two", "three", at_once=2), stage, None, root=root, notebooks=tmp_path / "notebooks"
        )

    [record] = earlier("daily", "local", root)
    assert record["verdict"] == "error"
    assert {run["runbook"] for run in record["runs"]} == {"one", "two"}
    assert not (tmp_path / "three").exists()


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ({"daily": {"title": "x", "runbooks": []}}, "runbooks"),
        ({"daily": {"title": "x", "runbooks": [{"runbook": "one", "often": 3}]}}, "often"),
        ({"daily": {"title": "x", "runbooks": [{"runbook": "one"}], "at_once": 0}}, "at_once"),
        (["daily"], "is not a mapping"),
    ],
)
def test_load_when_the_file_is_wrong_names_the_field(tmp_path: Path, declared: object, problem: str) -> None:
    path = tmp_path / "suites.yml"
    path.write_text(yaml.safe_dump(declared))
    with pytest.raises(UsageError, match=problem):
        report.load(path)


def test_suite_when_a_parameter_is_none_starts_nothing(
    make: Make, suite: Declared, stage: Stage, root: Path, tmp_path: Path
) -> None:
    make("one", 'run.check("one", True, "yes")', parameters="size: int = 3")
    told = suite({"runbook": "one", "parameters": {"sice": 9}})
    with pytest.raises(UsageError, match=r"suite daily: one: sice: .*did you mean 'size'"):
        report.run_suite(told, stage, None, root=root, notebooks=tmp_path / "notebooks")
    assert not root.exists()
    assert os.environ.get("ATOLL_RUN_DIR") is None


def test_suites_of_the_project_are_valid() -> None:
    for suite in report.load().values():
        assert suite.books()

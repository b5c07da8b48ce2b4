"""Running a runbook: whatever happens to it, it ends, and its record says how."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from ops import kernel, runbooks
from ops.errors import InterruptedRunError, RefusedError, UsageError
from ops.runbooks import Runbook
from ops.stage import ROOT, Stage

Make = Callable[..., Runbook]

PLAN = """
from ops.plan import Plan, Step
step = Step(action="create", resource="thing", detail=f"size {size}")
plan = Plan(runbook=run.record.runbook, stage=stage, account="", regions=[], parameters={"size": size}, steps=[step])
approved = run.plan(plan)
approved
"""


def test_run_when_every_check_is_ok_leaves_a_passing_record(make: Make, stage: Stage, root: Path) -> None:
    book = make("good", 'run.check("sum", 1 + 1 == 2, "it is two")', "run.figures(lag_p95_ms=41.5)", 'print("hello")')
    events: list[kernel.CellEvent] = []

    outcome = runbooks.run(book, stage, progress=events.append, root=root)

    assert outcome.exit_status == 0
    assert outcome.result == json.loads((outcome.directory / "result.json").read_text())
    nbformat.validate(nbformat.read(outcome.directory / "run.ipynb", as_version=4))
    assert list(outcome.result) == [
        *("runbook", "stage", "account", "regions", "started", "finished"),
        *("verdict", "checks", "figures", "plan"),
    ]
    assert outcome.result["checks"] == [{"name": "sum", "ok": True, "detail": "it is two"}]
    assert outcome.result["figures"] == {"lag_p95_ms": 41.5}
    assert sorted(path.name for path in outcome.directory.iterdir()) == ["result.json", "run.html", "run.ipynb"]
    assert outcome.directory.parent == root / "local"
    assert "ATOLL_RUN_DIR" not in os.environ
    assert [(e.kind, e.index, e.total, e.title) for e in events if e.index == 4] == [
        ("started", 4, 5, "Step 4"),
        ("said", 4, 5, "Step 4"),
        ("finished", 4, 5, "Step 4"),
    ]
    assert [e.text for e in events if e.kind == "said"] == ["hello"]


def test_run_when_a_check_is_not_ok_fails(make: Make, stage: Stage, root: Path) -> None:
    book = make("bad", 'run.check("sum", False, "it is three")')
    outcome = runbooks.run(book, stage, root=root)
    assert (outcome.exit_status, outcome.result["verdict"]) == (1, "fail")
    assert "it is three" in outcome.page.read_text()


@pytest.mark.parametrize(
    ("source", "status", "verdict", "detail"),
    [
        ('run.stage.require_region("eu-west-1")', 2, "refused", "region: 'eu-west-1' is not in stage 'local'"),
        (
            "from ops.errors import RefusedError\nclass Special(RefusedError): ...\n"
            'raise Special("not today", hint="Try tomorrow.")',
            2,
            "refused",
            "not today → Try tomorrow.",
        ),
        ('from ops.errors import OpsError\nraise OpsError("the queue is gone")', 3, "error", "the queue is gone"),
        ("1 / 0", 3, "error", "ZeroDivisionError: division by zero"),
        ("def broken(", 3, "error", "SyntaxError"),
        ("import sys; sys.exit(4)", 3, "error", "SystemExit"),
    ],
)
def test_run_when_a_cell_raises_keeps_what_was_found_and_says_where(  # noqa: PLR0917
    make: Make, stage: Stage, root: Path, source: str, status: int, verdict: str, detail: str
) -> None:
    book = make(
        "raising", 'run.check("first", True, "seen")\nrun.figures(found=3)', source, 'run.check("never", True, "")'
    )

    outcome = runbooks.run(book, stage, root=root)

    assert (outcome.exit_status, outcome.result["verdict"]) == (status, verdict)
    assert outcome.result["figures"] == {"found": 3}
    first, failing = outcome.result["checks"]
    assert first["name"] == "first"
    assert failing["name"] == "Step 3"
    assert failing["ok"] is False
    assert detail in failing["detail"]
    assert not (outcome.directory / "result.partial.json").exists()
    assert "papermill-error" not in outcome.page.read_text()


def test_run_when_it_cannot_even_begin_leaves_a_record_of_the_stage(make: Make, stage: Stage, root: Path) -> None:
    book = make("connecting", 'from ops import runbook\nrun = runbook.begin("connecting", "nowhere")', begin=False)
    outcome = runbooks.run(book, stage, root=root)
    assert outcome.exit_status == 2
    assert outcome.result["regions"] == list(stage.regions)
    assert "stage: 'nowhere' has no file" in outcome.result["checks"][0]["detail"]


def test_run_when_finish_is_forgotten_is_an_error(make: Make, stage: Stage, root: Path) -> None:
    outcome = runbooks.run(make("endless", finish=False), stage, root=root)
    assert outcome.exit_status == 3
    assert "run.finish()" in outcome.result["checks"][-1]["detail"]


def test_run_when_a_cell_after_the_verdict_raises_is_an_error(make: Make, stage: Stage, root: Path) -> None:
    outcome = runbooks.run(make("late", "run.finish()", "1 / 0"), stage, root=root)
    assert outcome.exit_status == 3
    assert "ZeroDivisionError" in outcome.result["checks"][-1]["detail"]


@pytest.mark.parametrize(
    ("source", "grace_s"),
    [
        ("import time\ntime.sleep(600)", 10.0),
        (
            "while True:\n    try:\n        import time; time.sleep(600)\n    except KeyboardInterrupt:\n        pass",
            0.5,
        ),
    ],
    ids=["interruptible", "deaf"],
)
def test_run_when_a_cell_hangs_ends_at_its_timeout(  # noqa: PLR0917
    make: Make, stage: Stage, root: Path, monkeypatch: pytest.MonkeyPatch, source: str, grace_s: float
) -> None:
    monkeypatch.setattr(kernel, "GRACE_S", grace_s)
    book = make("hanging", f'import os; print("kernel", os.getpid())\n{source}')
    printed: list[str] = []
    begun = time.monotonic()

    outcome = runbooks.run(book, stage, root=root, cell_timeout_s=3, progress=lambda e: printed.append(e.text))

    assert time.monotonic() - begun < 20
    assert outcome.exit_status == 3
    assert outcome.result["checks"][-1] == {"name": "Step 2", "ok": False, "detail": "the cell took longer than 3 s"}
    assert _gone(_kernel_id(printed))


def test_run_when_the_whole_takes_too_long_ends(make: Make, stage: Stage, root: Path) -> None:
    book = make("slow", *["import time; time.sleep(0.7)"] * 12)
    outcome = runbooks.run(book, stage, root=root, timeout_s=4)
    assert outcome.exit_status == 3
    assert outcome.result["checks"][-1]["detail"] == "the run took longer than 4 s"


def test_run_when_the_kernel_is_killed_is_an_error_within_seconds(make: Make, stage: Stage, root: Path) -> None:
    killed: list[float] = []

    def kill(event: kernel.CellEvent) -> None:
        if event.kind == "said":
            os.kill(int(event.text), signal.SIGKILL)
            killed.append(time.monotonic())

    book = make("killed", 'run.check("before", True, "seen")', "import os, time; print(os.getpid()); time.sleep(600)")
    outcome = runbooks.run(book, stage, root=root, progress=kill)

    assert time.monotonic() - killed[0] < 10
    assert outcome.exit_status == 3
    assert [check["name"] for check in outcome.result["checks"]] == ["before", "Step 3"]
    assert "the kernel died, killed by SIGKILL" in outcome.result["checks"][-1]["detail"]


def test_run_when_the_kernel_dies_in_silence_between_cells_is_an_error(make: Make, stage: Stage, root: Path) -> None:
    book = make(
        "fading", "import os, threading; threading.Timer(0.2, os._exit, [7]).start()", "import time; time.sleep(600)"
    )
    outcome = runbooks.run(book, stage, root=root)
    assert "the kernel died with status 7" in outcome.result["checks"][-1]["detail"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_when_a_signal_stops_it_leaves_a_record_and_no_kernel(
    make: Make, root: Path, tmp_path: Path, number: signal.Signals
) -> None:
    book = make("stopped", 'run.check("before", True, "seen")', "import os, time; print(os.getpid()); time.sleep(600)")
    script = f"""
import sys
from pathlib import Path
from ops import runbooks
from ops.errors import OpsError
from ops.stage import load_stage
book = runbooks.find("stopped", Path({str(book.path.parent)!r}))
try:
    runbooks.run(book, load_stage("local"), progress=lambda e: e.text and print(e.text, flush=True),
                 root=Path({str(root)!r}))
except OpsError as error:
    print(error, "|", error.hint, flush=True)
    sys.exit(error.exit_status)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        kernel_id = int(runner.stdout.readline())
        begun = time.monotonic()
        runner.send_signal(number)
        said = runner.stdout.read()
        assert runner.wait(30) == 3
    assert time.monotonic() - begun < 10
    assert "no kernel is left running" in said
    assert _gone(kernel_id)
    (directory,) = (root / "local").iterdir()
    result = json.loads((directory / "result.json").read_text())
    reason = "stopped by the operator" if number == signal.SIGINT else "stopped by SIGTERM"
    assert (result["verdict"], result["checks"][-1]["detail"]) == ("error", reason)
    assert "KeyboardInterrupt" in (directory / "run.ipynb").read_text()
    assert (directory / "run.html").exists()


def test_run_when_a_stopped_cell_says_what_it_left_records_that(make: Make, stage: Stage, root: Path) -> None:
    source = """
from ops.errors import InterruptedRunError
import time
try:
    print("working"); time.sleep(600)
except KeyboardInterrupt:
    raise InterruptedRunError("the replay goes on without us") from None
"""
    stop = threading.Event()
    with pytest.raises(InterruptedRunError):
        runbooks.run(make("careful", source), stage, root=root, stop=stop, progress=_once_it_speaks(stop))
    (directory,) = (root / "local").iterdir()
    result = json.loads((directory / "result.json").read_text())
    assert result["checks"][-1]["detail"] == "stopped by the operator: the replay goes on without us"


def test_run_when_its_caller_stops_it_from_another_thread_ends(make: Make, stage: Stage, root: Path) -> None:
    book = make("called-off", 'print("working")\nimport time; time.sleep(600)')
    stop = threading.Event()
    with pytest.raises(InterruptedRunError, match="stopped by the operator"):
        runbooks.run(book, stage, root=root, stop=stop, progress=_once_it_speaks(stop))


def test_run_when_the_runner_is_killed_leaves_no_kernel(make: Make, root: Path) -> None:
    book = make("orphan", "import os, time; print(os.getpid()); time.sleep(600)")
    script = (
        "from pathlib import Path; from ops import runbooks; from ops.stage import load_stage; "
        f"runbooks.run(runbooks.find('orphan', Path({str(book.path.parent)!r})), load_stage('local'), "
        f"progress=lambda e: e.text and print(e.text, flush=True), root=Path({str(root)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        kernel_id = int(runner.stdout.readline())
        runner.kill()
    assert _gone(kernel_id, within_s=15)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"regoins": "a"}, r"regoins: strict has no such parameter \(did you mean 'regions'\?\)"),
        ({"size": "big"}, "size: 'big' is not a whole number; how big"),
        ({"stage": "prod"}, "stage: is set with --stage, not with -p"),
        ({"apply": "x"}, "apply: is set with --apply, not with -p"),
    ],
)
def test_validate_when_a_parameter_is_wrong_refuses_with_what_is_accepted(
    make: Make, root: Path, given: dict[str, str], message: str
) -> None:
    book = make("strict", parameters='apply: str = ""\nsize: int = 3  # how big\nregions: list[str] = []')
    with pytest.raises(UsageError, match=message) as caught:
        runbooks.validate(book, given)
    assert 'size (int, default 3); regions (list[str], default "")' in caught.value.hint
    assert not root.exists()


def test_run_when_parameters_are_given_passes_them_typed(make: Make, stage: Stage, root: Path) -> None:
    lines = "size: int = 3\nregions: list[str] = []\nquick: bool = False\nratio: float = 0.5"
    book = make("typed", "run.figures(seen=[stage, size, regions, quick, ratio])", parameters=lines)
    values = runbooks.validate(book, {"size": "7", "regions": "a, b", "quick": "TRUE"})
    outcome = runbooks.run(book, stage, values, root=root)
    assert outcome.result["figures"] == {"seen": ["local", 7, ["a", "b"], True, 0.5]}


def test_run_when_values_are_of_the_wrong_type_starts_nothing(make: Make, stage: Stage, root: Path) -> None:
    with pytest.raises(UsageError, match="size: 'seven' is not a whole number"):
        runbooks.run(make("typed", parameters="size: int = 3"), stage, {"size": "seven"}, root=root)
    assert not root.exists()


def test_apply_when_the_token_is_recorded_uses_the_parameters_of_its_plan(make: Make, stage: Stage, root: Path) -> None:
    book = make("planned", PLAN, "run.figures(approved=bool(approved))", parameters='apply: str = ""\nsize: int = 3')
    dry = runbooks.run(book, stage, {"size": 9}, root=root)
    token = dry.result["plan"]["token"]
    assert dry.result["figures"] == {"approved": False}
    assert f"--apply {token}" in dry.page.read_text()
    assert "Approval" not in (dry.directory / "run.ipynb").read_text()

    applied = runbooks.run(book, stage, {}, token, root=root)

    assert applied.exit_status == 0
    assert applied.result["figures"] == {"approved": True}
    assert applied.result["plan"]["parameters"] == {"size": 9}

    with pytest.raises(RefusedError, match="size: given 4, planned 9"):
        runbooks.run(book, stage, {"size": 4}, token, root=root)
    other = make("other", parameters='apply: str = ""')
    with pytest.raises(RefusedError, match="is of a plan of planned, not of other"):
        runbooks.run(other, stage, {}, token, root=root)
    with pytest.raises(UsageError, match="changes nothing"):
        runbooks.run(make("reading"), stage, {}, token, root=root)
    assert len(list((root / "local").iterdir())) == 2


def test_apply_when_refused_after_it_began_is_an_error(make: Make, stage: Stage, root: Path) -> None:
    late = 'from ops.errors import RefusedError\nif approved: raise RefusedError("half way")'
    book = make("half", PLAN, late, parameters='apply: str = ""\nsize: int = 3')
    token = runbooks.run(book, stage, root=root).result["plan"]["token"]
    outcome = runbooks.run(book, stage, {}, token, root=root)
    assert (outcome.exit_status, outcome.result["verdict"]) == (3, "error")


def test_apply_when_it_stops_half_way_keeps_the_steps_that_were_done(make: Make, stage: Stage, root: Path) -> None:
    operation = """
from ops.plan import Outcome
def operation(cloud, plan, token, progress, report):
    report(Outcome(plan.steps[0], "created", 0.25))
    raise KeyboardInterrupt
run._cloud = object()
run.apply(run.record.plan, operation)
"""
    book = make("half", PLAN, operation, parameters='apply: str = ""\nsize: int = 3')
    token = runbooks.run(book, stage, root=root).result["plan"]["token"]

    outcome = runbooks.run(book, stage, {}, token, root=root)

    assert outcome.result["verdict"] == "error"
    (kept,) = outcome.result["plan"]["applied"]
    assert (kept["done"], kept["duration_s"]) == ("created", 0.25)
    assert kept | outcome.result["plan"]["steps"][0] == kept


def test_apply_when_no_plan_has_the_token_is_refused_before_the_start(make: Make, stage: Stage, root: Path) -> None:
    book = make("planned", PLAN, parameters='apply: str = ""\nsize: int = 3')
    with pytest.raises(RefusedError, match="no plan with token '0123456789abcdef'"):
        runbooks.run(book, stage, {}, "0123456789abcdef", root=root)
    assert not root.exists()


def test_apply_when_the_world_changed_is_refused_and_keeps_the_new_plan(
    make: Make, stage: Stage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = PLAN.replace("size {size}", "size {size} of {os.environ.get('WORLD')}")
    book = make("planned", f"import os\n{changed}", parameters='apply: str = ""\nsize: int = 3')
    token = runbooks.run(book, stage, root=root).result["plan"]["token"]
    monkeypatch.setenv("WORLD", "another")

    outcome = runbooks.run(book, stage, {}, token, root=root)

    assert (outcome.exit_status, outcome.result["verdict"]) == (2, "refused")
    assert outcome.result["plan"]["steps"][0]["detail"] == "size 3 of another"
    assert outcome.result["plan"]["token"] != token
    assert f"token '{token}' is not this plan's" in outcome.result["checks"][-1]["detail"]


def test_run_when_two_run_at_once_keeps_them_apart(make: Make, stage: Stage, root: Path) -> None:
    book = make("twin", "import os; run.figures(kernel=os.getpid(), number=number)", parameters="number: int = 0")
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda n: runbooks.run(book, stage, {"number": n}, root=root), [1, 2]))
    assert [outcome.result["figures"]["number"] for outcome in outcomes] == [1, 2]
    assert len({outcome.directory for outcome in outcomes}) == 2
    assert len({outcome.result["figures"]["kernel"] for outcome in outcomes}) == 2


def test_run_when_outputs_hold_secrets_saves_none(
    make: Make, stage: Stage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, token = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYplanted123", "IQoJb3JpZ2luX2VjPlantedSessionToken=="
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    leak = """
import os, sys
from ops import charts, tables
secret, token = os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_SESSION_TOKEN"]
print(dict(os.environ)); print(secret, file=sys.stderr)
print('aws_secret_access_key = ' + 'Other' + 'Account/Secret+0123456789abcdefghijkl')
run.check("leak " + secret, False, token); run.figures(leak=[secret])
display(tables.table([{"secret": secret}]))
display(charts.bars([{"x": secret, "y": 1}], x="x", y="y"))
"""
    outcome = runbooks.run(make("leaking", leak, 'raise ValueError("with " + secret)'), stage, root=root)
    assert outcome.exit_status == 3
    for path in outcome.directory.iterdir():
        text = path.read_text()
        assert "[secret removed]" in text
        for planted in (secret, token, "wJalrXUtnFEMI%2FK7MDENG", "OtherAccount/Secret"):
            assert planted not in text, f"{planted} in {path.name}"


def test_run_when_a_secret_is_given_by_value_starts_nothing(make: Make, stage: Stage, root: Path) -> None:
    book = make("hook", "run.figures(hook=webhook_secret)", parameters='webhook_secret: str = ""  # SSM name')
    with pytest.raises(RefusedError, match="webhook_secret: looks like a secret") as caught:
        runbooks.run(book, stage, {"webhook_secret": "hunter2hunter2"}, root=root)
    assert "hunter2" not in str(caught.value)
    assert not root.exists()
    outcome = runbooks.run(book, stage, {"webhook_secret": "/atoll/prod/webhook"}, root=root)
    assert outcome.result["figures"] == {"hook": "/atoll/prod/webhook"}


def test_run_when_a_cell_floods_its_output_keeps_the_beginning(make: Make, stage: Stage, root: Path) -> None:
    book = make("flood", 'line = "x" * 999\nfor _ in range(20_000): print(line)')
    outcome = runbooks.run(book, stage, root=root)
    assert outcome.exit_status == 0
    assert (outcome.directory / "run.ipynb").stat().st_size < 2_000_000
    assert "the rest is not kept" in outcome.page.read_text()


def test_example_when_run_shows_charts_tables_checks_and_a_plan(stage: Stage, root: Path) -> None:
    book = runbooks.find("heartbeat", Path(__file__).parent / "fixtures")
    outcome = runbooks.run(book, stage, {"minutes": 40}, root=root)
    assert outcome.exit_status == 0
    page = outcome.page.read_text()
    assert page.count("<svg xmlns") == 3
    for words in (
        "Replication lag, p95",
        "no data in this window",
        "To apply exactly this plan",
        "Both checks are ok.",
    ):
        assert words in page


def _once_it_speaks(stop: threading.Event) -> kernel.Progress:
    def listen(event: kernel.CellEvent) -> None:
        if event.kind == "said":
            stop.set()

    return listen


def _kernel_id(printed: list[str]) -> int:
    return int(next(text for text in printed if text.startswith("kernel ")).removeprefix("kernel "))


def _gone(process_id: int, within_s: float = 5) -> bool:
    """Whether a process ends within the time; one that waits to be reaped has ended."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        threading.Event().wait(0.05)
    return False

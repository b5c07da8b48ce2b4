"""The runbooks there are, and running one: parameters in, a record out.

A run always leaves ``run.ipynb``, ``run.html`` and ``result.json``, however it ends: by its own verdict, refused, by
an error, out of time, with a dead kernel or stopped by the operator. Nothing is written, and no kernel starts, for a
request that is wrong; nothing that is saved holds a secret the environment knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops import forking
from ops import parameters as declared
from ops.errors import (
    EXIT_ERROR,
    EXIT_FAIL,
    EXIT_PASS,
    EXIT_REFUSED,
    InterruptedRunError,
    OpsError,
    RefusedError,
    UsageError,
)
from ops.files import write_whole
from ops.markup import STOP_MIME
from ops.parameters import Parameter
from ops.record import PARTIAL, REPORTS, RUN_DIR_VARIABLE, new_run_directory, now_text, read_result, write_result
from ops.resuming import RESUMES_VARIABLE, Earlier
from ops.scrub import Scrubber
from ops.stage import ROOT, Stage

if TYPE_CHECKING:
    from ops import kernel

NOTEBOOKS = ROOT / "notebooks"
RUN_TIMEOUT_S = 1800.0
# A parameter of this name is a file of recorded data, which a run looks at in the place of a cloud.
RECORDED = "source"
CELL_TIMEOUT_S = 900.0
EXIT_STATUS = {"pass": EXIT_PASS, "fail": EXIT_FAIL, "refused": EXIT_REFUSED, "error": EXIT_ERROR}
STOPPED = "stopped by the operator"


@dataclass(frozen=True)
class Runbook:
    """A notebook as an operator sees it. ``summary`` is the first paragraph under its title."""

    name: str
    title: str
    summary: str
    parameters: tuple[Parameter, ...]
    path: Path

    @cached_property
    def changes(self) -> bool:
        """Whether it can change something, through a plan."""
        return any(parameter.name == "apply" for parameter in self.parameters)


@dataclass(frozen=True)
class RunOutcome:
    """A finished run. ``result`` is what ``result.json`` says."""

    directory: Path
    result: dict[str, Any]
    exit_status: int

    @property
    def page(self) -> Path:
        return self.directory / "run.html"


def catalogue(directory: Path = NOTEBOOKS) -> list[Runbook]:
    """Every runbook, by name.

    Raises:
        OpsError: a notebook cannot be read; the message names it.
    """
    return [_read(path) for path in sorted(directory.glob("*.ipynb"))]


def find(name: str, directory: Path = NOTEBOOKS) -> Runbook:
    """The runbook of this name.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    names = [path.stem for path in sorted(directory.glob("*.ipynb"))]
    if name not in names:
        raise UsageError(
            f"runbook: there is no {name!r}{declared.did_you_mean(name, names)}; "
            f"accepted: {', '.join(names) or 'none'}",
            hint="What each is for: ops list",
        )
    return _read(directory / f"{name}.ipynb")


def _read(path: Path) -> Runbook:
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = [(c["cell_type"], "".join(c["source"]), c["metadata"].get("tags", [])) for c in cells]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OpsError(f"{shown}: is not a notebook: {error!r}", hint="Restore it from version control.") from error
    opening = next((source for kind, source, _ in texts if kind == "markdown"), "")
    title, _, rest = opening.strip().partition("\n")
    parameters = next((source for _, source, tags in texts if "parameters" in tags), "")
    return Runbook(
        name=path.stem,
        title=title.lstrip("# ").strip() or path.stem,
        summary=" ".join(rest.strip().split("\n\n")[0].split()),
        parameters=declared.parse_cell(parameters, str(shown)),
        path=path,
    )


def validate(runbook: Runbook, given: Mapping[str, str]) -> dict[str, Any]:
    """The typed values of what was given with ``-p name=value``; nothing is added.

    Raises:
        UsageError: an unknown name or a wrong type; a line each, and what is accepted.
        RefusedError: a secret by value.
    """
    return declared.typed(runbook.parameters, given, runbook.name)


def run(
    runbook: Runbook,
    stage: Stage,
    parameters: Mapping[str, Any] | None = None,
    apply_token: str = "",
    *,
    progress: kernel.Progress | None = None,
    timeout_s: float = RUN_TIMEOUT_S,
    root: Path = REPORTS,
    cell_timeout_s: float = CELL_TIMEOUT_S,
    stop: threading.Event | None = None,
    resumes: Earlier | None = None,
) -> RunOutcome:
    """Execute a runbook and record it under ``<root>/<stage>/``.

    Parameters
    ----------
    parameters
        Typed values, as :func:`validate` gives them; the notebook's defaults hold for the rest.
    apply_token
        The token of a recorded plan of this runbook and stage: it is applied, with the parameters it was made with.
    progress
        Told of each cell as it starts and finishes, and of each line it prints. Called from another thread.
    timeout_s, cell_timeout_s
        For the whole run, and for one cell: then the cell is interrupted, and the verdict is ``error``.
    stop
        Ends the run as Ctrl-C does, for a caller that is not on the main thread.
    resumes
        A run of this runbook to go on with: its parameters and its token hold.

    Raises:
        UsageError, RefusedError: the request is wrong; nothing was started or written.
        InterruptedRunError: the operator stopped it. The record is complete and says so.
    """
    values = declared.checked(runbook.parameters, dict(parameters or {}), runbook.name)
    if resumes is not None:
        values = _parameters_of(resumes, runbook)
        apply_token = values.get("apply", "")
    elif apply_token:
        values = _recorded_parameters(runbook, stage, values, apply_token, root)
    values["stage"] = stage.stage
    if runbook.changes:
        values["apply"] = apply_token
    # All of them, so that the record says with what it was made even when a default changes later.
    values = {p.name: values.get(p.name, p.default) for p in runbook.parameters}

    directory = new_run_directory(stage.stage, runbook.name, root)
    # What the kernel needs is loaded while the runner loads what it needs itself.
    forking.server(os.environ, forking.modules_of([runbook.path]))
    # Imported here: it takes a while, and `ops list` has no need of it.
    from ops import kernel

    work = _Work(runbook, stage, directory, Scrubber(), now_text())
    execution = kernel.Execution(
        notebook=kernel.read_notebook(runbook.path),
        environment={
            **os.environ,
            RUN_DIR_VARIABLE: str(directory),
            **({RESUMES_VARIABLE: str(resumes.directory)} if resumes else {}),
        },
        progress=progress or (lambda _: None),
        timeout_s=timeout_s,
        cell_timeout_s=cell_timeout_s,
        save=work.save,
    )
    with _stopped_by_signals(execution.stop):
        _execute(work, execution, values, stop)
        result = work.conclude()
    if work.end is not None and work.end.kind == "stopped":
        raise InterruptedRunError(
            f"{runbook.name}: {result['checks'][-1]['detail']}; no kernel is left running",
            hint=f"To go on: ops run --stage {stage.stage} --resume {directory.name}",
        )
    return RunOutcome(directory, result, EXIT_STATUS[result["verdict"]])


def _parameters_of(earlier: Earlier, runbook: Runbook) -> dict[str, Any]:
    """The parameters of a run to go on with.

    Raises:
        RefusedError: the runbook no longer knows some of them.
    """
    if strangers := sorted(earlier.parameters.keys() - {parameter.name for parameter in runbook.parameters}):
        raise RefusedError(
            f"--resume: {earlier.name} has parameters that {runbook.name} no longer knows: {', '.join(strangers)}",
            hint=f"Make a new run: ops run {runbook.name} --stage {earlier.stage}",
        )
    return declared.checked(runbook.parameters, earlier.parameters, runbook.name)


def _recorded_parameters(
    runbook: Runbook, stage: Stage, given: dict[str, Any], token: str, root: Path
) -> dict[str, Any]:
    """The parameters of the recorded plan that has this token, held against those given again."""
    if not runbook.changes:
        raise UsageError(f"--apply: {runbook.name} changes nothing, so it has no plan to apply")
    plan = _find_plan(token, stage, root)
    dry_run = f"ops run {runbook.name} --stage {stage.stage}"
    if plan is None:
        raise RefusedError(
            f"--apply: no plan with token {token!r} is recorded for stage {stage.stage!r}",
            hint=f"Make a plan and read it: {dry_run}",
        )
    if plan.get("runbook") != runbook.name:
        raise RefusedError(
            f"--apply: token {token!r} is of a plan of {plan.get('runbook')}, not of {runbook.name}",
            hint=f"Apply it with: ops run {plan.get('runbook')} --stage {stage.stage} --apply {token}",
        )
    names = {parameter.name for parameter in runbook.parameters}
    recorded = {k: v for k, v in plan.get("parameters", {}).items() if k not in declared.RESERVED}
    if strangers := sorted(recorded.keys() - names):
        raise RefusedError(
            f"--apply: the plan has parameters that {runbook.name} no longer knows: {', '.join(strangers)}",
            hint=f"Make a new plan: {dry_run}",
        )
    contradicted = [name for name in given if name in recorded and given[name] != recorded[name]]
    if contradicted:
        pairs = "; ".join(
            f"{n}: given {declared.as_text(given[n])}, planned {declared.as_text(recorded[n])}" for n in contradicted
        )
        raise RefusedError(
            f"--apply: other parameters than those of the plan: {pairs}",
            hint="Leave -p out (the plan's own parameters are used), or make a new plan.",
        )
    return {**given, **declared.checked(runbook.parameters, recorded, runbook.name)}


def _find_plan(token: str, stage: Stage, root: Path) -> dict[str, Any] | None:
    """The newest recorded plan with this token, of whatever runbook."""
    for path in sorted((root / stage.stage).glob("*/result.json"), reverse=True):
        plan = (read_result(path.parent) or {}).get("plan") or {}
        if plan.get("token") == token:
            return dict(plan)
    return None


@dataclass
class _Work:
    """One run under way: what is known about it, and how it becomes a record."""

    runbook: Runbook
    stage: Stage
    directory: Path
    scrubber: Scrubber
    started: str
    notebook: Any = None
    end: kernel.End | None = None

    def save(self, notebook: Any) -> None:
        """Write ``run.ipynb`` as far as it has come, scrubbed, in one step."""
        self.notebook = self.scrubber.value(notebook)
        write_whole(self.directory / "run.ipynb", json.dumps(self.notebook, indent=1, ensure_ascii=False) + "\n")

    def conclude(self) -> dict[str, Any]:
        """Write the result that always exists, and the page that shows it."""
        from ops import page

        result = read_result(self.directory)
        trouble = self._trouble(result is not None)
        if trouble is not None:
            verdict, check = trouble
            result = result or read_result(self.directory, PARTIAL) or self._empty()
            result = {**result, "verdict": verdict, "checks": [*result["checks"], check]}
        assert result is not None  # without a result there is trouble
        # From the operator's point of view: with the kernel's start and end.
        own = {"runbook": self.runbook.name, "started": self.started, "finished": now_text()}
        result = dict(self.scrubber.value({**result, **own}))
        write_result(self.directory, result)
        (self.directory / PARTIAL).unlink(missing_ok=True)
        page.write(self.directory, self.notebook, result)
        return result

    def _trouble(self, finished: bool) -> tuple[str, dict[str, Any]] | None:
        """The verdict and the failing check of a run that did not come to its own verdict."""
        end = self.end
        assert end is not None
        if end.kind == "done":
            if finished:
                return None
            detail = "the runbook ended without a verdict: its last cell must call run.finish()"
            return "error", _failed(self.runbook.title, detail)
        if end.kind == "raised":
            stop = _stop_output(self.notebook)
            refused = end.error_name in ("RefusedError", "UsageError")
            if stop is None:
                return "refused" if refused else "error", _failed(end.title, f"{end.error_name}: {end.message}")
            return "refused" if stop["exit_status"] == EXIT_REFUSED else "error", _failed(end.title, _said(stop))
        # What an interrupted cell said about the state it left is worth more than that it was interrupted.
        left = _stop_output(self.notebook)
        detail = f"{end.message}: {_said(left)}" if left else end.message
        return "error", _failed(end.title or self.runbook.title, detail)

    def _empty(self) -> dict[str, Any]:
        return {
            "runbook": self.runbook.name,
            "stage": self.stage.stage,
            "account": self.stage.account,
            "regions": list(self.stage.regions),
            "started": self.started,
            "finished": now_text(),
            "verdict": "error",
            "checks": [],
            "figures": {},
            "plan": None,
        }


def _said(stop: dict[str, Any]) -> str:
    return str(stop["message"]) + (f" → {stop['hint']}" if stop["hint"] else "")


def _failed(name: str, detail: str) -> dict[str, Any]:
    return {"name": name, "ok": False, "detail": detail}


def _stop_output(notebook: Any) -> dict[str, Any] | None:
    """What the cell that raised left about it, when an OpsError ended the run."""
    for cell in reversed(notebook["cells"]):
        for output in cell.get("outputs", []):
            if STOP_MIME in output.get("data", {}):
                return dict(output["data"][STOP_MIME])
    return None


def _execute(work: _Work, execution: kernel.Execution, values: dict[str, Any], stop: threading.Event | None) -> None:
    """Run the notebook on a thread of its own, and wait for it; the main thread stays free to take signals."""
    from ops import kernel

    failures: list[BaseException] = []

    def target() -> None:
        try:
            work.end = kernel.execute(execution, values)
        except BaseException as error:  # noqa: BLE001 - told to the waiting thread, which records it
            failures.append(error)

    thread = threading.Thread(target=target, name=f"run-{work.directory.name}")
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        if stop is not None and stop.is_set():
            execution.stop.set(STOPPED)
    if failures:
        work.end = kernel.End("dead", message=f"the runner failed: {failures[0]!r}")
    work.save(execution.notebook)


@contextlib.contextmanager
def _stopped_by_signals(halt: kernel.Stop) -> Iterator[None]:
    """Let Ctrl-C, and SIGTERM (a scheduler's stop), end the run in order instead of raising wherever it stands."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reasons = {signal.SIGINT: STOPPED, signal.SIGTERM: "stopped by SIGTERM"}
    before = {number: signal.getsignal(number) for number in reasons}
    for number, reason in reasons.items():
        if before[number] != signal.SIG_IGN:
            signal.signal(number, lambda *_, reason=reason: halt.set(reason))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)

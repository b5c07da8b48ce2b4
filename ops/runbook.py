"""A runbook's own view of its run: open a record, show what was found, close it with a verdict.

The same calls serve under the runner and cell by cell in JupyterLab: either way the record is written, and whatever a
cell has found so far is on disk before the next one starts, so that a dead kernel loses nothing.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from IPython import get_ipython
from IPython.display import display

from ops import aws, charts, tables
from ops.errors import EXIT_ERROR, EXIT_REFUSED, OpsError
from ops.markup import (
    CHECKS_MIME,
    FIGURES_MIME,
    NOTEBOOK_STYLE,
    OPENING_MIME,
    PLAN_MIME,
    STOP_MIME,
    VERDICT_MIME,
    VERDICT_WORDS,
    Html,
    badge,
    figure,
    figures,
    icon,
)
from ops.plan import Outcome, Plan, Report, authorize
from ops.record import PARTIAL, RESULT, RUN_DIR_VARIABLE, Check, Record, plain_value, write_result
from ops.scrub import Scrubber
from ops.stage import ROOT, Stage, load_stage

if TYPE_CHECKING:
    from ops.lab.form import Form
    from ops.lab.progress import Progress

T = TypeVar("T")

# Set once a plan may be applied: what stops the run from then on is an error, whatever it calls itself, because it
# can no longer be said that nothing was changed.
_applying = threading.Event()
# The forms that were shown, by runbook.
_forms: dict[str, Form] = {}


@dataclass(frozen=True)
class Approval:
    """Whether a plan may be applied now. As a cell's last expression it shows nothing: the plan was shown already."""

    given: bool

    def __bool__(self) -> bool:
        return self.given

    def _ipython_display_(self) -> None:
        """Show nothing."""


class Run:
    """One run of a runbook, from :func:`begin` to :meth:`finish`.

    Attributes
    ----------
    stage, record
        The checked stage file, and what the run has found so far.
    """

    def __init__(self, record: Record, stage: Stage, cloud: aws.Cloud | None, apply: str) -> None:
        self.record = record
        self.stage = stage
        self._cloud = cloud
        self._apply = apply
        self._progress: tuple[int, Progress] | None = None
        self._save()

    @property
    def cloud(self) -> aws.Cloud:
        """AWS as the stage sees it.

        Raises:
            OpsError: the run was opened offline.
        """
        if self._cloud is None:
            raise OpsError(f"{self.record.runbook}: this run is offline: it looks at recorded data only")
        return self._cloud

    def progress(self, text: str) -> None:
        """Say what is going on: shown at once by the runner, and kept in the record; by hand, with a bar."""
        shell = get_ipython()
        if shell is None or not by_hand():
            print(text, flush=True)  # noqa: T201 - printing is how a cell speaks
            return
        from ops.lab.progress import Progress

        # A cell that says something for the first time has its own.
        if self._progress is None or self._progress[0] != shell.execution_count:
            self._progress = (shell.execution_count, Progress())
        self._progress[1].say(text)

    def check(self, name: str, ok: bool, detail: str) -> None:
        """Record and show one check; one that is not ok makes the verdict ``fail``."""
        made = self.record.check(name, ok, detail)
        self._save()
        _show(
            Html(
                f'<p class="at-check">{badge("pass" if made.ok else "fail", name)} <span>{escape(detail)}</span></p>',
                f"{'ok' if made.ok else 'NOT OK'}: {name}: {detail}",
            )
        )

    def checks(self, checks: Iterable[Check], caption: str = "Checks") -> Html:
        """Record many checks; returns their table."""
        made = [self.record.check(c.name, c.ok, c.detail) for c in checks]
        self._save()
        shown = tables.checks_table(made, caption)
        return Html(shown.html, shown.text, {CHECKS_MIME: {"failing": sum(not check.ok for check in made)}})

    def figures(self, **values: Any) -> Html:
        """Record figures, with their units in their names (``lag_p95_ms=412``); returns them as tiles."""
        plain = {name: plain_value(value) for name, value in values.items()}
        self.record.figures.update(plain)
        self._save()
        text = ", ".join(f"{label} {shown}" for label, shown in (figure(n, v) for n, v in plain.items()))
        return Html(figures(plain), text, {FIGURES_MIME: plain})

    def known(self, values: Mapping[str, Any]) -> None:
        """Record figures while a cell still runs, without showing them: a run that ends early has them."""
        self.record.figures.update({name: plain_value(value) for name, value in values.items()})
        self._save()

    def plan(self, plan: Plan, approved: str = "") -> Approval:
        """Record and show a plan. The answer is true when it may be applied now: the run was given its token, or
        ``approved`` says what lets it go on without one, which is recorded.

        Raises:
            RefusedError: a token was given and it is not this plan's, or what was approved must not be done.
        """
        self.record.plan = plan
        if approved and not self._apply:
            self._apply = plan.token
            self.record.figures["approved_by"] = approved
        self._save()
        shown = tables.plan_table(plan, applied=self._apply == plan.token)
        _show(Html(shown.html, shown.text, {PLAN_MIME: {"token": plan.token}}))
        if not self._apply:
            return Approval(False)
        authorize(plan, self._apply)
        _applying.set()
        return Approval(True)

    def apply(
        self, plan: Plan, operation: Callable[[aws.Cloud, Plan, str, Callable[[str], None], Report], T]
    ) -> T | None:
        """Carry out a plan with the ``apply`` function of its operation; None on a dry run, which changes nothing.

        Each step is in the record as soon as it is done, so that an apply that stops half-way says how far it came.

        Raises:
            RefusedError: a token was given and it is not this plan's.
        """
        if not self._apply:
            return None
        authorize(plan, self._apply)
        _applying.set()
        return operation(self.cloud, plan, self._apply, self.progress, self._keep)

    def _keep(self, outcome: Outcome) -> None:
        self.record.applied.append(outcome)
        self._save()

    def plannable(self, plan: Plan) -> list[Check]:
        """What a dry run can check: whether the plan could be applied, with a failing check for each refusal in it."""
        if plan.refusals:
            return [Check(f"plan: {step.resource}", False, step.detail) for step in plan.refusals]
        if not plan.changes:
            return [Check("plan", True, "nothing would change")]
        count = f"{len(plan.changes)} change{'' if len(plan.changes) == 1 else 's'}"
        return [Check("plan", True, f"dry run: {count} can be applied with token {plan.token}")]

    def finish(self) -> Html:
        """Write ``result.json`` and show the verdict. By hand, the page too; the runner writes its own."""
        result = Scrubber().value(self.record.result(self.record.verdict))
        write_result(self.record.directory, result)
        (self.record.directory / PARTIAL).unlink(missing_ok=True)
        if by_hand():
            from ops import page
            from ops.lab import start

            page.write(self.record.directory, None, result)
            start.refresh(self.stage.stage)
        failing = [check.name for check in self.record.checks if not check.ok]
        say = (
            f"{len(failing)} of {len(self.record.checks)} checks: {', '.join(failing)}"
            if failing
            else _made(self.record)
        )
        verdict = self.record.verdict
        where = self.record.directory
        shown = where.relative_to(ROOT) if where.is_relative_to(ROOT) else where
        html = (
            f'<div class="at-banner at-{verdict}"><strong>{icon(verdict)}{VERDICT_WORDS[verdict]}</strong> '
            f"<span>{escape(say)}</span><br><small>{escape(str(shown / RESULT))}</small></div>"
        )
        return Html(html, f"{VERDICT_WORDS[verdict]}: {say} ({shown})", {VERDICT_MIME: {"verdict": verdict}})

    def _save(self) -> None:
        """Keep what was found so far, for a run that does not come to its end."""
        partial = Scrubber().value(self.record.result(self.record.verdict))
        write_result(self.record.directory, partial, PARTIAL)


def by_hand() -> bool:
    """Whether cells are run one by one, and not by the runner."""
    return RUN_DIR_VARIABLE not in os.environ


def form(runbook: str) -> None:
    """Show the form of a runbook's parameters, where it is run by hand; what is filled in are the notebook's variables.

    The runner has checked its parameters already: there this does nothing.
    """
    shell = get_ipython()
    if shell is None or not by_hand():
        return
    from ops.lab.form import Form
    from ops.runbooks import find

    made = Form(find(runbook), shell.user_ns)
    made.fill(_forms.get(runbook))
    _forms[runbook] = made
    made.show()


def begin(runbook: str, stage: str, apply: str = "", *, offline: bool = False) -> Run:
    """Open the record of a run, and prove which account it works on.

    Parameters
    ----------
    apply
        The token of the plan to apply; empty: a dry run.
    offline
        Do not connect to the cloud: the runbook looks at recorded data only.

    Raises:
        UsageError, RefusedError: the stage or the credentials are not usable; nothing was changed.
    """
    _install_stop_display()
    _applying.clear()
    if runbook in _forms:
        _forms[runbook].check()
    described = load_stage(stage)
    charts.keep_colours(described.regions)
    if not offline:
        aws.adopt_environment(described)
    cloud = None if offline else aws.connect(described)
    account = cloud.account if cloud else described.account or ""
    run = Run(Record.begin(runbook, described, account), described, cloud, apply)
    where = "recorded data" if cloud is None else aws.endpoint_name()
    regions = ", ".join(described.regions)
    line = f"{runbook} · stage {described.stage} · account {account or 'none'} · {where} · {regions}"
    _show(Html(f'{NOTEBOOK_STYLE}<p class="at-opening">{escape(line)}</p>', line, {OPENING_MIME: {"runbook": runbook}}))
    return run


def _show(shown: Html) -> None:
    display(shown)  # type: ignore[no-untyped-call]


def _made(record: Record) -> str:
    return f"all {len(record.checks)} checks are ok" if record.checks else "no checks were needed"


def _install_stop_display() -> None:
    """Let an OpsError end a cell with its message and hint, instead of a traceback."""
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((OpsError,), _show_stop)


def _show_stop(
    shell: Any, kind: type[OpsError], error: OpsError, trace: TracebackType, tb_offset: int | None = None
) -> list[str]:
    """Show why the run stops: in words, for the runner, and with the traceback folded away when it is no refusal."""
    status = EXIT_ERROR if _applying.is_set() else error.exit_status
    verdict = "refused" if status == EXIT_REFUSED else "error"
    message = escape(str(error)).replace("\n", "<br>")
    hint = f"<br><span>{escape(error.hint)}</span>" if error.hint else ""
    stack = "" if verdict == "refused" else "".join(traceback.format_exception(kind, error, trace))
    folded = f"<details><summary>Traceback</summary><pre>{escape(stack)}</pre></details>" if stack else ""
    symbol = f"{icon(verdict)}{VERDICT_WORDS[verdict]}"
    _show(
        Html(
            f'<div class="at-stop at-{verdict}"><strong>{symbol}</strong> {message}{hint}</div>{folded}',
            f"{VERDICT_WORDS[verdict]}: {error}" + (f"\n{error.hint}" if error.hint else ""),
            {STOP_MIME: {"exit_status": status, "message": str(error), "hint": error.hint}},
        )
    )
    return [f"{kind.__name__}: {error}"]


_install_stop_display()

"""What a mode is: an entry in the list of modes, and what it hands back for the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops import tables
from ops.aws import Cloud
from ops.divergence.comparison import Subject
from ops.divergence.request import Request
from ops.errors import UsageError
from ops.markup import Html
from ops.plan import Plan
from ops.record import Check

if TYPE_CHECKING:
    from ops.runbook import Run


@dataclass(frozen=True)
class Job:
    """One run of a mode. ``plan`` is None where the mode only reads."""

    run: Run
    request: Request
    subjects: Sequence[Subject]
    plan: Plan | None


@dataclass(frozen=True)
class Result:
    """What a mode did, in the order of the page: what was read, what differs, charts; then figures and the verdict."""

    read: Html
    differences: Html
    pictures: Html
    figures: dict[str, Any] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)


@dataclass(frozen=True)
class Mode:
    """One mode.

    Attributes
    ----------
    says
        What it is for, in a few words.
    takes
        The parameters that it has a use for.
    plan
        Makes the plan; None where the mode writes nothing. It makes none where this request writes nothing.
    alone
        Whether it takes one table at a time.
    compares
        Whether it is about tables that the parameters name; what a repair is about, its findings say.
    """

    name: str
    says: str
    takes: frozenset[str]
    run: Callable[[Job], Result]
    plan: Callable[[Cloud, Request, Sequence[Subject]], Plan | None] | None = None
    alone: bool = False
    compares: bool = True


def dry(job: Job, text: str) -> Result:
    """What a mode that writes hands back as long as its plan is not applied."""
    assert job.plan is not None
    return Result(nothing(text), nothing(text), nothing(text), checks=job.run.plannable(job.plan))


def checkpoint(job: Job, subject: Subject) -> Path:
    """The file to keep in what was read of a table: the one to go on from, or a new one among the run's own.

    Raises:
        UsageError: the one to go on from is not there.
    """
    asked = Path(job.request.resume).expanduser() if job.request.resume else None
    if asked is not None and not asked.is_file():
        raise UsageError(f"resume: there is no checkpoint {asked}; accepted: the path that the stopped run named")
    return asked or job.run.record.directory / f"{subject.table}.checkpoint"


def nothing(text: str) -> Html:
    """A line that says why there is nothing to show."""
    return tables.table([], "", empty=text)

"""Suites: which runbooks a report runs, declared in ``notebooks/suites.yml`` and checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ops import runbooks
from ops.errors import UsageError
from ops.parameters import as_text, did_you_mean
from ops.runbooks import NOTEBOOKS, Runbook
from ops.stage import ROOT, SuiteName

SUITES = NOTEBOOKS / "suites.yml"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Task(_Part):
    """One runbook of a suite. ``counts`` are the verdicts that are the suite's too."""

    runbook: str
    parameters: dict[str, str | int | float | bool | list[str]] = {}
    timeout_s: int = Field(default=600, ge=10, le=86_400)
    attempts: int = Field(default=2, ge=1, le=5, description="of a run that does not come to its end")
    counts: list[Literal["fail", "error"]] = ["fail", "error"]

    @property
    def given(self) -> dict[str, str]:
        """The parameters as they would be typed after ``-p``."""
        return {name: as_text(value) for name, value in self.parameters.items()}


class Suite(_Part):
    """A suite by its name in the file. ``at_once`` is how many runbooks run side by side."""

    name: str
    title: str
    runbooks: Annotated[list[Task], Field(min_length=1)]
    at_once: int = Field(default=4, ge=1, le=32)

    def books(self, directory: Path = NOTEBOOKS) -> list[tuple[Task, Runbook, dict[str, Any]]]:
        """Each task with its runbook and the typed values of its parameters.

        Raises:
            UsageError: there is no such runbook, or it has no such parameter; all of them are checked before any runs.
        """
        found = []
        for task in self.runbooks:
            book = runbooks.find(task.runbook, directory)
            try:
                found.append((task, book, runbooks.validate(book, task.given)))
            except UsageError as error:
                raise UsageError(f"suite {self.name}: {task.runbook}: {error}", hint=error.hint) from error
        return found


def load(path: Path = SUITES) -> dict[str, Suite]:
    """The suites of the file, by name.

    Raises:
        UsageError: it is not valid; the message has a line for each mistake.
    """
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return {name: Suite.model_validate({"name": name, **described}) for name, described in _named(read)}
    except ValidationError as error:
        lines = [f"{error.title}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise UsageError(f"{shown}: " + "\n".join(lines), hint="docs/reports.md says what a suite has.") from error
    except (OSError, yaml.YAMLError, TypeError, ValueError) as error:
        raise UsageError(f"{shown}: {error}", hint="docs/reports.md says what a suite has.") from error


def _named(read: Any) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(read, dict) or not all(isinstance(one, dict) for one in read.values()):
        raise ValueError("it is not a mapping of suites by name")
    return list(read.items())


def find(name: str, path: Path = SUITES) -> Suite:
    """The suite of this name.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    suites = load(path)
    if name not in suites:
        raise UsageError(
            f"suite: there is no {name!r}{did_you_mean(name, list(suites))}; accepted: {', '.join(suites) or 'none'}",
            hint="Suites are declared in notebooks/suites.yml.",
        )
    return suites[name]


__all__ = ["SUITES", "Suite", "SuiteName", "Task", "find", "load"]

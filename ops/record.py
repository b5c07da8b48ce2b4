"""The record of one run: checks, figures, the plan, and the verdict they add up to.

A runbook opens a record in its first cell, adds to it, and closes it in its last; ``result.json`` is written once, at
the end, by :meth:`Record.finish`. The directory comes from the runner (``ATOLL_RUN_DIR``) or, in an interactive
notebook, is made by the record itself, so that a run by hand leaves the same evidence.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from ops.files import write_whole
from ops.plan import Outcome, Plan
from ops.stage import ROOT, Stage

Verdict = Literal["pass", "fail", "refused", "error"]
# `reports/` of the project, or ATOLL_REPORTS_DIR.
REPORTS = Path(os.environ.get("ATOLL_REPORTS_DIR") or ROOT / "reports")
RUN_DIR_VARIABLE = "ATOLL_RUN_DIR"
RESULT = "result.json"
# A record as far as it has come, for a run that does not come to its end; gone once there is a result.
PARTIAL = "result.partial.json"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, whether it is as it should be, and what was seen."""

    name: str
    ok: bool
    detail: str


@dataclass
class Record:
    """What one run found. Times are RFC 3339 in UTC."""

    runbook: str
    stage: str
    account: str
    regions: list[str]
    directory: Path
    started: str
    checks: list[Check] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    plan: Plan | None = None
    applied: list[Outcome] = field(default_factory=list)

    @classmethod
    def begin(cls, runbook: str, stage: Stage, account: str) -> Record:
        directory = os.environ.get(RUN_DIR_VARIABLE)
        return cls(
            runbook=runbook,
            stage=stage.stage,
            account=account,
            regions=list(stage.regions),
            directory=Path(directory) if directory else new_run_directory(stage.stage, runbook),
            started=now_text(),
        )

    def check(self, name: str, ok: bool, detail: str) -> Check:
        """Add a check. ``detail`` says what was seen, in words an operator acts on."""
        check = Check(name, bool(ok), detail)
        self.checks.append(check)
        return check

    @property
    def verdict(self) -> Verdict:
        return "pass" if all(check.ok for check in self.checks) else "fail"

    def finish(self) -> dict[str, Any]:
        """Write ``result.json`` and return what it says."""
        return write_result(self.directory, self.result(self.verdict))

    def result(self, verdict: Verdict) -> dict[str, Any]:
        return {
            "runbook": self.runbook,
            "stage": self.stage,
            "account": self.account,
            "regions": self.regions,
            "started": self.started,
            "finished": now_text(),
            "verdict": verdict,
            "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in self.checks],
            "figures": self.figures,
            "plan": {**self.plan.record(), "applied": [o.record() for o in self.applied]} if self.plan else None,
        }


# A run's directory: when it began, of what, and a number where several began in the same second.
RUN_DIRECTORY = r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-(?P<runbook>[a-z][a-z0-9-]*?)(-\d+)?"


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_run_directory(stage: str, runbook: str, root: Path | None = None) -> Path:
    """Make ``reports/<stage>/<UTC time>-<runbook>/``; a run in the same second gets a suffix."""
    base = (root or REPORTS) / stage
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{runbook}"
    for attempt in range(1000):
        directory = base / (stem if attempt == 0 else f"{stem}-{attempt + 1}")
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            continue
        return directory
    raise OSError(f"{base}: no free directory name for {stem}")


def read_result(directory: Path, name: str = RESULT) -> dict[str, Any] | None:
    """What a run's ``result.json`` says; None when there is none, or nothing that can be read."""
    try:
        result = json.loads((directory / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) else None


def write_result(directory: Path, result: dict[str, Any], name: str = RESULT) -> dict[str, Any]:
    """Write ``result.json`` in one step, so that a reader never sees half of it; returns what was written.

    numpy and pandas scalars become Python's, a number that is not finite becomes null (JSON has none), and what JSON
    does not know becomes text.
    """
    plain: dict[str, Any] = plain_value(result)
    write_whole(directory / name, json.dumps(plain, indent=2, allow_nan=False) + "\n")
    return plain


def plain_value(value: Any) -> Any:  # noqa: PLR0911 - one return a kind of value
    """``value`` as JSON has it: see :func:`write_result`."""
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_value(item) for item in value]
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, date):
        # pandas' missing time is a datetime that knows no date.
        return None if str(value) == "NaT" else value.isoformat()
    for convert in ("tolist", "item"):
        # numpy arrays and scalars, and pandas series, know how to become Python's own.
        if hasattr(value, convert) and (made := getattr(value, convert)()) is not value:
            return plain_value(made)
    return None if str(value) in ("<NA>", "NaT") else str(value)

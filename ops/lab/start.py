"""The page that JupyterLab opens with: which runbooks there are, what they said last, and how one is run.

It is text alone, shown as a page (settings/overrides.json): its links open runbooks and reports in JupyterLab, and it
needs no kernel.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from ops import report, runbooks
from ops.errors import UsageError
from ops.files import write_whole
from ops.markup import VERDICT_WORDS
from ops.record import REPORTS
from ops.runbooks import Runbook
from ops.stage import ROOT

NAME = "start.md"
# JupyterLab's own settings for who opens it from here; what the user has set stays.
SETTINGS = Path(__file__).resolve().parent / "settings"

_HOW = """## How to run one

1. Open it by its name above, and run its first two cells: **Parameters** and **Form** (Shift+Enter).
2. Fill the form in. What is not accepted is said beside its field, and nothing begins until it is mended.
3. *Run → Run All Cells*. What you filled in stays. The last cell has the verdict; the record is in `reports/`.

A runbook that changes something shows its plan first, and a token. Nothing is changed until the token is in the field
`apply` and the cells are run again.

The same from a terminal: `ops list`, `ops run RUNBOOK --stage {stage} -p name=value`.
"""


def write(stage: str, root: Path = REPORTS) -> Path:
    """Write the page for a stage under ``root``, in one step; returns its path.

    Raises:
        UsageError: the reports are not in the project, where JupyterLab would find them.
    """
    root = root.resolve()
    if not root.is_relative_to(ROOT):
        raise UsageError(
            f"ATOLL_REPORTS_DIR: {root} is not in {ROOT}; JupyterLab shows what is in the project only",
            hint="Unset it, or name a directory in the project.",
        )
    root.mkdir(parents=True, exist_ok=True)
    newest = {run.runbook: run for run in reversed(report.runs(root)) if run.stage == stage}
    lines = ["| runbook | what for | last verdict | when (UTC) |", "|---|---|---|---|"]
    lines += [_line(book, newest.get(book.name), root) for book in runbooks.catalogue()]
    texts = [
        f"# Atoll's runbooks\n\nStage **{stage}**, as of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. "
        f"All reports: {_link('index', root / 'index.html', root) if (root / 'index.html').exists() else 'none yet'}.",
        "\n".join(lines),
        _HOW.format(stage=stage),
    ]
    return write_whole(root / NAME, "\n\n".join(texts))


def refresh(stage: str, root: Path = REPORTS) -> None:
    """Write the page again, after a run, where it is in use."""
    if (root / NAME).exists():
        write(stage, root)


def _line(book: Runbook, last: report.Run | None, root: Path) -> str:
    verdict, when = "never run", ""
    if last is not None:
        word = VERDICT_WORDS[last.verdict]
        verdict = _link(word, root / last.page, root) if last.page else word
        when = last.started
        if last.why:
            verdict += f": {_plain(last.why)}"
    does = (
        f"**{book.title}.** {_first_sentence(book.summary)}{' *Changes something, by plan.*' if book.changes else ''}"
    )
    return f"| {_link(book.name, book.path, root)} | {_plain(does)} | {verdict} | {when} |"


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.?!]) ", text, maxsplit=1)[0]


def _link(text: str, target: Path, root: Path) -> str:
    relative = Path(*[".."] * len(root.relative_to(ROOT).parts)) / target.relative_to(ROOT)
    return f"[{text}]({relative.as_posix()})"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

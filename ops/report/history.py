"""The history of all runs and suites, ``history.html``, with filters that need no script.

A filter is a list of choices; what is chosen hides the rows that are not of it, by style rules alone (``:has``). A
browser that does not know them shows every row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ops import markup, page
from ops.files import write_whole
from ops.record import now_text
from ops.report.rows import Run

HISTORY = "history.html"
AGES = (("24 hours", timedelta(days=1)), ("7 days", timedelta(days=7)), ("30 days", timedelta(days=30)))


def write(root: Path, rows: Sequence[Run], now: datetime | None = None) -> Path:
    """Write ``history.html`` under ``root``, in one step; returns its path."""
    now = now or datetime.now(UTC)
    filters = [
        _filter("stage", "Stage", (row.stage for row in rows)),
        _filter("name", "Runbook or suite", (row.runbook for row in rows)),
        _filter("verdict", "Verdict", (row.verdict for row in rows)),
    ]
    html = (
        page.environment()
        .get_template("history.html.j2")
        .render(
            rows=[(row, _ages(row, now)) for row in rows],
            filters=filters,
            ages=[name for name, _ in AGES],
            written=markup.moment(now_text()),
        )
    )
    return write_whole(root / HISTORY, html)


def _ages(row: Run, now: datetime) -> str:
    """The numbers of the choices of age that this row is of."""
    try:
        began = datetime.strptime(row.started, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return ""
    return " ".join(str(number) for number, (_, age) in enumerate(AGES) if now - began <= age)


def _filter(key: str, label: str, values: Iterable[str]) -> tuple[str, str, list[str]]:
    """Names that style rules can hold: those of stages, runbooks and suites are."""
    return key, label, [value for value in sorted(set(values)) if re.fullmatch(r"[a-z][a-z0-9-]*", value)]

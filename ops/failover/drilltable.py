"""Drills as tables and sentences, for ``ops drill``."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from ops.failover.experiments import Experiment, Found, Stopped


def show(out: Console, found: Found) -> None:
    """What runs now; what ran last where nothing does."""
    if not found.running:
        nothing = "No drill runs" + (" where there is an answer." if found.unanswered else ".")
        out.print(
            nothing + (f" The last: {_line(found.experiments[0])}." if found.experiments else ""), highlight=False
        )
        return
    table = Table("region", "breaks", "since", "until", "state", "experiment", "run")
    for one in found.running:
        breaks = ", ".join(one.parts)
        table.add_row(one.region, breaks, _clock(one.started), _clock(one.until), one.state, one.id, one.run)
    out.print(table)


def show_stopped(out: Console, stopped: Stopped) -> None:
    """What was healed."""
    for one in stopped.ended:
        out.print(f"Healed: {_line(one)}", highlight=False)
    if not stopped.ended and not stopped.failed:
        out.print("No drill was running.")


def _line(one: Experiment) -> str:
    over = f", {one.state} {_clock(one.ended)}" if one.ended else f", {one.state}"
    return f"{', '.join(one.parts)} of {one.region}, away since {_clock(one.started)}{over} ({one.id})"


def _clock(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if moment else "-"

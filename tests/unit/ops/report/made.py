"""Records of a suite's runs, made by hand."""

from __future__ import annotations

from typing import Any


def run(
    runbook: str, verdict: str = "pass", *, failing: dict[str, str] | None = None, **figures: float
) -> dict[str, Any]:
    """An entry of ``suite.json``."""
    checks = [{"name": name, "detail": detail} for name, detail in (failing or {}).items()]
    why = f"{checks[0]['name']}: {checks[0]['detail']}" if checks else ""
    return {
        "runbook": runbook, "title": f"The {runbook} runbook", "verdict": verdict, "why": why,
        "directory": f"local/20261123T060000Z-{runbook}", "seconds": 4.2, "attempts": 1, "counts": True,
        "failing": checks, "figures": figures,
    }  # fmt: skip


def record(
    *runs: dict[str, Any], verdict: str = "", day: int = 23, finished: bool = True, **further: Any
) -> dict[str, Any]:
    """What ``suite.json`` says."""
    found = {one["verdict"] for one in runs}
    worst = next((one for one in ("error", "fail") if one in found), "pass")
    return {
        "suite": "daily", "title": "Every morning", "stage": "local", "started": f"2026-11-{day:02}T06:00:00.000Z",
        "finished": f"2026-11-{day:02}T06:00:12.000Z" if finished else "", "verdict": verdict or worst, "missed": [],
        "problems": [], "runs": list(runs), **further,
    }  # fmt: skip

"""Reports: suites of runbooks, run side by side, and the pages over all runs."""

from __future__ import annotations

from ops.report.index import write_index
from ops.report.rows import Run, runs, suites
from ops.report.running import Entry, SuiteRun, run_suite
from ops.report.suites import Suite, find, load

__all__ = ["Entry", "Run", "Suite", "SuiteRun", "find", "load", "run_suite", "runs", "suites", "write_index"]

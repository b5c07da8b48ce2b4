"""How fast a report is, against its runbooks one after another through papermill with the kernels that Jupyter has.

Both run on the local cloud, which has to be up (``ops up``), in turn: ``python -m tests.bench.reports SUITE ROUNDS``
prints the seconds of either and the ratio of each round. The baseline writes notebooks only; the report also writes
each page, its records and its index.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import papermill

from ops import aws, report
from ops.record import RUN_DIR_VARIABLE
from ops.report.suites import Suite
from ops.stage import Stage, load_stage

ROUNDS = 3


def ours(suite: Suite, stage: Stage, root: Path) -> float:
    """Seconds of the report."""
    begun = time.perf_counter()
    ran = report.run_suite(suite, stage, aws.connect(stage), root=root)
    report.write_index(root)
    seconds = time.perf_counter() - begun
    _require({entry.runbook: entry.verdict for entry in ran.entries})
    return seconds


def stock(suite: Suite, stage: Stage, root: Path) -> float:
    """Seconds of its runbooks, one after another."""
    begun = time.perf_counter()
    for _, book, values in suite.books():
        directory = root / book.name
        directory.mkdir()
        os.environ[RUN_DIR_VARIABLE] = str(directory)
        try:
            papermill.execute_notebook(
                book.path,
                directory / "run.ipynb",
                parameters={**values, "stage": stage.stage},
                kernel_name="python3",
                progress_bar=False,
            )
        finally:
            del os.environ[RUN_DIR_VARIABLE]
    return time.perf_counter() - begun


def _require(verdicts: dict[str, str]) -> None:
    broken = {name: verdict for name, verdict in verdicts.items() if verdict == "error"}
    if broken:
        raise SystemExit(f"not measured: {broken}")


def main() -> None:
    suite, stage = report.find(sys.argv[1] if len(sys.argv) > 1 else "daily"), load_stage("local")
    aws.adopt_environment(stage)
    ratios = []
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            quick, slow = ours(suite, stage, Path(one)), stock(suite, stage, Path(other))
        ratios.append(slow / quick)
        sys.stdout.write(f"report {quick:.1f} s; one after another {slow:.1f} s; {ratios[-1]:.2f} times as fast\n")
        sys.stdout.flush()
    sys.stdout.write(f"median of {len(ratios)}: {statistics.median(ratios):.2f} times as fast\n")


if __name__ == "__main__":
    main()

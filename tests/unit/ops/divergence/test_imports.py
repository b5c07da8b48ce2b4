"""What the engine loads: a comparison of ten million items is to fit beside its imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("altair", "numpy", "pandas")


@pytest.mark.parametrize("module", ["ops.divergence", "ops.divergence.exports.surveying"])
def test_import_of_the_engine_loads_nothing_that_only_tables_and_charts_need(module: str) -> None:
    said = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, timeout=60, check=False)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")

"""The native core reads mutated texts under the sanitizers, for a bounded while; ``make fuzz`` is the long run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fuzz.harness import NoSanitizersError, build, run


def test_native_core_when_texts_are_mutated_reads_nothing_it_should_not(tmp_path: Path) -> None:
    try:
        program = build(tmp_path)
    except NoSanitizersError as missing:
        pytest.skip(str(missing))
    done = run(program, tmp_path, seed=7, rounds=20_000)
    assert done.returncode == 0, done.stderr
    accepted, refused = map(int, re.findall("([0-9]+) (?:accepted|refused)", done.stdout))
    assert accepted + refused == 20_000
    assert min(accepted, refused) > 500, "the mutations should leave some texts whole and break others"

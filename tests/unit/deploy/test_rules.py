"""Every rule of deploy/rules has an example that passes and one that fails, and says what to do about it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import guard

FILES = sorted(guard.RULES.glob("*.guard"))


def examples(rules: Path) -> list[dict[str, Any]]:
    """What stands beside a file of rules, in the format of ``cfn-guard test``."""
    text = (rules.parent / "tests" / f"{rules.stem}.yml").read_text(encoding="utf-8")
    made: list[dict[str, Any]] = yaml.safe_load(text)
    return made


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("rules", FILES, ids=named)
def test_each_rule_has_a_passing_and_a_failing_example(rules: Path) -> None:
    expected = [case["expectations"]["rules"] for case in examples(rules)]

    for rule in guard.rules_in(rules):
        assert {"PASS", "FAIL"} <= {outcomes.get(rule) for outcomes in expected}, rule
    assert {rule for outcomes in expected for rule in outcomes} == set(guard.rules_in(rules))


@pytest.mark.parametrize("rules", FILES, ids=named)
def test_each_example_turns_out_as_it_says(rules: Path) -> None:
    data = rules.parent / "tests" / f"{rules.stem}.yml"
    command = [guard.binary(), "test", "--rules-file", rules, "--test-data", data]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    # A rule that did not apply to an example which ought to fail shows here as "Evaluated = [SKIP]".
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = sum(len(case["expectations"]["rules"]) for case in examples(rules))
    assert done.stdout.count("Expected = ") == outcomes


@pytest.mark.parametrize("rules", FILES, ids=named)
def test_each_breach_says_which_resource_and_what_to_do(rules: Path) -> None:
    for case in examples(rules):
        failing = {rule for rule, outcome in case["expectations"]["rules"].items() if outcome == "FAIL"}
        findings = [found for found in guard.check(case["input"], rules) if found.rule in failing]

        assert {found.rule for found in findings} == failing, case["name"]
        for found in findings:
            assert ": " in found.message, f"{found.rule}: {found.message!r}"
            assert found.resource in {*case["input"]["Resources"], "template"}, found


def test_check_when_a_rule_cannot_be_read_says_so(tmp_path: Path) -> None:
    broken = tmp_path / "broken.guard"
    broken.write_text("rule x { Resources exists or or }", encoding="utf-8")

    with pytest.raises(RuntimeError, match=r"broken\.guard"):
        guard.check({"Resources": {}}, broken)

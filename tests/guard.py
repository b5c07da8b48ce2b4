"""Our cfn-guard rules, deploy/rules/*.guard, held against templates: ``python -m tests.guard DIRECTORY`` of packages.

A template is checked as each region of its stage would carry it out (tests/template.py): what a condition leaves out is
not there to be wrong. The binary comes with an npm package; nothing is downloaded.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.stage import ROOT, load_stage, stage_names
from tests.template import Template, resolved

RULES = ROOT / "deploy" / "rules"
TEMPLATE = "cloudformation-template-update-stack.json"
_BINARIES = ROOT / "node_modules" / "@cdklabs" / "cdk-validator-cfnguard" / "bin"
_FAILED = 19  # how cfn-guard exits when a rule is broken; 5 is a mistake in a rule


@dataclass(frozen=True, order=True)
class Finding:
    """A resource that breaks a rule, and what to do about it."""

    rule: str
    resource: str
    message: str

    def __str__(self) -> str:
        return f"{self.resource}: {self.message} ({self.rule})"


def binary() -> Path:
    """cfn-guard for this machine. Raises FileNotFoundError when the npm package has none."""
    system = {"Linux": "ubuntu", "Darwin": "macos"}.get(platform.system(), platform.system())
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    path = _BINARIES / system / machine / "cfn-guard"
    if not path.exists():
        raise FileNotFoundError(f"no cfn-guard for {system} on {machine}: {path}. Run: make setup")
    return path


def rules_in(path: Path) -> list[str]:
    """The names of the rules in a file."""
    return re.findall(r"^rule (\w+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


def check(template: Template, rules: Path = RULES) -> list[Finding]:
    """What of ``template``, its conditions decided, breaks the rules of a file or directory, sorted.

    Raises:
        RuntimeError: a rule cannot be read, or was not evaluated.
    """
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "template.json"
        data.write_text(json.dumps(template), encoding="utf-8")
        command: list[str | Path] = [
            binary(),
            "validate",
            "--rules",
            rules,
            "--data",
            data,
            "--structured",
            "--output-format",
            "json",
        ]
        done = subprocess.run(
            [*command, "--show-summary", "none"], capture_output=True, text=True, timeout=60, check=False
        )
    if done.returncode not in (0, _FAILED):
        raise RuntimeError(f"cfn-guard cannot read {rules}: {done.stderr or done.stdout}")
    (report,) = json.loads(done.stdout)
    broken = [item["Rule"] for item in report["not_compliant"]]
    evaluated = {*report["compliant"], *report["not_applicable"], *(rule["name"] for rule in broken)}
    files = [rules] if rules.is_file() else sorted(rules.glob("*.guard"))
    if unread := {name for path in files for name in rules_in(path)} - evaluated:
        raise RuntimeError(f"cfn-guard did not evaluate {', '.join(sorted(unread))}")
    findings = set()
    for rule in broken:
        # A block whose subject is missing breaks its rule without a clause that could say so.
        findings |= set(_findings(rule["name"], rule["checks"])) or {Finding(rule["name"], "template", "")}
    return sorted(findings)


def _findings(rule: str, checks: Any) -> Iterator[Finding]:
    if isinstance(checks, list):
        for item in checks:
            yield from _findings(rule, item)
    elif isinstance(checks, dict):
        if "Clause" in checks:
            (clause,) = checks["Clause"].values()
            message = " ".join((clause["messages"]["custom_message"] or "").split())
            yield Finding(rule, _resource(clause.get("check")) or "template", message)
        else:
            for item in checks.values():
                yield from _findings(rule, item)


def _resource(check: Any) -> str | None:
    """The logical name in the first path of a check that has one."""
    if isinstance(check, list):
        return next(filter(None, map(_resource, check)), None)
    if not isinstance(check, dict):
        return None
    path = check.get("path")
    if isinstance(path, str) and path.startswith("/Resources"):
        # A rule that looks at names has them as values.
        return path.split("/")[2] if path.count("/") > 1 else str(check["value"]) if _is_name(check) else None
    return next(filter(None, map(_resource, check.values())), None)


def _is_name(check: dict[str, Any]) -> bool:
    return isinstance(check.get("value"), str)


def main(directory: Path) -> int:
    """Check the packages in ``directory/<stage>/``; 1 when a rule is broken, each breach a line."""
    broken = 0
    for name in stage_names():
        stage = load_stage(name)
        template = json.loads((directory / name / TEMPLATE).read_text(encoding="utf-8"))
        regions = {json.dumps(resolved(template, region)): region for region in reversed(stage.regions)}
        for text, region in regions.items():
            for finding in check(json.loads(text)):
                print(f"{name}, {region}: {finding}")  # noqa: T201
                broken += 1
    files = sorted(RULES.glob("*.guard"))
    print(f"cfn-guard: {sum(len(rules_in(path)) for path in files)} rules, {broken} broken")  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

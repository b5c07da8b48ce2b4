"""What reads replicas segment by segment: its state machine, its package, and that it is there only where asked for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handlers.core.segment import RESERVE_S, Order
from ops.divergence.fleet.planning import MAX_SEGMENTS
from ops.stage import ROOT, load_stage, stage_names
from tests.template import Stack
from tests.unit.handlers.support import ENVIRONMENT

Stacks = Callable[[str], Stack]
WITH, WITHOUT = ([n for n in stage_names() if load_stage(n).divergence.fleet is on] for on in (True, False))
NAMES = {"Fleet", "FleetRole", "SketchRole", "SketchErrorsAlarm", "SketchThrottlesAlarm", "SketchLambdaFunction"}


@pytest.fixture(scope="module")
def stack(template: Callable[[str], dict[str, Any]]) -> Stacks:
    return lambda stage: Stack(template(stage), load_stage(stage).home_region)


@pytest.fixture(scope="module")
def artifacts(template: Callable[[str], dict[str, Any]], request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """Artifact -> its files."""
    directory = packaged(template, request)
    return {path.name: zipfile.ZipFile(path).namelist() for path in directory.glob("*.zip")}


def packaged(template: Callable[[str], dict[str, Any]], request: pytest.FixtureRequest) -> Path:
    template("local")
    base = Path(request.getfixturevalue("tmp_path_factory").getbasetemp())
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "package-local"


def definition(stack: Stack) -> dict[str, Any]:
    (machine,) = stack.of_type("AWS::StepFunctions::StateMachine").values()
    text = json.dumps(machine["Definition"])
    for name, value in machine["DefinitionSubstitutions"].items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text
    made: dict[str, Any] = json.loads(text)
    return made


# --- where it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", WITH)
def test_stage_with_a_fleet_has_all_of_it_under_the_names_that_the_toolkit_knows(
    stack: Stacks, template: Callable[[str], dict[str, Any]], stage: str
) -> None:
    made, settings = stack(stage), load_stage(stage)
    assert set(made.resources) >= NAMES
    (machine,) = made.of_type("AWS::StepFunctions::StateMachine").values()
    assert machine["StateMachineName"] == settings.fleet
    function = made.of_type("AWS::Lambda::Function")["SketchLambdaFunction"]
    assert (function["MemorySize"], function["Timeout"]) == (
        settings.divergence.fleet_memory_mb,
        settings.divergence.fleet_timeout_s,
    )
    assert function["Timeout"] > RESERVE_S
    bucket = settings.operations_bucket("123456789012", settings.home_region)
    assert function["Environment"]["Variables"]["ATOLL_OPERATIONS_BUCKET"] == bucket
    assert {"FleetArn", "FleetSketch"} <= set(template(stage)["Outputs"])


@pytest.mark.parametrize("stage", WITHOUT)
def test_stage_without_a_fleet_has_nothing_of_it(deployed: Callable[[str], dict[str, Any]], stage: str) -> None:
    made = deployed(stage)

    assert not [name for name in (*made["Resources"], *made["Outputs"]) if name.startswith(("Fleet", "Sketch"))]
    # Who reports may look at what a runbook looks at.
    rest = json.dumps({name: one for name, one in made["Resources"].items() if not name.startswith("ReportsPolicy")})
    assert "fleet/" not in rest
    assert "dynamodb:Scan" not in rest


def test_dev_with_a_fleet_reaches_s3_though_no_drill_does(deployed_with: Callable[..., dict[str, Any]]) -> None:
    failover = {"parts": ["replication"], "lambda_extension": None}
    made = deployed_with("dev", divergence={"fleet": True}, failover=failover)["Resources"]
    egress = json.dumps(made["FunctionsGroup"]["Properties"]["SecurityGroupEgress"])

    assert "S3PrefixLists" in egress
    (statement,) = made["S3Endpoint"]["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", ["s3:GetObject", "s3:PutObject"])


# --- the state machine --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", WITH)
def test_state_machine_invokes_the_function_with_what_it_reads(stack: Stacks, stage: str) -> None:
    made, settings = stack(stage), load_stage(stage)
    segments = definition(made)["States"]["Segments"]
    assert segments["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert segments["MaxConcurrency"] == settings.divergence.fleet_concurrency
    states = segments["ItemProcessor"]["States"]
    task = states["Sketch"]
    assert task["Parameters"]["FunctionName"] == made.arn("SketchLambdaFunction")
    # What the task hands over is what the function takes, and what it gives back is what the task picks.
    layout = {"names": ["pk"], "ignore": [], "only": None, "cells": 3}
    run = {"segments": 9, "layout": layout, "prefix": "fleet/a/3", "read_units_per_s": 1, "until": 1}
    given = {"segment": 3, "run": run, "report": segments["ItemSelector"]["report"]}
    event = {name.removesuffix(".$"): at(given, path) for name, path in task["Parameters"]["Payload"].items()}
    assert Order.of(event).segment == 3
    assert Order.of(event).lap == 0
    assert set(task["ResultSelector"].values()) == {"$.Payload.lap", "$.Payload.done"}
    assert task["TimeoutSeconds"] > settings.divergence.fleet_timeout_s


def at(value: Any, path: str) -> Any:
    for name in path.removeprefix("$.").split("."):
        value = value[name]
    return value


def test_segment_is_continued_until_it_is_done_but_not_for_ever(stack: Stacks) -> None:
    states = definition(stack("prod"))["States"]["Segments"]["ItemProcessor"]["States"]
    done, too_long = states["Finished"]["Choices"]

    assert states["Sketch"]["Next"] == "Finished"
    assert (done["Variable"], done["BooleanEquals"], done["Next"]) == ("$.report.done", True, "Done")
    assert (too_long["Variable"], states[too_long["Next"]]["Type"]) == ("$.report.lap", "Fail")
    assert states["Finished"]["Default"] == "Sketch"
    # Ninety-six times fifteen minutes are the day after which the whole gives up.
    assert too_long["NumericGreaterThanEquals"] * 900 == definition(stack("prod"))["TimeoutSeconds"] == 86_400


def test_most_segments_fit_what_a_state_may_take_and_give(stack: Stacks) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html: 256 KiB."""
    outcome = definition(stack("prod"))["States"]["Segments"]["ItemProcessor"]["States"]["Done"]["Result"]

    assert len(json.dumps(list(range(MAX_SEGMENTS)))) < 200_000
    assert len(json.dumps([outcome] * MAX_SEGMENTS)) < 200_000


@pytest.mark.parametrize("stage", WITH)
def test_state_machines_role_may_run_the_function_and_the_maps_iterations_and_nothing_else(
    stack: Stacks, stage: str
) -> None:
    made, settings = stack(stage), load_stage(stage)
    role = made.of_type("AWS::IAM::Role")["FleetRole"]
    (policy,) = role["Policies"]
    here = f"arn:aws:states:{settings.home_region}:123456789012"

    assert [(s["Action"], s["Resource"]) for s in policy["PolicyDocument"]["Statement"]] == [
        ("lambda:InvokeFunction", made.arn("SketchLambdaFunction")),
        ("states:StartExecution", f"{here}:stateMachine:{settings.fleet}"),
        (["states:DescribeExecution", "states:StopExecution"], f"{here}:execution:{settings.fleet}/*"),
    ]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "states.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}


# --- the package --------------------------------------------------------------------------------------------------


def test_only_the_package_of_its_own_holds_the_sketch_and_it_holds_no_more_than_it_needs(
    artifacts: dict[str, list[str]],
) -> None:
    assert set(artifacts) == {"atoll.zip", "sketch.zip"}
    assert not [name for name in artifacts["atoll.zip"] if name.startswith("sketch/")]
    own = artifacts["sketch.zip"]
    assert {"handlers/sketch.py", "sketch/__init__.py", "sketch/portion.py"} <= set(own)
    assert not [name for name in own if not re.fullmatch(r"(handlers|sketch)/.*\.(py|so)", name)]


def test_function_starts_from_its_package_with_botocore_alone(
    template: Callable[[str], dict[str, Any]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with zipfile.ZipFile(packaged(template, request) / "sketch.zip") as archive:
        archive.extractall(tmp_path / "task")
    # What the runtime brings, and nothing else of what is installed here.
    for name in ("botocore", "jmespath", "dateutil", "urllib3", "six.py"):
        (tmp_path / name).symlink_to(next(Path(path) / name for path in sys.path if (Path(path) / name).exists()))
    code = "import handlers.sketch as f, sketch; print(f.__file__, sketch.__file__, sketch.implementation())"
    environment = {
        **ENVIRONMENT,
        "AWS_LAMBDA_FUNCTION_NAME": "atoll-test-sketch",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PYTHONPATH": f"{tmp_path / 'task'}:{tmp_path}",
    }
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *files, implementation = done.stdout.split()
    assert all(file.startswith(str(tmp_path / "task")) for file in files)
    assert implementation == packaged_implementation(template)


def packaged_implementation(template: Callable[[str], dict[str, Any]]) -> str:
    return str(template("local")["Outputs"]["FleetSketch"]["Value"])


def elf(machine: int = 0x3E, text: bytes = b"GLIBC_2.14\0GLIBC_2.2.5\0", bits: int = 2) -> bytes:
    """As much of an ELF file as anybody looks at."""
    return b"\x7fELF" + bytes([bits, 1]) + bytes(12) + machine.to_bytes(2, "little") + bytes(44) + text


@pytest.mark.parametrize(
    ("name", "content", "architecture", "said"),
    [
        ("_native.cpython-311-x86_64-linux-gnu.so", elf(), "x86_64", ""),
        ("_native.abi3.so", elf(), "x86_64", ""),
        ("_native.cpython-311-aarch64-linux-gnu.so", elf(0xB7), "arm64", ""),
        ("_native.cpython-311-x86_64-linux-gnu.so", elf(), "arm64", "was not built for arm64"),
        ("_native.cpython-312-x86_64-linux-gnu.so", elf(), "x86_64", "was not built for Python 311"),
        ("_native.abi3.so", elf(text=b"GLIBC_2.34\0"), "x86_64", "needs version 2.34 of the C library, and has 2.26"),
        ("_native.abi3.so", elf(text=b"libasan.so.8\0"), "x86_64", "was built with sanitizers"),
        ("_native.abi3.so", elf(bits=1), "x86_64", "is no 64-bit ELF file"),
        ("_native.abi3.so", b"\xcf\xfa\xed\xfe", "arm64", "is no 64-bit ELF file"),
    ],
)
def test_native_core_is_packaged_only_where_it_runs(name: str, content: bytes, architecture: str, said: str) -> None:
    script = (
        "const { unfit } = require('./deploy/fleet.cjs');"
        f"console.log(unfit({json.dumps(name)}, Buffer.from({json.dumps(content.hex())}, 'hex'), '{architecture}'));"
    )
    done = subprocess.run(["node", "-e", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == said

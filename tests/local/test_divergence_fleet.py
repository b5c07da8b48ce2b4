"""Mode fleet on the local cloud: deployed by the stack, started through Step Functions, read by the function."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from ops.divergence import fleet
from ops.divergence.replicas import agree, describe, resolve
from ops.divergence.survey import Survey
from ops.errors import InterruptedRunError
from ops.plan import Plan
from sketch import Layout, Sketch, keys
from sketch.portion import Portion
from tests.bench.divergence import EndpointCloud
from tests.local.conftest import Atoll
from tests.local.mortal import Point, fleet_survey, killed
from tests.local.platform import ACCOUNT
from tests.local.test_divergence_scan import direct, write
from tests.planted import Planted, plant, text

US, AP = "us-east-1", "ap-south-1"
COUNT, SEGMENTS = 20_000, 4


@dataclass
class Diverged:
    """The stage's table with planted differences, and the toolkit connected to it."""

    cloud: EndpointCloud
    planted: Planted

    def plan(self, **options: Any) -> Plan:
        replicas = resolve(self.cloud)
        described = describe(self.cloud, replicas)
        schema, _ = agree(described)
        return fleet.plan(self.cloud, replicas, schema, described, **{"segments": SEGMENTS} | options)

    def survey(self, plan: Plan, progress: Any = lambda line: None) -> Survey:
        return fleet.survey(self.cloud, plan, plan.token, progress)

    def named(self, survey: Survey) -> set[str]:
        """The keys of the planted items that the survey suspects."""
        return {keys.text(one.key, self.planted.names) for one in survey.suspects} & set(self.planted.case)

    def running(self) -> list[str]:
        """The executions that go on."""
        found = list[str]()
        for step in self.plan().steps:
            client = self.cloud.client("stepfunctions", step.region or "")
            asked = {"stateMachineArn": step.after["state_machine"], "statusFilter": "RUNNING"}
            found += [one["name"] for one in client.list_executions(**asked)["executions"]]
        return found

    def kept(self, region: str) -> list[str]:
        bucket = self.cloud.stage.operations_bucket(ACCOUNT, region)
        found = self.cloud.client("s3", region).list_objects_v2(Bucket=bucket, Prefix="fleet/")
        return [one["Key"] for one in found.get("Contents", [])]


@pytest.fixture(scope="module")
def diverged(atoll: Atoll) -> Iterator[Diverged]:
    """Writes are lost between the regions while the items of each are written."""
    atoll.ops("fault", "heal")
    atoll.ops("fault", "replication-cut", US, AP, "--lose")
    made = Diverged(EndpointCloud(atoll.cloud["endpoint_url"]), plant(COUNT))
    table = made.cloud.stage.table_name
    try:
        for region, items in made.planted.items.items():
            write(direct(atoll, region), table, items)
        yield made
    finally:
        for region, items in made.planted.items.items():
            _delete(direct(atoll, region), table, [{name: item[name] for name in made.planted.names} for item in items])
        atoll.ops("fault", "heal")


def _delete(client: Any, table: str, keys: list[Any]) -> None:
    def some(start: int) -> None:
        left: Any = {table: [{"DeleteRequest": {"Key": key}} for key in keys[start : start + 25]]}
        for _ in range(20):
            left = client.batch_write_item(RequestItems=left)["UnprocessedItems"]
            if not left:
                return
        raise AssertionError("the local cloud did not take a batch in twenty attempts")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(some, range(0, len(keys), 25)))


def test_run_names_exactly_the_planted_differences(atoll: Atoll, diverged: Diverged) -> None:
    asked = ("run", "divergence", "-p", "mode=fleet", "-p", f"segments={SEGMENTS}", "-p", "settle_s=0.5", "--json")
    token = atoll.ops(*asked).json["plan"]["token"]
    told = atoll.ops(*asked, "--apply", token, expect=1).json

    assert told["verdict"] == "fail"
    kept = json.loads((Path(told["directory"]) / "findings.json").read_text())["findings"]["findings"]
    found = {text(one["key"], diverged.planted.names): one["kind"] for one in kept}
    # Whatever else the stage's table holds is not of this test.
    ours = {text(item, diverged.planted.names) for items in diverged.planted.items.values() for item in items}
    assert {key: kind for key, kind in found.items() if key in ours} == diverged.planted.differing
    least = {region: len(items) - len(diverged.planted.deletable) for region, items in diverged.planted.items.items()}
    assert all(told["figures"]["items"][region] >= count for region, count in least.items())


def test_fleet_names_every_planted_difference_and_none_that_only_looks_like_one(diverged: Diverged) -> None:
    said = list[str]()
    survey = diverged.survey(diverged.plan(), said.append)

    named = diverged.named(survey)
    assert set(diverged.planted.differing) - named == set()
    assert named - set(diverged.planted.differing) <= diverged.planted.deletable
    assert survey.figures["complete"] is True
    assert survey.figures["invocations"] == 2 * SEGMENTS
    assert f"{AP}: 4 of 4 segments, 0 being read" in said
    assert diverged.kept(US) == diverged.kept(AP) == []


def test_fleet_stopped_by_ctrl_c_stops_the_state_machines_and_goes_on_with_the_same_token(diverged: Diverged) -> None:
    plan = diverged.plan(ignore=("tags",), segments=8)

    def interrupt(line: str) -> None:
        if line.endswith("being read") and not line.split(": ")[1].startswith("0"):
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError, match="were stopped"):
        diverged.survey(plan, interrupt)
    states = diverged.cloud.client("stepfunctions", US)
    arn = plan.steps[0].after["state_machine"]
    statuses = {one["name"]: one["status"] for one in states.list_executions(stateMachineArn=arn)["executions"]}
    assert statuses[f"{plan.token}-16383-1"] in ("ABORTED", "SUCCEEDED")
    assert diverged.kept(US) + diverged.kept(AP)

    survey = diverged.survey(plan)

    assert set(diverged.planted.differing) - diverged.named(survey) == set()
    assert survey.figures["complete"] is True


def test_fleet_killed_again_and_again_goes_on_to_the_same_answer_and_leaves_nothing(
    atoll: Atoll, diverged: Diverged
) -> None:
    """When one region began, while both read, while sketches are fetched, and while what was kept is deleted."""
    rng = random.Random(10)
    options: dict[str, Any] = {"table": diverged.cloud.stage.table_name, "segments": 8, "ignore": ["live"]}
    points = [
        Point("StartExecution", 1, "after-call"),
        Point.anywhere(rng, "DescribeMapRun", 1, 3),
        Point.anywhere(rng, "GetObject", 1, 16),
        Point.anywhere(rng, "DeleteObject", 1, 8),
    ]
    for point in points:
        killed(atoll.cloud["endpoint_url"], "fleet", point, **options)
        assert diverged.kept(US) + diverged.kept(AP) + diverged.running(), f"{point} came after the end"

    survey = fleet_survey(diverged.cloud, **options)

    named = diverged.named(survey)
    assert named - diverged.planted.deletable == set(diverged.planted.differing)
    assert survey.figures["complete"] is True
    assert diverged.kept(US) == diverged.kept(AP) == diverged.running() == []


def test_function_goes_on_from_what_it_left_in_its_own_role_and_may_write_nowhere_else(diverged: Diverged) -> None:
    """The second invocation of a long segment: the emulator enforces what the role grants."""
    cloud = diverged.cloud
    bucket, function = cloud.stage.operations_bucket(ACCOUNT, US), cloud.stage.function("sketch")
    layout = {"names": list(diverged.planted.names), "ignore": [], "only": None, "cells": 999}
    run = {"segments": 2, "layout": layout, "prefix": "fleet/second", "read_units_per_s": 0, "until": 4e9}
    begun = Portion(
        segment=1,
        segments=2,
        done=False,
        position=None,
        pages=7,
        size_bytes=0,
        read_units=0.0,
        throttles=0,
        laps=1,
        started=1.0,
        duration_s=0.0,
        implementation="native",
        sketch=Sketch(Layout(diverged.planted.names, cells=999)),
    )
    s3 = cloud.client("s3", US)
    s3.put_object(Bucket=bucket, Key="fleet/second/000001.part", Body=begun.to_bytes())
    try:
        answer = _invoke(cloud, function, {"segment": 1, "run": run, "lap": 1})
        assert (answer["done"], answer["lap"]) == (True, 2)
        assert answer["pages"] > 7
        refused = _invoke(cloud, function, {"segment": 1, "run": run | {"prefix": "ledger/x"}, "lap": 0})
        assert refused["errorType"] == "OrderError"
    finally:
        for name in ("part", "done"):
            s3.delete_object(Bucket=bucket, Key=f"fleet/second/000001.{name}")


def _invoke(cloud: EndpointCloud, function: str, event: dict[str, Any]) -> dict[str, Any]:
    answered = cloud.client("lambda", US).invoke(FunctionName=function, Payload=json.dumps(event).encode())
    found: dict[str, Any] = json.loads(answered["Payload"].read())
    return found


def test_emulator_says_what_it_replaces_of_step_functions(atoll: Atoll) -> None:
    listed = httpx.get(f"{atoll.cloud['emulator_url']}/_atoll/status").json()["replacements"]

    assert "services.stepfunctions._execute_task" in json.dumps(listed)

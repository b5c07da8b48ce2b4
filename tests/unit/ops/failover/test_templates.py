from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from ops.errors import OpsError, UsageError
from ops.failover import templates
from ops.stage import ROOT, Stage, load_stage
from tests.unit.ops.failover import fisrules

ACCOUNT, REGION = "123456789012", "us-east-1"
PARTS = ("api", "processing", "replication")
SUBSETS = [subset for count in (1, 2, 3) for subset in itertools.combinations(PARTS, count)]
SAMPLE = ROOT / "docs" / "failover-experiments.md"


def request(stage: Stage, parts: tuple[str, ...] = PARTS, seconds: int = 600, region: str = REGION) -> dict[str, Any]:
    role = f"arn:aws:iam::{ACCOUNT}:role/{stage.prefix}-drill-{region}"
    return templates.request(stage, ACCOUNT, region, parts, seconds, {templates.ROLE_OUTPUT: role})


def sent(asked: dict[str, Any]) -> dict[str, Any]:
    return {**asked, "clientToken": "token"}


@pytest.mark.parametrize("name", ["dev", "prod"])
@pytest.mark.parametrize("parts", SUBSETS, ids="+".join)
def test_request_of_any_parts_is_one_that_fis_takes(name: str, parts: tuple[str, ...]) -> None:
    stage = load_stage(name)
    for region in stage.regions:
        for seconds in (60, 90, 600, 43200):
            asked = request(stage, parts, seconds, region)

            assert fisrules.problems(sent(asked), region) == []
            assert tuple(asked["actions"]) == parts
            lengths = {templates.seconds_of(one["parameters"]["duration"]) for one in asked["actions"].values()}
            assert lengths == {seconds}
            assert asked["tags"] == {"atoll:stage": name, "atoll:parts": "+".join(parts)}


Breach = Callable[[dict[str, Any]], Any]
BREACHES: dict[str, Breach] = {
    "Missing required parameter": lambda asked: asked.pop("roleArn"),
    "there is no action": lambda asked: asked["actions"]["api"].update(actionId="aws:lambda:stop"),
    "its target is called Functions": lambda asked: asked["actions"]["api"].update(targets={"Function": "api"}),
    "its target is no aws:lambda:function": lambda asked: asked["targets"]["api"].update(
        resourceType="aws:dynamodb:global-table"
    ),
    "duration is 10m": lambda asked: asked["actions"]["replication"]["parameters"].update(duration="10m"),
    "from one minute": lambda asked: asked["actions"]["replication"]["parameters"].update(duration="PT59S"),
    "no parameter percent": lambda asked: asked["actions"]["api"]["parameters"].update(percent="1"),
    "is none of the type": lambda asked: asked["targets"]["replication"].update(
        resourceArns=[f"arn:aws:dynamodb:ap-south-1:{ACCOUNT}:table/atoll-prod"]
    ),
    "0 ARNs": lambda asked: asked["targets"]["api"].update(resourceArns=[]),
    "selection mode": lambda asked: asked["targets"]["api"].update(selectionMode="SOME"),
    "is of no action": lambda asked: asked["actions"].pop("api"),
    "nothing stops it": lambda asked: asked.update(stopConditions=[{"source": "none"}]),
    "is no alarm": lambda asked: asked["stopConditions"][0].update(value="arn:aws:sns:us-east-1:123456789012:topic"),
    "0 stop conditions": lambda asked: asked.update(stopConditions=[]),
    "role arn": lambda asked: asked.update(roleArn="arn:aws:iam::1:role/drill-role"),
    "tag atoll:parts": lambda asked: asked["tags"].update({"atoll:parts": "api,replication"}),
}


@pytest.mark.parametrize("expected", BREACHES)
def test_rules_of_fis_when_one_is_broken_say_which(expected: str) -> None:
    asked = sent(copy.deepcopy(request(load_stage("prod"))))
    BREACHES[expected](asked)

    assert any(expected in problem for problem in fisrules.problems(asked, REGION))


def test_request_targets_exactly_the_functions_and_the_replica_of_the_region() -> None:
    stage = load_stage("prod")
    targets = request(stage, region="ap-south-1")["targets"]

    functions = [arn for part in ("api", "processing") for arn in targets[part]["resourceArns"]]
    here = f"arn:aws:lambda:ap-south-1:{ACCOUNT}:function:"
    assert sorted(functions) == sorted(here + stage.function(name) for name in stage.function_names)
    assert targets["replication"]["resourceArns"] == [f"arn:aws:dynamodb:ap-south-1:{ACCOUNT}:table/atoll-prod"]


@pytest.mark.parametrize("parts", SUBSETS, ids="+".join)
def test_stop_alarms_are_of_what_is_not_taken_away(parts: tuple[str, ...]) -> None:
    spared = set(PARTS) - set(parts)

    names = {f"atoll-prod-drill-{name}" for name in ("dead-letters", *spared)}
    assert set(templates.stop_alarms(load_stage("prod"), parts)) == names


def test_request_on_a_cloud_that_plays_drills_has_no_alarms_and_needs_no_output() -> None:
    stage = load_stage("local")
    asked = templates.request(stage, "000000000000", REGION, ["replication", "calls", "api"], 60, {})

    assert list(asked["actions"]) == ["api", "calls", "replication"]
    assert asked["actions"]["calls"] == {"actionId": "atoll:reset-calls", "parameters": {"duration": "PT1M"}}
    assert set(asked["targets"]) == {"api", "replication"}
    assert asked["stopConditions"] == [{"source": "none"}]
    assert not fisrules.problems(sent(asked | {"actions": {}}), REGION)[0].startswith("Parameter validation failed")


def test_request_before_the_stack_has_a_role_says_what_to_deploy() -> None:
    with pytest.raises(OpsError, match=r"us-east-1: stack atoll-prod has no role for drills") as caught:
        templates.request(load_stage("prod"), ACCOUNT, REGION, ["api"], 60, {})

    assert caught.value.hint == "Deploy it: ops deploy --stage prod --region us-east-1"


@pytest.mark.parametrize(
    ("parts", "seconds", "message"),
    [
        (("api", "calls"), 600, r"parts: 'calls' cannot be taken away here; accepted: api, processing, replication"),
        ((), 600, "parts: none is named"),
        (("api",), 59, r"duration: 59 s; accepted: 60 to 43200 s"),
        (("api",), 43201, "duration: 43201 s"),
    ],
)
def test_request_that_no_drill_can_have_is_refused(parts: tuple[str, ...], seconds: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        request(load_stage("prod"), parts, seconds)


def test_request_when_a_region_is_alone_refuses_to_pause_its_replication() -> None:
    alone = load_stage("prod").model_copy(update={"regions": [REGION]})

    with pytest.raises(UsageError, match="replicates to nobody"):
        request(alone, ("replication",))


def test_longest_drill_leaves_the_last_delivery_to_a_processor_that_is_well() -> None:
    prod, local = load_stage("prod"), load_stage("local")

    # Deliveries at 0, 180, 360 and 540 s fail; the last, at 720 s, must not, also if the fault stays 20 s longer.
    assert templates.longest_drill_s(prod, ["api", "processing"]) == 700
    assert templates.longest_drill_s(local, ["processing"]) == 60
    assert templates.longest_drill_s(prod, ["api", "replication"]) == templates.LONGEST_S


def test_longest_drill_when_a_message_is_delivered_once_is_none() -> None:
    prod = load_stage("prod")
    once = prod.model_copy(update={"processors": prod.processors.model_copy(update={"max_receive_count": 1})})

    assert templates.longest_drill_s(once, ["processing"]) == 0


def test_ramp_up_is_the_slowest_parts_and_none_where_drills_are_played() -> None:
    assert templates.ramp_up_s(load_stage("prod"), PARTS) == 300
    assert templates.ramp_up_s(load_stage("prod"), ["api"]) == 20
    assert templates.ramp_up_s(load_stage("local"), PARTS) == 0


@pytest.mark.parametrize(
    ("text", "seconds"), [("PT1M", 60), ("PT1M30S", 90), ("PT12H", 43200), ("PT", None), ("1M", None), ("P1D", None)]
)
def test_seconds_of_a_duration(text: str, seconds: int | None) -> None:
    assert templates.seconds_of(text) == seconds


def test_docs_show_the_request_as_it_is() -> None:
    """To renew the sample, paste what this prints."""
    shown = SAMPLE.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0]
    expected = json.dumps(request(load_stage("prod"), ("api", "replication")), indent=2)

    assert shown.strip() == expected, expected

"""A fleet's run from plan to survey: what it reads, starts once, stops, takes up again, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ops import bucket
from ops.aws import Cloud
from ops.divergence import fleet
from ops.divergence.fleet import collecting, executions, planning
from ops.divergence.fleet.planning import MAX_SEGMENTS, segments_of
from ops.divergence.replicas import agree, describe, resolve
from ops.divergence.survey import Survey
from ops.errors import InterruptedRunError, OpsError, RefusedError, UsageError
from ops.plan import Outcome, Plan
from ops.stage import DivergenceSettings
from sketch import keys
from tests.unit.ops.conftest import Calls, Hub
from tests.unit.ops.divergence.workflows import Execution, Workflows, workflows

US, AP = "us-east-1", "ap-south-1"
TABLE = "atoll-unit"
Item = dict[str, Any]


def item(number: int, **attributes: Any) -> Item:
    return {"pk": {"S": f"EVENT#{number:03}"}, "sk": {"S": "EVENT"}, "n": {"N": str(number)}} | attributes


@pytest.fixture
def world(deployed: Cloud, hub: Hub) -> Iterator[Workflows]:
    """Two replicas of sixty items: three differ, in 7, 8 and 9, and two look as if they did."""
    for region in (US, AP):
        deployed.client("dynamodb", region).create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )
        elsewhere: Any = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != US else {}
        name = deployed.stage.operations_bucket(deployed.account, region)
        deployed.client("s3", region).create_bucket(Bucket=name, **elsewhere)
    left, right = ({number: item(number) for number in range(60)} for _ in range(2))
    del left[7]
    del right[8]
    right[9] |= {"n": {"N": "9.1"}}
    left[10] |= {"tags": {"SS": ["a", "b"]}}
    right[10] |= {"tags": {"SS": ["b", "a"]}}
    right[11] |= {"n": {"N": "11.00"}}
    for region, held in ((US, left), (AP, right)):
        for one in held.values():
            deployed.client("dynamodb", region).put_item(TableName=TABLE, Item=one)
    with workflows(hub, deployed) as made:
        hub.calls.clear()
        yield made


@pytest.fixture
def cloud(deployed: Cloud, world: Workflows) -> Cloud:
    return deployed


def planned(cloud: Cloud, replicas: list[str] | None = None, **options: Any) -> Plan:
    found = resolve(cloud, replicas=replicas or [])
    described = describe(cloud, found)
    schema, _ = agree(described)
    return fleet.plan(cloud, found, schema, described, **{"segments": 4} | options)


def surveyed(cloud: Cloud, plan: Plan, said: list[str] | None = None, report: Any = lambda _: None) -> Survey:
    progress: Callable[[str], None] = (said if said is not None else []).append
    return fleet.survey(cloud, plan, plan.token, progress, report, clock=lambda: 0.0, sleep=lambda _: None)


def names(survey: Survey) -> set[str]:
    return {keys.text(one.key, ("pk", "sk")) for one in survey.suspects}


DIFFERING = {f"pk=EVENT#{number:03}, sk=EVENT" for number in (7, 8, 9)}


# --- the plan -----------------------------------------------------------------------------------------------------


def test_plan_starts_nothing_and_says_what_would_be_read(cloud: Cloud, calls: Calls) -> None:
    plan = planned(cloud)

    assert calls.mutating == []
    assert [(step.action, step.region) for step in plan.steps] == [("run", US), ("run", AP)]
    assert plan.steps[0].detail.startswith("4 segments of atoll-unit; at most ")
    assert plan.estimates["items"] == 118
    assert plan.estimates["invocations"] == 8
    assert set(plan.estimates) >= {
        "size_bytes",
        "read_units",
        "lambda_gb_s",
        "state_transitions",
        "duration_s",
        "cost_usd",
    }
    assert plan.warnings == []
    assert planned(cloud).token == plan.token


def test_plan_with_other_attributes_or_segments_has_another_token(cloud: Cloud) -> None:
    tokens = {
        planned(cloud, **options).token
        for options in ({}, {"segments": 5}, {"ignore": ("n",)}, {"only": ("n",)}, {"read_units_per_s": 5})
    }
    assert len(tokens) == 5


def test_plan_says_when_the_package_has_no_native_core(cloud: Cloud, hub: Hub) -> None:
    hub.stacks.outputs[AP]["FleetSketch"] = "reference"

    (warning,) = planned(cloud).warnings

    assert warning.startswith("ap-south-1: the function's package holds no native core")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("off", "divergence.fleet is off in"),
        ("not deployed", "stack atoll-unit has no fleet: ops deploy --stage unit"),
        ("no bucket", "there is no operations bucket: ops run provision --stage unit"),
    ],
)
def test_plan_when_a_region_cannot_read_refuses_with_the_reason_and_the_mode_that_can(
    cloud: Cloud, hub: Hub, change: str, said: str
) -> None:
    if change == "off":
        off = DivergenceSettings(fleet=False, fleet_concurrency=1, fleet_memory_mb=128, fleet_timeout_s=60)
        cloud.stage = cloud.stage.model_copy(update={"divergence": off})
    elif change == "not deployed":
        del hub.stacks.outputs[AP]["FleetArn"]
    else:
        cloud.client("s3", AP).delete_bucket(Bucket=cloud.stage.operations_bucket(cloud.account, AP))
    plan = planned(cloud)

    assert plan.refusals[-1].region == AP
    assert said in plan.refusals[-1].detail
    assert plan.refusals[-1].detail.endswith("read it with -p mode=scan")
    with pytest.raises(RefusedError, match="cannot be applied"):
        surveyed(cloud, plan)


def test_plan_for_another_table_refuses(cloud: Cloud) -> None:
    for region in (US, AP):
        cloud.client("dynamodb", region).create_table(
            TableName="others",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )
    plan = planned(cloud, [f"{US}/others", f"{AP}/others"])

    assert len(plan.refusals) == 2
    assert "is not stage 'unit''s own table" in plan.refusals[0].detail.replace('"', "'")


@pytest.mark.parametrize("options", [{"segments": MAX_SEGMENTS + 1}, {"segments": -1}, {"read_units_per_s": -1.0}])
def test_plan_with_figures_that_make_no_sense_names_them(cloud: Cloud, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        planned(cloud, **options)


@pytest.mark.parametrize(
    ("size_bytes", "concurrency", "count"),
    [(0, 40, 1), (1 << 20, 40, 1), (64 << 20, 40, 4), (10 << 30, 40, 40), (1 << 40, 40, 512), (1 << 60, 40, 10_000)],
)
def test_segments_keep_the_functions_busy_and_are_neither_small_nor_large(
    size_bytes: int, concurrency: int, count: int
) -> None:
    assert segments_of(size_bytes, concurrency) == count


# --- the run ------------------------------------------------------------------------------------------------------


def test_survey_names_exactly_what_differs_and_leaves_nothing_behind(cloud: Cloud, world: Workflows) -> None:
    said, outcomes = list[str](), list[Outcome]()
    survey = surveyed(cloud, planned(cloud), said, outcomes.append)

    assert names(survey) == DIFFERING
    assert survey.figures["complete"] is True
    assert survey.figures["differ_about"] == 3
    assert [(side.label, side.items, side.pages) for side in survey.sides] == [(US, 59, 4), (AP, 59, 4)]
    assert survey.sides[0].checksum != survey.sides[1].checksum
    assert [one.done for one in outcomes] == ["read 59 items"] * 2
    assert f"{AP}: 4 of 4 segments, 0 being read" in said
    for region in (US, AP):
        assert list(bucket.keys(cloud, bucket.place(cloud, region), "fleet/")) == []


@pytest.mark.parametrize("emptied", [(US, AP), (AP,)])
def test_survey_of_empty_tables_finds_what_the_other_holds(cloud: Cloud, emptied: tuple[str, ...]) -> None:
    for region in emptied:
        for number in range(60):
            key = {name: item(number)[name] for name in ("pk", "sk")}
            cloud.client("dynamodb", region).delete_item(TableName=TABLE, Key=key)
    survey = surveyed(cloud, planned(cloud))

    assert len(survey.suspects) == (0 if US in emptied else 59)
    assert survey.sides[1].items == 0
    assert survey.figures["complete"] is True


def test_survey_leaves_out_what_is_to_be_left_out(cloud: Cloud) -> None:
    assert names(surveyed(cloud, planned(cloud, ignore=("n",)))) == {one for one in DIFFERING if "009" not in one}


def test_survey_again_reads_again(cloud: Cloud, world: Workflows) -> None:
    plan = planned(cloud)
    surveyed(cloud, plan)
    cloud.client("dynamodb", US).put_item(TableName=TABLE, Item=item(7))

    assert names(surveyed(cloud, plan)) == {one for one in DIFFERING if "007" not in one}
    assert [arn.rpartition("-")[2] for arn in world.started] == ["1", "1", "2", "2"]


def test_survey_with_another_token_starts_nothing(cloud: Cloud, world: Workflows) -> None:
    with pytest.raises(RefusedError, match="is not this plan's"):
        fleet.survey(cloud, planned(cloud), "0" * 16)
    assert world.started == []


def test_survey_while_the_same_plan_runs_joins_it(cloud: Cloud, world: Workflows) -> None:
    plan, calls = planned(cloud), list[int]()

    def again(one: Execution) -> None:
        if not calls:
            calls.append(1)
            assert executions.start(
                cloud, executions.Asked(US, world.machine(US), f"{plan.token}-16383", (1,), {})
            ) in (world.started)

    world.each_look = again
    surveyed(cloud, plan)

    assert len(world.started) == 2


def test_more_differences_than_a_sketch_names_are_read_again_into_a_larger_one(
    cloud: Cloud, world: Workflows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "CELLS", 6)
    for number in range(100, 160):
        cloud.client("dynamodb", AP).put_item(TableName=TABLE, Item=item(number))
    said = list[str]()
    survey = surveyed(cloud, planned(cloud, segments=2), said)

    assert survey.figures["complete"] is True
    assert len(names(survey)) == 63
    assert survey.figures["segments_read_again"] == 2 * (len(world.started) // 2 - 1)
    assert any("read again into larger ones" in line for line in said)
    assert survey.sides[1].items == 119


def test_more_differences_than_can_be_named_are_never_a_wrong_answer(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "CELLS", 6)
    monkeypatch.setattr("ops.divergence.fleet.surveying.MAX_CELLS", 12)
    for number in range(100, 160):
        cloud.client("dynamodb", AP).put_item(TableName=TABLE, Item=item(number))
    survey = surveyed(cloud, planned(cloud, segments=1))

    assert survey.figures["complete"] is False
    assert survey.figures["differ_about"] > 20


# --- what stops it ------------------------------------------------------------------------------------------------


def test_ctrl_c_stops_every_execution_and_says_so_and_the_same_token_goes_on_from_there(
    cloud: Cloud, world: Workflows
) -> None:
    plan = planned(cloud)

    def interrupt(one: Execution) -> None:
        if len(world.read) == 5:
            raise KeyboardInterrupt

    world.each_look = interrupt
    with pytest.raises(InterruptedRunError, match=r"the executions in us-east-1, ap-south-1 were stopped") as stopped:
        surveyed(cloud, plan)

    assert {one.status for one in world.executions.values()} == {"ABORTED"}
    assert "apply the same token" in stopped.value.hint
    world.each_look = lambda one: None
    said = list[str]()
    survey = surveyed(cloud, plan, said)
    assert names(survey) == DIFFERING
    assert sorted(world.read) == sorted((region, segment) for region in (US, AP) for segment in range(4))
    assert f"{US}: 3 segments were read before" in said


def test_segment_that_fails_is_named_with_its_cause_and_the_other_region_is_stopped(
    cloud: Cloud, world: Workflows
) -> None:
    world.broken = {2: "segment 2: no capacity"}

    with pytest.raises(
        OpsError, match=r"the execution ended as FAILED: segment 2: E: segment 2: no capacity$"
    ) as failed:
        surveyed(cloud, planned(cloud))

    assert "apply the same token" in failed.value.hint
    assert sorted(one.status for one in world.executions.values()) == ["ABORTED", "FAILED"]


def test_credentials_that_expire_meanwhile_are_told_with_what_goes_on_and_the_same_token_takes_it_up(
    cloud: Cloud, world: Workflows
) -> None:
    plan = planned(cloud)

    def expire(one: Execution) -> None:
        world.refusal = "ExpiredTokenException" if len(world.read) == 3 else ""

    world.each_look = expire
    said = rf"^({US}|{AP}): looking at execution {plan.token}-16383-1: the credentials have expired"
    with pytest.raises(OpsError, match=said) as stopped:
        surveyed(cloud, plan)

    assert stopped.value.hint.startswith("Sign in again")
    assert f"The executions in {US}, {AP} could not be stopped and go on" in stopped.value.hint
    assert stopped.value.hint.endswith(executions.TAKE_UP)
    assert {one.status for one in world.executions.values()} == {"RUNNING"}
    world.refusal, world.each_look = "", lambda one: None
    assert names(surveyed(cloud, plan)) == DIFFERING
    assert len(world.started) == 2


def test_run_that_does_not_end_is_given_up_and_stopped(cloud: Cloud, world: Workflows) -> None:
    ticks = iter(range(10_000))
    world.held = True
    plan = planned(cloud)
    with pytest.raises(OpsError, match="us-east-1, ap-south-1: not done within 86,000 s"):
        fleet.survey(cloud, plan, plan.token, clock=lambda: next(ticks) * 5000.0, sleep=lambda _: None)
    assert {one.status for one in world.executions.values()} == {"ABORTED"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw[:-1], r"portion: its digest does not fit"),
        (lambda raw: b"", r"portion: not one"),
        (None, r"000001.done is not there"),
    ],
)
def test_portion_that_is_damaged_or_gone_is_named(
    cloud: Cloud, world: Workflows, change: Callable[[bytes], bytes] | None, said: str
) -> None:
    plan = planned(cloud)
    place, key = bucket.place(cloud, AP), f"{collecting.prefix(plan.token, 16383)}/000001.done"

    def damage(one: Execution) -> None:
        raw = bucket.get(cloud, place, key)
        if raw is not None and change is not None:
            bucket.put(cloud, place, key, change(raw))
        elif raw is not None:
            bucket.delete(cloud, place, key)

    world.each_look = damage
    with pytest.raises(OpsError, match=said):
        surveyed(cloud, plan)


def test_dry_run_and_refusal_make_no_mutating_call(cloud: Cloud, calls: Calls, hub: Hub) -> None:
    del hub.stacks.outputs[AP]["FleetArn"]
    with pytest.raises(RefusedError):
        surveyed(cloud, planned(cloud))
    assert calls.mutating == []

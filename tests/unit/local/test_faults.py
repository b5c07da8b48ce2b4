"""Faults become the proxy's rules, and read well; bad input names what is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ops.errors import OpsError, UsageError
from ops.local import faults
from ops.local.cloud import LocalCloud
from ops.local.faults import Fault
from ops.local.record import Record
from ops.stage import load_stage

STAGE = load_stage("local")
US, INDIA = STAGE.regions[:2]


@pytest.fixture
def cloud(tmp_path: Path) -> LocalCloud:
    url = "http://127.0.0.1:9"
    return LocalCloud("local", US, url, url, url, 1, {}, "2026-01-01T00:00:00+00:00", tmp_path)


def test_rules_put_regions_that_are_down_first() -> None:
    throttle = Fault("throttle:dynamodb", "throttle", "1", service="dynamodb", rate=0.3)
    down = Fault(f"region-down:{US}", "region-down", "2", region=US)
    first, second = faults.rules([throttle, down])
    assert first == {"service": "*", "region": US, "reset": True}
    assert second["error"]["code"] == "ProvisionedThroughputExceededException"
    assert second["probability"] == 0.3


def test_rules_use_the_signing_name_of_the_service() -> None:
    (rule,) = faults.rules([Fault("x", "latency", "1", service="cloudwatch", latency_ms=250, region=INDIA)])
    assert rule == {"service": "monitoring", "probability": 1.0, "region": INDIA, "latency": 250}


@pytest.mark.parametrize(
    ("how", "last"),
    [
        ("reset", {"reset": True}),
        ("timeout", {"timeout_ms": 65_000.0}),
        ("throttle", {"error": {"code": "ThrottlingException", "status": 400}}),
    ],
)
def test_rules_of_a_region_whose_calls_are_down_end_with_one_for_every_service(how: str, last: dict[str, Any]) -> None:
    found = faults.rules([Fault("x", "region-down", "1", region=US, parts=("calls",), how=how)])
    assert {rule["region"] for rule in found} == {US}
    for name, value in last.items():
        assert found[-1]["service"] == "*"
        assert value == found[-1][name] or value.items() <= found[-1][name].items()
    codes = {rule["service"]: rule["error"]["code"] for rule in found if "error" in rule}
    assert codes.get("dynamodb") == ("ProvisionedThroughputExceededException" if how == "throttle" else None)


def test_rules_of_other_parts_of_a_region_are_none() -> None:
    assert faults.rules([Fault("x", "region-down", "1", region=US, parts=("api", "processing"))]) == []


def test_rule_of_a_timeout_holds_calls_longer_than_an_sdk_waits() -> None:
    (rule,) = faults.rules([Fault("x", "timeout", "1", service="s3", rate=0.5)])
    assert rule["probability"] == 0.5
    assert rule["timeout_ms"] > 60_000


def test_rules_of_a_replication_cut_are_none() -> None:
    assert faults.rules([Fault("x", "replication-cut", "1", region=US, other_region=INDIA)]) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("a", "region-down", "now", region=US), f"{US} is down"),
        (Fault("a", "replication-cut", "now", region=US, other_region=INDIA, lose=True), "is lost"),
        (Fault("a", "latency", "now", service="s3", rate=0.5, latency_ms=100), "50% of calls to s3 take 100 ms longer"),
        (Fault("a", "throttle", "now", service="s3", region=US), f"100% of calls to s3 in {US} are throttled"),
        (Fault("a", "reset", "now", service="s3"), "100% of calls to s3 are reset"),
        (Fault("a", "timeout", "now", service="s3"), "100% of calls to s3 are left without an answer"),
        (
            Fault("a", "region-down", "now", region=US, parts=("api", "calls"), how="timeout"),
            f"{US} is partly down: its APIs answer 503, AWS calls to it are left without an answer (since now)",
        ),
        (
            Fault("a", "function-error", "now", region=US, functions=("f", "g"), owner="EXP1", until="later"),
            f"100% of invocations of f, g in {US} fail (until later, by experiment EXP1)",
        ),
        (Fault("a", "function-error", "now", functions=("f",), prevent=False), "of f fail after they ran"),
        (Fault("a", "function-delay", "now", functions=("f",), latency_ms=2000), "of f start 2000 ms later"),
    ],
)
def test_fault_reads_as_a_sentence(fault: Fault, words: str) -> None:
    assert words in str(fault)


def test_unknown_input_names_what_is_accepted(cloud: LocalCloud) -> None:
    with pytest.raises(UsageError, match=f"accepted: {US}"):
        faults.region_down(cloud, STAGE, "eu-north-1")
    with pytest.raises(UsageError, match="part: 'moon' is unknown; accepted: api, calls, processing"):
        faults.region_down(cloud, STAGE, US, parts=["moon"])
    with pytest.raises(UsageError, match="how: 'slowly' is unknown; accepted: reset, timeout, throttle"):
        faults.region_down(cloud, STAGE, US, how="slowly")
    with pytest.raises(UsageError, match="accepted: with the part calls"):
        faults.region_down(cloud, STAGE, US, parts=["api"], how="timeout")
    with pytest.raises(UsageError, match="same region"):
        faults.replication_cut(cloud, STAGE, US, US)
    with pytest.raises(UsageError, match="kind: 'explode' is unknown; accepted: throttle, latency, reset, timeout"):
        faults.api_fault(cloud, STAGE, "explode", "dynamodb")
    with pytest.raises(UsageError, match="service: 'teleport' is unknown; accepted: all, apigateway"):
        faults.api_fault(cloud, STAGE, "reset", "teleport")
    with pytest.raises(UsageError, match="rate: 0 is not a share"):
        faults.api_fault(cloud, STAGE, "reset", "dynamodb", rate=0)
    with pytest.raises(UsageError, match="latency_ms"):
        faults.api_fault(cloud, STAGE, "latency", "dynamodb", latency_ms=-1)
    with pytest.raises(UsageError, match="accepted: none: nothing is broken"):
        faults.heal(cloud, STAGE, "region-down:mars")
    assert faults.list_faults(cloud, STAGE) == []


@pytest.fixture
def enforced(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The ids that the emulator was told to break, at each change."""
    told: list[list[str]] = []

    def call(method: str, url: str, body: Any) -> None:
        assert (method, url.rpartition("/")[2]) == ("PUT", "faults")
        told.append([one["id"] for one in body["faults"]])

    monkeypatch.setattr(faults, "call", call)
    return told


def test_parts_of_a_region_are_broken_and_healed_apart(cloud: LocalCloud, enforced: list[list[str]]) -> None:
    api = faults.region_down(cloud, STAGE, US, parts=["api"])
    calls = faults.region_down(cloud, STAGE, US, parts=["processing", "calls"], how="throttle")
    whole = faults.region_down(cloud, STAGE, US)
    names = [f"region-down:{US}:api", f"region-down:{US}:calls+processing", f"region-down:{US}"]
    assert [api.id, calls.id, whole.id] == names
    assert (whole.parts, whole.how, calls.how) == (("api", "calls", "processing"), "reset", "throttle")
    faults.heal(cloud, STAGE, names[0])
    assert enforced == [names[:1], names[:2], names, names[1:]]
    assert [one.id for one in faults.list_faults(cloud, STAGE)] == names[1:]


def test_faults_of_an_experiment_are_healed_by_its_id(cloud: LocalCloud, enforced: list[list[str]]) -> None:
    faults.region_down(cloud, STAGE, US, parts=["api"])
    record = Record(cloud.state_dir)
    theirs = [Fault(f"EXP1:{name}", "region-down", "1", region=US, owner="EXP1", until="2") for name in "ab"]
    record.write(record.read() + theirs)
    assert faults.heal(cloud, STAGE, "EXP1") == theirs
    assert enforced[-1] == [one.id for one in record.read()] == [f"region-down:{US}:api"]


def test_fault_is_recorded_although_the_emulator_gave_no_answer(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("gone")

    monkeypatch.setattr(faults, "call", refuse)
    with pytest.raises(OpsError, match="did not take the change"):
        faults.region_down(cloud, STAGE, US)
    assert [one.id for one in faults.list_faults(cloud, STAGE)] == [f"region-down:{US}"]


def test_fault_survives_the_round_trip_through_its_record(cloud: LocalCloud) -> None:
    fault = Fault("latency:s3", "latency", "now", service="s3", latency_ms=5.0)
    partly = Fault("x", "region-down", "now", region=US, parts=("api", "calls"), owner="EXP1", until="later")
    Record(cloud.state_dir).write([fault, partly])
    assert faults.list_faults(cloud, STAGE) == [fault, partly]

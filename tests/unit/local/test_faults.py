"""Faults become the proxy's rules, and read well; bad input names what is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.errors import UsageError
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
    ],
)
def test_fault_reads_as_a_sentence(fault: Fault, words: str) -> None:
    assert words in str(fault)


def test_unknown_input_names_what_is_accepted(cloud: LocalCloud) -> None:
    with pytest.raises(UsageError, match=f"accepted: {US}"):
        faults.region_down(cloud, STAGE, "eu-north-1")
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


def test_fault_survives_the_round_trip_through_its_record(cloud: LocalCloud) -> None:
    fault = Fault("latency:s3", "latency", "now", service="s3", latency_ms=5.0)
    partly = Fault("x", "region-down", "now", region=US, parts=("api", "calls"), owner="EXP1", until="later")
    Record(cloud.state_dir).write([fault, partly])
    assert faults.list_faults(cloud, STAGE) == [fault, partly]

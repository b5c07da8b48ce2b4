from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from ops import network
from ops.aws import Cloud
from ops.errors import RefusedError
from ops.stage import ROOT, Stage, load_stage

REGIONS = ["us-east-1", "ap-south-1"]


def changed(stage: Stage, **changes: object) -> Stage:
    assert stage.network is not None
    return stage.model_copy(update={"network": stage.network.model_copy(update=changes)})


@pytest.fixture
def real_ids() -> Iterator[dict[str, dict[str, str]]]:
    """The prefix lists of DynamoDB and S3 as the account sees them, by the key that names them in the stage file."""
    with mock_aws():
        yield {
            f"{service}_prefix_lists": {
                region: boto3.client("ec2", region).describe_managed_prefix_lists(
                    Filters=[{"Name": "prefix-list-name", "Values": [f"com.amazonaws.{region}.{service}"]}]
                )["PrefixLists"][0]["PrefixListId"]
                for region in REGIONS
            }
            for service in ("dynamodb", "s3")
        }


def cloud(stage: Stage) -> Cloud:
    return Cloud(stage, "123456789012", boto3.Session("test", "test"))


def test_check_prefix_lists_when_they_are_aws_own_passes(real_ids: dict[str, dict[str, str]]) -> None:
    network.check_prefix_lists(cloud(changed(load_stage("prod"), **real_ids)), REGIONS)


@pytest.mark.parametrize("key", ["dynamodb_prefix_lists", "s3_prefix_lists"])
def test_check_prefix_lists_when_one_is_not_names_region_and_right_id(
    real_ids: dict[str, dict[str, str]], key: str
) -> None:
    stage = changed(load_stage("prod"), **real_ids | {key: real_ids[key] | {"ap-south-1": "pl-00000000"}})

    with pytest.raises(RefusedError) as caught:
        network.check_prefix_lists(cloud(stage), REGIONS)

    assert str(caught.value).splitlines() == [
        f"ap-south-1: network.{key} has pl-00000000, but AWS says {real_ids[key]['ap-south-1']}"
    ]


def test_check_prefix_lists_without_a_network_asks_nothing() -> None:
    network.check_prefix_lists(Cloud(load_stage("local"), "000000000000", None), REGIONS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "endpoint_zones", "usd"),
    [("local", None, 0.0), ("dev", 1, 21.90), ("prod", 3, 65.70), ("prod", 1, 21.90)],
)
def test_monthly_usd_is_endpoints_by_zones_by_hours(name: str, endpoint_zones: int | None, usd: float) -> None:
    stage = load_stage(name)
    if endpoint_zones is not None:
        stage = changed(stage, endpoint_zones=endpoint_zones)

    assert round(network.monthly_usd(stage), 2) == usd


def test_readme_states_what_the_choices_cost() -> None:
    prod = load_stage("prod")
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "endpoint_zones" in line]

    for stage in (load_stage("dev"), prod, changed(prod, endpoint_zones=1)):
        assert stage.network
        count, zones = len(network.interface_endpoints(stage)), stage.network.endpoint_zones
        cells = f"`endpoint_zones: {zones}` | {count} × {zones} | {network.monthly_usd(stage):.2f} |"  # noqa: RUF001
        assert [row for row in rows if f"`{stage.stage}.yml`" in row and row.endswith(cells)], cells


def test_monthly_usd_without_tracing_has_an_endpoint_less() -> None:
    stage = load_stage("dev")
    untraced = stage.model_copy(update={"tracing": stage.tracing.model_copy(update={"enabled": False})})

    assert network.interface_endpoints(untraced) == ("events", "sqs")
    assert round(network.monthly_usd(untraced), 2) == 14.60

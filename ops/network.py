"""What a stage's network costs, and whether its file names AWS's own prefix lists rightly.

The functions may reach DynamoDB's addresses and no others outside the VPC. AWS keeps these addresses as a managed
prefix list, with an id that differs by region and that CloudFormation cannot look up, so the stage file holds it.
"""

from __future__ import annotations

from ops.aws import Cloud, explained
from ops.errors import RefusedError
from ops.fanout import each
from ops.prices import HOURS_PER_MONTH, INTERFACE_ENDPOINT_USD_PER_ZONE_HOUR
from ops.stage import Stage

# Of deploy/resources/network.yml; a test counts them in the packaged templates.
ENDPOINTS = ("events", "sqs")
ENDPOINTS_WHEN_TRACED = ("xray",)


def interface_endpoints(stage: Stage) -> tuple[str, ...]:
    """The services that the functions reach through an endpoint billed by zone and hour."""
    if stage.network is None:
        return ()
    return ENDPOINTS + (ENDPOINTS_WHEN_TRACED if stage.tracing.enabled else ())


def monthly_usd(stage: Stage) -> float:
    """What the interface endpoints of one region cost in a month of 730 hours, before the price of what they carry."""
    if stage.network is None:
        return 0.0
    zones = stage.network.endpoint_zones
    return len(interface_endpoints(stage)) * zones * HOURS_PER_MONTH * INTERFACE_ENDPOINT_USD_PER_ZONE_HOUR


def check_prefix_lists(cloud: Cloud, regions: list[str]) -> None:
    """Ask AWS for DynamoDB's prefix list in each region; where the stage has no network there is nothing to ask.

    Raises:
        RefusedError: the stage file has another id somewhere; the message names each region with the right one.
        OpsError: AWS did not answer.
    """
    network = cloud.stage.network
    if network is None:
        return
    found = each(regions, lambda region: _dynamodb_prefix_list(cloud, region))
    wrong = [
        f"{region}: network.dynamodb_prefix_lists has {network.dynamodb_prefix_lists[region]}, but AWS says {id_}"
        for region, id_ in found.items()
        if id_ != network.dynamodb_prefix_lists[region]
    ]
    if wrong:
        raise RefusedError(
            "\n".join(wrong), hint=f"Correct deploy/stages/{cloud.stage.stage}.yml; nothing was deployed."
        )


def _dynamodb_prefix_list(cloud: Cloud, region: str) -> str | None:
    name = f"com.amazonaws.{region}.dynamodb"
    with explained(f"{region}: looking up prefix list {name}"):
        answer = cloud.client("ec2", region).describe_managed_prefix_lists(
            Filters=[{"Name": "prefix-list-name", "Values": [name]}]
        )
    # The name is AWS's own: a list of a customer's cannot begin with com.amazonaws.
    return next((str(found["PrefixListId"]) for found in answer["PrefixLists"]), None)

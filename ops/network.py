"""What a stage's network costs, and whether its file names AWS's own prefix lists rightly.

The functions may reach DynamoDB's addresses, S3's where a drill can take them away, and no others outside the VPC. AWS
keeps such addresses as managed prefix lists, with ids that differ by region and that CloudFormation cannot look up, so
the stage file holds them.
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
    """Ask AWS for its prefix lists in each region; where the stage has no network there is nothing to ask.

    Raises:
        RefusedError: the stage file has another id somewhere; the message names each region with the right one.
        OpsError: AWS did not answer.
    """
    network = cloud.stage.network
    if network is None:
        return
    ids = network.prefix_lists
    asked = [(service, region) for service in ids for region in regions]
    found = each(asked, lambda one: _prefix_list(cloud, *one))
    wrong = [
        f"{region}: network.{service}_prefix_lists has {ids[service][region]}, but AWS says {id_}"
        for (service, region), id_ in found.items()
        if id_ != ids[service][region]
    ]
    if wrong:
        raise RefusedError(
            "\n".join(wrong), hint=f"Correct deploy/stages/{cloud.stage.stage}.yml; nothing was deployed."
        )


def _prefix_list(cloud: Cloud, service: str, region: str) -> str | None:
    name = f"com.amazonaws.{region}.{service}"
    with explained(f"{region}: looking up prefix list {name}"):
        answer = cloud.client("ec2", region).describe_managed_prefix_lists(
            Filters=[{"Name": "prefix-list-name", "Values": [name]}]
        )
    # The name is AWS's own: a list of a customer's cannot begin with com.amazonaws.
    return next((str(found["PrefixListId"]) for found in answer["PrefixLists"]), None)

"""Events in the tables of a unit test's stage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ops import provision
from ops.aws import Cloud
from ops.provision.waits import Waits as ProvisionWaits

US, AP = "us-east-1", "ap-south-1"


def store(cloud: Cloud, number: int, kind: str, at: datetime, accepted: str = US) -> None:
    for region in cloud.stage.regions:
        item = {
            "pk": {"S": f"EVENT#{number}"},
            "sk": {"S": "EVENT"},
            "gsi_pk": {"S": f"public#{at:%Y-%m-%d}"},
            "gsi_sk": {"S": f"{at:%Y-%m-%dT%H:%M:%S}.000Z#{number}"},
            "type": {"S": kind},
            "accepted_region": {"S": accepted},
        }
        cloud.client("dynamodb", region).put_item(TableName="atoll-unit", Item=item)  # type: ignore[arg-type]


def change(cloud: Cloud, *items: dict[str, str]) -> None:
    for item in items:
        typed = {name: {"S": value} for name, value in item.items()}
        cloud.client("dynamodb", US).put_item(TableName="atoll-unit", Item=typed)  # type: ignore[arg-type]


def make_ready(deployed: Cloud, calls: Any) -> Cloud:
    """A provisioned stage with three events of the home region, one of the other and an old one."""
    plan = provision.plan(deployed)
    provision.apply(deployed, plan, plan.token, waits=ProvisionWaits(sleep=lambda seconds: None))
    now = datetime.now(UTC)
    for number, kind in enumerate(("order.placed", "order.placed", "order.paid")):
        store(deployed, number, kind, now)
    store(deployed, 3, "order.placed", now - timedelta(hours=5))
    store(deployed, 4, "order.placed", now, accepted=AP)
    calls.clear()
    return deployed

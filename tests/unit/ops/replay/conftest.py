"""A provisioned stage whose replays are played minute by minute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ops import provision
from ops.aws import Cloud
from ops.provision.waits import Waits as ProvisionWaits
from tests.unit.ops.replay.replays import US, Archived, Replays, archive_of


@pytest.fixture
def provisioned(deployed: Cloud, calls: Any) -> Cloud:
    plan = provision.plan(deployed)
    provision.apply(deployed, plan, plan.token, waits=ProvisionWaits(sleep=lambda seconds: None))
    bucket = deployed.stage.operations_bucket(deployed.account, US)
    if bucket not in {one["Name"] for one in deployed.client("s3", US).list_buckets()["Buckets"]}:
        deployed.client("s3", US).create_bucket(Bucket=bucket)
    calls.clear()
    return deployed


@pytest.fixture
def replays(provisioned: Cloud) -> Iterator[Replays]:
    """Twelve events over six minutes, all of them in the tables of both regions already."""
    made = Replays(provisioned, archive_of(12))
    for event in made.archive:
        put_event(provisioned, event)
    events = provisioned.client("events", US).meta.events
    handlers = {"StartReplay": made.start_replay, "ListReplays": made.list_replays, "CancelReplay": made.cancel_replay}
    for operation, handler in handlers.items():
        events.register(f"before-call.eventbridge.{operation}", handler, unique_id=f"played-{operation}")
    try:
        yield made
    finally:
        for operation, handler in handlers.items():
            events.unregister(f"before-call.eventbridge.{operation}", handler, unique_id=f"played-{operation}")


def put_event(cloud: Cloud, event: Archived, **more: str) -> None:
    """Store an event in every region, as its processors do."""
    for region in cloud.stage.regions:
        item: dict[str, Any] = {
            "pk": {"S": f"EVENT#{event.key}"},
            "sk": {"S": "EVENT"},
            "event_key": {"S": str(event.key)},
            "type": {"S": event.kind},
        } | {name: {"S": value} for name, value in more.items()}
        cloud.client("dynamodb", region).put_item(TableName="atoll-unit", Item=item)
        cloud.client("dynamodb", region).update_item(
            TableName="atoll-unit",
            Key={"pk": {"S": "ACTIVITY#public#2026-11-20T14"}, "sk": {"S": f"{event.kind}#{US}"}},
            UpdateExpression="ADD seen :key",
            ExpressionAttributeValues={":key": {"BS": [event.key.bytes]}},
        )

"""Heartbeats are seen by nobody but those who look for them."""

from __future__ import annotations

from typing import Any

import pytest

from ops.aws import Cloud
from ops.divergence import heartbeats
from ops.divergence.replicas import Replica, Schema
from ops.replay import proof
from ops.tablescan import difference
from tests.unit.ops.conftest import Hub
from tests.unit.ops.replay.stored import make_ready

REGIONS = ("us-east-1", "ap-south-1")
SCHEMA = Schema(("pk", "sk"), ("S", "S"))


@pytest.fixture
def ready(deployed: Cloud, calls: Any) -> Cloud:
    return make_ready(deployed, calls)


def test_a_heartbeat_that_beats_during_a_replay_does_not_reach_its_proof(ready: Cloud, hub: Hub) -> None:
    replicas = [Replica(region, region, ready.stage.table_name) for region in REGIONS]
    before = proof.look(ready, REGIONS)
    during: list[proof.Look] = []

    def look(line: str) -> None:
        held = sum(len(ready.client("dynamodb", one).scan(TableName="atoll-unit")["Items"]) for one in REGIONS)
        assert held == 2 + sum(len(before.prints[one].keys) for one in REGIONS)
        during.append(proof.look(ready, REGIONS))

    found = heartbeats.beat(
        ready, replicas, SCHEMA, rounds=1, deadline_s=1.0, progress=look, sleep=lambda seconds: None
    )
    assert found.left == ()
    for region in REGIONS:
        assert during[0].prints[region].checksum == before.prints[region].checksum
        harm = difference(before.prints[region], during[0].prints[region])
        assert (len(harm.added), len(harm.changed), len(harm.removed)) == (0, 0, 0)
    assert during[0].dlqs == before.dlqs

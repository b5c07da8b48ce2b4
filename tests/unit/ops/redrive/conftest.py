from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ops.aws import Cloud
from tests.unit.ops.conftest import Calls
from tests.unit.ops.redrive.letters import ACCOUNT
from tests.unit.ops.redrive.platform import Platform, answering


@pytest.fixture
def platform(deployed: Cloud, calls: Calls) -> Iterator[Platform]:
    """The stage with its queues and rules, and a place to keep records in every region."""
    with answering(deployed) as made:
        for region in deployed.stage.regions:
            elsewhere: Any = {"CreateBucketConfiguration": {"LocationConstraint": region}}
            name = deployed.stage.operations_bucket(ACCOUNT, region)
            deployed.client("s3", region).create_bucket(Bucket=name, **({} if region == "us-east-1" else elsewhere))
            made.deploy(region)
        calls.clear()
        yield made

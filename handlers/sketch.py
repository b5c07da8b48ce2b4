"""Reduces a segment of this region's replica to a sketch, for the ``divergence`` runbook: docs/divergence-fleet.md."""

from __future__ import annotations

import json
import os
from typing import Any

from handlers.core import aws
from handlers.core.segment import Order, Reader
from handlers.core.settings import settings


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Asked by the state machine of deploy/resources/fleet.yml; answers how far the segment came, and nothing of it."""
    order = Order.of(event)
    reader = Reader(
        dynamodb=aws.dynamodb(scan=True),
        s3=aws.s3(),
        table=settings().table,
        bucket=os.environ["ATOLL_OPERATIONS_BUCKET"],
        remaining_s=lambda: context.get_remaining_time_in_millis() / 1000,
    )
    portion = reader.run(order)
    answer = {
        "segment": portion.segment,
        "done": portion.done,
        "lap": order.lap + 1,
        "items": portion.sketch.items,
        "pages": portion.pages,
        "read_units": portion.read_units,
        "throttles": portion.throttles,
        "checksum": str(portion.sketch.checksum),
        "implementation": portion.implementation,
    }
    # This package has no Powertools: nothing else is logged, and no metric is counted.
    print(json.dumps({"level": "INFO", "message": "segment read", **answer}))  # noqa: T201
    return answer


if aws.starting_in_lambda():
    aws.dynamodb(scan=True)
    aws.s3()

"""What the edge tells CloudWatch of the health checks."""

from __future__ import annotations

from typing import Any

from ops.local.edge.healthchecks import Health, HealthCheck
from ops.local.edge.publishing import DATA_A_CALL, publish, published


def test_published_is_one_for_healthy_and_zero_for_unhealthy_and_nothing_of_a_disabled_one() -> None:
    checks = [
        HealthCheck("up", "HTTPS", failure_threshold=1),
        HealthCheck("down", "HTTPS", failure_threshold=1),
        HealthCheck("off", "HTTPS", disabled=True),
        HealthCheck("both", "CALCULATED", children=("up", "down"), healthy_children=2),
    ]
    health = Health()
    health.update(checks)
    health.add("up", True)
    health.add("down", False)
    told = {datum["Dimensions"][0]["Value"]: datum["Value"] for datum in published(health)}
    assert told == {"up": 1.0, "down": 0.0, "both": 0.0}


def test_publish_stores_as_many_at_once_as_cloudwatch_takes() -> None:
    sizes: list[int] = []

    class CloudWatch:
        def put_metric_data(self, Namespace: str, MetricData: list[Any]) -> None:  # noqa: N803 - boto3's names
            assert Namespace == "AWS/Route53"
            sizes.append(len(MetricData))

    publish(CloudWatch(), [{}] * (DATA_A_CALL + 1))
    assert sizes == [DATA_A_CALL, 1]

"""What Route 53 tells CloudWatch of its health checks, in us-east-1: 1 for healthy, 0 for unhealthy, each by its id.

On AWS by the minute; here every few seconds, as the emulated services publish. A disabled check is not published.
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/monitoring-health-checks.html
"""

from __future__ import annotations

from typing import Any

from ops.local.edge.healthchecks import Health

PUBLISH_S = 5.0
NAMESPACE, REGION = "AWS/Route53", "us-east-1"
DATA_A_CALL = 1000  # PutMetricData takes as many


def published(health: Health) -> list[dict[str, Any]]:
    """The data of all checks now, as PutMetricData takes them."""
    return [
        {
            "MetricName": "HealthCheckStatus",
            "Dimensions": [{"Name": "HealthCheckId", "Value": check.id}],
            "Value": float(health.status(check.id).healthy),
        }
        for check in health.checks.values()
        if not check.disabled
    ]


def publish(cloudwatch: Any, data: list[dict[str, Any]]) -> None:
    """Store them. Raises what botocore raises."""
    for at in range(0, len(data), DATA_A_CALL):
        cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data[at : at + DATA_A_CALL])

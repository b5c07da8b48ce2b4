"""What is asked of CloudWatch: one metric of one resource in one statistic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PERCENTILES = ("p50", "p95", "p99")


@dataclass(frozen=True)
class Series:
    """One query: a metric of one resource in one statistic."""

    resource: str
    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str
    unit: str

    def query(self, identifier: str, period_s: int) -> dict[str, Any]:
        """An entry of GetMetricData's ``MetricDataQueries``."""
        metric = {
            "Namespace": self.namespace,
            "MetricName": self.metric,
            "Dimensions": [{"Name": name, "Value": value} for name, value in self.dimensions],
        }
        return {"Id": identifier, "MetricStat": {"Metric": metric, "Period": period_s, "Stat": self.statistic}}

    def __str__(self) -> str:
        return f"{self.resource} {self.metric} {self.statistic}"


def summed(resource: str, namespace: str, metric: str, /, unit: str = "count", **dimensions: str) -> Series:
    """The sums of a metric over each period."""
    return Series(resource, namespace, metric, tuple(dimensions.items()), "Sum", unit)


def highest(resource: str, namespace: str, metric: str, /, unit: str = "count", **dimensions: str) -> Series:
    """The maximum of a metric in each period."""
    return Series(resource, namespace, metric, tuple(dimensions.items()), "Maximum", unit)


def timed(resource: str, namespace: str, metric: str, /, **dimensions: str) -> list[Series]:
    """The percentiles of a time in milliseconds."""
    return [Series(resource, namespace, metric, tuple(dimensions.items()), one, "ms") for one in PERCENTILES]

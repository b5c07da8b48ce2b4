"""Statistics with fixed bounds, as CloudWatch has them: ``TC(:300)``, ``TC(80:)``, ``TC(80:500)``; also TS and PR.

The lower bound is exclusive, the upper inclusive; a bound left out is none.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
"""

from __future__ import annotations

import importlib
import math
import re
from typing import Any

_BOUNDED = re.compile(r"(TC|TS|PR)\((\d+(?:\.\d+)?)?:(\d+(?:\.\d+)?)?\)")


class Statistics:
    """The value of a statistic of the points of one period."""

    def __init__(self) -> None:
        self._cloudwatch = importlib.import_module("ministack.services.cloudwatch")
        self._unbounded = self._cloudwatch._stat_value

    def value(self, stats: dict[str, float], stat_name: str, points: list[dict[str, Any]] | None = None) -> Any:
        """Stands in for ``_stat_value``."""
        bounded = _BOUNDED.fullmatch(stat_name or "")
        if bounded is None:
            return self._unbounded(stats, stat_name, points)
        samples = self._cloudwatch._percentile_samples(points or [])
        return None if samples is None else bounded_value(bounded, samples)


def bounded_value(bounded: re.Match[str], samples: list[tuple[float, float]]) -> float:
    """How many of the samples (value, how often) lie within the bounds (TC), their sum (TS), or their percentage."""
    kind, low, high = bounded.groups()
    above, upto = float(low) if low else -math.inf, float(high) if high else math.inf
    inside = [(value, often) for value, often in samples if above < value <= upto]
    if kind == "TS":
        return math.fsum(value * often for value, often in inside)
    count = math.fsum(often for _, often in inside)
    return count if kind == "TC" else 100 * count / math.fsum(often for _, often in samples)

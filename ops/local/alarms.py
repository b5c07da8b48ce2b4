"""In which state CloudWatch would have an alarm on one metric: M of the last N periods, and what missing ones count as.

Pure: observed values in, a state out. The rules are those of the page "Configuring how CloudWatch alarms treat missing
data" of the CloudWatch user guide: CloudWatch looks at a few more periods than it evaluates, lets old values stand in
for missing ones, and only when there are too few of those asks how the alarm treats missing data.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
Missing = Literal["missing", "ignore", "breaching", "notBreaching"]
LOOKBACK_PERIODS = 2  # beyond those evaluated; the user guide's examples show five for three

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanOrEqualToThreshold": operator.le,
    "LessThanThreshold": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """How an alarm decides; the names are CloudFormation's."""

    threshold: float
    comparison: str
    evaluation_periods: int
    datapoints_to_alarm: int
    treat_missing_data: Missing = "missing"

    @property
    def periods_looked_at(self) -> int:
        return self.evaluation_periods + LOOKBACK_PERIODS

    def decide(self, observed: Sequence[float | None], state: State) -> State:
        """The state after these periods, oldest first, None where there was no data; ``state`` is the one before."""
        breaches = COMPARISONS[self.comparison]
        bad = [breaches(value, self.threshold) for value in observed[-self.periods_looked_at :] if value is not None]
        recent = bad[-self.evaluation_periods :]
        missing = self.evaluation_periods - len(recent)
        if sum(recent) >= self.datapoints_to_alarm:
            return "ALARM"
        if self.treat_missing_data == "breaching" and sum(recent) + missing >= self.datapoints_to_alarm:
            return "ALARM"
        if not missing or self.treat_missing_data in ("breaching", "notBreaching"):
            return "OK"
        if all(recent):  # nothing at all, or nothing that speaks for OK
            return state if self.treat_missing_data == "ignore" else ("ALARM" if recent else "INSUFFICIENT_DATA")
        return "OK"

"""In which state CloudWatch would have an alarm on one metric: M of the last N periods, and what missing ones count as.

``Rule`` is pure: observed values in, a state out. It follows the page "Configuring how CloudWatch alarms treat missing
data" of the CloudWatch user guide: CloudWatch looks at a few more periods than it evaluates, lets old values stand in
for missing ones, and only when there are too few of those asks how the alarm treats missing data. ``Alarms`` asks it
about each alarm of the emulator.
"""

from __future__ import annotations

import importlib
import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ops.local.emulator.scopes import Scope, entered

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
Missing = Literal["missing", "ignore", "breaching", "notBreaching"]
EVALUATE_EVERY_S = 2.0
LATE_S = 60.0  # a data point may be stored this long after its time
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


class Alarms:
    """The alarms of the emulated CloudWatch, in every account and region."""

    def __init__(self) -> None:
        self._cloudwatch = importlib.import_module("ministack.services.cloudwatch")
        self._next_evaluation_s = 0.0

    def tick(self, now_s: float) -> None:
        """Evaluate them, when it is time; without data too: that there are none may be what is wrong."""
        if now_s < self._next_evaluation_s:
            return
        self._next_evaluation_s = now_s + EVALUATE_EVERY_S
        for account, region in {key[:2] for key, _ in self._cloudwatch._alarms.all_items()}:
            with entered(Scope(account, region)):
                self._cloudwatch._evaluate_all_alarms()

    def evaluate(self, alarm: dict[str, Any]) -> None:
        """Stands in for ``_evaluate_alarm``: decide the state of one alarm of the current scope."""
        if not alarm.get("MetricName"):
            return
        periods = int(alarm["EvaluationPeriods"])
        rule = Rule(
            threshold=float(alarm["Threshold"]),
            comparison=alarm["ComparisonOperator"],
            evaluation_periods=periods,
            datapoints_to_alarm=int(alarm.get("DatapointsToAlarm") or periods),
            treat_missing_data=alarm.get("TreatMissingData") or "missing",
        )
        observed = self._observed(alarm, rule.periods_looked_at)
        before = alarm["StateValue"]
        state = rule.decide(observed, before)
        if state == before:
            return
        shown = ", ".join("-" if value is None else f"{value:g}" for value in observed)
        reason = f"{alarm['ComparisonOperator']} {rule.threshold:g} decided on {shown} (oldest first)"
        alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
        self._cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
        self._cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)
        self._cloudwatch._evaluate_parent_alarms(alarm)

    def _observed(self, alarm: dict[str, Any], periods: int) -> list[float | None]:
        """The alarm's statistic in each of the last periods, oldest first."""
        period_s, now_s = float(alarm["Period"]), time.time()
        dimensions = {one["Name"]: one["Value"] for one in alarm.get("Dimensions") or []}
        key = (alarm["Namespace"], alarm["MetricName"], self._cloudwatch._dims_key(dimensions))
        points: list[list[Any]] = [[] for _ in range(periods)]
        for point in reversed(self._cloudwatch._metrics.get(key) or []):
            age_s = max(0.0, now_s - point["Timestamp"])
            if age_s >= periods * period_s + LATE_S:
                break
            if age_s < periods * period_s:
                points[-1 - int(age_s // period_s)].append(point)
        name = alarm.get("ExtendedStatistic") or alarm.get("Statistic")
        calc, value = self._cloudwatch._calc_stats, self._cloudwatch._stat_value
        return [value(calc(of_period), name, of_period) if of_period else None for of_period in points]

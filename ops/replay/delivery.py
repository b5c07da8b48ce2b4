"""The proof where there is no table of Atoll's: what was overheard, against EventBridge's own metrics and the DLQs.

Metrics are delivered on a best-effort basis and say so themselves, so that a lower count proves nothing; failures that
they do count, and messages that appear in a DLQ, do.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ops.aws import Cloud
from ops.replay.pausing import Queue, depth, queues_of
from ops.replay.waits import Waits

MATCHED = "MatchedEvents"
FAILURES = ("FailedInvocations", "InvocationsSentToDlq", "InvocationsFailedToBeSentToDlq")
METRICS_EVERY_S = 10
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Delivered:
    """``matched``: events that the tap's rule matched, by CloudWatch; None when that had no figure in time."""

    matched: int | None
    failures: dict[str, int]


def dlqs_of(cloud: Cloud, region: str, bus: str, rules: Sequence[str]) -> list[Queue]:
    """The DLQs of these rules' targets, and of the queues among them."""
    events: Any = cloud.client("events", region)
    arns: list[str] = []
    for rule in dict.fromkeys(rules):
        targets = events.list_targets_by_rule(Rule=rule, EventBusName=bus)["Targets"]
        arns += [
            target["DeadLetterConfig"]["Arn"] for target in targets if target.get("DeadLetterConfig", {}).get("Arn")
        ]
    return queues_of(cloud, arns)


def depths(cloud: Cloud, dlqs: Sequence[Queue]) -> dict[str, int]:
    """``{"<region> <queue>": messages}``."""
    return {f"{queue.region} {queue.name}": depth(cloud, queue) for queue in dlqs}


@dataclass(frozen=True)
class Meter:
    """CloudWatch's counts of a bus's rules over a span of time."""

    cloud: Cloud
    region: str
    bus: str
    span: tuple[datetime, datetime]

    def told(self, tap_rule: str, rules: Sequence[str], heard: int, waits: Waits) -> Delivered:
        """What was counted of the run, once the count of the tap's rule has come to what was heard or time is up."""
        end = waits.clock() + waits.metrics_s
        while True:
            matched = self.sum(tap_rule, MATCHED)
            if (matched is not None and matched >= heard) or waits.clock() >= end:
                break
            waits.sleep(METRICS_EVERY_S)
        failures = {
            f"{rule} {metric}": count
            for rule in dict.fromkeys([tap_rule, *rules])
            for metric in FAILURES
            if (count := self.sum(rule, metric))
        }
        return Delivered(matched, failures)

    def sum(self, rule: str, metric: str) -> int | None:
        """A metric of a rule; None when there is no figure."""
        # Of the default bus the dimensions are the rule's name alone.
        dimensions: list[Any] = [] if self.bus == "default" else [{"Name": "EventBusName", "Value": self.bus}]
        dimensions.append({"Name": "RuleName", "Value": rule})
        answer = self.cloud.client("cloudwatch", self.region).get_metric_data(
            MetricDataQueries=[
                {
                    "Id": "count",
                    "MetricStat": {
                        "Metric": {"Namespace": "AWS/Events", "MetricName": metric, "Dimensions": dimensions},
                        "Period": 60,
                        "Stat": "Sum",
                    },
                }
            ],
            StartTime=self.span[0] - _MINUTE,
            EndTime=self.span[1] + _MINUTE,
        )
        values = [value for one in answer["MetricDataResults"] for value in one["Values"]]
        return int(sum(values)) if values else None

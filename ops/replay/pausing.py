"""When a replay waits before its next slice: consumers fall behind, or give up.

A queue's age cannot be read where it is: SQS tells depths, CloudWatch tells ApproximateAgeOfOldestMessage a minute or
two later, and receiving a message to see its SentTimestamp hides it from its consumer and counts towards its DLQ. So
the age is bounded by what is certain: no message is older than the last time that its queue was seen empty. Only where
that bound is above the limit, as on a queue that is never empty, CloudWatch's newest figure decides, if it is fresh.
What always holds: nothing here changes anything; high age pauses until it is down again; DLQs that grew end the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code

# Older figures of CloudWatch say nothing about now.
FRESH = timedelta(minutes=5)
_COUNTS: list[Any] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]


@dataclass(frozen=True)
class Queue:
    """A queue that receives what is replayed."""

    region: str
    name: str
    url: str


@dataclass(frozen=True)
class Reading:
    """Why to wait, and why to stop; both empty when the next slice may start."""

    wait: str = ""
    stop: str = ""


def queues_of(cloud: Cloud, arns: Sequence[str]) -> list[Queue]:
    """Those of these targets that are queues of the account and exist."""
    found = []
    for arn in dict.fromkeys(arns):
        _, _, service, region, account, name = [*arn.split(":", 5), "", "", "", "", ""][:6]
        if service != "sqs" or account != cloud.account:
            continue
        try:
            found.append(Queue(region, name, cloud.client("sqs", region).get_queue_url(QueueName=name)["QueueUrl"]))
        except ClientError as error:
            if not any(code in error_code(error) for code in ("NonExistentQueue", "QueueDoesNotExist")):
                raise
    return found


def depth(cloud: Cloud, queue: Queue) -> int:
    """Messages waiting, in flight and delayed, as SQS approximates them."""
    sqs = cloud.client("sqs", queue.region)
    counts = sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=_COUNTS)["Attributes"]
    return sum(int(counts.get(name, 0)) for name in _COUNTS)


class Gate:
    """Looked at before each start of a slice, and while none may start."""

    def __init__(
        self,
        cloud: Cloud,
        queues: Sequence[Queue],
        dlqs: Callable[[], Mapping[str, int]],
        *,
        max_age_s: int,
        max_growth: int,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cloud, self._queues, self._dlqs = cloud, list(queues), dlqs
        self._max_age_s, self._max_growth, self._clock, self._now = max_age_s, max_growth, clock, now
        self._empty_at = {queue: clock() for queue in self._queues}
        self._before = dict(dlqs())

    def look(self) -> Reading:
        growth = {name: count - self._before.get(name, 0) for name, count in self._dlqs().items()}
        grown = {name: count for name, count in growth.items() if count > 0}
        if sum(grown.values()) > self._max_growth:
            listed = ", ".join(f"{name} by {count:,}" for name, count in grown.items())
            return Reading(stop=f"the DLQs have grown: {listed}; the limit is {self._max_growth:,}")
        late = [
            f"{queue.name} in {queue.region}: up to {age:.0f} s"
            for queue in self._queues
            if (age := self.age_s(queue)) > self._max_age_s
        ]
        return (
            Reading(wait=f"oldest message of {'; '.join(late)}; the limit is {self._max_age_s} s")
            if late
            else Reading()
        )

    def age_s(self, queue: Queue) -> float:
        """How old the queue's oldest message may be."""
        at = self._clock()
        if depth(self._cloud, queue) == 0:
            self._empty_at[queue] = at
        bound = at - self._empty_at[queue]
        if bound <= self._max_age_s:
            return bound
        told = self._told_s(queue)
        return bound if told is None else min(bound, told)

    def _told_s(self, queue: Queue) -> float | None:
        now = self._now()
        points = self._cloud.client("cloudwatch", queue.region).get_metric_data(
            MetricDataQueries=[
                {
                    "Id": "age",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": "AWS/SQS",
                            "MetricName": "ApproximateAgeOfOldestMessage",
                            "Dimensions": [{"Name": "QueueName", "Value": queue.name}],
                        },
                        "Period": 60,
                        "Stat": "Maximum",
                    },
                }
            ],
            StartTime=now - FRESH,
            EndTime=now,
            ScanBy="TimestampDescending",
        )["MetricDataResults"]
        values = points[0]["Values"] if points else []
        return float(values[0]) if values else None

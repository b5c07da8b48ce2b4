"""What CloudWatch ingests by itself on AWS: metrics embedded in logs (EMF), and counts that services publish.

Pure: lines in, data out. ``metrics`` feeds it and stores the result. Embedded metrics follow the specification
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
(at most 100 metrics a directive, 30 dimensions a set, numbers or lists of at most 100 numbers); a line that breaks it
is skipped and counted, as CloudWatch does, never fatal. Counts are folded by value within a tick, so that memory grows
with distinct values and not with requests.
"""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.local.emulator.messages import Messages
from ops.local.emulator.scopes import Scope

MAX_METRICS = 100
MAX_DIMENSIONS = 30
MAX_VALUES = 100


@dataclass(frozen=True, slots=True)
class Datum:
    """One metric of one dimension set; ``values`` with how often each was seen."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    unit: str
    timestamp_s: float
    values: tuple[float, ...]
    counts: tuple[float, ...]


class EmfError(ValueError):
    """The line says it carries metrics and breaks the specification."""


def parse_emf(line: str) -> list[Datum]:
    """The data embedded in one log line; empty when it carries none.

    Raises:
        EmfError: it has an ``_aws.CloudWatchMetrics`` member that CloudWatch would not ingest.
    """
    if '"CloudWatchMetrics"' not in line:
        return []
    try:
        document = json.loads(line)
    except ValueError:
        return []  # a log line that only mentions the word
    if not isinstance(document, dict):
        return []
    metadata = document.get("_aws")
    if not isinstance(metadata, dict):
        return []
    timestamp, directives = metadata.get("Timestamp"), metadata.get("CloudWatchMetrics")
    if not isinstance(timestamp, (int, float)) or not isinstance(directives, list):
        raise EmfError("_aws needs Timestamp (milliseconds) and CloudWatchMetrics (a list)")
    return [datum for directive in directives for datum in _directive(directive, document, timestamp / 1000)]


def _directive(directive: Any, document: Mapping[str, Any], timestamp_s: float) -> Iterator[Datum]:
    if not isinstance(directive, dict) or not isinstance(directive.get("Namespace"), str):
        raise EmfError("a metric directive needs a Namespace")
    metrics = directive.get("Metrics") or []
    if len(metrics) > MAX_METRICS:
        raise EmfError(f"a metric directive has at most {MAX_METRICS} metrics, not {len(metrics)}")
    sets = [_dimensions(names, document) for names in directive.get("Dimensions") or [[]]]
    for metric in metrics:
        name = metric.get("Name") if isinstance(metric, dict) else None
        if not isinstance(name, str) or name not in document:
            raise EmfError(f"metric {name!r} has no value in the line")
        values = tuple(Counter(_numbers(name, document[name])).items())
        for dimensions in sets:
            yield Datum(
                namespace=directive["Namespace"],
                name=name,
                dimensions=dimensions,
                unit=metric.get("Unit", "None"),
                timestamp_s=timestamp_s,
                values=tuple(value for value, _ in values),
                counts=tuple(float(count) for _, count in values),
            )


def _dimensions(names: Any, document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if not isinstance(names, list) or len(names) > MAX_DIMENSIONS:
        raise EmfError(f"a dimension set is a list of at most {MAX_DIMENSIONS} names")
    for name in names:
        if not isinstance(document.get(name), str):
            raise EmfError(f"dimension {name!r} needs a string in the line")
    return tuple((name, document[name]) for name in names)


def _numbers(name: str, value: Any) -> list[float]:
    numbers = value if isinstance(value, list) else [value]
    usable = [
        float(number)
        for number in numbers
        if isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number)
    ]
    if len(usable) != len(numbers) or not numbers or len(numbers) > MAX_VALUES:
        raise EmfError(f"metric {name!r} needs a number or a list of 1 to {MAX_VALUES} numbers")
    return usable


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one dimension set, somewhere: CloudWatch keeps them by account and region."""

    scope: Scope
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    unit: str


class Counts:
    """Values seen since the last tick, folded by series and value. Safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[Series, Counter[float]] = {}

    def add(self, series: Series, value: float) -> None:
        with self._lock:
            self._seen.setdefault(series, Counter())[value] += 1

    def drain(self, timestamp_s: float) -> list[tuple[Scope, Datum]]:
        """What was seen since the last call, a datum a series."""
        with self._lock:
            seen, self._seen = self._seen, {}
        return [
            (
                one.scope,
                Datum(
                    namespace=one.namespace,
                    name=one.name,
                    dimensions=one.dimensions,
                    unit=one.unit,
                    timestamp_s=timestamp_s,
                    values=tuple(counter),
                    counts=tuple(float(count) for count in counter.values()),
                ),
            )
            for one, counter in seen.items()
        ]


@dataclass(frozen=True, slots=True)
class QueueSample:
    """What AWS/SQS publishes about a queue, at one moment."""

    visible: int
    in_flight: int
    delayed: int
    oldest_age_s: float

    def metrics(self) -> tuple[tuple[str, float, str], ...]:
        return (
            ("ApproximateNumberOfMessagesVisible", self.visible, "Count"),
            ("ApproximateNumberOfMessagesNotVisible", self.in_flight, "Count"),
            ("ApproximateNumberOfMessagesDelayed", self.delayed, "Count"),
            ("ApproximateAgeOfOldestMessage", round(self.oldest_age_s), "Seconds"),
        )


def sample_queue(messages: list[dict[str, Any]] | Messages, now_s: float) -> QueueSample:
    """Count the messages of a queue the way GetQueueAttributes does."""
    if isinstance(messages, Messages):
        visible, in_flight, delayed = messages.counts(now_s)
        return QueueSample(visible, in_flight, delayed, max(0.0, now_s - (messages.oldest_s() or now_s)))
    visible = in_flight = delayed = 0
    oldest = now_s
    for message in list(messages):
        oldest = min(oldest, float(message.get("sent_at", now_s)))
        if float(message.get("visible_at", 0)) <= now_s:
            visible += 1
        elif message.get("receive_count"):
            in_flight += 1
        else:
            delayed += 1
    return QueueSample(visible, in_flight, delayed, max(0.0, now_s - oldest))

"""Publishes to the emulated CloudWatch what AWS services publish by themselves, and what functions embed in logs."""

from __future__ import annotations

import importlib
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ops.local.emulator.scopes import Scope, entered
from ops.local.emulator.telemetry import Counts, Datum, EmfError, QueueSample, Series, parse_emf, sample_queue

SAMPLE_EVERY_S = 5.0
REPEAT_UNCHANGED_EVERY_S = 60.0

logger = logging.getLogger("atoll")


class Metrics:
    """Takes single values from any thread, and stores them with the next tick."""

    def __init__(self) -> None:
        self._cloudwatch = importlib.import_module("ministack.services.cloudwatch")
        self._sqs = importlib.import_module("ministack.services.sqs")
        self._counts = Counts()
        self._embedded: list[tuple[Scope, Datum]] = []
        self._lock = threading.Lock()
        self._running: Counter[tuple[Scope, str]] = Counter()
        self._last_samples: dict[tuple[Scope, str], tuple[QueueSample, float]] = {}
        self._next_sample_s = 0.0
        self.rejected_lines = 0

    def count(self, scope: Scope, metric: str, dimensions: dict[str, str], value: float, unit: str = "Count") -> None:
        """Take one value of ``metric``, named ``<namespace>/<name>``."""
        namespace, _, name = metric.rpartition("/")
        self._counts.add(Series(scope, namespace, name, tuple(dimensions.items()), unit), value)

    def invocation(self, scope: Scope, function: str, *, duration_ms: float, error: bool) -> None:
        """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html"""
        dimensions = {"FunctionName": function}
        self.count(scope, "AWS/Lambda/Invocations", dimensions, 1)
        self.count(scope, "AWS/Lambda/Errors", dimensions, int(error))
        self.count(scope, "AWS/Lambda/Throttles", dimensions, 0)
        self.count(scope, "AWS/Lambda/Duration", dimensions, round(duration_ms, 1), "Milliseconds")

    @contextmanager
    def running(self, scope: Scope, function: str) -> Iterator[None]:
        """Count an execution as under way: of the function, and of all in the account and region. Published whenever
        one begins, which is when there are the most."""
        with self._lock:
            self._running[scope, function] += 1
            own = self._running[scope, function]
            every = sum(count for (where, _), count in self._running.items() if where == scope)
        self.count(scope, "AWS/Lambda/ConcurrentExecutions", {"FunctionName": function}, own)
        self.count(scope, "AWS/Lambda/ConcurrentExecutions", {}, every)
        try:
            yield
        finally:
            with self._lock:
                self._running[scope, function] -= 1

    def throttle(self, scope: Scope, function: str) -> None:
        self.count(scope, "AWS/Lambda/Throttles", {"FunctionName": function}, 1)

    def request(self, scope: Scope, api_id: str, stage: str, route: str, *, status: int, latency_ms: float) -> None:
        """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html"""
        of_stage = {"ApiId": api_id, "Stage": stage}
        method, _, path = route.partition(" ")
        of_route = [of_stage | {"Method": method, "Resource": path}] if path else []
        for dimensions in ({"ApiId": api_id}, of_stage, *of_route):
            self.count(scope, "AWS/ApiGateway/Count", dimensions, 1)
            self.count(scope, "AWS/ApiGateway/4xx", dimensions, int(400 <= status < 500))
            self.count(scope, "AWS/ApiGateway/5xx", dimensions, int(status >= 500))
            self.count(scope, "AWS/ApiGateway/Latency", dimensions, float(round(latency_ms)), "Milliseconds")

    def rule(self, scope: Scope, metric: str, rule: str, bus: str) -> None:
        """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html"""
        for dimensions in ({"RuleName": rule}, {"EventBusName": bus, "RuleName": rule}):
            self.count(scope, f"AWS/Events/{metric}", dimensions, 1)

    def replication(self, scope: Scope, table: str, destination: str, lag_ms: float) -> None:
        """https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html"""
        dimensions = {"TableName": table, "ReceivingRegion": destination}
        self.count(scope, "AWS/DynamoDB/ReplicationLatency", dimensions, lag_ms, "Milliseconds")

    def log(self, scope: Scope, text: str) -> None:
        """Take the metrics embedded in the log of one invocation."""
        for line in text.splitlines():
            try:
                data = parse_emf(line)
            except EmfError as error:
                self.rejected_lines += 1
                logger.warning("embedded metric not ingested: %s", error)
                continue
            with self._lock:
                self._embedded += [(scope, datum) for datum in data]

    def tick(self, now_s: float) -> None:
        """Store what came in since the last tick, and sample the queues."""
        with self._lock:
            embedded, self._embedded = self._embedded, []
        data = embedded + self._counts.drain(now_s)
        if now_s >= self._next_sample_s:
            self._next_sample_s = now_s + SAMPLE_EVERY_S
            data += self._queues(now_s)
        for scope, datum in data:
            with entered(scope):
                self._cloudwatch._store_datum(
                    datum.namespace,
                    datum.name,
                    dict(datum.dimensions),
                    datum.timestamp_s,
                    datum.unit,
                    None,
                    list(datum.values),
                    list(datum.counts),
                    None,
                )

    def _queues(self, now_s: float) -> list[tuple[Scope, Datum]]:
        """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"""
        data: list[tuple[Scope, Datum]] = []
        for (account, region, url), queue in self._sqs._queues.all_items():
            sample, series = sample_queue(queue["messages"], now_s), (Scope(account, region), url)
            before, published_s = self._last_samples.get(series, (None, 0.0))
            if sample == before and now_s - published_s < REPEAT_UNCHANGED_EVERY_S:
                continue
            self._last_samples[series] = (sample, now_s)
            name = url.rstrip("/").rsplit("/", 1)[-1]
            data += [
                (series[0], Datum("AWS/SQS", metric, (("QueueName", name),), unit, now_s, (float(value),), (1.0,)))
                for metric, value, unit in sample.metrics()
            ]
        return data

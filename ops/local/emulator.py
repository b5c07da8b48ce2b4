"""The emulated AWS: starts ministack on loopback, with a small, named set of its internals replaced.

Each replacement is listed in ``REPLACEMENTS`` with its reason; each exists because AWS behaves otherwise and no API of
the emulator can be told so. Before anything is replaced, the version and the parameters of every internal that is
replaced or used are compared with what this file was written against, and a difference stops the start: a silent
mismatch would make tests prove nothing. ``/_atoll/...`` on the emulator's port is the control endpoint.

Run as ``python -m ops.local.emulator --port N``.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import importlib
import importlib.metadata
import inspect
import json
import logging
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

from ops.local.alarms import Rule
from ops.local.conditions import with_values
from ops.local.gateway import Gateway, prepare_microburst
from ops.local.processes import HOST, hold_lifeline
from ops.local.replication import NS_PER_MS, ReplicationLog, Write, settled
from ops.local.rules import RuleTargets
from ops.local.telemetry import Counts, Datum, EmfError, QueueSample, Scope, Series, parse_emf, sample_queue
from ops.local.workerlog import StderrTap

MINISTACK_VERSION = "1.5.33"
TICK_S = 1.0
SAMPLE_EVERY_S = 5.0
EVALUATE_EVERY_S = 2.0
LATE_S = 60.0  # a data point may be stored this long after its time
REPEAT_UNCHANGED_EVERY_S = 60.0
PUMP_LIMIT = 500
WARM_WORKERS = max(2, os.cpu_count() or 1)
WAIT_FOR_WARM_WORKER_S = 10.0

logger = logging.getLogger("atoll")


@dataclass(frozen=True)
class Replacement:
    """An internal of ministack that is replaced: where, its parameters, and why."""

    target: str
    parameters: tuple[str, ...]
    reason: str


REPLACEMENTS = (
    Replacement(
        "services.dynamodb._replicate_write",
        ("table", "event_name", "old_item", "new_item"),
        "Replicas of a global table converge asynchronously on AWS, last writer wins. ministack applies a write to all "
        "replicas before it answers, with no lag, no conflict and no way to cut a pair of regions.",
    ),
    Replacement(
        "services.dynamodb._create_replica",
        ("name", "table", "region"),
        "A replica added while writes are in flight must receive those too; the copy alone lacks them.",
    ),
    Replacement(
        "services.lambda_svc._execute_function_dispatch",
        ("func", "config", "event", "request_id", "started"),
        "CloudWatch gets Invocations, Errors and Duration of every invocation, and the metrics embedded in its log. "
        "ministack counts the Invoke API only and ingests no embedded metrics. It also starts a process for each "
        "concurrent invocation: on a laptop a burst of cold starts takes longer than a few warm workers in turn, so an "
        "invocation first waits a moment for one of those.",
    ),
    Replacement(
        "core.lambda_runtime.Worker._read_stderr",
        ("self",),
        "Reads the log of a worker under a lock, so that whoever wants the log can take it whole without waiting.",
    ),
    Replacement(
        "core.lambda_runtime.Worker._drain_stderr",
        ("self",),
        "Takes the log from where it is read now, when an invocation has timed out.",
    ),
    Replacement(
        "core.lambda_runtime.Worker._drain_stderr_bounded",
        ("self", "first_line_wait", "idle_confirm", "hard_cap"),
        "ministack looks every millisecond whether more log follows: at least 5 ms an invocation, 50 ms for a handler "
        "that logs nothing, and a tenth of the processor time of a busy emulator.",
    ),
    Replacement(
        "services.lambda_svc._emit_lambda_metrics",
        ("function_name", "duration_ms", "error", "throttle"),
        "Silenced: what it counted is counted above, once for each invocation.",
    ),
    Replacement(
        "services.lambda_svc._acquire_execution_slot",
        ("func", "config"),
        "Throttles are published per function wherever the invocation came from.",
    ),
    Replacement(
        "services.lambda_svc._iter_all_esms",
        (),
        "A region taken away reads no queue and no stream, without any change to its event source mappings.",
    ),
    Replacement(
        "services.apigateway.handle_execute",
        ("api_id", "stage", "path", "method", "headers", "body", "query_params", "raw_query_string"),
        "AWS/ApiGateway publishes Count, 4xx, 5xx and Latency per API; ministack publishes nothing. "
        "The APIs of a region taken away answer 503.",
    ),
    Replacement(
        "services.eventbridge._invoke_target",
        ("target", "event", "rule", "view"),
        "EventBridge retries a delivery that failed and sends it to the target's DLQ in the end, and publishes metrics "
        "per rule. ministack tries once, swallows every failure, looks at no queue policy or role of a rule, and "
        "publishes nothing.",
    ),
    Replacement(
        "services.eventbridge._dispatch_to_event_bus",
        ("spec", "event", "rule", "event_path", "target_input_payload"),
        "A rule may have a bus of another region as its target; ministack drops those events silently.",
    ),
    Replacement(
        "services.cognito._create_user_pool",
        ("data",),
        "A stage file names the issuer of its tokens before there is one. Cognito draws a pool's id at random; here it "
        "ends with the pool's name.",
    ),
    Replacement(
        "services.cognito._create_user_pool_client",
        ("data",),
        "A stage file names the audience before there is one. Cognito draws a client's id at random; here it is the "
        "client's name.",
    ),
    Replacement(
        "app.pin_request_origin",
        ("source_ip", "secure_transport"),
        "AWS is reached over TLS only, this machine's loopback without: with IAM enforced, every policy that denies "
        "plain HTTP would deny everything.",
    ),
    Replacement(
        "core.iam_actions.extract_resource_arn",
        ("service", "method", "path", "headers", "body", "query_params", "region", "account_id"),
        "The resource of DescribeEventBus is the bus; ministack holds the call against a rule of the default bus.",
    ),
    Replacement(
        "services.cloudwatch._evaluate_alarm",
        ("alarm",),
        "An alarm is on its own metric and dimensions, on M of N periods, and treats missing data as it says. "
        "ministack takes all dimensions of a metric together (a message in any queue is one in the DLQ) and one "
        "period, and looks only when data come in.",
    ),
    *(
        Replacement(
            f"services.cloudformation.{module}._evaluate_conditions",
            ("template", "params"),
            "A condition may ask for the region and for a mapping; ministack compares the words 'AWS::Region' instead. "
            "Each module that evaluates conditions has the function under a name of its own.",
        )
        for module in ("handlers", "changesets", "stacks")
    ),
    Replacement(
        "services.route53._build_health_check_el",
        ("parent", "hc"),
        "Writes Inverted and Disabled as XML has them. ministack writes Python's True, which every SDK reads as false: "
        "a health check that was inverted or disabled would look as if it were not.",
    ),
    Replacement("app.app", ("scope", "receive", "send"), "Carries the control endpoint /_atoll/ and the ticks."),
)

# Used, not replaced: the same care applies.
_USED = {
    "core.responses.request_scope": ("account_id", "region"),
    "core.responses.get_account_id": (),
    "core.responses.get_region": (),
    "services.dynamodb._replica_group": ("table",),
    "services.dynamodb._extract_key_val": ("attr",),
    "services.dynamodb._set_item": ("table", "pk_val", "sk_val", "item"),
    "services.dynamodb._remove_item": ("table", "pk_val", "sk_val"),
    "services.dynamodb._emit_stream_event": ("table_name", "event_name", "old_item", "new_item", "replicate"),
    "services.cloudwatch._store_datum": (
        "namespace",
        "name",
        "dims",
        "ts",
        "unit",
        "value",
        "values",
        "counts",
        "stat_values",
    ),
    "services.cloudwatch._evaluate_all_alarms": (),
    "services.cloudwatch._calc_stats": ("points",),
    "services.cloudwatch._stat_value": ("stats", "stat_name", "points"),
    "services.cloudwatch._dims_key": ("dims",),
    "services.cloudwatch._record_history": (
        "alarm_name",
        "old_state",
        "new_state",
        "reason",
        "alarm_type",
        "reason_data",
    ),
    "services.cloudwatch._dispatch_alarm_actions": ("alarm", "old_state", "new_state", "reason"),
    "services.cloudwatch._evaluate_parent_alarms": ("child", "seen"),
    "services.apigateway._match_route": ("api_id", "method", "path"),
    "services.apigateway.find_api_scope": ("api_id",),
    "services.cognito._pool_id": (),
    "services.cognito._client_id": (),
    "services.eventbridge._pattern_event_view": ("event",),
    "services.eventbridge._rule_arn": ("rule_name", "bus_name"),
    "services.eventbridge._dispatch_to_sqs": ("spec", "payload", "sqs_parameters"),
    "services.lambda_svc._get_func_record_for_ref": ("function_ref",),
    "services.sqs._queue_by_arn": ("arn",),
    "services.sqs._md5_msg_attrs": ("attrs",),
    "core.arn.parse_arn": ("value",),
    "core.iam_evaluator.EvalContext": (
        "principal_arn",
        "principal_type",
        "principal_account",
        "action",
        "resource_arn",
        "region",
        "source_ip",
        "secure_transport",
        "request_tags",
        "tag_keys",
        "service_context",
        "principal_keys",
    ),
    "core.iam_evaluator.evaluate": ("ctx", "policies", "limits"),
    "core.iam_evaluator.evaluate_resource_policy": ("doc", "ctx", "service", "named_only", "direct_only"),
    "core.iam_evaluator._gather_role_policies": ("role_name", "account_id"),
}
_USED_STATE = (
    "services.dynamodb._tables",
    "services.sqs._queues",
    "services.sqs._queues_lock",
    "services.eventbridge._event_buses",
    "services.cloudwatch._alarms",
    "services.cognito._user_pools",
    "services.cloudwatch._metrics",
    "app._MAIN_LOOP",
)


class IncompatibleEmulatorError(RuntimeError):
    """The installed ministack is not the one that the replacements were written for."""


def check_compatible() -> None:
    """Compare version and signatures.

    Raises:
        IncompatibleEmulatorError: lists every difference.
    """
    version = importlib.metadata.version("ministack")
    problems = [] if version == MINISTACK_VERSION else [f"version is {version}, expected {MINISTACK_VERSION}"]
    expected = {one.target: one.parameters for one in REPLACEMENTS} | _USED
    for target, parameters in expected.items():
        function = _resolve(target)
        if function is None:
            problems.append(f"{target} is gone")
        elif tuple(inspect.signature(function).parameters) != parameters:
            found = ", ".join(inspect.signature(function).parameters)
            problems.append(f"{target} takes ({found}), expected ({', '.join(parameters)})")
    problems += [f"{target} is gone" for target in _USED_STATE if not _has(target)]
    if problems:
        raise IncompatibleEmulatorError(
            "ministack does not fit ops/local/emulator.py:\n  "
            + "\n  ".join(problems)
            + f"\nInstall the pinned version (ministack=={MINISTACK_VERSION}), or review each replacement."
        )


def _owner(target: str) -> tuple[Any, str]:
    """The module or class of ministack that holds ``target``, and its name there."""
    path, _, name = target.rpartition(".")
    module, _, last = path.rpartition(".")
    if last[:1].isupper():
        return getattr(importlib.import_module(f"ministack.{module}"), last), name
    return importlib.import_module(f"ministack.{path}"), name


def _resolve(target: str) -> Any:
    owner, name = _owner(target)
    return getattr(owner, name, None)


def _has(target: str) -> bool:
    owner, name = _owner(target)
    return hasattr(owner, name)


def read_worker_log(worker: Any) -> None:
    """Stands in for ``_read_stderr``: the thread of a worker process, from its start to its end."""
    worker.atoll_tap = StderrTap(worker._proc.stderr)
    worker.atoll_tap.keep_reading()


def take_worker_log(worker: Any, first_line_wait: float = 0.0, idle_confirm: float = 0.0, hard_cap: float = 0.0) -> str:
    """Stands in for ``_drain_stderr_bounded``: there is nothing to wait for."""
    del first_line_wait, idle_confirm, hard_cap
    return str(worker.atoll_tap.take())


class GlobalTables:
    """Replicates the writes of global tables through a ReplicationLog, on the loop that serves requests.

    DynamoDB handlers run on that loop too, so a delivery never interleaves with one of them.
    """

    def __init__(self, default_lag_ms: float, publish: Callable[[Scope, str, str, float], None]) -> None:
        self._dynamodb = importlib.import_module("ministack.services.dynamodb")
        self._responses = importlib.import_module("ministack.core.responses")
        self._app = importlib.import_module("ministack.app")
        self._create = self._dynamodb._create_replica
        self._publish = publish
        self._lock = threading.RLock()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ns: int | None = None
        self._woken = False
        self.log = ReplicationLog(apply=self._apply, clock=time.monotonic_ns, default_lag_ms=default_lag_ms)

    def replicate_write(
        self, table: dict[str, Any], event_name: str, old_item: dict[str, Any] | None, new_item: dict[str, Any] | None
    ) -> None:
        """Stands in for ``_replicate_write``: takes the write down and returns."""
        regions = self._dynamodb._replica_group(table)
        item = new_item if new_item is not None else old_item
        if not regions or item is None:
            return
        account, home = self._responses.get_account_id(), self._responses.get_region()
        with self._lock:
            # The emulator updates items in place: what is on its way must be what was written.
            payload = None if new_item is None else copy.deepcopy(new_item)
            self.log.record((account, table["TableName"]), home, regions, self._key(table, item), payload)
        self._wake()

    def create_replica(self, name: str, table: dict[str, Any], region: str) -> None:
        """Stands in for ``_create_replica``: the copy, and then what is still on its way to the table copied."""
        with self._lock:
            self._create(name, table, region)
            self.log.add_replica((self._responses.get_account_id(), name), self._responses.get_region(), region)
        self._wake()

    def change(self, action: Callable[[ReplicationLog], None]) -> None:
        """Change lags or cuts, then deliver what that made due."""
        with self._lock:
            action(self.log)
        self._wake()

    def state(self) -> dict[str, Any]:
        """What ``GET /_atoll/replication`` answers."""
        with self._lock:
            self._list_links()
            links = self.log.links()
        return {
            "default_lag_ms": self.log.default_lag_ms,
            "idle": settled(links),
            "pending": sum(link.pending for link in links),
            "held": sum(link.pending for link in links if link.cut),
            "dropped": sum(link.dropped for link in links),
            "links": [asdict(link) for link in links],
        }

    def _list_links(self) -> None:
        for table in self._dynamodb._tables.all_values():
            self.log.connect(self._dynamodb._replica_group(table))

    def _wake(self) -> None:
        """Have ``_deliver`` run soon, once for all that asked until then."""
        loop = self._app._MAIN_LOOP
        with self._lock:
            if loop is None or self._woken:
                return
            self._woken = True
        loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            self._woken = False
            due_ns = self.log.pump(PUMP_LIMIT)
            if due_ns == self._timer_due_ns and self._timer is not None:
                return
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_due_ns = None, due_ns
            if due_ns is not None:
                wait_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._deliver()

    def _key(self, table: dict[str, Any], item: dict[str, Any]) -> tuple[Any, Any]:
        extract = self._dynamodb._extract_key_val
        # "__no_sort__" is the emulator's own place for items of a table without a sort key.
        sort = extract(item.get(table["sk_name"])) if table["sk_name"] else "__no_sort__"
        return extract(item.get(table["pk_name"])), sort

    def _apply(self, write: Write, region: str) -> bool:
        account, name = cast("tuple[str, str]", write.table)
        partition, sort = cast("tuple[Any, Any]", write.key)
        with self._responses.request_scope(account, region):
            table = self._dynamodb._tables.get(name)
            if table is None or write.source not in self._dynamodb._replica_group(table):
                return False  # deleted, or taken out of the group, since the write was made
            previous = table["items"].get(partition, {}).get(sort)
            if write.item is None:
                self._dynamodb._remove_item(table, partition, sort)
            else:
                self._dynamodb._set_item(table, partition, sort, copy.deepcopy(write.item))
            if write.item is not None or previous is not None:
                event = "REMOVE" if write.item is None else "MODIFY" if previous else "INSERT"
                self._dynamodb._emit_stream_event(name, event, previous, copy.deepcopy(write.item), replicate=False)
        lag_ms = (time.monotonic_ns() - write.recorded_ns) / NS_PER_MS
        self._publish(Scope(account, write.source), name, region, float(round(lag_ms)))
        return True


class NamedIdentities:
    """User pools and their clients get ids that follow from their names; one whose id is taken gets another, as ever.

    Cognito's handlers run on the loop that serves requests, one at a time.
    """

    def __init__(self) -> None:
        self._cognito = importlib.import_module("ministack.services.cognito")
        self._responses = importlib.import_module("ministack.core.responses")
        self._create_pool = self._cognito._create_user_pool
        self._create_client = self._cognito._create_user_pool_client

    def create_pool(self, data: dict[str, Any]) -> Any:
        """Stands in for ``_create_user_pool``."""
        name = f"{self._responses.get_region()}_{data.get('PoolName')}"
        with self._drawing("_pool_id", name if name not in self._cognito._user_pools else None):
            return self._create_pool(data)

    def create_client(self, data: dict[str, Any]) -> Any:
        """Stands in for ``_create_user_pool_client``."""
        name = data.get("ClientName")
        taken = any(name in pool["_clients"] for pool in self._cognito._user_pools.all_values())
        with self._drawing("_client_id", name if name and not taken else None):
            return self._create_client(data)

    @contextmanager
    def _drawing(self, factory: str, wanted: str | None) -> Iterator[None]:
        """Let the module's ``factory`` of ids give ``wanted`` inside the block."""
        original = getattr(self._cognito, factory)
        if wanted is not None:
            setattr(self._cognito, factory, lambda: wanted)
        try:
            yield
        finally:
            setattr(self._cognito, factory, original)


class Telemetry:
    """Publishes to the emulated CloudWatch what AWS services publish by themselves."""

    def __init__(self) -> None:
        self._cloudwatch = importlib.import_module("ministack.services.cloudwatch")
        self._sqs = importlib.import_module("ministack.services.sqs")
        self._responses = importlib.import_module("ministack.core.responses")
        self._counts = Counts()
        self._embedded: list[tuple[Scope, Datum]] = []
        self._lock = threading.Lock()
        self._last_samples: dict[tuple[Scope, str], tuple[QueueSample, float]] = {}
        self._next_sample_s = 0.0
        self._next_evaluation_s = 0.0
        self.rejected_lines = 0

    def here(self) -> Scope:
        return Scope(self._responses.get_account_id(), self._responses.get_region())

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
        """Store what came in since the last tick, sample the queues, evaluate alarms."""
        with self._lock:
            embedded, self._embedded = self._embedded, []
        data = embedded + self._counts.drain(now_s)
        if now_s >= self._next_sample_s:
            self._next_sample_s = now_s + SAMPLE_EVERY_S
            data += self._queues(now_s)
        for scope, datum in data:
            with self._responses.request_scope(scope.account, scope.region):
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
        if now_s >= self._next_evaluation_s:  # without data too: that there are none may be what is wrong
            self._next_evaluation_s = now_s + EVALUATE_EVERY_S
            for account, region in {key[:2] for key, _ in self._cloudwatch._alarms.all_items()}:
                with self._responses.request_scope(account, region):
                    self._cloudwatch._evaluate_all_alarms()

    def evaluate_alarm(self, alarm: dict[str, Any]) -> None:
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

    def _queues(self, now_s: float) -> list[tuple[Scope, Datum]]:
        """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"""
        data: list[tuple[Scope, Datum]] = []
        for (account, region, url), queue in self._sqs._queues.all_items():
            with self._sqs._queues_lock:
                messages = list(queue["messages"])
            sample, series = sample_queue(messages, now_s), (Scope(account, region), url)
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


class Emulator:
    """Holds the replacements and the state that the control endpoint changes."""

    def __init__(self, *, lag_ms: float, cloud_id: str) -> None:
        self.cloud_id = cloud_id
        self.regions_down: set[str] = set()
        self.telemetry = Telemetry()
        self.tables = GlobalTables(lag_ms, self.telemetry.replication)
        self.identities = NamedIdentities()
        self._responses = importlib.import_module("ministack.core.responses")
        self._lambda = importlib.import_module("ministack.services.lambda_svc")
        self._api = importlib.import_module("ministack.services.apigateway")
        self._events = importlib.import_module("ministack.services.eventbridge")
        self._app = importlib.import_module("ministack.app")
        self._original = {one.target: _resolve(one.target) for one in REPLACEMENTS}
        self.rules = RuleTargets(
            self._original["services.eventbridge._invoke_target"],
            self.regions_down,
            self.telemetry.rule,
        )
        self._views: dict[str, Callable[[], dict[str, Any]]] = {
            "/_atoll/status": self._status,
            "/_atoll/replication": self.tables.state,
            "/_atoll/replication/idle": self._idle,
            "/_atoll/deliveries": self.rules.state,
            "/_atoll/regions": self._regions,
        }
        self._ticks: asyncio.Task[None] | None = None
        self._workers: dict[tuple[Scope, str], threading.Semaphore] = {}

    def install(self) -> None:
        """Put every replacement in its place."""
        for target, function in {
            "services.dynamodb._replicate_write": self.tables.replicate_write,
            "services.dynamodb._create_replica": self.tables.create_replica,
            "services.lambda_svc._execute_function_dispatch": self.execute,
            "core.lambda_runtime.Worker._read_stderr": read_worker_log,
            "core.lambda_runtime.Worker._drain_stderr": take_worker_log,
            "core.lambda_runtime.Worker._drain_stderr_bounded": take_worker_log,
            "services.lambda_svc._emit_lambda_metrics": self.emit_nothing,
            "services.lambda_svc._acquire_execution_slot": self.acquire_slot,
            "services.lambda_svc._iter_all_esms": self.event_source_mappings,
            "services.apigateway.handle_execute": self.serve_api,
            "services.eventbridge._invoke_target": self.rules.invoke,
            "services.eventbridge._dispatch_to_event_bus": self.dispatch_to_bus,
            "services.cognito._create_user_pool": self.identities.create_pool,
            "services.cognito._create_user_pool_client": self.identities.create_client,
            "app.pin_request_origin": self.pin_request_origin,
            "core.iam_actions.extract_resource_arn": self.extract_resource_arn,
            "services.cloudwatch._evaluate_alarm": self.telemetry.evaluate_alarm,
            "services.cloudformation.handlers._evaluate_conditions": self.evaluate_conditions,
            "services.cloudformation.changesets._evaluate_conditions": self.evaluate_conditions,
            "services.cloudformation.stacks._evaluate_conditions": self.evaluate_conditions,
            "services.route53._build_health_check_el": self.write_health_check,
            "app.app": self.serve,
        }.items():
            owner, name = _owner(target)
            setattr(owner, name, function)

    # --- Lambda ------------------------------------------------------------------------------------------------

    def execute(self, func: Any, config: Any, event: Any, request_id: str, started: float) -> Any:
        scope, function = self.telemetry.here(), config.get("FunctionName", "unknown")
        workers = self._workers.setdefault((scope, function), threading.Semaphore(WARM_WORKERS))
        # Never longer: a function that invokes itself would otherwise wait for its own worker for ever.
        waited = workers.acquire(timeout=WAIT_FOR_WARM_WORKER_S)
        started = time.time()
        try:
            result = self._original["services.lambda_svc._execute_function_dispatch"](
                func, config, event, request_id, started
            )
        finally:
            if waited:
                workers.release()
        duration_ms = (time.time() - started) * 1000
        answer = result if isinstance(result, dict) else {}
        self.telemetry.invocation(scope, function, duration_ms=duration_ms, error=bool(answer.get("error")))
        self.telemetry.log(scope, answer.get("log") or "")
        return result

    def emit_nothing(self, function_name: str, duration_ms: float, error: bool, throttle: bool) -> None:
        """Counted by ``execute`` and ``acquire_slot``."""

    def acquire_slot(self, func: Any, config: Any) -> Any:
        slot, limit = self._original["services.lambda_svc._acquire_execution_slot"](func, config)
        if slot is None:
            self.telemetry.throttle(self.telemetry.here(), config.get("FunctionName", "unknown"))
        return slot, limit

    def event_source_mappings(self) -> Iterator[tuple[str, str, Any]]:
        for account, region, mapping in self._original["services.lambda_svc._iter_all_esms"]():
            if region not in self.regions_down:
                yield account, region, mapping

    # --- API Gateway -------------------------------------------------------------------------------------------

    async def serve_api(  # noqa: PLR0917 (the emulator's own parameters)
        self,
        api_id: str,
        stage: str,
        path: str,
        method: str,
        headers: Any,
        body: Any,
        query_params: Any,
        raw_query_string: str | None = None,
    ) -> Any:
        owner = self._api.find_api_scope(api_id)
        if owner is not None and owner[1] in self.regions_down:
            return 503, {"Content-Type": "application/json"}, b'{"message":"Service Unavailable"}'
        started = time.perf_counter()
        answer = await self._original["services.apigateway.handle_execute"](
            api_id, stage, path, method, headers, body, query_params, raw_query_string=raw_query_string
        )
        if owner is not None:
            latency_ms = (time.perf_counter() - started) * 1000
            with self._responses.request_scope(*owner):
                matched = self._api._match_route(api_id, method, "/" + path.lstrip("/")) or {}
            route = matched.get("routeKey", "")
            self.telemetry.request(Scope(*owner), api_id, stage, route, status=answer[0], latency_ms=latency_ms)
        return answer

    # --- CloudFormation ----------------------------------------------------------------------------------------

    def evaluate_conditions(self, template: dict[str, Any], params: dict[str, Any]) -> Any:
        pseudo = {
            "AWS::Region": self._responses.get_region(),
            "AWS::AccountId": self._responses.get_account_id(),
            "AWS::Partition": "aws",
        }
        evaluate = self._original["services.cloudformation.handlers._evaluate_conditions"]
        return evaluate(with_values(template, pseudo), params)

    # --- EventBridge -------------------------------------------------------------------------------------------

    def dispatch_to_bus(
        self, spec: Any, event: Any, rule: Any, event_path: Any, target_input_payload: Any = None
    ) -> None:
        """The other region's bus, in the same account: the event keeps its id and time, as on AWS."""
        account = self._responses.get_account_id()
        region = spec.region if spec.account_id == account else self._responses.get_region()
        with self._responses.request_scope(account, region):
            self._original["services.eventbridge._dispatch_to_event_bus"](
                spec, event, rule, event_path, target_input_payload
            )

    # --- IAM ---------------------------------------------------------------------------------------------------

    def pin_request_origin(self, source_ip: str, secure_transport: bool) -> None:
        self._original["app.pin_request_origin"](source_ip, True)

    def extract_resource_arn(  # noqa: PLR0917 (the emulator's own parameters)
        self,
        service: str,
        method: str,
        path: str,
        headers: Any,
        body: bytes,
        query_params: Any,
        region: str,
        account_id: str,
    ) -> str:
        if service == "events" and headers.get("x-amz-target") == "AWSEvents.DescribeEventBus":
            name = str(json.loads(body or b"{}").get("Name") or "default")
            return name if name.startswith("arn:") else f"arn:aws:events:{region}:{account_id}:event-bus/{name}"
        original = self._original["core.iam_actions.extract_resource_arn"]
        return str(original(service, method, path, headers, body, query_params, region, account_id))

    # --- Route 53 ----------------------------------------------------------------------------------------------

    def write_health_check(self, parent: Any, hc: Any) -> None:
        """A health check in an answer, its booleans spelled ``true`` and ``false``."""
        config = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in hc["config"].items()
        }
        self._original["services.route53._build_health_check_el"](parent, {**hc, "config": config})

    # --- HTTP --------------------------------------------------------------------------------------------------

    async def serve(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """ASGI application: the control endpoint, else ministack."""
        if scope["type"] == "lifespan":
            self._ticks = asyncio.get_running_loop().create_task(self._tick())
        if scope["type"] == "http" and scope["path"].startswith("/_atoll/"):
            await self._control(scope, receive, send)
            return
        await self._original["app.app"](scope, receive, send)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for tick in (self.rules.tick, lambda: self.telemetry.tick(time.time())):
                try:
                    tick()
                except Exception:  # the emulator must outlive a metric that could not be stored
                    logger.exception("tick failed")

    async def _control(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        try:
            fields = json.loads(body or b"{}")
            if not isinstance(fields, dict):
                raise ControlError(400, f"body: expected an object, not {type(fields).__name__}")
            status, answer = 200, self.control(scope["method"], scope["path"], fields)
        except ControlError as error:
            status, answer = error.status, {"error": str(error)}
        except ValueError as error:
            status, answer = 400, {"error": f"body is not valid JSON: {error}"}
        payload = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    def control(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer one request to ``/_atoll/...``.

        Raises:
            ControlError: unknown path, or a field that is missing or wrong.
        """
        match method, path:
            case "GET", path if path in self._views:
                return self._views[path]()
            case "PATCH", "/_atoll/replication":
                self._change_links(body)
                return self.tables.state()
            case "PATCH", "/_atoll/regions":
                region, down = _field(body, "region", str), _field(body, "down", bool)
                (self.regions_down.add if down else self.regions_down.discard)(region)
                return self._regions()
        raise ControlError(404, f"{method} {path} is not part of the control endpoint")

    def _status(self) -> dict[str, Any]:
        return {
            "cloud_id": self.cloud_id,
            "ministack": MINISTACK_VERSION,
            "replacements": [asdict(one) for one in REPLACEMENTS],
            "rejected_metric_lines": self.telemetry.rejected_lines,
        }

    def _idle(self) -> dict[str, Any]:
        state = self.tables.state()
        return {name: state[name] for name in ("idle", "pending", "held")}

    def _regions(self) -> dict[str, Any]:
        return {"down": sorted(self.regions_down)}

    def _change_links(self, body: dict[str, Any]) -> None:
        unknown = set(body) - {"source", "destination", "both", "lag_ms", "cut", "lose"}
        if unknown:
            raise ControlError(
                400, f"{sorted(unknown)[0]}: unknown; accepted: source, destination, both, lag_ms, cut, lose"
            )
        source, destination = _field(body, "source", str), _field(body, "destination", str)
        if source == destination:
            raise ControlError(400, f"destination: {destination!r} is the source; a link joins two regions")
        pairs = [(source, destination)]
        if body.get("both", True):
            pairs.append((destination, source))
        lag_ms, cut = body.get("lag_ms"), body.get("cut")
        if lag_ms is not None and (isinstance(lag_ms, bool) or not isinstance(lag_ms, (int, float)) or lag_ms < 0):
            raise ControlError(400, f"lag_ms: expected milliseconds, 0 or more, not {lag_ms!r}")
        if cut is not None and not isinstance(cut, bool):
            raise ControlError(400, f"cut: expected true or false, not {cut!r}")

        def change(log: ReplicationLog) -> None:
            for one, other in pairs:
                if lag_ms is not None:
                    log.set_lag(one, other, lag_ms)
                if cut is True:
                    log.cut(one, other, lose=bool(body.get("lose", False)))
                elif cut is False:
                    log.heal(one, other)

        self.tables.change(change)


class ControlError(Exception):
    """A request to the control endpoint that cannot be served."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _field(body: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(body.get(name), kind):
        raise ControlError(400, f"{name}: missing or not a {kind.__name__}")
    return body[name]


def main(arguments: list[str] | None = None) -> NoReturn:
    parser = argparse.ArgumentParser(prog="ops.local.emulator", description="The emulated AWS of the local cloud.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--lag-ms", type=float, default=200.0, help="default lag of replication between two regions")
    parser.add_argument("--endpoint-port", type=int, default=0, help="where faults can be injected; 0: nowhere")
    parser.add_argument("--handlers-endpoint", default="", help="AWS endpoint for the functions (default: this port)")
    parser.add_argument(
        "--enforce-iam",
        action="store_true",
        help="let functions do only what their roles grant; the key `test` does all",
    )
    parser.add_argument("--cloud-id", default="", help="echoed by /_atoll/status")
    options = parser.parse_args(arguments)
    hold_lifeline()
    os.environ.update(
        GATEWAY_PORT=str(options.port),
        BIND_HOST="127.0.0.1",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        # An authorizer that cannot fetch the pool's keys in time answers 401; a busy laptop may take a while.
        MINISTACK_APIGW_JWKS_TIMEOUT_SECONDS="30",
        # The keys that user pools sign with: of this cloud alone, and gone with it.
        STATE_DIR=str(Path(tempfile.gettempdir()) / "emulator"),
        AUTH=str(options.enforce_iam).lower(),
        AWS_ENDPOINT_URL=options.handlers_endpoint or f"http://127.0.0.1:{options.port}",
    )
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    try:
        check_compatible()
    except IncompatibleEmulatorError as error:
        sys.exit(str(error))
    prepare_microburst()
    emulator = Emulator(lag_ms=options.lag_ms, cloud_id=options.cloud_id)
    emulator.install()
    # One loop serves all requests while threads wait on workers: it must not queue 5 ms behind each of them.
    sys.setswitchinterval(0.0005)
    # Every connection and every worker takes descriptors; 1024 is soon reached.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    gateway = Gateway(emulator.serve)
    emulator.rules.fault = gateway.fault
    asyncio.run(gateway.serve(HOST, options.port, options.endpoint_port))
    sys.exit(0)


if __name__ == "__main__":
    main()

"""Every series of a region that the metrics runbook shows, by the resource that it tells of.

``api``; ``function/<name>``; ``account/lambda``; ``queue/<processor>``; ``dlq/<part>``; ``rule/<name>``;
``table/<name>``; ``replication/<receiving region>``; and ``service/<name>`` for Atoll's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from ops.metrics.series import Series, highest, summed, timed
from ops.stage import Stage

_ATOLL = {
    "ingest": ("EventsAccepted", "EventsDuplicate", "EventsRejected", "EventsFailed"),
    "store": ("EventsStored", "EventsAlreadyStored", "EventsConflicting"),
    "activity": ("EventsCounted", "EventsAlreadyCounted"),
    "query": ("Reads",),
}
_ATOLL_TIMES = {"ingest": "IngestLatency", "store": "EndToEndLatency"}


def catalogue(stage: Stage, api_id: str | None, region: str) -> list[Series]:
    """Every series of ``region``. Without an API (no stack) its own are left out."""
    return [
        *_api(api_id),
        *_functions(stage),
        *_queues(stage),
        *_rules(stage, region),
        *_tables(stage),
        *_replication(stage, region),
        *_platform(stage),
    ]


def _api(api_id: str | None) -> Iterator[Series]:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html"""
    if api_id is None:
        return
    for metric in ("Count", "4xx", "5xx"):
        yield summed("api", "AWS/ApiGateway", metric, ApiId=api_id)
    yield from timed("api", "AWS/ApiGateway", "Latency", ApiId=api_id)


def _functions(stage: Stage) -> Iterator[Series]:
    """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html"""
    for name in stage.stack_functions:
        resource, function = f"function/{name}", stage.function(name)
        for metric in ("Invocations", "Errors", "Throttles"):
            yield summed(resource, "AWS/Lambda", metric, FunctionName=function)
        yield highest(resource, "AWS/Lambda", "ConcurrentExecutions", FunctionName=function)
        yield from timed(resource, "AWS/Lambda", "Duration", FunctionName=function)
    # Of every function in the account and region, whosever it is: what they share is used up by all.
    yield highest("account/lambda", "AWS/Lambda", "ConcurrentExecutions")


def _queues(stage: Stage) -> Iterator[Series]:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"""
    ours = {f"queue/{name}": stage.queue(name) for name in stage.processor_names}
    dead = {f"dlq/{name.removeprefix(f'{stage.prefix}-').removesuffix('-dlq')}": name for name in stage.dlqs}
    for resource, name in (ours | dead).items():
        yield highest(resource, "AWS/SQS", "ApproximateAgeOfOldestMessage", unit="s", QueueName=name)
        yield highest(resource, "AWS/SQS", "ApproximateNumberOfMessagesVisible", QueueName=name)


def _rules(stage: Stage, region: str) -> Iterator[Series]:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html"""
    journal = ("journal",) if stage.journal_region(region) else ()
    for name in (*stage.processor_names, *journal):
        rule = f"{stage.prefix}-{name}"
        for metric in ("FailedInvocations", "InvocationsSentToDlq"):
            yield summed(f"rule/{name}", "AWS/Events", metric, EventBusName=stage.bus, RuleName=rule)


def _tables(stage: Stage) -> Iterator[Series]:
    """https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html"""
    for table in (stage.table_name, stage.idempotency_table):
        for metric in ("ReadThrottleEvents", "WriteThrottleEvents"):
            yield summed(f"table/{table}", "AWS/DynamoDB", metric, TableName=table)


def _replication(stage: Stage, region: str) -> Iterator[Series]:
    """It is kept in the region where the write was made: of a pair, the source's."""
    for peer in stage.regions:
        if peer != region:
            dimensions = (("TableName", stage.table_name), ("ReceivingRegion", peer))
            for statistic in ("Average", "Maximum"):
                yield Series(f"replication/{peer}", "AWS/DynamoDB", "ReplicationLatency", dimensions, statistic, "ms")


def _platform(stage: Stage) -> Iterator[Series]:
    for service, metrics in _ATOLL.items():
        for metric in metrics:
            yield summed(f"service/{service}", "Atoll", metric, service=service, stage=stage.stage)
        if service in _ATOLL_TIMES:
            yield from timed(f"service/{service}", "Atoll", _ATOLL_TIMES[service], service=service, stage=stage.stage)

"""The series of a region that say what was used: sums over the window, whatever the period."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ops.metrics import Series
from ops.stage import Stage


def usage_series(stage: Stage, api_id: str | None, log_groups: Iterable[str]) -> list[Series]:
    """Without an API (no stack) its own are left out."""
    return [
        *_api(api_id),
        *_functions(stage),
        *_rules(stage),
        *_queues(stage),
        *_tables(stage),
        *(_sum(f"log/{group}", "AWS/Logs", "IncomingBytes", LogGroupName=group) for group in log_groups),
        *(
            _sum("service/ingest", "Atoll", metric, service="ingest", stage=stage.stage)
            for metric in ("EventsAccepted", "EventsDuplicate")
        ),
        _sum("service/store", "Atoll", "EventsStored", service="store", stage=stage.stage),
    ]


def _sum(resource: str, namespace: str, metric: str, /, unit: str = "count", **dimensions: str) -> Series:
    return Series(resource, namespace, metric, tuple(dimensions.items()), "Sum", unit)


def _api(api_id: str | None) -> Iterator[Series]:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html"""
    if api_id is not None:
        yield _sum("api", "AWS/ApiGateway", "Count", ApiId=api_id)


def _functions(stage: Stage) -> Iterator[Series]:
    """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html"""
    for name in stage.stack_functions:
        function = stage.function(name)
        yield _sum(f"function/{name}", "AWS/Lambda", "Invocations", FunctionName=function)
        yield _sum(f"function/{name}", "AWS/Lambda", "Duration", unit="ms", FunctionName=function)


def _rules(stage: Stage) -> Iterator[Series]:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html"""
    for name in ("journal", *stage.processor_names):
        rule = f"{stage.prefix}-{name}"
        yield _sum(f"rule/{name}", "AWS/Events", "Invocations", EventBusName=stage.bus, RuleName=rule)


def _queues(stage: Stage) -> Iterator[Series]:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"""
    for processor in stage.processor_names:
        for metric in ("NumberOfMessagesSent", "NumberOfEmptyReceives"):
            yield _sum(f"queue/{processor}", "AWS/SQS", metric, QueueName=stage.queue(processor))


def _tables(stage: Stage) -> Iterator[Series]:
    """A table's figure is that of the table and all of its indexes, and each replica has its own, what is replicated to
    it included. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
    """
    for table in (stage.table_name, stage.idempotency_table):
        for metric in ("ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"):
            yield _sum(f"table/{table}", "AWS/DynamoDB", metric, TableName=table)
    if stage.table.capacity is not None:
        for metric in ("ProvisionedReadCapacityUnits", "ProvisionedWriteCapacityUnits"):
            dimensions = (("TableName", stage.table_name),)
            yield Series(f"table/{stage.table_name}", "AWS/DynamoDB", metric, dimensions, "Average", "count")

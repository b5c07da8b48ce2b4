"""Grants of ``trace``: logs, tables by key, dead-letter queues, replays, and X-Ray where the stage has it."""

from __future__ import annotations

from collections.abc import Iterator

from ops.policies.grant import NO_RESOURCE, Grant, Names
from ops.policies.shared import keys
from ops.trace.logs import groups


def trace(names: Names) -> Iterator[Grant]:
    stage = names.stage
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html
    logs = names.everywhere("logs", *(f"log-group:{group}:*" for group in groups(stage).values()))
    yield Grant("Lines", ("logs:FilterLogEvents",), logs, "the ARN of a log group ends so, for all that reads it")
    tables = names.everywhere("dynamodb", names.table, f"table/{stage.idempotency_table}")
    yield Grant("Items", ("dynamodb:BatchGetItem",), tables)
    yield Grant("Counts", ("dynamodb:Query",), names.everywhere("dynamodb", names.table))
    yield from keys(names, "TablesKey", ("kms:Decrypt",), behind="dynamodb:BatchGetItem")
    dlqs = names.everywhere("sqs", *stage.dlqs)
    looks = ("sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility")
    yield Grant("LookIntoDlqs", looks, dlqs)
    yield from keys(names, "MessagesKey", ("kms:Decrypt",), behind="sqs:ReceiveMessage")
    yield Grant("Replays", ("events:ListReplays",), ("*",), NO_RESOURCE)
    if stage.tracing.enabled:
        yield Grant("Segments", ("xray:BatchGetTraces",), ("*",), NO_RESOURCE)

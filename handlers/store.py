"""Processor: writes each accepted event into the global table, once."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from handlers.core import aws, delivery, observability, processing, retention, table, timestamps
from handlers.core.settings import settings


def _store(record: SQSRecord) -> None:
    event = delivery.parse(record.body)
    observability.follow_trace(event.trace_id)
    if not retention.unexpired([event], settings()):
        return
    try:
        result = table.store(aws.dynamodb(), event, settings())
    except table.EventConflictError:
        observability.count("EventsConflicting")
        raise
    if result == "stored":
        observability.count("EventsStored")
    else:
        observability.count("EventsAlreadyStored")
    # Each acceptance has its time, so that what was accepted in two regions is not taken for lost in one of them.
    if result != "already stored":
        elapsed = timestamps.now() - event.accepted_at
        observability.duration("EndToEndLatency", max(0.0, elapsed.total_seconds() * 1000))
    observability.logger.info(result, **processing.facts(record, event))


@observability.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return processing.each(event, context, _store)


if aws.starting_in_lambda():
    aws.dynamodb()

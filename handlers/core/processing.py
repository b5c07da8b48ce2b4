"""How a processor takes a batch of queue messages: each ends as processed, retried or dead-lettered, and no failure
touches its neighbours.

A message that can never succeed goes to the DLQ at once; one that failed for another reason goes back to its queue, and
to the DLQ when this was its last receive. The function moves it there itself, because SQS records no reason. Where it
cannot (SQS refuses, the time is up, the function crashes or times out), the message stays in its queue, and SQS's own
redrive moves it: then without a reason. A message is moved before it is reported as done, so a crash in between leaves
it in both places, never in none.

Every failure is logged with the event key and the message id, and nothing of the event's data. What went well says how
the message came only where that is out of the ordinary: received before, sent back from a DLQ, replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from handlers.core import aws, deadletter, tracing
from handlers.core.delivery import Delivery, identity
from handlers.core.observability import aws_failure, count, error_code, follow_trace, log_unexpected, logger
from handlers.core.settings import queue_settings

# An attempt to move a message takes 5 s at most, and the answer must still be given.
MOVE_NEEDS_MS = 7_000

# Its own messages of a failed batch would repeat what is logged below, with messages that may quote data.
_PROCESSOR = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def each(event: dict[str, Any], context: Any, work: Callable[[SQSRecord], None]) -> dict[str, Any]:
    """Do the work for each message; answer with those that are to be retried (ReportBatchItemFailures)."""

    def run(record: SQSRecord) -> None:
        # Of the message, until the event in it says which one brought it.
        carried = tracing.of_header(record.attributes.aws_trace_header)
        follow_trace(None if carried is None else carried.id)
        try:
            work(record)
        except Exception as error:
            _log(record, error)
            if not (_is_last_chance(record, error) and _moved(record, error, context)):
                raise

    response = process_partial_response(event, record_handler=run, processor=_PROCESSOR, context=context)
    return cast("dict[str, Any]", response)


def facts(record: SQSRecord, event: Delivery) -> dict[str, Any]:
    """Which event a line is about, and how it came here where that is not the usual way."""
    said: dict[str, Any] = {"event_key": event.event_key, "correlation_id": event.correlation_id}
    if (received := record.attributes.approximate_receive_count) != "1":
        said["receive_count"] = received
    if (redriven := deadletter.redrives(record)) is not None:
        said["redrives"] = redriven
    if event.replay_name is not None:
        said["replay_name"] = event.replay_name
    return said


def _identified(record: SQSRecord) -> dict[str, Any]:
    """The message, and the event in it as far as it can be told."""
    event_key, correlation_id = identity(record.body)
    return {"message_id": record.message_id, "event_key": event_key, "correlation_id": correlation_id}


def _log(record: SQSRecord, error: Exception) -> None:
    about = _identified(record) | {"receive_count": record.attributes.approximate_receive_count}
    if isinstance(error, deadletter.HOPELESS):
        logger.error("message refused", **about, error=type(error).__name__, reason=str(error))
    elif (failure := aws_failure(error)) is not None:
        logger.warning("message failed", **about, error=error_code(failure))
    else:
        log_unexpected(error, f"processing message {record.message_id}", **about)


def _is_last_chance(record: SQSRecord, error: Exception) -> bool:
    """Whether SQS would not deliver the message again, or would in vain."""
    received = int(record.attributes.approximate_receive_count)
    return isinstance(error, deadletter.HOPELESS) or received >= queue_settings().max_receive_count


def _moved(record: SQSRecord, error: Exception, context: Any) -> bool:
    about = _identified(record)
    if context.get_remaining_time_in_millis() < MOVE_NEEDS_MS:
        logger.warning("message not moved to the DLQ", **about, error="no time left")
        return False
    try:
        deadletter.send(aws.sqs(), queue_settings().dlq_url, record, error, context.function_name)
    except deadletter.NOT_SENT as failure:
        logger.warning("message not moved to the DLQ", **about, error=error_code(failure))
        return False
    logger.warning("message moved to the DLQ", **about, error=deadletter.reason(error)[0])
    count("EventsDeadLettered")
    return True


if aws.starting_in_lambda():
    queue_settings()
    aws.sqs()

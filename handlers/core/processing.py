"""How a processor takes a batch of queue messages: each is done or reported, and no failure touches its neighbours.

A message that fails goes back to its queue and, when it keeps failing, to the DLQ. SQS records no reason there, so the
reason is logged here with the event key and the message id, and nothing of the event's data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from handlers.core import tracing
from handlers.core.delivery import MalformedDeliveryError
from handlers.core.observability import aws_failure, error_code, follow_trace, log_unexpected, logger
from handlers.core.table import EventConflictError

# Its own messages of a failed batch would repeat what is logged below, with messages that may quote data.
_PROCESSOR = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def each(event: dict[str, Any], context: Any, work: Callable[[SQSRecord], None]) -> dict[str, Any]:
    """Do the work for each message; answer with the failures (ReportBatchItemFailures)."""

    def run(record: SQSRecord) -> None:
        # Of the message, until the event in it says which one brought it.
        carried = tracing.of_header(record.attributes.aws_trace_header)
        follow_trace(None if carried is None else carried.id)
        with failure_logged(record.message_id, record.attributes.approximate_receive_count):
            work(record)

    response = process_partial_response(event, record_handler=run, processor=_PROCESSOR, context=context)
    return cast("dict[str, Any]", response)


@contextmanager
def failure_logged(message_id: str, receive_count: str) -> Iterator[None]:
    """Log why a message failed, and let the failure pass."""
    try:
        yield
    except Exception as error:
        facts: dict[str, Any] = {"message_id": message_id, "receive_count": receive_count}
        if isinstance(error, MalformedDeliveryError | EventConflictError):
            logger.error(
                "message refused",
                **facts,
                event_key=getattr(error, "event_key", None),
                error=type(error).__name__,
                reason=str(error),
            )
        elif (failure := aws_failure(error)) is not None:
            logger.warning("message failed", **facts, error=error_code(failure))
        else:
            log_unexpected(error, f"processing message {message_id}")
        raise

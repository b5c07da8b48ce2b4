"""Moving a message to the processor's DLQ together with its reason, which SQS's own redrive does not record.

The body stays as it was, so that a redrive delivers what was delivered before. The reason travels in message attributes
and holds nothing of the event's data: the names and places of errors, never the message of one that may quote data.
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.exceptions import BotoCoreError, ClientError

from handlers.core.delivery import MalformedDeliveryError, identity
from handlers.core.observability import aws_failure, error_code
from handlers.core.table import EventConflictError

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

# Delivering these again ends the same way each time; their messages name fields and digests, never values.
HOPELESS = (MalformedDeliveryError, EventConflictError)
MAX_REASON = 256  # characters
# How often an operator sent the message back from its DLQ; it must be known there when it fails again.
REDRIVES = "REDRIVES"
_NUMBERS = ("RECEIVE_COUNT", REDRIVES)
_COUNT = re.compile(r"[0-9]{1,9}")


def reason(error: BaseException) -> tuple[str, str]:
    """What a message failed with: a code, and a text of at most ``MAX_REASON`` characters without event data."""
    if isinstance(error, HOPELESS):
        code, text = type(error).__name__, str(error)
    elif (failure := aws_failure(error)) is not None:
        code = error_code(failure)
        text = f"{failure.operation_name} was refused" if isinstance(failure, ClientError) else "AWS did not answer"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        code = type(error).__name__
        text = f"unexpected, in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unexpected"
    return code, "".join(c if c.isprintable() else " " for c in text)[:MAX_REASON]


def send(client: SQSClient, dlq_url: str, record: SQSRecord, error: BaseException, function: str) -> None:
    """Put the message on the DLQ, its body unchanged, with why and where it failed.

    Raises:
        ClientError | BotoCoreError: SQS did not take it; the message is still in its queue.
    """
    code, text = reason(error)
    event_key, correlation_id = identity(record.body)
    facts = {
        "ERROR_CODE": code,
        "ERROR_MESSAGE": text,
        "FUNCTION": function,
        "EVENT_KEY": event_key,
        "CORRELATION_ID": correlation_id,
        "RECEIVE_COUNT": record.attributes.approximate_receive_count,
        REDRIVES: redrives(record),
    }
    attributes: dict[str, MessageAttributeValueTypeDef] = {
        name: {"DataType": "Number" if name in _NUMBERS else "String", "StringValue": value}
        for name, value in facts.items()
        if value
    }
    client.send_message(QueueUrl=dlq_url, MessageBody=record.body, MessageAttributes=attributes)


def redrives(record: SQSRecord) -> str | None:
    """The count that the message came with; None when there is none, or something else by that name."""
    carried = (record.get("messageAttributes") or {}).get(REDRIVES) or {}
    value = carried.get("stringValue")
    return value if isinstance(value, str) and _COUNT.fullmatch(value) else None


# What `send` may end with; everything else is a fault of ours.
NOT_SENT: tuple[type[Exception], ...] = (ClientError, BotoCoreError)

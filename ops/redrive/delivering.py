"""Taking messages to the one target that could not take them before: a queue, a function or a bus.

What always holds: each message is reported as delivered only after the target's service said that it has it; what was
throttled is tried again, a bounded number of times; every message ends in exactly one of the two lists.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from botocore.exceptions import BotoCoreError, ClientError

from ops.aws import Cloud, error_code
from ops.redrive.messages import Letter, Target, to_send

BATCH = 10
# The lower one of a batch's limits of the last years (SQS 1 MiB, EventBridge 1 MB today): what is larger goes alone.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
BATCH_BYTES = 256 * 1024
ATTEMPTS = 5
FIRST_WAIT_S = 0.2
# Codes of batch entries and of calls that a later attempt may not meet.
_PASSING = ("Throttl", "TooManyRequests", "OverLimit", "InternalFailure", "InternalError", "ServiceUnavailable")
_QUEUE_URLS: WeakKeyDictionary[Cloud, dict[str, str]] = WeakKeyDictionary()
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message that its target has. ``request_id`` is of an asynchronous invocation, and None of all else."""

    letter: Letter
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A message that its target has not, as far as anybody knows."""

    letter: Letter
    code: str
    message: str


Answers = tuple[list[Delivered], list[Undelivered]]


def deliver(cloud: Cloud, letters: Sequence[Letter], *, sleep: Callable[[float], None] = time.sleep) -> Answers:
    """Deliver messages that have one and the same target. A failure of one touches no other.

    Raises:
        ValueError: they have not.
    """
    targets = {letter.target for letter in letters}
    if not letters:
        return [], []
    (target,) = targets if len(targets) == 1 else (None,)
    if target is None:
        raise ValueError(f"messages of one target at a time; these have {len(targets)}")
    send = {"sqs": _to_queue, "lambda": _to_function, "bus": _to_bus}[target.kind]
    if target.arn.endswith(".fifo"):
        return _in_order(cloud, target, letters, sleep)
    return _with_attempts(cloud, target, letters, send, sleep)


def _with_attempts(
    cloud: Cloud,
    target: Target,
    letters: Sequence[Letter],
    send: Callable[[Cloud, Target, Sequence[Letter]], Answers],
    sleep: Callable[[float], None],
) -> Answers:
    delivered: list[Delivered] = []
    undelivered: list[Undelivered] = []
    waiting = list(letters)
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(FIRST_WAIT_S * 2 ** (attempt - 1) * random.uniform(0.5, 1))  # noqa: S311 - spreads attempts
        refused: list[Undelivered] = []
        for batch in _batches(waiting):
            done, failed = _answered(cloud, target, batch, send)
            delivered += done
            refused += failed
        passing = [one for one in refused if any(word in one.code for word in _PASSING)]
        undelivered += [one for one in refused if one not in passing]
        waiting = [one.letter for one in passing]
        if not waiting:
            return delivered, undelivered
    return delivered, undelivered + passing


def _answered(
    cloud: Cloud,
    target: Target,
    batch: Sequence[Letter],
    send: Callable[[Cloud, Target, Sequence[Letter]], Answers],
) -> Answers:
    """A batch, and where the whole call fails, each of its messages as not delivered."""
    try:
        return send(cloud, target, batch)
    except ClientError as error:
        code, text = error_code(error), error.response.get("Error", {}).get("Message", "")
    except BotoCoreError as error:
        code, text = type(error).__name__, str(error)
    except ValueError as error:
        code, text = "NotAnEvent", str(error)
    return [], [Undelivered(letter, code, text) for letter in batch]


def _batches(letters: Sequence[Letter]) -> Iterator[list[Letter]]:
    batch: list[Letter] = []
    size = 0
    for letter in letters:
        length = _size(letter)
        if batch and (len(batch) == BATCH or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += length
    if batch:
        yield batch


def _size(letter: Letter) -> int:
    body, attributes = to_send(letter)
    return len(body.encode()) + sum(
        len(name) + sum(len(value) for value in attribute.values()) for name, attribute in attributes.items()
    )


# --- a queue -----------------------------------------------------------------------------------------------------


def _to_queue(cloud: Cloud, target: Target, letters: Sequence[Letter]) -> Answers:
    entries: list[Any] = [{"Id": str(number), **_entry(letter)} for number, letter in enumerate(letters)]
    answer = cloud.client("sqs", _region(target)).send_message_batch(QueueUrl=_url(cloud, target), Entries=entries)
    taken = {one["Id"] for one in answer.get("Successful", [])}
    failed = {one["Id"]: (one["Code"], one.get("Message", "")) for one in answer.get("Failed", [])}
    return (
        [Delivered(letter, None) for number, letter in enumerate(letters) if str(number) in taken],
        [
            Undelivered(letter, *failed.get(str(number), ("NoAnswer", "the answer does not name this message")))
            for number, letter in enumerate(letters)
            if str(number) not in taken
        ],
    )


def _entry(letter: Letter) -> dict[str, Any]:
    body, attributes = to_send(letter)
    entry: dict[str, Any] = {"MessageBody": body, "MessageAttributes": attributes}
    if (trace := letter.system.get("AWSTraceHeader")) is not None:
        entry["MessageSystemAttributes"] = {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}
    return entry


def _in_order(cloud: Cloud, target: Target, letters: Sequence[Letter], sleep: Callable[[float], None]) -> Answers:
    """To a FIFO queue: one after the other, and none past one of its group that was not taken.

    The deduplication id is the message's own id on the dead-letter queue: sent a second time within five minutes (the
    run died before it could delete the message), it is taken once.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/using-messagededuplicationid-property.html
    """

    def send(cloud: Cloud, target: Target, batch: Sequence[Letter]) -> Answers:
        (letter,) = batch
        order: dict[str, Any] = {
            "MessageGroupId": letter.system.get("MessageGroupId", letter.message_id),
            "MessageDeduplicationId": letter.message_id,
        }
        cloud.client("sqs", _region(target)).send_message(QueueUrl=_url(cloud, target), **_entry(letter), **order)
        return [Delivered(letter, None)], []

    delivered: list[Delivered] = []
    undelivered: list[Undelivered] = []
    blocked: set[str] = set()
    for letter in letters:
        group = letter.system.get("MessageGroupId", letter.message_id)
        if group in blocked:
            undelivered.append(Undelivered(letter, "GroupWaits", f"an earlier message of group {group} was not taken"))
            continue
        done, failed = _with_attempts(cloud, target, [letter], send, sleep)
        delivered += done
        undelivered += failed
        if failed:
            blocked.add(group)
    return delivered, undelivered


def _url(cloud: Cloud, target: Target) -> str:
    with _LOCK:
        known = _QUEUE_URLS.setdefault(cloud, {})
        if target.arn not in known:
            account, name = target.arn.split(":")[4:6]
            found = cloud.client("sqs", _region(target)).get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
            known[target.arn] = found["QueueUrl"]
        return known[target.arn]


# --- a function --------------------------------------------------------------------------------------------------


def _to_function(cloud: Cloud, target: Target, letters: Sequence[Letter]) -> Answers:
    client = cloud.client("lambda", _region(target))
    delivered: list[Delivered] = []
    undelivered: list[Undelivered] = []
    for letter in letters:
        try:
            answer = client.invoke(FunctionName=target.arn, InvocationType="Event", Payload=to_send(letter)[0].encode())
        except ClientError as error:
            undelivered.append(Undelivered(letter, error_code(error), error.response["Error"].get("Message", "")))
        except BotoCoreError as error:
            undelivered.append(Undelivered(letter, type(error).__name__, str(error)))
        else:
            delivered.append(Delivered(letter, answer["ResponseMetadata"]["RequestId"]))
    return delivered, undelivered


# --- a bus -------------------------------------------------------------------------------------------------------


def _to_bus(cloud: Cloud, target: Target, letters: Sequence[Letter]) -> Answers:
    entries: list[Any] = []
    sent: list[Letter] = []
    undelivered: list[Undelivered] = []
    for letter in letters:
        try:
            entries.append(_event(letter, target))
            sent.append(letter)
        except (ValueError, TypeError, KeyError) as error:
            undelivered.append(Undelivered(letter, "NotAnEvent", f"the body is no event of EventBridge: {error!r}"))
    if not entries:
        return [], undelivered
    answer = cloud.client("events", _region(target)).put_events(Entries=entries)
    delivered: list[Delivered] = []
    for letter, result in zip(sent, answer["Entries"], strict=True):
        if result.get("EventId"):
            delivered.append(Delivered(letter, None))
        else:
            code = result.get("ErrorCode", "NoAnswer")
            undelivered.append(Undelivered(letter, code, result.get("ErrorMessage", "")))
    return delivered, undelivered


def _event(letter: Letter, target: Target) -> dict[str, Any]:
    """The event as it was put first. EventBridge gives it another id; everything in Atoll goes by the detail."""
    event = json.loads(to_send(letter)[0])
    entry = {
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Detail": json.dumps(event["detail"], separators=(",", ":")),
        "Resources": event.get("resources", []),
        "EventBusName": target.arn,
    }
    return entry | ({"Time": event["time"]} if event.get("time") else {})


def _region(target: Target) -> str:
    return target.arn.split(":")[3]

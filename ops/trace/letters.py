"""The event in dead-letter queues: every message of the stage's DLQs is looked at, and given back at once.

SQS shows a message only by hiding it for a while, and counts the look as a receive: docs/redrive.md. Nothing of a
message's body is kept but the id of the event in it.
"""

from __future__ import annotations

import threading
from collections.abc import Container
from dataclasses import dataclass

from ops.aws import Cloud, explained
from ops.errors import OpsError
from ops.fanout import each
from ops.redrive import receiving
from ops.redrive.masking import Masker
from ops.redrive.messages import Letter
from ops.redrive.queues import DeadLetterQueue, named
from ops.trace.sightings import Sighting

# Messages of one queue that are looked at; docs/redrive.md has what looks at more.
LIMIT = 10_000
HIDDEN_S = 60


@dataclass(frozen=True)
class Buried:
    """A dead letter that is about one of the events, or bears the correlation id. ``why`` is masked."""

    region: str
    queue: str
    event_key: str
    correlation_id: str
    code: str
    why: str
    sighting: Sighting


@dataclass(frozen=True)
class Letters:
    """What was found; ``looked_at`` are messages by region and queue."""

    buried: tuple[Buried, ...]
    looked_at: dict[tuple[str, str], int]
    unread: tuple[str, ...] = ()


def look(cloud: Cloud, event_keys: Container[str], correlation_id: str = "") -> Letters:
    """Look through every DLQ of the stage, in every region side by side."""
    unread: list[str] = []

    def queues_of(region: str) -> list[DeadLetterQueue] | str:
        try:
            return named(cloud, region, cloud.stage.dlqs)
        except OpsError as error:
            return str(error)

    queues: dict[tuple[str, str], DeadLetterQueue] = {}
    for region, found in each(cloud.stage.regions, queues_of).items():
        if isinstance(found, str):
            unread.append(found)
            continue
        queues |= {(region, queue.name): queue for queue in found}
    read = each(queues, lambda place: _read(cloud, queues[place], event_keys, correlation_id))
    looked_at: dict[tuple[str, str], int] = {}
    buried: list[Buried] = []
    for place, (own, count, problem) in read.items():
        looked_at[place] = count
        buried += own
        unread += [problem] if problem else []
    return Letters(tuple(sorted(buried, key=lambda one: one.sighting.time)), looked_at, tuple(unread))


def _read(
    cloud: Cloud, queue: DeadLetterQueue, event_keys: Container[str], correlation_id: str
) -> tuple[list[Buried], int, str]:
    """What is about the events, how many messages were looked at, and why not all of them."""
    masker, found, receipts, count = Masker(), list[Buried](), list[str](), 0
    try:
        with explained(f"{queue.region}: looking into {queue.name}"):
            stopped = threading.Event()
            for letters in receiving.stream(cloud, queue, hidden_s=HIDDEN_S, limit=LIMIT, receivers=2, stop=stopped):
                receipts += [letter.receipt for letter in letters]
                count += len(letters)
                found += [one for letter in letters if (one := _buried(letter, event_keys, correlation_id, masker))]
    except OpsError as error:
        return found, count, str(error)
    finally:
        receiving.release(cloud, queue, receipts)
    if count >= LIMIT:
        return found, count, f"{queue.region}: {queue.name} has more than {LIMIT:,} messages: look with ops run redrive"
    return found, count, ""


def _buried(letter: Letter, event_keys: Container[str], correlation_id: str, masker: Masker) -> Buried | None:
    carried = str((letter.attributes.get("CORRELATION_ID") or {}).get("StringValue") or "")
    of_event = letter.event_key is not None and letter.event_key in event_keys
    if not of_event and not (correlation_id and carried == correlation_id):
        return None
    why = masker.sample(letter.error_message)
    redriven = f", redriven {letter.redrives} times before" if letter.redrives else ""
    words = f"in {letter.queue}: {letter.error_code}{f' ({why})' if why else ''}, by {letter.handler or letter.kind}"
    sighting = Sighting(
        letter.sent, letter.region, "dlq", "dead-lettered", words + redriven, letter.event_key or "", "queue"
    )
    return Buried(letter.region, letter.queue, letter.event_key or "", carried, letter.error_code, why, sighting)

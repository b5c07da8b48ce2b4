"""The receipts of what a pass has taken from a queue and not put off it yet: for deleting it, or for giving it back.

What always holds: of each message the newest receipt is known, the only one that is good for anything; what was
delivered and could not be deleted is deleted when it comes again, and is not delivered again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops.aws import Cloud
from ops.redrive.messages import Letter
from ops.redrive.queues import DeadLetterQueue
from ops.redrive.receiving import BATCH, release

# Of the 120,000 messages that a queue hides at a time, whoever hides them.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
HELD = 100_000
DELETE_ATTEMPTS = 3
_COUNTS: list[Any] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


class Receipts:
    """Of one pass over one queue; shared by its threads. ``crowded`` is set when SQS could hide no more messages."""

    def __init__(self, cloud: Cloud, queue: DeadLetterQueue) -> None:
        self._cloud, self._queue = cloud, queue
        self._lock = threading.Lock()
        self._newest: dict[str, str] = {}  # by message id, of all that is not off the queue
        self._held: dict[str, None] = {}  # what is given back at the end, and not looked at before
        self._undeleted: set[str] = set()
        self.crowded = False

    @property
    def undeleted(self) -> int:
        """Messages that are delivered or kept, and still on the queue."""
        return len(self._undeleted)

    def received(self, letters: Sequence[Letter]) -> None:
        """Keep the receipts; what was delivered before, and could not be deleted, is deleted now."""
        with self._lock:
            self._newest.update((letter.message_id, letter.receipt) for letter in letters)
            gone = self._undeleted.intersection(letter.message_id for letter in letters)
            self._undeleted -= gone
        self.delete(gone)

    def hold(self, letters: Iterable[Letter]) -> None:
        """Keep messages hidden until the end."""
        with self._lock:
            self._held |= dict.fromkeys(letter.message_id for letter in letters)
            crowded = len(self._held) > HELD
        if crowded:
            self.make_room()

    def make_room(self) -> None:
        """Give back the half that was held longest: SQS hides no more messages of this queue."""
        with self._lock:
            oldest = list(self._held)[: (len(self._held) + 1) // 2]
            for one in oldest:
                del self._held[one]
            receipts = [self._newest.pop(one) for one in oldest if one in self._newest]
            self.crowded = True
        release(self._cloud, self._queue, receipts)

    def forget(self, letters: Iterable[Letter]) -> None:
        """Let messages come back by themselves, when their time is over."""
        with self._lock:
            for letter in letters:
                self._newest.pop(letter.message_id, None)

    def delete(self, ids: Iterable[str]) -> None:
        """Take messages off the queue; those that stay although they should not are remembered, to go the next time."""
        waiting = set(ids)
        for _ in range(DELETE_ATTEMPTS):
            if not waiting:
                return
            waiting = self._not_deleted(waiting)
        with self._lock:
            self._undeleted |= waiting

    def settle(self) -> None:
        """At the end: delete what should be gone, and give everything else back."""
        rest = sorted(self._undeleted)
        self._undeleted.clear()
        for start in range(0, len(rest), BATCH):
            self.delete(rest[start : start + BATCH])
        release(self._cloud, self._queue, [one for name, one in self._newest.items() if name not in self._undeleted])

    def all_there_is(self) -> bool:
        """Whether nothing is visible, and nobody else hides messages, as a run does that was killed, for a while."""
        try:
            answer = self._cloud.client("sqs", self._queue.region).get_queue_attributes(
                QueueUrl=self._queue.url, AttributeNames=_COUNTS
            )
        except (ClientError, BotoCoreError):
            return True
        visible, hidden = (int(answer["Attributes"][name]) for name in _COUNTS)
        with self._lock:
            return not visible and hidden <= len(self._newest)

    def _not_deleted(self, ids: set[str]) -> set[str]:
        with self._lock:
            ordered = [(one, self._newest[one]) for one in sorted(ids)]
        entries: list[Any] = [{"Id": str(n), "ReceiptHandle": receipt} for n, (_, receipt) in enumerate(ordered)]
        try:
            answer = self._cloud.client("sqs", self._queue.region).delete_message_batch(
                QueueUrl=self._queue.url, Entries=entries
            )
        except (ClientError, BotoCoreError):
            return ids
        gone = {ordered[int(one["Id"])][0] for one in answer.get("Successful", [])}
        with self._lock:
            for one in gone:
                self._newest.pop(one, None)
        return ids - gone

"""One pass over one dead-letter queue: each chosen message to its target, or into quarantine, and then off the queue.

What always holds: a message is deleted only after its target's service, or S3, said that it has it; whatever happens in
between (a refusal, no answer, Ctrl-C, the end of the process) it is still on the queue, visible again when its time has
run out at the latest. A message may so be delivered twice, never not at all. What is not chosen stays hidden until the
pass is over and is then given back: given back before, it would come again ahead of what was not seen yet.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from ops.aws import Cloud
from ops.bucket import Place
from ops.redrive import quarantine
from ops.redrive.choice import Choice
from ops.redrive.delivering import Delivered, Undelivered, deliver
from ops.redrive.messages import Letter, Target
from ops.redrive.queues import DeadLetterQueue
from ops.redrive.rate import TokenBucket
from ops.redrive.receiving import BATCH, Batch, Receivers, Seen, release

HIDDEN_S = 60
WORKERS = 16
RECEIVERS = 8
# Refused one after the other, and the target takes nothing: the rest of the queue is spared the attempt.
REFUSALS_IN_A_ROW = 50
# Of the 120,000 messages that a queue hides at a time, whoever hides them.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
HELD = 100_000
DELETE_ATTEMPTS = 3

# Longer than SQS's counts take to settle after what was hidden is visible again, as a rule.
SETTLE_S = 10
_COUNTS: list[Any] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

Second = Literal["quarantine", "leave", "redrive"]


@dataclass(frozen=True)
class Orders:
    """What to do with a queue's messages. ``limit``: to move at most, None for all. ``ours``: request ids of earlier
    redrives' invocations, whose failures are second ones."""

    choice: Choice
    second: Second
    place: Place
    rate_per_s: int
    limit: int | None = None
    ours: frozenset[str] = frozenset()

    @property
    def hidden_s(self) -> int:
        """How long a message stays hidden: the slower it goes, the longer those in hand wait for their turn."""
        return HIDDEN_S + 120 // self.rate_per_s

    @property
    def threads(self) -> int:
        """As many of each kind as the rate keeps busy."""
        return max(1, min(WORKERS, self.rate_per_s // 25))


@dataclass
class Tally:
    """What became of the messages of a pass so far.

    Attributes
    ----------
    passed_over, left
        Not chosen; chosen, and left because it failed before.
    undelivered, untargeted
        Chosen and still on the queue, by reason.
    undeleted
        Delivered or kept, and still on the queue: it will be delivered again.
    """

    seen: int = 0
    moved: int = 0
    quarantined: int = 0
    passed_over: int = 0
    left: int = 0
    undeleted: int = 0
    incomplete: str = ""
    undelivered: Counter[str] = field(default_factory=Counter)
    untargeted: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("seen", "moved", "quarantined", "passed_over", "left")}
        return counts | {
            "undelivered": dict(self.undelivered),
            "untargeted": dict(self.untargeted),
            "undeleted": self.undeleted,
            "incomplete": self.incomplete,
        }


class Pass:
    """A pass over one queue; :meth:`run` it once. ``delivered`` is told of what its targets have, before it is deleted.

    ``tick`` is called several times a second by the thread that runs it. ``stop``: set it, and what is in hand is
    finished or given back, and the pass ends.
    """

    def __init__(
        self,
        cloud: Cloud,
        queue: DeadLetterQueue,
        orders: Orders,
        *,
        rate: TokenBucket,
        tally: Tally,
        stop: threading.Event,
        delivered: Callable[[Sequence[Delivered]], None] = lambda letters: None,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._cloud, self._queue, self._orders, self._rate = cloud, queue, orders, rate
        self._tally, self._stop, self._delivered, self._tick = tally, stop, delivered, tick
        self._over = threading.Event()  # of this queue only: its target takes nothing, or the limit is reached
        self._lock = threading.Lock()
        self._seen = Seen()
        self._receipts: dict[str, str] = {}  # the newest, of each message that is not off the queue yet
        self._held: dict[str, None] = {}  # what is given back at the end, and not looked at before
        self._until = 0.0  # by then, what an earlier run hid is visible again
        self._undeleted: set[str] = set()
        self._late: set[str] = set()  # their time ran out before it was their turn
        self._waiting: dict[Target, Batch] = {}
        self._claimed = self._refused = 0
        self._failure: BaseException | None = None
        self._room = threading.Semaphore(2 * orders.threads)
        self._workers = ThreadPoolExecutor(orders.threads, thread_name_prefix="redrive")

    def run(self) -> None:
        """Go through the queue.

        Raises:
            ClientError | BotoCoreError: the queue could not be read.
            OpsError: a message could not be kept in quarantine; it is still on the queue.
            KeyboardInterrupt: Ctrl-C, with everything finished or given back.
        """
        receivers = Receivers(
            self._cloud,
            self._queue,
            hidden_s=self._orders.hidden_s,
            receivers=min(RECEIVERS, self._orders.threads),
            stop=self._stop,
            seen=self._seen,
            left=lambda letters: None,  # given back with all else
            received=self._received,
            over_limit=self._make_room,
            over=self._is_over,
        )
        self._until = time.monotonic() + self._orders.hidden_s + SETTLE_S
        batches = iter(receivers)
        try:
            for batch in batches:
                self._tick()
                self._sort(batch)
                self._send_on(lambda waiting: self._waited(waiting, 4) or len(waiting.letters) >= BATCH)
                if self._over.is_set():
                    break
        except KeyboardInterrupt:
            self._stop.set()
            raise
        finally:
            batches.close()  # type: ignore[attr-defined]
            self._send_on(lambda waiting: True)
            self._workers.shutdown(wait=True)
            self._delete_the_rest()
            release(self._cloud, self._queue, [r for m, r in self._receipts.items() if m not in self._undeleted])
            self._tally.undeleted = len(self._undeleted)
            if self._late:
                self._tally.incomplete = f"{len(self._late)} messages waited too long for their turn, and were left"
        if self._failure is not None:
            raise self._failure

    # --- in the thread that runs the pass ------------------------------------------------------------------------

    def _sort(self, batch: Batch) -> None:
        """Say of each message what becomes of it."""
        now, again = datetime.now(UTC), []
        with self._lock:
            late = self._late.intersection(letter.message_id for letter in batch.letters)
            self._late -= late
        self._tally.seen += len(batch.letters) - len(late)
        for letter in batch.letters:
            if not self._orders.choice.takes(letter, now):
                self._tally.passed_over += 1
                self._hold(letter)
            elif self._failed_before(letter) and self._orders.second != "redrive":
                if self._orders.second == "quarantine" and self._claim():
                    again.append(letter)
                else:
                    self._tally.left += self._orders.second == "leave"
                    self._hold(letter)
            elif letter.target is None:
                self._tally.untargeted[letter.why_not or "no target is known"] += 1
                self._hold(letter)
            elif self._claim():
                waiting = self._waiting.setdefault(letter.target, Batch([], batch.asked))
                waiting.letters.append(letter)
            else:
                self._hold(letter)
        if again:
            self._give_to(self._quarantine, Batch(again, batch.asked))

    def _failed_before(self, letter: Letter) -> bool:
        return letter.redrives >= 1 or letter.request_id in self._orders.ours

    def _claim(self) -> bool:
        limit = self._orders.limit
        if limit is not None and self._claimed >= limit:
            self._over.set()
            return False
        self._claimed += 1
        return True

    def _send_on(self, due: Callable[[Batch], bool]) -> None:
        for target, waiting in list(self._waiting.items()):
            if due(waiting):
                del self._waiting[target]
                for start in range(0, len(waiting.letters), BATCH):
                    self._give_to(self._move, Batch(waiting.letters[start : start + BATCH], waiting.asked))

    def _give_to(self, work: Callable[[Batch], None], batch: Batch) -> None:
        """Let a worker do it, as soon as one has room."""
        while not self._room.acquire(timeout=0.1):
            self._tick()
            if self._stop.is_set():
                break
        else:
            self._workers.submit(self._work, work, batch).add_done_callback(lambda done: self._room.release())
            return
        self._hold(*batch.letters)

    # --- in the workers' threads -----------------------------------------------------------------------------------

    def _work(self, work: Callable[[Batch], None], batch: Batch) -> None:
        try:
            if self._stop.is_set() or self._failure is not None:
                self._hold(*batch.letters)
            else:
                work(batch)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that runs the pass
            with self._lock:
                self._failure = self._failure or error
            self._over.set()

    def _move(self, batch: Batch) -> None:
        letters = batch.letters
        if not self._rate.take(len(letters), self._stop):
            self._hold(*letters)
            return
        if self._waited(batch, 2):
            # They may be visible again by the time that they would be deleted. They come again, with new receipts.
            with self._lock:
                for letter in letters:
                    self._late.add(letter.message_id)
                    del self._receipts[letter.message_id]
                self._claimed -= len(letters)
            for letter in letters:
                self._seen.forget(letter.message_id)
            return
        delivered, undelivered = deliver(self._cloud, letters)
        if delivered:
            self._delivered(delivered)
            with self._lock:
                self._tally.moved += len(delivered)
                self._refused = 0
            self._delete(one.letter.message_id for one in delivered)
        if undelivered:
            self._keep_back(undelivered)

    def _quarantine(self, batch: Batch) -> None:
        kept: list[Letter] = []
        try:
            for letter in batch.letters:
                quarantine.keep(self._cloud, self._orders.place, letter)
                kept.append(letter)
        finally:
            self._hold(*batch.letters[len(kept) :])
            with self._lock:
                self._tally.quarantined += len(kept)
            self._delete(letter.message_id for letter in kept)

    def _keep_back(self, undelivered: Sequence[Undelivered]) -> None:
        self._hold(*(one.letter for one in undelivered))
        with self._lock:
            for one in undelivered:
                self._tally.undelivered[f"{one.code}: {one.message}"[:200]] += 1
            self._refused += len(undelivered)
            if self._refused >= REFUSALS_IN_A_ROW:
                last = undelivered[-1]
                self._tally.incomplete = f"{self._refused} in a row were not taken: {last.code}: {last.message}"
                self._over.set()

    def _delete(self, ids: Iterable[str]) -> None:
        """Take messages off the queue; those that stay although they should not are remembered, to go the next time."""
        waiting = set(ids)
        for _ in range(DELETE_ATTEMPTS):
            if not waiting:
                return
            waiting = self._not_deleted(waiting)
        with self._lock:
            self._undeleted |= waiting

    def _delete_the_rest(self) -> None:
        rest = sorted(self._undeleted)
        self._undeleted.clear()
        for start in range(0, len(rest), BATCH):
            self._delete(rest[start : start + BATCH])

    def _not_deleted(self, ids: set[str]) -> set[str]:
        with self._lock:
            ordered = [(one, self._receipts[one]) for one in sorted(ids)]
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
                del self._receipts[one]
        return ids - gone

    # --- in any thread ---------------------------------------------------------------------------------------------

    def _waited(self, batch: Batch, part: int) -> bool:
        """Whether that part (2: half) of the time is over that these messages are hidden for."""
        return time.monotonic() - batch.asked > self._orders.hidden_s / part

    def _is_over(self) -> bool:
        """Whether nothing can come any more: nobody else hides messages, as a run does that was killed, for a while."""
        if time.monotonic() > self._until:
            return True
        try:
            answer = self._cloud.client("sqs", self._queue.region).get_queue_attributes(
                QueueUrl=self._queue.url, AttributeNames=_COUNTS
            )
        except (ClientError, BotoCoreError):
            return True
        visible, hidden = (int(answer["Attributes"][name]) for name in _COUNTS)
        with self._lock:
            return not visible and hidden <= len(self._receipts)

    def _hold(self, *letters: Letter) -> None:
        with self._lock:
            self._held |= dict.fromkeys(letter.message_id for letter in letters)
            crowded = len(self._held) > HELD
        if crowded:
            self._make_room()

    def _make_room(self) -> None:
        """Give back the half that was held longest: SQS hides no more messages of this queue."""
        with self._lock:
            oldest = list(self._held)[: (len(self._held) + 1) // 2]
            for one in oldest:
                del self._held[one]
            receipts = [self._receipts.pop(one) for one in oldest]
            self._tally.incomplete = "more messages are in flight than SQS hides at a time: some may not have been seen"
        release(self._cloud, self._queue, receipts)

    def _received(self, letters: Sequence[Letter]) -> None:
        """Keep the receipts; what was delivered before, and could not be deleted, is deleted now."""
        with self._lock:
            self._receipts.update((letter.message_id, letter.receipt) for letter in letters)
            gone = self._undeleted.intersection(letter.message_id for letter in letters)
            self._undeleted -= gone
        self._delete(gone)

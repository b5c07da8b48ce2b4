"""One pass over one dead-letter queue: each chosen message to its target, or into quarantine, and then off the queue.

What always holds: a message is deleted only after its target's service, or S3, said that it has it; whatever happens in
between (a refusal, no answer, Ctrl-C, the end of the process) it is still on the queue, visible again when its time has
run out at the latest. A message may so be delivered twice, never not at all. What is not chosen stays hidden until the
pass is over and is then given back: given back before, it would come again ahead of what was not seen yet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from ops.aws import Cloud
from ops.rate import TokenBucket
from ops.redrive import quarantine
from ops.redrive.delivering import Delivered, Undelivered, deliver
from ops.redrive.messages import Letter, Target
from ops.redrive.orders import Orders, Tally
from ops.redrive.queues import DeadLetterQueue
from ops.redrive.receipts import Receipts
from ops.redrive.receiving import BATCH, Batch, Receivers, Seen

RECEIVERS = 8
# Refused one after the other, and the target takes nothing: the rest of the queue is spared the attempt.
REFUSALS_IN_A_ROW = 50

# Longer than SQS's counts take to settle after what was hidden is visible again, as a rule.
SETTLE_S = 10
_CROWDED = "more messages are in flight than SQS hides at a time: some may not have been seen"


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
        self._receipts = Receipts(cloud, queue)
        self._until = 0.0  # by then, what an earlier run hid is visible again
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
            received=self._receipts.received,
            over_limit=self._receipts.make_room,
            over=lambda: time.monotonic() > self._until or self._receipts.all_there_is(),
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
            self._receipts.settle()
            self._tally.undeleted = self._receipts.undeleted
            if self._receipts.crowded:
                self._tally.incomplete = _CROWDED
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
                self._receipts.hold([letter])
            elif self._failed_before(letter) and self._orders.second != "redrive":
                if self._orders.second == "quarantine" and self._claim():
                    again.append(letter)
                else:
                    self._tally.left += self._orders.second == "leave"
                    self._receipts.hold([letter])
            elif letter.target is None:
                self._tally.untargeted[letter.why_not or "no target is known"] += 1
                self._receipts.hold([letter])
            elif self._claim():
                waiting = self._waiting.setdefault(letter.target, Batch([], batch.asked))
                waiting.letters.append(letter)
            else:
                self._receipts.hold([letter])
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
        self._receipts.hold(batch.letters)

    # --- in the workers' threads -----------------------------------------------------------------------------------

    def _work(self, work: Callable[[Batch], None], batch: Batch) -> None:
        try:
            if self._stop.is_set() or self._failure is not None:
                self._receipts.hold(batch.letters)
            else:
                work(batch)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that runs the pass
            with self._lock:
                self._failure = self._failure or error
            self._over.set()

    def _move(self, batch: Batch) -> None:
        letters = batch.letters
        if not self._rate.take(len(letters), self._stop):
            self._receipts.hold(letters)
            return
        if self._waited(batch, 2):
            # They may be visible again by the time that they would be deleted. They come again, with new receipts.
            with self._lock:
                self._late.update(letter.message_id for letter in letters)
                self._claimed -= len(letters)
            self._receipts.forget(letters)
            for letter in letters:
                self._seen.forget(letter.message_id)
            return
        delivered, undelivered = deliver(self._cloud, letters)
        if delivered:
            self._delivered(delivered)
            with self._lock:
                self._tally.moved += len(delivered)
                self._refused = 0
            self._receipts.delete(one.letter.message_id for one in delivered)
        if undelivered:
            self._keep_back(undelivered)

    def _quarantine(self, batch: Batch) -> None:
        kept: list[Letter] = []
        try:
            for letter in batch.letters:
                quarantine.keep(self._cloud, self._orders.place, letter)
                kept.append(letter)
        finally:
            self._receipts.hold(batch.letters[len(kept) :])
            with self._lock:
                self._tally.quarantined += len(kept)
            self._receipts.delete(letter.message_id for letter in kept)

    def _keep_back(self, undelivered: Sequence[Undelivered]) -> None:
        self._receipts.hold(one.letter for one in undelivered)
        with self._lock:
            for one in undelivered:
                self._tally.undelivered[f"{one.code}: {one.message}"[:200]] += 1
            self._refused += len(undelivered)
            if self._refused >= REFUSALS_IN_A_ROW:
                last = undelivered[-1]
                self._tally.incomplete = f"{self._refused} in a row were not taken: {last.code}: {last.message}"
                self._over.set()

    # --- in any thread ---------------------------------------------------------------------------------------------

    def _waited(self, batch: Batch, part: int) -> bool:
        """Whether that part (2: half) of the time is over that these messages are hidden for."""
        return time.monotonic() - batch.asked > self._orders.hidden_s / part

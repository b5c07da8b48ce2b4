"""Reading a dead-letter queue to its end, each message once, with few of them in hand at any time.

Several receivers ask side by side and wait when nobody takes what they have. SQS has no cursor: a message that was
received is hidden for a while, and that alone is how the next one comes. So what is given back early comes again,
before what was never seen. What always holds: a message of a pass is handed out once; a pass ends, whatever others put
in or give back meanwhile; what was received and not handed out is given back.
"""

from __future__ import annotations

import functools
import queue as fifo
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from ops.aws import Cloud, error_code
from ops.fanout import each
from ops.redrive.messages import Letter, read
from ops.redrive.queues import DeadLetterQueue

BATCH = 10  # of SQS, for all its calls
# A long poll asks all of SQS's servers, a short one some of them.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
LONG_POLL_S = 1
# As many in a row, over all receivers, and the queue is taken to be empty.
EMPTY_RECEIVES = 3
# Repeats in a row before a pass ends, however few messages it has seen.
REPEATS = 100
OVER_LIMIT_WAIT_S = 2.0
OVER_LIMIT_WAITS = 30

_POLL_S = 0.05
_OVER_LIMIT = ("OverLimit", "AWS.SimpleQueueService.OverLimit")


class Batch(NamedTuple):
    """What one receive brought, and when it was asked for (by the monotonic clock): hidden at least from then on."""

    letters: list[Letter]
    asked: float


class Seen:
    """The messages of a pass, by id, in little memory; asked by several threads."""

    def __init__(self) -> None:
        self._ids: set[bytes] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, message_id: str) -> bool:
        """Whether the message is new."""
        key = _short(message_id)
        with self._lock:
            if key in self._ids:
                return False
            self._ids.add(key)
            return True

    def forget(self, message_id: str) -> None:
        """Let a message be handed out once more when it comes again."""
        with self._lock:
            self._ids.discard(_short(message_id))


class Receivers:
    """Threads that receive, and the few batches that wait to be taken from them.

    ``received`` is told of all that comes, in the thread that it comes to: of new messages, and of those that come
    again with a new receipt, because they were given back or their time ran out; only the new ones are handed out.
    ``left`` gets what nobody took. ``over_limit`` is called when so many messages are hidden that SQS hides no more
    (120,000 of a queue). ``over`` is asked, when nothing comes any more, whether that is all; until it is, they go on
    asking. Batches without messages are handed out while there is nothing else.
    """

    def __init__(
        self,
        cloud: Cloud,
        queue: DeadLetterQueue,
        *,
        hidden_s: int,
        receivers: int,
        stop: threading.Event,
        seen: Seen,
        left: Callable[[Sequence[Letter]], None],
        received: Callable[[Sequence[Letter]], None] = lambda letters: None,
        over_limit: Callable[[], None] = lambda: None,
        over: Callable[[], bool] = lambda: True,
    ) -> None:
        self._cloud, self._queue, self._hidden_s, self._stop = cloud, queue, hidden_s, stop
        self._seen, self._left, self._received = seen, left, received
        self._over_limit, self._over = over_limit, over
        self._ready: fifo.Queue[Batch] = fifo.Queue(maxsize=receivers)
        self._ended = threading.Event()  # there is no more to receive
        self._closed = threading.Event()  # nobody takes anything any more
        self._lock = threading.Lock()
        self._empty = self._repeats = 0
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._receive_until_done, name=f"receive-{number}", daemon=True)
            for number in range(receivers)
        ]

    def __iter__(self) -> Iterator[Batch]:
        for thread in self._threads:
            thread.start()
        try:
            while not self._stop.is_set():
                living = any(thread.is_alive() for thread in self._threads)
                try:
                    yield self._ready.get(timeout=_POLL_S)
                except fifo.Empty:
                    if not living:
                        break
                    yield Batch([], time.monotonic())
            if self._failure is not None:
                raise self._failure
        finally:
            self._close()

    def _close(self) -> None:
        self._ended.set()
        self._closed.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        left: list[Letter] = []
        with suppress(fifo.Empty):
            while True:
                left += self._ready.get_nowait().letters
        if left:
            self._left(left)

    def _receive_until_done(self) -> None:
        try:
            while not (self._ended.is_set() or self._stop.is_set()):
                asked = time.monotonic()
                new, repeated = self._receive()
                self._count(len(new), repeated)
                if new and not self._hand_over(Batch(new, asked)):
                    self._left(new)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that iterates
            self._failure = self._failure or error
            self._ended.set()

    def _hand_over(self, batch: Batch) -> bool:
        while not (self._closed.is_set() or self._stop.is_set()):
            with suppress(fifo.Full):
                self._ready.put(batch, timeout=_POLL_S)
                return True
        return False

    def _receive(self) -> tuple[list[Letter], int]:
        """The new messages of one receive, and how many came again."""
        letters = [read(message, self._queue) for message in self._ask()]
        if letters:
            self._received(letters)
        new = [letter for letter in letters if self._seen.add(letter.message_id)]
        return new, len(letters) - len(new)

    def _ask(self) -> Sequence[Any]:
        for _ in range(OVER_LIMIT_WAITS):
            try:
                answer = self._cloud.client("sqs", self._queue.region).receive_message(
                    QueueUrl=self._queue.url,
                    MaxNumberOfMessages=BATCH,
                    VisibilityTimeout=self._hidden_s,
                    WaitTimeSeconds=LONG_POLL_S,
                    MessageSystemAttributeNames=["All"],
                    MessageAttributeNames=["All"],
                )
            except ClientError as error:
                if error_code(error) not in _OVER_LIMIT:
                    raise
                self._over_limit()
                if self._stop.wait(OVER_LIMIT_WAIT_S):
                    break
                continue
            return answer.get("Messages", [])
        return []

    def _count(self, new: int, repeated: int) -> None:
        with self._lock:
            self._empty = 0 if new or repeated else self._empty + 1
            self._repeats = 0 if new else self._repeats + repeated
            empty = self._empty >= EMPTY_RECEIVES
            nothing_new = self._repeats > max(REPEATS, len(self._seen))
        if nothing_new or (empty and self._over()):
            self._ended.set()


def stream(
    cloud: Cloud,
    queue: DeadLetterQueue,
    *,
    hidden_s: int,
    limit: int,
    receivers: int = 8,
    stop: threading.Event,
) -> Iterator[list[Letter]]:
    """The messages of a queue, in batches of up to ten, each message once; at most ``limit`` (0: all of them).

    Give back what is not wanted when the stream has ended, not before: it would come again, and a stream that meets
    only messages that it has met before ends.

    Args:
        hidden_s: how long each message stays hidden from everybody else, unless it is given back.
        stop: set it, and the stream ends.

    Raises:
        ClientError | BotoCoreError: the queue could not be read.
    """
    given, first = 0, Seen()
    excess: list[str] = []

    def received(letters: Sequence[Letter]) -> None:
        # What comes again is handed out no more, and whoever has it has a receipt that is good for nothing.
        excess.extend(letter.receipt for letter in letters if not first.add(letter.message_id))

    left = functools.partial(give_back, cloud, queue)
    found = iter(
        Receivers(
            cloud,
            queue,
            hidden_s=hidden_s,
            receivers=receivers,
            stop=stop,
            seen=Seen(),
            left=left,
            received=received,
        )
    )
    try:
        for letters, _ in found:
            room = len(letters) if not limit else limit - given
            given += len(letters[:room])
            excess += [letter.receipt for letter in letters[room:]]
            if letters[:room]:
                yield letters[:room]
            if limit and given >= limit:
                return
    finally:
        found.close()  # type: ignore[attr-defined]
        release(cloud, queue, excess)


def give_back(cloud: Cloud, queue: DeadLetterQueue, letters: Sequence[Letter]) -> None:
    """Let everybody see the messages again, now. One that cannot be given back appears when its time runs out."""
    release(cloud, queue, [letter.receipt for letter in letters])


def release(cloud: Cloud, queue: DeadLetterQueue, receipts: Sequence[str]) -> None:
    """:func:`give_back`, of messages of which only the receipts were kept."""
    sqs = cloud.client("sqs", queue.region)

    def show(start: int) -> None:
        entries: list[Any] = [
            {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
            for number, receipt in enumerate(receipts[start : start + BATCH])
        ]
        with suppress(ClientError, BotoCoreError):
            sqs.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)

    each(range(0, len(receipts), BATCH), show, workers=8)


def _short(message_id: str) -> bytes:
    """A UUID's 16 bytes; what is none, as it is."""
    try:
        return bytes.fromhex(message_id.replace("-", ""))
    except ValueError:
        return message_id.encode()

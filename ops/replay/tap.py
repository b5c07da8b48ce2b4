"""Overhearing a replay: a queue that gets a copy of every event is drained while the replay goes on.

What always holds: of an event only its key (16 bytes) is kept, beside counts by minute and type; a message is deleted
once its key is, so that what a dead listener had not heard is heard by the next; a copy that comes twice counts once.
Of Atoll's own buses the key is the event's (``detail.event_key``); of any other bus it is the envelope's id, which a
replay keeps only within one delivery, so that these can be counted and not be compared.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from ops.aws import Cloud
from ops.replay.attempts import numbers_of
from ops.tablescan import Digests, digests_of

KEY_BYTES = 16
LISTENERS = 4
BATCH = 10
RETRY_S = 1.0
# So many empty answers in a row, of every listener, before the tap counts as dry.
DRY_ANSWERS = 3


class Tap:
    """Hears what a replay delivers, in threads of its own, from :meth:`start` to :meth:`stop`.

    Attributes
    ----------
    heard
        Number of a slice -> keys of its events.
    by_minute
        (minute of the event, type) -> how many different events.
    """

    def __init__(self, cloud: Cloud, region: str, queue_url: str, *, own: bool, wait_s: int) -> None:
        self._sqs: Any = cloud.client("sqs", region)
        self._url, self._own, self._wait_s = queue_url, own, wait_s
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._threads: list[threading.Thread] = []
        self._empty: dict[int, int] = {}  # empty answers in a row, of each listener
        self._empty_ever: dict[int, int] = {}
        self.heard: dict[int, set[bytes]] = {}
        self.by_minute: Counter[tuple[str, str]] = Counter()
        self.unreadable = 0
        self.problem = ""

    @property
    def count(self) -> int:
        """Different events so far."""
        with self._lock:
            return sum(map(len, self.heard.values()))

    def keys(self) -> Digests:
        """All keys so far, sorted, each once."""
        with self._lock:
            return digests_of(b"".join(key for keys in self.heard.values() for key in keys))

    def keys_of(self, number: int) -> bytes:
        """The keys of one slice, one after the other, in order."""
        with self._lock:
            return b"".join(sorted(self.heard.get(number, ())))

    def know(self, number: int, keys: bytes) -> None:
        """Take in what an earlier run has heard of a slice; counts by minute are its own."""
        with self._lock:
            known = self.heard.setdefault(number, set())
            known.update(keys[start : start + KEY_BYTES] for start in range(0, len(keys), KEY_BYTES))

    def start(self, listeners: int = LISTENERS) -> None:
        for number in range(listeners):
            thread = threading.Thread(target=self._listen, args=(number,), name=f"atoll-tap-{number}", daemon=True)
            self._empty[number] = self._empty_ever[number] = 0
            self._threads.append(thread)
            thread.start()

    def mark(self) -> tuple[int, ...]:
        """This moment, for :meth:`is_dry`."""
        return tuple(self._empty_ever.values())

    def is_dry(self, since: tuple[int, ...] = ()) -> bool:
        """Whether every listener has found nothing several times in a row, all of them after the moment ``since``.

        What was asked before that moment may have been answered without what came then.
        """
        if not all(count >= DRY_ANSWERS for count in self._empty.values()):
            return False
        return all(now - then > DRY_ANSWERS for now, then in zip(self._empty_ever.values(), since, strict=False))

    def await_dry(self, deadline_s: float) -> bool:
        """Wait until nothing more comes; False when the deadline passes first."""
        end = time.monotonic() + deadline_s
        for number in self._empty:
            self._empty[number] = 0
        while not self.is_dry():
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        return True

    def stop(self) -> None:
        """Stop listening, once the messages at hand are heard and deleted."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def take(self, bodies: Iterable[str]) -> None:
        """Hear these messages."""
        for body in bodies:
            found = _read(body, self._own)
            with self._lock:
                if found is None:
                    self.unreadable += 1
                    continue
                number, key, minute, kind = found
                keys = self.heard.setdefault(number, set())
                if key not in keys:
                    keys.add(key)
                    self.by_minute[minute, kind] += 1

    def _listen(self, number: int) -> None:
        while not self._stopping.is_set():
            try:
                messages = self._sqs.receive_message(
                    QueueUrl=self._url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=self._wait_s
                ).get("Messages", [])
                if messages:
                    self._empty[number] = 0
                    self.take(message["Body"] for message in messages)
                    entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
                    self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
                else:
                    self._empty[number] += 1
                    self._empty_ever[number] += 1
            except (ClientError, BotoCoreError) as error:
                # A new queue may not be known everywhere yet; what lasts is told with the proof.
                self.problem = str(error)
                self._stopping.wait(RETRY_S)
            else:
                self.problem = ""


def _read(body: str, own: bool) -> tuple[int, bytes, str, str] | None:
    """Slice, key, minute and type of a message; None when it is no replayed event."""
    try:
        envelope = orjson.loads(body)
        (number, _), time_ = numbers_of(envelope["replay-name"]), envelope["time"]
        if own:
            detail = envelope["detail"]
            key, kind = uuid.UUID(detail["event_key"]).bytes, str(detail["event"]["type"])
        else:
            key = blake2b(str(envelope["id"]).encode(), digest_size=KEY_BYTES).digest()
            kind = str(envelope["detail-type"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return number, key, f"{time_[:16]}:00Z", kind

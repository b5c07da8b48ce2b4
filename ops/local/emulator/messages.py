"""The messages of one standard queue, found by what they are asked for: the next visible, a receipt, the oldest.

Stands where the emulator keeps a list, and is used like one by those who add, walk or remove. What always holds: each
message added is visible, delayed or in flight until it is deleted, moved or expired; one receipt opens one message; and
adding, from whichever thread, loses nothing. Each step costs the logarithm of the depth at most.
"""

from __future__ import annotations

import hashlib
import heapq
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any

Message = dict[str, Any]
NUMBER = "number"  # the place of a message in its queue
SPARE = 1000


class Messages:
    """Thread-safe. A message is a dict with ``sent_at``, ``visible_at``, ``receive_count`` and ``receipt_handle``."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._lock = threading.RLock()
        self._numbers = count()
        self._all: dict[int, Message] = {}
        self._by_receipt: dict[str, int] = {}
        self._visible: set[int] = set()
        self._next: list[int] = []
        self._hidden: list[tuple[float, int]] = []
        self._delayed: set[int] = set()
        self._by_age: list[tuple[float, int]] = []
        for message in messages:
            self.append(message)

    def append(self, message: Message) -> None:
        """Add one, at the end."""
        with self._lock:
            number = message[NUMBER] = next(self._numbers)
            self._all[number] = message
            if message.get("receipt_handle"):
                self._by_receipt[message["receipt_handle"]] = number
            if not message.get("receive_count"):
                self._delayed.add(number)
            heapq.heappush(self._hidden, (message["visible_at"], number))
            heapq.heappush(self._by_age, (enqueued_s(message), number))

    def take(
        self, most: int, now_s: float, hidden_s: float, receipt: Callable[[], str], spent: Callable[[Message], bool]
    ) -> list[Message]:
        """Up to ``most`` of the oldest visible messages, which are hidden from now on for ``hidden_s``.

        Those that are ``spent`` (it has then taken them elsewhere) are removed instead.
        """
        taken: list[Message] = []
        with self._lock:
            self._show(now_s)
            while self._next and len(taken) < most:
                number = heapq.heappop(self._next)
                if number not in self._visible:
                    continue
                message = self._all[number]
                if spent(message):
                    self._drop(number)
                    continue
                self._visible.discard(number)
                self._by_receipt.pop(message.get("receipt_handle") or "", None)
                message["receipt_handle"] = receipt()
                message["receive_count"] += 1
                message["first_receive_at"] = message.get("first_receive_at") or now_s
                self._by_receipt[message["receipt_handle"]] = number
                self._hide(number, now_s + hidden_s)
                taken.append(message)
        return taken

    def delete(self, receipt: str) -> Message | None:
        """Remove the message that was last received with this receipt, if it is here."""
        with self._lock:
            number = self._by_receipt.get(receipt)
            return None if number is None else self._drop(number)

    def change_visibility(self, receipt: str, now_s: float, hidden_s: float) -> bool:
        """Whether a message in flight has this receipt; it is then hidden for ``hidden_s`` from now on."""
        with self._lock:
            self._show(now_s)
            number = self._by_receipt.get(receipt)
            if number is None or number in self._visible:
                return False
            self._hide(number, now_s + hidden_s)
            return True

    def expire(self, until_s: float) -> int:
        """Remove what was enqueued at that time or before; returns how many."""
        removed = 0
        with self._lock:
            while self._by_age and self._by_age[0][0] <= until_s:
                removed += self._drop(heapq.heappop(self._by_age)[1]) is not None
        return removed

    def counts(self, now_s: float) -> tuple[int, int, int]:
        """How many are visible, in flight, and delayed."""
        with self._lock:
            self._show(now_s)
            visible, delayed = len(self._visible), len(self._delayed)
            return visible, len(self._all) - visible - delayed, delayed

    def oldest_s(self) -> float | None:
        """When the oldest message was enqueued; None if there is none."""
        with self._lock:
            while self._by_age and self._by_age[0][1] not in self._all:
                heapq.heappop(self._by_age)
            return self._by_age[0][0] if self._by_age else None

    def remove(self, message: Message) -> None:
        """Remove this one.

        Raises:
            ValueError: it is not here.
        """
        with self._lock:
            if self._all.get(message.get(NUMBER, -1)) is not message:
                raise ValueError("the message is not in this queue")
            self._drop(message[NUMBER])

    def clear(self) -> None:
        """Remove all."""
        with self._lock:
            for number in list(self._all):
                self._drop(number)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Message]:
        """Those that are here now, oldest first."""
        with self._lock:
            return iter(list(self._all.values()))

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Message]:
        """What is stored of a queue is a plain list."""
        return [dict(message) for message in self]

    def _show(self, now_s: float) -> None:
        """Make visible what is due."""
        while self._hidden and self._hidden[0][0] <= now_s:
            visible_at, number = heapq.heappop(self._hidden)
            message = self._all.get(number)
            if message is not None and message["visible_at"] == visible_at and number not in self._visible:
                self._visible.add(number)
                self._delayed.discard(number)
                heapq.heappush(self._next, number)

    def _hide(self, number: int, until_s: float) -> None:
        self._all[number]["visible_at"] = until_s
        heapq.heappush(self._hidden, (until_s, number))

    def _drop(self, number: int) -> Message | None:
        message = self._all.pop(number, None)
        if message is not None:
            self._by_receipt.pop(message.get("receipt_handle") or "", None)
            self._visible.discard(number)
            self._delayed.discard(number)
            if len(self._by_age) + len(self._hidden) > 4 * len(self._all) + SPARE:
                self._compact()
        return message

    def _compact(self) -> None:
        """Forget the places of those that are gone, so that memory goes with the depth."""
        self._by_age = [one for one in self._by_age if one[1] in self._all]
        heapq.heapify(self._by_age)
        self._hidden = [
            (until_s, number)
            for until_s, number in self._hidden
            if number in self._all and number not in self._visible and self._all[number]["visible_at"] == until_s
        ]
        heapq.heapify(self._hidden)


def enqueued_s(message: Message) -> float:
    """When a message came into its queue, by which its retention counts: what the emulator moved says so."""
    return float(message["enqueued_at"] if "enqueued_at" in message else message["sent_at"])


def message_of(sqs: Any, queue: Message, body: str, attributes: Mapping[str, Any], sender: str) -> dict[str, Any]:
    """A message that a service of AWS sends to a queue."""
    now_s = time.time()
    return {
        "id": sqs.new_uuid(),
        "body": body,
        "md5_body": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "md5_attrs": sqs._md5_msg_attrs(attributes),
        "receipt_handle": None,
        "sent_at": now_s,
        "visible_at": now_s + sqs.queue_delay(queue),
        "receive_count": 0,
        "first_receive_at": None,
        "message_attributes": dict(attributes),
        "sys": {"SenderId": sender, "SentTimestamp": str(int(now_s * 1000))},
        "group_id": None,
        "dedup_id": None,
        "dedup_cache_key": None,
        "seq": None,
    }

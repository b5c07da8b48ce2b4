"""moto's queues, one call at a time: they are plain sets and lists, which several listeners would change under each
other's hands.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.sqs.models import SQSBackend

_CHANGES = (
    "send_message",
    "send_message_batch",
    "delete_message",
    "delete_message_batch",
    "change_message_visibility",
    "change_message_visibility_batch",
)
_LOOK_S = 0.01


@contextmanager
def one_call_at_a_time() -> Iterator[None]:
    """A receive that waits, waits between its looks, and keeps nobody else waiting."""
    lock = threading.RLock()
    receive = SQSBackend.receive_message

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with lock:
                return method(*args, **kwargs)

        return call

    def waiting(backend: SQSBackend, name: str, count: int, wait_s: int, *args: Any, **kwargs: Any) -> Any:
        deadline = time.monotonic() + int(wait_s)
        while True:
            with lock:
                found = receive(backend, name, count, 0, *args, **kwargs)
            if found or time.monotonic() >= deadline:
                return found
            time.sleep(_LOOK_S)

    before = {name: getattr(SQSBackend, name) for name in _CHANGES} | {"receive_message": receive}
    replaced = {name: locked(getattr(SQSBackend, name)) for name in _CHANGES} | {"receive_message": waiting}
    for name, method in replaced.items():
        setattr(SQSBackend, name, method)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(SQSBackend, name, method)

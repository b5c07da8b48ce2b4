"""How EventBridge brings an event to a rule's target: at once, again for as long as the retry policy allows, or buried.

A failure that waiting cannot mend (no permission, no such target) is buried without a retry; any other is tried again
with growing pauses until the policy's attempts or its age are used up. To bury is to send to the target's DLQ, or to
drop what has none. What always holds: each event taken ends as delivered or buried, once.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html

AWS spreads 185 attempts over a day; here the pauses end at ``MAX_PAUSE_S``, so that a laptop does not wait.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, TypeVar

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 5.0

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """Why a target did not take an event; ``code`` as EventBridge names it in a DLQ message."""

    code: str
    message: str
    retryable: bool = False


@dataclass(frozen=True)
class Policy:
    """A target's RetryPolicy; what it leaves out is as AWS has it by default."""

    max_attempts: int = 185
    max_age_s: int = 86400

    @classmethod
    def of(cls, target: Mapping[str, Any]) -> Policy:
        given = target.get("RetryPolicy") or {}
        return cls(
            int(given.get("MaximumRetryAttempts", cls.max_attempts)),
            int(given.get("MaximumEventAgeInSeconds", cls.max_age_s)),
        )


@dataclass(frozen=True)
class Burial:
    """The end of an event that could not be delivered. ``exhausted`` is what ran out, None if nothing was retried."""

    failure: Failure
    retries: int
    exhausted: str | None


@dataclass(order=True)
class _Waiting(Generic[T]):
    due_s: float
    number: int
    event: T = field(compare=False)
    policy: Policy = field(compare=False)
    taken_s: float = field(compare=False)
    retries: int = field(compare=False, default=0)


class Retries(Generic[T]):
    """Delivers events of any kind. Thread-safe; delivering and burying happen outside the lock."""

    def __init__(
        self,
        deliver: Callable[[T], Failure | None],
        bury: Callable[[T, Burial], None],
        clock: Callable[[], float],
    ) -> None:
        """``deliver`` answers None when the target took the event; ``clock`` is in seconds."""
        self._deliver = deliver
        self._bury = bury
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = count()
        self._waiting: list[_Waiting[T]] = []

    @property
    def waiting(self) -> int:
        """How many events wait for another attempt."""
        with self._lock:
            return len(self._waiting)

    def take(self, event: T, policy: Policy) -> None:
        """Try to deliver now; keep the event for later when that fails for a while."""
        now = self._clock()
        self._attempt(_Waiting(now, next(self._numbers), event, policy, now))

    def pump(self) -> int:
        """Try again what is due; returns how many attempts that were."""
        now, attempts = self._clock(), 0
        while (due := self._next(now)) is not None:
            due.retries += 1
            attempts += 1
            self._attempt(due)
        return attempts

    def _next(self, now: float) -> _Waiting[T] | None:
        with self._lock:
            if self._waiting and self._waiting[0].due_s <= now:
                return heapq.heappop(self._waiting)
            return None

    def _attempt(self, one: _Waiting[T]) -> None:
        failure = self._deliver(one.event)
        if failure is None:
            return
        if not failure.retryable:
            self._bury(one.event, Burial(failure, one.retries, None))
            return
        if one.retries >= one.policy.max_attempts:
            self._bury(one.event, Burial(failure, one.retries, "MaximumRetryAttempts"))
            return
        due_s = self._clock() + min(FIRST_PAUSE_S * 2**one.retries, MAX_PAUSE_S)
        if due_s - one.taken_s > one.policy.max_age_s:
            self._bury(one.event, Burial(failure, one.retries, "MaximumEventAgeInSeconds"))
            return
        one.due_s = due_s
        with self._lock:
            heapq.heappush(self._waiting, one)

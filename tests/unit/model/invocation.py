"""One invocation of a function, call by call: it can be killed, refused, left without an answer, or made to wait.

A fault strikes at one of the invocation's calls to AWS. Several invocations can be interleaved: each runs in a thread
of its own, one at a time, and the turn changes hands at calls alone, so that a schedule decides everything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from botocore.exceptions import ClientError, ReadTimeoutError

from handlers.core.settings import Settings

Kind = Literal["dies before", "dies after", "is refused", "gets no answer", "is sent twice"]


class KilledError(BaseException):
    """The function's process is gone: nothing in it can catch this."""


@dataclass(frozen=True)
class Fault:
    """What happens at the n-th call (from 1) that an invocation makes."""

    kind: Kind
    call: int


@dataclass
class Invocation:
    """One run of a handler in a region. ``answer`` is None when it was killed."""

    region: str
    settings: Settings
    environment: dict[str, str]
    run: Callable[[], Any]
    fault: Fault | None = None
    calls: int = 0
    answer: Any = None
    killed: bool = False
    pause: Callable[[], None] | None = None
    # Powertools' batch processor is one a process; two functions that run at a time are two processes.
    processor: BatchProcessor = field(
        default_factory=lambda: BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    )

    def finish(self) -> None:
        try:
            self.answer = self.run()
        except KilledError:
            self.killed = True

    def gate(self, operation: str, effect: Callable[[], Any]) -> Any:
        """Let one call through, or do to it what the fault says."""
        if self.pause is not None:
            self.pause()
        self.calls += 1
        if self.fault is None or self.fault.call != self.calls:
            return effect()
        match self.fault.kind:
            case "dies before":
                raise KilledError
            case "dies after":
                effect()
                raise KilledError
            case "is refused":
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, operation)
            case "gets no answer":
                effect()
                raise ReadTimeoutError(endpoint_url="https://aws.invalid")
            case "is sent twice":  # botocore had no answer to the first and tried again
                effect()
                return effect()


class _Strand(threading.Thread):
    """An invocation that runs only while it has the turn."""

    def __init__(self, invocation: Invocation) -> None:
        super().__init__(daemon=True)
        self.invocation = invocation
        self.over = False
        self.error: BaseException | None = None
        self._turn = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        invocation.pause = self._wait

    def _wait(self) -> None:
        self._back.release()
        self._turn.acquire()

    def run(self) -> None:
        self._turn.acquire()
        try:
            self.invocation.finish()
        except BaseException as error:  # noqa: BLE001 raised again where the schedule is played
            self.error = error
        self.over = True
        self._back.release()

    def step(self) -> None:
        """Up to the next call, or to the end."""
        self._turn.release()
        self._back.acquire()


def interleave(invocations: Sequence[Invocation], schedule: Sequence[int], enter: Callable[[Invocation], None]) -> None:
    """Run all to their end. Each number of the schedule is a turn for one of those that are not over yet."""
    strands = [_Strand(invocation) for invocation in invocations]
    for strand in strands:
        strand.start()
    turns = iter(schedule)
    while open_strands := [strand for strand in strands if not strand.over]:
        strand = open_strands[next(turns, 0) % len(open_strands)]
        enter(strand.invocation)
        strand.step()
    for strand in strands:
        strand.join()
        strand.invocation.pause = None
        if strand.error is not None:
            raise strand.error

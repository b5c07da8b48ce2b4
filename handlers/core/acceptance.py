"""Accepting events: claim in the ledger, publish on the bus, record the answer.

What always holds: an event is reported as accepted only after PutEvents accepted it; every event of a batch gets its
own outcome, in its place; events of one batch that share a key are settled by the ledger like those of two requests;
and nothing is started that the function may not live to finish (the rest is reported as not accepted, to be retried).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from handlers.core import timestamps
from handlers.core.bus import Bus, Entry, pack
from handlers.core.cloudevents import CloudEvent
from handlers.core.identity import event_key
from handlers.core.problem import ProblemError

if TYPE_CHECKING:
    from handlers.core.idempotency import Ledger

THREADS = 8
CHUNK = 100  # keys taken through claim, publish and record together; time is checked between chunks
ANSWER_FIELDS = ("event_key", "source", "id", "region", "accepted_at")
RESERVE_MS = 5000  # what finishing a chunk and writing the answer may still take; less in a function with little time

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event: an answer, or the problem."""

    answer: dict[str, Any] | None = None
    duplicate: bool = False
    problem: ProblemError | None = None

    @property
    def status(self) -> int:
        return 202 if self.problem is None else self.problem.status


@dataclass(slots=True)
class _Variant:
    """Equal events (one key, one payload) of a request, and where they stood in it."""

    key: str
    event: CloudEvent
    indices: list[int]
    claimed: bool = False
    outcome: Outcome = field(default_factory=Outcome)


@dataclass(frozen=True)
class Intake:
    """Everything that accepting needs; one for each request."""

    ledger: Ledger
    bus: Bus
    region: str
    tenant: str
    correlation_id: str
    trace_id: str
    trace_header: str
    remaining_ms: Callable[[], int]
    reserve_ms: int = RESERVE_MS
    now: Callable[[], datetime] = timestamps.now

    def accept(self, items: Sequence[CloudEvent | ProblemError]) -> list[Outcome]:
        """Accept events; one outcome for each item, in order. An item that is a problem already stays one."""
        outcomes = [Outcome(problem=item) if isinstance(item, ProblemError) else Outcome() for item in items]
        groups = iter(self._grouped(items))
        while chunk := list(islice(groups, CHUNK)):
            self._accept_chunk(chunk)
            for variant in (variant for group in chunk for variant in group):
                _spread(variant, outcomes)
        return outcomes

    def _grouped(self, items: Sequence[CloudEvent | ProblemError]) -> list[list[_Variant]]:
        """Events by key, and under a key by payload, both in order of appearance."""
        groups: dict[str, dict[str, _Variant]] = {}
        for index, item in enumerate(items):
            if isinstance(item, CloudEvent):
                key = event_key(self.tenant, item.source, item.id)
                variants = groups.setdefault(key, {})
                variants.setdefault(item.digest, _Variant(key, item, [])).indices.append(index)
        return [list(variants.values()) for variants in groups.values()]

    @staticmethod
    def reserve(remaining_ms: int) -> int:
        """The reserve for a request that starts with this much time."""
        return min(RESERVE_MS, remaining_ms * 2 // 5)

    def _has_time(self) -> bool:
        return self.remaining_ms() > self.reserve_ms

    def _accept_chunk(self, chunk: list[list[_Variant]]) -> None:
        self._each(self._claim, chunk)
        claimed = [variant for group in chunk for variant in group if variant.claimed]
        accepted_at = timestamps.format_ms(self.now())
        entries = [self._entry(variant, accepted_at) for variant in claimed]
        results: dict[str, ProblemError | None] = {}
        for published in self._each(lambda call: self.bus.publish(call, self._has_time), list(pack(entries))):
            results.update(published)
        for variant in claimed:
            problem = results[variant.key]
            answer = None if problem else self._answer(variant, accepted_at)
            variant.outcome = Outcome(answer=answer, problem=problem)
        self._each(self._settle, claimed)

    def _claim(self, group: list[_Variant]) -> None:
        # One after the other: the first payload to claim the key wins, and the ledger refuses the others.
        for variant in group:
            if not self._has_time():
                variant.outcome = Outcome(
                    problem=ProblemError("out-of-time", "There was no time left for this event; send it again.")
                )
                continue
            try:
                stored = self.ledger.claim(variant.key, variant.event.digest, self.remaining_ms())
            except ProblemError as problem:
                variant.outcome = Outcome(problem=problem)
                continue
            variant.claimed = stored is None
            if stored is not None:
                variant.outcome = Outcome(answer=_ordered(stored), duplicate=True)

    def _settle(self, variant: _Variant) -> None:
        if variant.outcome.problem is None:
            self.ledger.complete(variant.key, variant.event.digest, variant.outcome.answer or {})
        else:
            self.ledger.release(variant.key, variant.event.digest, variant.outcome.problem)

    def _answer(self, variant: _Variant, accepted_at: str) -> dict[str, Any]:
        return {
            "event_key": variant.key,
            "source": variant.event.source,
            "id": variant.event.id,
            "region": self.region,
            "accepted_at": accepted_at,
        }

    def _entry(self, variant: _Variant, accepted_at: str) -> Entry:
        envelope = {
            "event_key": variant.key,
            "tenant": self.tenant,
            "correlation_id": self.correlation_id,
            "trace_id": self.trace_id,
            "accepted_at": accepted_at,
            "accepted_region": self.region,
        }
        # The event's canonical text goes in as it is: it was measured and checked once.
        head = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
        detail = f'{head[:-1]},"event":{variant.event.text}}}'
        # EventBridge archives and replays by this time: it has to be when we accepted the event, not the event's own.
        moment = timestamps.parse(accepted_at)
        return Entry(
            event_key=variant.key,
            detail_type=variant.event.type,
            time=moment,
            detail=detail,
            trace_header=self.trace_header,
        )

    @staticmethod
    def _each(work: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        """Do the work for each item, in order of result; a single item needs no thread."""
        if len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(THREADS, len(items))) as pool:
            return list(pool.map(work, items))


def _ordered(stored: dict[str, Any]) -> dict[str, Any]:
    """The stored answer with its members in the order of the first one, so that both are the same bytes."""
    return {name: stored[name] for name in ANSWER_FIELDS}


def _spread(variant: _Variant, outcomes: list[Outcome]) -> None:
    first, *others = variant.indices
    outcomes[first] = variant.outcome
    for index in others:
        outcome = variant.outcome
        outcomes[index] = Outcome(outcome.answer, outcome.problem is None, outcome.problem)

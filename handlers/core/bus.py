"""Publishing to the event bus: entries are packed to what one PutEvents call takes, and what it refuses is retried.

Order is kept within and across calls, and every entry ends as accepted or as a ``ProblemError``: none is forgotten.
Limits (botocore's model of EventBridge, 2015-10-07): at most 10 entries and less than 1 MB in total a call; the size of
an entry is counted as the EventBridge user guide says, in UTF-8 bytes, plus 14 for a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from handlers.core.observability import error_code, logger
from handlers.core.problem import ProblemError

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "atoll.events"
MAX_ENTRIES = 10
MAX_CALL_BYTES = 1_000_000  # the smaller reading of "1MB"
_TIME_BYTES = 14
_ATTEMPTS = 5
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.8


@dataclass(frozen=True, slots=True)
class Entry:
    """One event on its way to the bus; ``detail`` is JSON text, ``trace_header`` what X-Ray follows it by."""

    event_key: str
    detail_type: str
    time: datetime
    detail: str
    trace_header: str

    @property
    def size_bytes(self) -> int:
        return _TIME_BYTES + len(SOURCE) + len(self.detail_type.encode()) + len(self.detail.encode())


def pack(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Split entries, in order, into the fewest calls that order allows. A single one always fits (256 KiB events)."""
    call: list[Entry] = []
    size = 0
    for entry in entries:
        if call and (len(call) == MAX_ENTRIES or size + entry.size_bytes >= MAX_CALL_BYTES):
            yield call
            call, size = [], 0
        call.append(entry)
        size += entry.size_bytes
    if call:
        yield call


@dataclass(frozen=True)
class Bus:
    """The event bus of this region."""

    client: EventBridgeClient
    name: str
    sleep: Callable[[float], None] = time.sleep

    def publish(self, call: Sequence[Entry], may_retry: Callable[[], bool]) -> dict[str, ProblemError | None]:
        """Put one packed call; retry what was refused, with growing random pauses, while ``may_retry``.

        Returns:
            A value an event key: None when accepted, else the problem.
        """
        results: dict[str, ProblemError | None] = {}
        pending = list(call)
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                if not may_retry():
                    break
                pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt)
                self.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 jitter, not a secret
            pending, reason = self._put(pending, results)
            if not pending:
                return results
        for entry in pending:
            logger.error("not published", event_key=entry.event_key, error=reason)
            results[entry.event_key] = ProblemError(
                "not-published", f"The event bus refused the event ({reason}); it was not accepted; retry with backoff."
            )
        return results

    def _put(self, pending: list[Entry], results: dict[str, ProblemError | None]) -> tuple[list[Entry], str]:
        """One call: note what was accepted, return what was not and why."""
        try:
            answers = self.client.put_events(Entries=[self._wire(entry) for entry in pending])["Entries"]
        except (ClientError, BotoCoreError) as error:
            # After a time-out the entries may be on the bus already: published twice, they still count once.
            return pending, error_code(error)
        refused: list[Entry] = []
        reason = ""
        for index, entry in enumerate(pending):
            answer = answers[index] if index < len(answers) else {"ErrorCode": "MissingAnswer"}
            if answer.get("EventId"):
                results[entry.event_key] = None
            else:
                refused.append(entry)
                reason = str(answer.get("ErrorCode") or "MissingEventId")
        return refused, reason

    def _wire(self, entry: Entry) -> PutEventsRequestEntryTypeDef:
        return {
            "EventBusName": self.name,
            "Source": SOURCE,
            "DetailType": entry.detail_type,
            "Time": entry.time,
            "Detail": entry.detail,
            "TraceHeader": entry.trace_header,
        }

"""Reading activity: how many events of each type happened in a window, every region's sets united.

Reads only the base table, so ``consistency=strong`` is honoured: in this region every counted event is then included.
Partitions (one an hour) are read in parallel and counted as they stream; a window that cannot be read in the time of
one request is refused, never answered in part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from handlers.core import activity, retention, timestamps
from handlers.core.parameters import Window
from handlers.core.problem import ProblemError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

THREADS = 8
RESERVE_MS = 2000  # to put the answer together
MINUTES_UP_TO = timedelta(hours=24)  # longer windows are answered by the hour
_HEX = "0123456789abcdef"

Counts = dict[tuple[str, str | None], int]


@dataclass(frozen=True)
class Reader:
    """Reads the activity of one tenant."""

    client: DynamoDBClient
    table: str
    tenant: str
    consistent: bool
    remaining_ms: Callable[[], int]

    def dated(self, window: Window, event_type: str | None) -> Counts:
        """Counts by type and minute of the events whose ``time`` lies in the window (whole minutes)."""
        partitions = [activity.hour_pk(self.tenant, hour) for hour in activity.hours_of(window.start, window.end)]
        lowest = timestamps.floor(window.start, timedelta(minutes=1))
        counts = self._read(partitions, event_type)
        return {
            (kind, minute): count
            for (kind, minute), count in counts.items()
            if minute is not None and lowest <= timestamps.parse(minute) < window.end
        }

    def undated(self, event_type: str | None) -> Counts:
        """Counts by type of the events that came without a ``time``."""
        partitions = [activity.undated_pk(self.tenant, high + low) for high in _HEX for low in _HEX]
        return self._read(partitions, event_type)

    def _read(self, partitions: Sequence[str], event_type: str | None) -> Counts:
        counts: Counter[tuple[str, str | None]] = Counter()
        with ThreadPoolExecutor(min(THREADS, len(partitions))) as pool:
            for found in pool.map(partial(self._partition, event_type), partitions):
                counts.update(found)
        return dict(sorted(counts.items(), key=lambda pair: (pair[0][0], pair[0][1] or "")))

    def _partition(self, event_type: str | None, pk: str) -> Counts:
        counts = activity.tally(self._items(pk, event_type))
        return {key: count for key, count in counts.items() if event_type in (None, key[0])}

    def _items(self, pk: str, event_type: str | None) -> Iterator[dict[str, Any]]:
        condition, values = "pk = :pk", {":pk": {"S": pk}}
        if event_type is not None:
            condition += " AND begins_with(sk, :prefix)"
            values[":prefix"] = {"S": f"{event_type}#"}
        request: dict[str, Any] = {
            "TableName": self.table,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": values,
            "ConsistentRead": self.consistent,
        }
        now_s = retention.now_s()
        while True:
            if self.remaining_ms() < RESERVE_MS:
                raise ProblemError(
                    "window-too-busy", "from, to: the window cannot be read in time; ask for a shorter one."
                )
            page = self.client.query(**request)
            yield from (item for item in page["Items"] if retention.lives(item, now_s))
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def by_type(counts: Counts, *, minutes: bool, hours: bool) -> list[dict[str, Any]]:
    """Counts as the API shows them: for each type its total, and its count an hour and a minute where asked."""
    types: dict[str, dict[str, Any]] = {}
    for (kind, minute), count in counts.items():
        entry = types.setdefault(kind, {"type": kind, "count": 0})
        entry["count"] += count
        if minute is None:
            continue
        if hours:
            by_hour = entry.setdefault("hours", {})
            hour = f"{minute[:13]}:00:00Z"
            by_hour[hour] = by_hour.get(hour, 0) + count
        if minutes:
            entry.setdefault("minutes", {})[minute] = count
    return list(types.values())

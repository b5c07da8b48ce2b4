"""Listing a tenant's events, newest first, over the days of a window.

The index holds one partition a day. A request reads a bounded number of pages and answers a bounded number of bytes;
what is left is behind the cursor, which is given even when fewer events than asked for were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from handlers.core import retention, table, timestamps
from handlers.core.cursor import Position

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

MAX_PAGES = 40  # more than the days of the longest window, so that an empty one takes one request
MAX_SCANNED = 10_000
MAX_ANSWER_BYTES = 2_500_000  # of events; quotes are escaped again on the way through Lambda, which carries 6 MB
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Page:
    """Event items, newest first, and the sort key that the next page stays below (None: there is no more)."""

    items: list[dict[str, Any]]
    below: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The events of one tenant, of one type or of all."""

    client: DynamoDBClient
    table: str
    tenant: str
    event_type: str | None

    def page(self, position: Position, limit: int) -> Page:
        """Read the next page."""
        start = timestamps.format_ms(position.start)
        below = position.below
        items: list[dict[str, Any]] = []
        scanned = size = 0
        now_s = retention.now_s()
        for _ in range(MAX_PAGES):
            day = _day_below(below)
            if day is None or below <= start or scanned >= MAX_SCANNED:
                break
            found = self._query(day, max(start, day), below, limit - len(items))
            for item in found["Items"]:
                below = item["gsi_sk"]["S"]
                if not retention.lives(item, now_s):
                    continue
                items.append(item)
                size += len(item["event"]["S"].encode())
                if len(items) == limit or size > MAX_ANSWER_BYTES:
                    return Page(items, below)
            scanned += found["ScannedCount"]
            last = found.get("LastEvaluatedKey")
            # Without a last key this day is done: go on below its midnight.
            below = last["gsi_sk"]["S"] if last else f"{day}T00:00:00.000Z"
        return Page(items, below if below > start else None)

    def _query(self, day: str, lowest: str, below: str, wanted: int) -> Any:
        values: dict[str, Any] = {
            ":partition": {"S": f"{self.tenant}#{day}"},
            ":lowest": {"S": lowest},
            # BETWEEN includes its upper end, and what lies at `below` was answered before.
            ":highest": {"S": _just_before(below)},
        }
        optional: dict[str, Any] = {"Limit": wanted}
        if self.event_type is not None:
            # DynamoDB limits what it reads, not what the filter lets through.
            values[":type"] = {"S": self.event_type}
            optional = {
                "FilterExpression": "#type = :type",
                "ExpressionAttributeNames": {"#type": "type"},
                "Limit": 1000,
            }
        return self.client.query(
            TableName=self.table,
            IndexName=table.TIME_INDEX,
            KeyConditionExpression="gsi_pk = :partition AND gsi_sk BETWEEN :lowest AND :highest",
            ExpressionAttributeValues=values,
            ScanIndexForward=False,
            **optional,
        )


def _day_below(below: str) -> str | None:
    """The day that holds the last moments before a sort key; None before the first day there is."""
    moment = timestamps.parse(below[:24])
    if "#" not in below and moment == timestamps.floor(moment, _DAY):
        try:
            moment -= _DAY
        except OverflowError:
            return None
    return timestamps.format_ms(moment)[:10]


def _just_before(below: str) -> str:
    """A text that every sort key before ``below`` lies under, and ``below`` itself over."""
    return below[:-1] + chr(ord(below[-1]) - 1) + "\x7f"

"""Reduces one segment of this region's replica to a sketch, in as many invocations as it takes.

1. The first invocation begins; each later one continues from what the one before left in the operations bucket.
2. Pages are read within a budget of read units a second, until the segment ends or the time does.
3. What was read is written as one object, sketch and position together, so that any invocation can be repeated.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from handlers.core.pages import CorruptPageError, Fetched, Pages, open_pages, position, start_key
from sketch import Layout, Sketch, implementation
from sketch.portion import Portion

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_s3.client import S3Client

# Of an invocation's time, for the page at hand, a pause before it and the writing of what was read.
RESERVE_S = 25.0
PATIENCE = 8  # refused calls in a row, each after botocore's own retries
LONGEST_PAUSE_S = 10.0
THROTTLED = {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "LimitExceeded"}
_PREFIX = re.compile(r"fleet/[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")


class OrderError(ValueError):
    """The invocation's event makes no sense; the message names the field."""


class NoCapacityError(Exception):
    """DynamoDB refused every call of this invocation."""


@dataclass(frozen=True)
class Order:
    """What is to be read, and how. ``read_units_per_s`` 0: as fast as DynamoDB answers. ``until``: epoch seconds after
    which nobody waits for it any more."""

    segment: int
    segments: int
    layout: Layout
    prefix: str
    read_units_per_s: float
    until: float
    lap: int

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Order:
        """Read an invocation's event.

        Raises:
            OrderError: a field is missing or wrong.
        """
        try:
            run, layout = event["run"], event["run"]["layout"]
            order = cls(
                segment=int(event["segment"]),
                segments=int(run["segments"]),
                layout=Layout(
                    names=tuple(layout["names"]),
                    ignore=tuple(layout["ignore"]),
                    only=None if layout["only"] is None else tuple(layout["only"]),
                    cells=int(layout["cells"]),
                ),
                prefix=str(run["prefix"]),
                read_units_per_s=float(run["read_units_per_s"]),
                until=float(run["until"]),
                lap=int(event["lap"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise OrderError(f"event: {type(error).__name__}: {error}") from error
        if not 0 <= order.segment < order.segments <= 1_000_000:
            raise OrderError(f"segment: {order.segment} is not one of {order.segments}")
        if not _PREFIX.fullmatch(order.prefix):
            raise OrderError(f"prefix: {order.prefix!r} is not below fleet/")
        if order.read_units_per_s < 0 or order.lap < 0:
            raise OrderError("read_units_per_s, lap: neither can be less than 0")
        return order

    def key(self, *, done: bool) -> str:
        """Where what was read is kept: finished segments are told from others by their names."""
        return f"{self.prefix}/{self.segment:06d}.{'done' if done else 'part'}"


@dataclass
class Reader:
    """Reads one segment. ``remaining_s`` is the time that the invocation has left."""

    dynamodb: DynamoDBClient
    s3: S3Client
    table: str
    bucket: str
    remaining_s: Callable[[], float]
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def run(self, order: Order) -> Portion:
        """Read on from where the segment stands, and write how far it came.

        Raises:
            NoCapacityError: not one page was to be had.
            TimeoutError: the run that asked for it is over.
        """
        if self.clock() >= order.until:
            raise TimeoutError(f"segment {order.segment}: the run was to be over by now")
        before = self._stored(order) if order.lap else None
        if before is not None and before.done:
            return before
        after = self._read(order, before)
        self.s3.put_object(Bucket=self.bucket, Key=order.key(done=after.done), Body=after.to_bytes())
        return after

    def _stored(self, order: Order) -> Portion:
        found = self.s3.get_object(Bucket=self.bucket, Key=order.key(done=False))["Body"].read()
        portion = Portion.from_bytes(found)
        if (portion.segment, portion.segments) != (order.segment, order.segments) or (
            portion.sketch.layout != order.layout
        ):
            raise OrderError(f"prefix: {order.key(done=False)} holds what another run read")
        return portion

    def _read(self, order: Order, before: Portion | None) -> Portion:
        sketch = before.sketch if before else Sketch(order.layout)
        where = before.position if before else None
        started, pages, size_bytes, units, throttles = self.clock(), 0, 0, 0.0, 0
        done, parsed = False, False
        with open_pages(self.dynamodb) as source:
            while not done and self.remaining_s() > RESERVE_S and self.clock() < order.until:
                fetched, refused = self._fetch(source, order, where)
                throttles += refused
                if fetched is None:
                    break
                found = _add(sketch, fetched)
                where, done = found.position, found.position is None
                pages, size_bytes, units = pages + 1, size_bytes + len(fetched.body), units + found.read_units
                parsed = parsed or not fetched.body
                if not done and order.read_units_per_s:
                    # Behind its budget, it waits; never longer than the invocation lasts.
                    ahead_s = units / order.read_units_per_s - (self.clock() - started)
                    self._pause(min(max(0.0, ahead_s), self.remaining_s() - RESERVE_S))
        if not pages and not done:
            raise NoCapacityError(
                f"segment {order.segment}: {self.table} gave not one page, as {throttles} calls in a row were "
                "throttled or came damaged: ask for fewer units a second (-p read_units_per_s=), or give the table more"
            )
        slow = parsed or implementation() == "reference" or (before and before.implementation == "reference")
        return Portion(
            segment=order.segment,
            segments=order.segments,
            done=done,
            position=where,
            pages=pages + (before.pages if before else 0),
            size_bytes=size_bytes + (before.size_bytes if before else 0),
            read_units=units + (before.read_units if before else 0.0),
            throttles=throttles + (before.throttles if before else 0),
            laps=(before.laps if before else 0) + 1,
            started=before.started if before else started,
            duration_s=self.clock() - started + (before.duration_s if before else 0.0),
            implementation="reference" if slow else "native",
            sketch=sketch,
        )

    def _fetch(self, source: Pages, order: Order, where: bytes | None) -> tuple[Fetched | None, int]:
        """A page, and how often it was refused before; None when patience or time ran out."""
        parameters: dict[str, Any] = {"ExclusiveStartKey": start_key(where)} if where else {}
        for refused in range(PATIENCE):
            try:
                return source.fetch(
                    TableName=self.table,
                    Segment=order.segment,
                    TotalSegments=order.segments,
                    ReturnConsumedCapacity="TOTAL",
                    **parameters,
                ), refused
            except CorruptPageError:
                continue
            except ClientError as error:
                if error.response["Error"]["Code"] not in THROTTLED:
                    raise
            pause = random.uniform(0.5, 1.0) * min(2.0**refused, LONGEST_PAUSE_S)  # noqa: S311 (jitter)
            if self.remaining_s() - pause <= RESERVE_S:
                return None, refused + 1
            self._pause(pause)
        return None, PATIENCE

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self.sleep(seconds)


@dataclass(frozen=True)
class _Added:
    position: bytes | None
    read_units: float


def _add(sketch: Sketch, fetched: Fetched) -> _Added:
    if fetched.body:
        page = sketch.add_page(fetched.body)
        return _Added(page.last_key, page.read_units)
    for item in fetched.answer["Items"]:
        sketch.add_item(item)
    last = fetched.answer.get("LastEvaluatedKey")
    return _Added(position(last) if last else None, fetched.answer["ConsumedCapacity"]["CapacityUnits"])

"""The sketch of a set of items: a few megabytes that add up, subtract, and give back what two sets do not share.

Sketches are linear: the sketch of two sets is the sum of theirs, in any order and from any machine, and the difference
of two replicas' sketches holds only what differs. ``peel`` gives that back while it fits, and says when it does not.
An independent checksum (count and sum of digests, ``docs/canonical-digest.md``) must come out at nothing as well
before a difference counts as taken apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sketch import serialization
from sketch.backend import read
from sketch.canonical import Checksum, MalformedItemError, item_digest, key_digest
from sketch.keys import pack, unpack
from sketch.layout import POSITIONS, Element, Layout, Page, Peeled
from sketch.problems import error
from sketch.reference import Kind, Outcome
from sketch.table import Record, Table

# An item has up to 400 KB; as JSON, with every character escaped, some six times that, and an export line has two.
MAX_LINE_BYTES = 16 << 20
# A Scan response has about 1.5 MB; lengths in the native core are 32-bit.
MAX_TEXT_BYTES = 1 << 28


class Sketch:
    """Not to be changed by two threads at a time. The native core releases the interpreter lock while it reads.

    Attributes
    ----------
    items
        How many items were added (less those subtracted).
    checksum
        Of the items' digests.
    """

    __slots__ = ("_part", "_table", "checksum", "items", "layout")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.items = 0
        self.checksum = Checksum()
        self._table = Table(layout.third)
        self._part = b""

    # --- adding --------------------------------------------------------------------------------------------------

    def add_page(self, body: bytes | bytearray | memoryview) -> Page:
        """Add the items of a Scan response as it came off the wire: all of them or, when it is malformed, none.

        Raises:
            MalformedItemError: with what is wrong, and at which byte.
        """
        outcome = self._read(Kind.PAGE, body, "page")
        view = memoryview(body)
        has_key, has_units = outcome.key_start >= 0, outcome.units_start >= 0
        return Page(
            items=outcome.items,
            scanned=outcome.scanned if outcome.scanned >= 0 else outcome.items,
            last_key=bytes(view[outcome.key_start : outcome.key_end]) if has_key else None,
            read_units=float(bytes(view[outcome.units_start : outcome.units_end])) if has_units else 0.0,
        )

    def add_item(self, item: Mapping[str, Any]) -> None:
        """Add one item in DynamoDB JSON, binary as bytes or as base64 text."""
        layout = self.layout
        record = Record(
            item_digest({name: value for name, value in item.items() if layout.counts(name)}),
            key_digest(item, layout.names),
            pack(item, layout.names),
        )
        self._table.add(record)
        self._count(1, int.from_bytes(record.item_digest, "big"))

    def add_lines(self, chunk: bytes, *, last: bool = False) -> int:
        """Add lines of an export in DYNAMODB_JSON. A line cut short at the end waits for the next chunk.

        Args:
            last: nothing follows, so the last line need not end.

        Returns:
            How many items were added.

        Raises:
            MalformedItemError: the chunk left no trace, and what waited still waits.
        """
        return self._lines(Kind.LINES, chunk, last)

    def add_ion(self, chunk: bytes, *, last: bool = False) -> int:
        """Add lines of an export in Amazon Ion text; otherwise as ``add_lines``."""
        return self._lines(Kind.ION, chunk, last)

    def add_changes(self, chunk: bytes, *, last: bool = False) -> int:
        """Add lines of an incremental export, in either format; otherwise as ``add_lines``.

        An element is a key with the image that it was left with, or with the fact that it was deleted.
        """
        is_ion = (self._part + chunk[:64]).lstrip()[:1] == b"$"
        return self._lines(Kind.ION_CHANGES if is_ion else Kind.CHANGES, chunk, last)

    def _lines(self, kind: Kind, chunk: bytes, last: bool) -> int:
        text = self._part + chunk if self._part else chunk
        end = len(text) if last else text.rfind(b"\n") + 1
        if len(text) - end > MAX_LINE_BYTES:
            raise MalformedItemError(f"export lines: a line of more than {MAX_LINE_BYTES:,} bytes")
        items = self._read(kind, memoryview(text)[:end], "export lines").items if end else 0
        self._part = text[end:]
        return items

    def _read(self, kind: Kind, body: bytes | bytearray | memoryview, what: str) -> Outcome:
        if len(body) > MAX_TEXT_BYTES:
            raise MalformedItemError(f"{what}: {len(body):,} bytes at once; at most {MAX_TEXT_BYTES:,} are taken")
        outcome = read(kind, body, self.layout, self._table)
        if outcome.problem:
            raise error(outcome.problem, outcome.at, memoryview(body), what)
        self._count(outcome.items, int.from_bytes(outcome.total, "big"))
        return outcome

    def _count(self, items: int, total: int) -> None:
        self.items += items
        self.checksum += Checksum(items, total)

    # --- arithmetic ----------------------------------------------------------------------------------------------

    def copy(self) -> Sketch:
        self._whole()
        twin = Sketch.__new__(Sketch)
        twin.layout, twin.items, twin.checksum, twin._part = self.layout, self.items, self.checksum, b""
        twin._table = self._table.copy()
        return twin

    def __iadd__(self, other: Sketch) -> Sketch:
        return self._merge(other, 1)

    def __isub__(self, other: Sketch) -> Sketch:
        return self._merge(other, -1)

    def __add__(self, other: Sketch) -> Sketch:
        return self.copy()._merge(other, 1)

    def __sub__(self, other: Sketch) -> Sketch:
        return self.copy()._merge(other, -1)

    def _merge(self, other: Sketch, sign: int) -> Sketch:
        if self.layout != other.layout:
            raise ValueError(f"sketches of different layouts: {self.layout} and {other.layout}")
        self._whole()
        other._whole()
        self._table.merge(other._table, sign)
        self.items += sign * other.items
        self.checksum = self.checksum + other.checksum if sign > 0 else self.checksum - other.checksum
        return self

    def _whole(self) -> None:
        if self._part:
            raise ValueError(f"sketch: {len(self._part):,} bytes of a line wait for the rest; pass last=True")

    @property
    def empty(self) -> bool:
        """Whether nothing is in it, or nothing is left: as many items were subtracted as added, and the same."""
        return self.items == 0 and self.checksum == Checksum() and self._table.empty

    # --- taking apart --------------------------------------------------------------------------------------------

    def peel(self) -> Peeled:
        """Take a difference apart; the sketch stays as it is.

        What is given back is never wrong: each element passed the check of its cell, and the digest of its key was
        computed again. It is ``complete`` only if nothing whatever is left, in the cells and in the checksum.
        """
        rest = self.copy()
        table, elements = rest._table, []
        waiting = [position for position, count in enumerate(table.counts) if count in (1, -1)]
        # Each element leaves by one cell and makes at most two more worth a look; a bound holds if cells were corrupt.
        for _ in range(POSITIONS * len(table.counts)):
            if not waiting:
                break
            position = waiting.pop()
            record = table.pure(position)
            if record is None or not self._true(record):
                continue
            count = table.counts[position]
            table.add(record, -count)
            rest._count(-count, -count * int.from_bytes(record.item_digest, "big"))
            elements.append(Element(count, record.key_digest, record.item_digest, record.key))
            waiting.extend(p for p in table.positions(record.item_digest) if table.counts[p] in (1, -1))
        complete = rest.empty
        return Peeled(tuple(elements), complete, None if complete else rest)

    def _true(self, record: Record) -> bool:
        """Whether the key that a cell gave back is the one that its digest is of."""
        if record.key is None:
            return True
        try:
            return key_digest(unpack(record.key, self.layout.names), self.layout.names) == record.key_digest
        except ValueError:
            return False

    def estimate(self) -> int:
        """About how many elements a difference holds, whether it peels or not; an item that changed is two."""
        return round(self._table.spread())

    # --- bytes ---------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The sketch as bytes, versioned and checksummed; small when little is in it."""
        self._whole()
        return serialization.to_bytes(self.layout, self.checksum, self._table)

    @classmethod
    def from_bytes(cls, raw: bytes | bytearray | memoryview) -> Sketch:
        """The sketch that ``to_bytes`` wrote.

        Raises:
            ValueError: it is not whole, or of another version; says which.
        """
        sketch = cls.__new__(cls)
        sketch.layout, sketch.checksum, sketch._table = serialization.from_bytes(bytes(raw))
        sketch.items, sketch._part = sketch.checksum.count, b""
        return sketch

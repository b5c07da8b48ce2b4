"""The invertible Bloom lookup table: cells that elements are added to, and that give the elements back.

After Eppstein, Goodrich, Uyeda and Varghese, "What's the Difference?" (SIGCOMM 2011). An element is a pair of digests
and a key. It is in three cells, one of each third of the table, at positions that follow from its item digest. A cell
holds the number of its elements and the exclusive or of everything else, so that tables add up and subtract in any
order, and what is equal on both sides cancels. A cell that holds one element gives it back (it is *pure*); taking that
element out of its other cells makes further ones pure. Cell layout and vectors: docs/sketch.md.
"""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from sketch.layout import POSITIONS

KEY_BYTES = 96
# Item digest, key digest, check, key. The count is kept apart, so that all of this is one exclusive or.
CELL_BYTES = 16 + 16 + 8 + KEY_BYTES
KEY_FITS = KEY_BYTES - 1
_TOO_LONG = 255
_MASK = (1 << 64) - 1


class Record(NamedTuple):
    """An element as a cell holds it."""

    item_digest: bytes
    key_digest: bytes
    key: bytes | None

    def payload(self) -> bytes:
        check = check_of(self.item_digest, self.key_digest).to_bytes(8, "little")
        return self.item_digest + self.key_digest + check + key_field(self.key)


def key_field(key: bytes | None) -> bytes:
    """A key as a cell has it: its length in one byte, and its bytes; 255 and nothing when it does not fit."""
    if key is None or len(key) > KEY_FITS:
        return bytes([_TOO_LONG]) + bytes(KEY_FITS)
    return bytes([len(key)]) + key.ljust(KEY_FITS, b"\0")


def _mix(x: int) -> int:
    """A bijection of 64-bit words that is far from linear (the finalizer of splitmix64)."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def check_of(item_digest: bytes, key_digest: bytes) -> int:
    """What tells one element from the exclusive or of several: a nonlinear function of both digests."""
    x = 0x9E3779B97F4A7C15
    for raw in (key_digest[8:], key_digest[:8], item_digest[8:], item_digest[:8]):
        x = _mix((x + int.from_bytes(raw, "little")) & _MASK)
    return x


class Table:
    """Counts and cells. ``counts`` and ``cells`` are handed to the native core, which writes to them in place."""

    __slots__ = ("cells", "counts", "third")

    def __init__(self, third: int) -> None:
        self.third = third
        self.counts = array("q", bytes(8 * POSITIONS * third))
        self.cells = bytearray(CELL_BYTES * POSITIONS * third)

    def positions(self, item_digest: bytes) -> Iterator[int]:
        """The three cells of an element: a 32-bit word of its digest each, scaled to a third of the table."""
        for part in range(POSITIONS):
            word = int.from_bytes(item_digest[4 * part : 4 * part + 4], "little")
            yield part * self.third + (word * self.third >> 32)

    def add(self, record: Record, count: int = 1) -> None:
        payload = int.from_bytes(record.payload(), "little")
        cells, counts = self.cells, self.counts
        for position in self.positions(record.item_digest):
            counts[position] += count
            at = position * CELL_BYTES
            mixed = int.from_bytes(cells[at : at + CELL_BYTES], "little") ^ payload
            cells[at : at + CELL_BYTES] = mixed.to_bytes(CELL_BYTES, "little")

    def merge(self, other: Table, sign: int) -> None:
        """Add (``sign`` 1) or subtract (-1) a whole table."""
        combine = operator.add if sign > 0 else operator.sub
        self.counts[:] = array("q", map(combine, self.counts, other.counts))
        mixed = int.from_bytes(self.cells, "little") ^ int.from_bytes(other.cells, "little")
        self.cells[:] = mixed.to_bytes(len(self.cells), "little")

    def copy(self) -> Table:
        twin = Table.__new__(Table)
        twin.third, twin.counts, twin.cells = self.third, self.counts[:], self.cells[:]
        return twin

    @property
    def empty(self) -> bool:
        return not any(self.counts) and self.cells.count(0) == len(self.cells)

    def pure(self, position: int) -> Record | None:
        """The element of a cell that looks as if it held one, by its count, its check and its own position."""
        if self.counts[position] not in (1, -1):
            return None
        at = position * CELL_BYTES
        cell = bytes(self.cells[at : at + CELL_BYTES])
        item_digest, key_digest, field = cell[:16], cell[16:32], cell[40:]
        if int.from_bytes(cell[32:40], "little") != check_of(item_digest, key_digest):
            return None
        if position not in self.positions(item_digest):
            return None
        length = field[0]
        key = None if length == _TOO_LONG else field[1 : 1 + length]
        return Record(item_digest, key_digest, key) if key_field(key) == field else None

    def spread(self) -> float:
        """About how many elements the table holds, from how far its counts scatter; no matter how many they are.

        In one third of the table each element adds its sign to one of ``m`` cells, so the sum of the squared
        distances of the counts from their mean is the number of elements less one m-th, on average: the second moment
        of Alon, Matias and Szegedy (STOC 1996). Its relative error is about ``sqrt((2 + m / n) / 3 m)`` for n elements.
        """
        total = 0.0
        for part in range(POSITIONS):
            counts = self.counts[part * self.third : (part + 1) * self.third]
            total += sum(count * count for count in counts) - sum(counts) ** 2 / self.third
        return total / POSITIONS / (1 - 1 / self.third) if self.third > 1 else abs(float(sum(self.counts))) / POSITIONS

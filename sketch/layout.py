"""What sketches must have in common to be subtracted, and the plain records that go in and out of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sketch.sketch import Sketch

# Each element is in three cells, one of each third of the table.
POSITIONS = 3
MAX_CELLS = 1 << 28


@dataclass(frozen=True)
class Layout:
    """How items are reduced. Two sketches can be added and subtracted only if their layouts are equal.

    Attributes
    ----------
    names
        The key attributes, partition key first. They always count.
    ignore
        Other top-level attributes that do not count.
    only
        When given, the only other top-level attributes that count (less ``ignore``).
    cells
        Size of the table, made a multiple of three: 144 bytes each. Up to about 80 % as many differing elements are
        found; an item that changed is two elements. Tables below about 1,000 cells should be given twice the room.
    """

    names: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    cells: int = 16_384

    def __post_init__(self) -> None:
        for field in ("names", "ignore", "only"):
            value = getattr(self, field)
            if value is not None and (isinstance(value, str) or not all(isinstance(name, str) for name in value)):
                raise ValueError(f"layout: {field} holds attribute names, found {value!r}")
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"layout: names holds the key attributes, each once, found {self.names!r}")
        if not 3 <= self.cells <= MAX_CELLS:
            raise ValueError(f"layout: cells is from 3 to {MAX_CELLS:,}, found {self.cells:,}")
        object.__setattr__(self, "names", tuple(self.names))
        # What is asked for in another order is the same.
        object.__setattr__(self, "ignore", tuple(sorted(set(self.ignore) - set(self.names))))
        if self.only is not None:
            object.__setattr__(self, "only", tuple(sorted(set(self.only) - set(self.names) - set(self.ignore))))
        object.__setattr__(self, "cells", self.third * POSITIONS)

    @property
    def third(self) -> int:
        """How many cells one third of the table has."""
        return -(-self.cells // POSITIONS)

    def counts(self, name: str) -> bool:
        """Whether a top-level attribute reaches the item digest."""
        if name in self.names:
            return True
        return name not in self.ignore and (self.only is None or name in self.only)

    @cached_property
    def packed(self) -> bytes:
        """The names as bytes, for the native core and for serialization: see docs/sketch.md."""
        only = b"\xff\xff\xff\xff" if self.only is None else _listed(self.only)
        return _listed(self.names) + _listed(self.ignore) + only


def _listed(names: Collection[str]) -> bytes:
    return len(names).to_bytes(4, "little") + b"".join(_sized(names))


def _sized(names: Iterable[str]) -> Iterable[bytes]:
    for name in names:
        raw = name.encode("utf-8", "surrogatepass")
        yield len(raw).to_bytes(4, "little") + raw


@dataclass(frozen=True)
class Page:
    """What a Scan response says beside its items.

    Attributes
    ----------
    last_key
        ``LastEvaluatedKey`` as it came, to be sent back as ``ExclusiveStartKey``; None on the last page.
    read_units
        Consumed capacity; 0 where it was not asked for.
    """

    items: int
    scanned: int
    last_key: bytes | None
    read_units: float


@dataclass(frozen=True)
class Element:
    """One item version that one side has more than the other.

    Attributes
    ----------
    count
        +1: the minuend has it, -1: the subtrahend.
    key
        Packed by ``sketch.keys``; None when it was too long for a cell.
    """

    count: int
    key_digest: bytes
    item_digest: bytes
    key: bytes | None


@dataclass(frozen=True)
class Peeled:
    """What a difference holds. ``rest`` is what could not be taken apart; None when ``complete``."""

    elements: tuple[Element, ...]
    complete: bool
    rest: Sketch | None

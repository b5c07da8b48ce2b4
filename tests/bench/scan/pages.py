"""Scan pages of a table of any size, at next to no cost: one page is rendered, and a page number is patched into it.

All items of a page have the same length, so a page is a table of bytes, and its number, which is part of every item's
key, is written down a column of it. A CRC-32 is linear: that of a page is the template's, combined with what each digit
of the page's number adds to it, so no page is summed up whole. A page ends at 1 MB as DynamoDB counts items, which is
about 1.5 MB of JSON. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html

Every region but the first writes attributes, nested attributes and set members in another order than the first.
"""

from __future__ import annotations

import base64
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

PER_PAGE = 2_400
DIGITS = 6  # hexadecimal, of a page's number: 16 million pages
_MARK = "@" * DIGITS
_ORDERS = 4
_HEX = b"0123456789abcdef"


@dataclass
class Buffer:
    """A page template of one connection's own, to patch and to send from."""

    rows: bytearray
    numbered: list[Any] = field(repr=False)  # views on the bytes that hold the page's number


class Template:
    """The page of one region, without what surrounds the items; of their keys alone if ``keys_only``."""

    def __init__(self, region: int, per_page: int, *, keys_only: bool = False) -> None:
        self.per_page = per_page
        rendered = [orjson.dumps(key_of(_MARK, slot)) if keys_only else _row(slot, region) for slot in range(per_page)]
        self.width = len(rendered[0]) + 1
        if {len(row) for row in rendered} != {self.width - 1}:
            raise ValueError("the items of a page differ in length")
        self._places = [[(order, at) for at in _found(rendered[order])] for order in range(min(_ORDERS, per_page))]
        self._rows = b",".join(rendered) + b","
        self._crcs: dict[bytes, int] = {}
        zero = self._crc(0, 0)
        self._adds = [[self._crc(place, digit) ^ zero for digit in range(16)] for place in range(DIGITS)]

    def buffer(self) -> Buffer:
        rows = bytearray(self._rows)
        table = np.frombuffer(rows, dtype=np.uint8).reshape(self.per_page, self.width)
        views = [table[order::_ORDERS, at : at + DIGITS] for places in self._places for order, at in places]
        return Buffer(rows, views)

    def page(self, buffer: Buffer, number: int) -> memoryview:
        """The items of one page, with commas between them; valid until the buffer's next page."""
        digits = np.frombuffer(f"{number:0{DIGITS}x}".encode(), dtype=np.uint8)
        for view in buffer.numbered:
            view[:] = digits
        return memoryview(buffer.rows)[: len(buffer.rows) - 1]

    def crc(self, prefix: bytes, number: int) -> int:
        """Of ``prefix`` and a whole page after it."""
        crc = self._crc_after(prefix)
        for place, digit in enumerate(f"{number:0{DIGITS}x}"):
            crc ^= self._adds[place][int(digit, 16)]
        return crc

    def item(self, number: int, slot: int) -> bytes:
        """One item, as its page has it."""
        row = self._rows[slot * self.width : (slot + 1) * self.width - 1]
        return row.replace(_MARK.encode(), f"{number:0{DIGITS}x}".encode())

    def _crc_after(self, prefix: bytes) -> int:
        if (found := self._crcs.get(prefix)) is None:
            found = self._crcs[prefix] = zlib.crc32(self._numbered(0, 0), zlib.crc32(prefix))
        return found

    def _crc(self, place: int, digit: int) -> int:
        return zlib.crc32(self._numbered(place, digit))

    def _numbered(self, place: int, digit: int) -> bytes:
        number = bytearray(b"0" * DIGITS)
        number[place] = _HEX[digit]
        return self._rows[:-1].replace(_MARK.encode(), bytes(number))


def key_of(page: int | str, slot: int) -> dict[str, Any]:
    """The key of a rendered item."""
    number = page if isinstance(page, str) else f"{page:0{DIGITS}x}"
    return {"pk": {"S": f"EVENT#{number}{slot:04x}"}, "sk": {"S": "EVENT"}}


def place_of(key: dict[str, Any]) -> tuple[int, int] | None:
    """Page and slot of a rendered item's key; None: it is no such key."""
    text = key["pk"].get("S", "")
    if len(text) != 10 + DIGITS or key["sk"] != {"S": "EVENT"}:
        return None
    return int(text[6 : 6 + DIGITS], 16), int(text[6 + DIGITS :], 16)


def _found(row: bytes) -> Iterator[int]:
    """Where a page's number goes."""
    mark, at = _MARK.encode(), 0
    while (at := row.find(mark, at)) >= 0:
        yield at
        at += len(mark)


def _row(slot: int, region: int) -> bytes:
    """One item, of a length that does not depend on slot or region."""
    rng = random.Random(slot)
    shuffled = random.Random(region * _ORDERS + slot % _ORDERS) if region else None

    def order(parts: list[Any]) -> list[Any]:
        if shuffled is not None:
            shuffled.shuffle(parts)
        return parts

    event = [
        ("id", {"S": f"{_MARK}{slot:04x}{rng.getrandbits(88):022x}"}),
        ("data", {"S": f"{rng.getrandbits(256):064x}"}),
        ("lines", {"L": [{"N": str(rng.randrange(10, 100))}, {"S": "é"}, {"NULL": True}]}),
    ]
    item = [
        *key_of(_MARK, slot).items(),
        ("version", {"N": str(rng.randrange(2, 9))}),
        ("written_region", {"S": "us-east-1"}),
        ("written_at", {"S": f"2026-11-20T10:{rng.randrange(10, 60)}:{rng.randrange(10, 60)}.123Z"}),
        ("amount", {"N": f"{rng.randrange(10**5, 10**6)}.{rng.randrange(1, 10)}"}),
        ("live", {"BOOL": True}),
        ("tags", {"SS": order([f"tag-{tag:03}" for tag in rng.sample(range(1000), 3)])}),
        ("sizes", {"NS": order([str(size) for size in rng.sample(range(100, 1000), 3)])}),
        ("raw", {"B": base64.b64encode(rng.randbytes(12)).decode()}),
        ("subject", {"S": f"order {rng.randrange(10**6):06}"}),
        ("event", {"M": dict(order(event))}),
        ("expires_at", {"N": str(4_102_444_800 + slot)}),
    ]
    return orjson.dumps(dict(order(item)))

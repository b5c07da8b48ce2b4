"""Sketches as bytes: little-endian throughout, versioned, checksummed. Specified in docs/sketch.md.

Only cells that are not zero are written when that is shorter, so that the sketch of a difference, or of a small
segment, is small.
"""

from __future__ import annotations

import struct
import sys
from array import array
from hashlib import blake2b

from sketch.canonical import DIGEST_BYTES, MODULUS, Checksum
from sketch.layout import MAX_CELLS, POSITIONS, Layout
from sketch.table import CELL_BYTES, Table

MAGIC = b"ATSK"
VERSION = 1
_PERSON = b"atoll.sketch.v1"
_DENSE, _SPARSE = 0, 1
# Magic, version, flags, length of the layout, cells, items, sum of digests, cells written.
_HEADER = struct.Struct("<4sHHIQq16sQ")
_ENTRY = struct.Struct(f"<Qq{CELL_BYTES}s")
_MAX_LAYOUT = 1 << 24


def to_bytes(layout: Layout, checksum: Checksum, table: Table) -> bytes:
    cell, empty = CELL_BYTES, bytes(CELL_BYTES)
    used = [p for p, count in enumerate(table.counts) if count or table.cells[p * cell : (p + 1) * cell] != empty]
    sparse = len(used) * _ENTRY.size < len(table.counts) * (8 + CELL_BYTES)
    if sparse:
        cells = [table.cells[p * CELL_BYTES : (p + 1) * CELL_BYTES] for p in used]
        body = b"".join(_ENTRY.pack(p, table.counts[p], cell) for p, cell in zip(used, cells, strict=True))
    else:
        body = _little(table.counts).tobytes() + table.cells
    total = checksum.total.to_bytes(DIGEST_BYTES, "big")
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        _SPARSE if sparse else _DENSE,
        len(layout.packed),
        len(table.counts),
        checksum.count,
        total,
        len(used) if sparse else len(table.counts),
    )
    raw = header + layout.packed + body
    return raw + _seal(raw)


def from_bytes(raw: bytes) -> tuple[Layout, Checksum, Table]:
    if len(raw) < _HEADER.size + DIGEST_BYTES or raw[:4] != MAGIC:
        raise ValueError("sketch: these bytes are no sketch, or were cut short")
    version = int.from_bytes(raw[4:6], "little")
    if version != VERSION:
        raise ValueError(f"sketch: written in version {version}; this program reads version {VERSION}")
    if _seal(raw[:-DIGEST_BYTES]) != raw[-DIGEST_BYTES:]:
        raise ValueError("sketch: the bytes are not what was written (their checksum differs), or were cut short")
    _, _, flags, layout_bytes, cells, items, total, entries = _HEADER.unpack_from(raw)
    body = raw[_HEADER.size + layout_bytes : -DIGEST_BYTES]
    width = _ENTRY.size if flags == _SPARSE else 8 + CELL_BYTES
    if cells > MAX_CELLS or cells % POSITIONS or entries > cells or len(body) != entries * width:
        raise ValueError("sketch: the parts do not add up")
    layout = _layout(raw[_HEADER.size : _HEADER.size + layout_bytes], cells)
    table = Table(layout.third)
    if flags == _SPARSE:
        for position, count, cell in _ENTRY.iter_unpack(body):
            if position >= cells:
                raise ValueError("sketch: the parts do not add up")
            table.counts[position] = count
            table.cells[position * CELL_BYTES : (position + 1) * CELL_BYTES] = cell
    elif entries == cells:
        table.counts = _little(array("q", body[: 8 * cells]))
        table.cells = bytearray(body[8 * cells :])
    else:
        raise ValueError("sketch: the parts do not add up")
    return layout, Checksum(items, int.from_bytes(total, "big") % MODULUS), table


def _layout(packed: bytes, cells: int) -> Layout:
    at = 0
    lists: list[tuple[str, ...] | None] = []
    for _ in range(3):
        count = int.from_bytes(packed[at : at + 4], "little")
        at += 4
        if count == 0xFFFFFFFF:
            lists.append(None)
            continue
        names = []
        for _ in range(count):
            length = int.from_bytes(packed[at : at + 4], "little")
            if at + 4 + length > len(packed):
                raise ValueError("sketch: the parts do not add up")
            names.append(packed[at + 4 : at + 4 + length].decode("utf-8", "surrogatepass"))
            at += 4 + length
        lists.append(tuple(names))
    names_, ignore, only = lists
    return Layout(names_ or (), ignore or (), only, cells)


def _little(counts: array[int]) -> array[int]:
    if sys.byteorder == "little":
        return counts
    counts = counts[:]
    counts.byteswap()
    return counts


def _seal(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=DIGEST_BYTES, person=_PERSON).digest()

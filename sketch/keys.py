"""A table key as a few bytes that give the key back; equal keys pack equally, whatever the spelling of their numbers.

Each key attribute, partition key first, is packed as its type (one byte: ``S``, ``N`` or ``B``), the length of its
content (two bytes, big-endian) and its content: text in UTF-8, the canonical number of ``sketch.canonical`` in ASCII,
or the bytes. The names are not in it: they are the table's, not the key's.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sketch.canonical import MalformedItemError, canonical_number, encode

# DynamoDB allows 2,048 bytes for a partition key and 1,024 for a sort key; two bytes of length leave room.
MAX_CONTENT_BYTES = 0xFFFF
_TYPES = frozenset("SNB")


def pack(item: Mapping[str, Any], names: Sequence[str]) -> bytes:
    """The key of an item (or of a bare key) in DynamoDB JSON.

    Raises:
        MalformedItemError: a key attribute is missing, or is no string, number or binary of up to 65,535 bytes.
    """
    return b"".join(pack_value(item.get(name), name) for name in names)


def pack_value(value: Any, name: str) -> bytes:
    """One key attribute, packed."""
    if value is None:
        raise MalformedItemError(f"item: key attribute {name!r} is missing")
    # The canonical encoding of a scalar: type, length in four bytes, content.
    encoded = encode(value, name)
    if encoded[:1] not in (b"S", b"N", b"B"):
        raise MalformedItemError(f"item: key attribute {name!r} is neither S, N nor B")
    if len(encoded) - 5 > MAX_CONTENT_BYTES:
        raise MalformedItemError(f"item: key attribute {name!r} is longer than {MAX_CONTENT_BYTES} bytes")
    return encoded[:1] + encoded[3:]


def unpack(packed: bytes, names: Sequence[str]) -> dict[str, Any]:
    """The key as DynamoDB JSON with binary as bytes, ready for a read.

    Raises:
        ValueError: the bytes are no key with so many attributes.
    """
    key: dict[str, Any] = {}
    for name, (kind, content) in zip(names, _parts(packed, len(names)), strict=True):
        if kind == "S":
            key[name] = {"S": content.decode("utf-8", "surrogatepass")}
        elif kind == "N":
            key[name] = {"N": plain_number(content.decode("ascii"))}
        else:
            key[name] = {"B": content}
    return key


def text(packed: bytes, names: Sequence[str]) -> str:
    """The key for people: ``pk=EVENT#1, sk=EVENT``; binary as base64."""
    shown = []
    for name, value in unpack(packed, names).items():
        ((kind, content),) = value.items()
        shown.append(f"{name}={base64.b64encode(content).decode() if kind == 'B' else content}")
    return ", ".join(shown)


def plain_number(spelling: str) -> str:
    """A number as DynamoDB itself writes it, without exponent: ``1.5``, ``-20``; equal numbers are spelled equally."""
    return format(Decimal(canonical_number(spelling)), "f")


def _parts(packed: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    at = 0
    for _ in range(count):
        kind = packed[at : at + 1].decode("latin-1")
        length = int.from_bytes(packed[at + 1 : at + 3], "big")
        if kind not in _TYPES or at + 3 + length > len(packed):
            raise ValueError(f"packed key: no key attribute at byte {at}")
        yield kind, packed[at + 3 : at + 3 + length]
        at += 3 + length
    if at != len(packed):
        raise ValueError(f"packed key: {len(packed) - at} bytes more than {count} key attributes take")

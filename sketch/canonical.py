"""The canonical digest of a DynamoDB item: 16 bytes that are equal exactly when two items mean the same.

The order of attributes, the order of set members and the spelling of numbers carry no meaning in DynamoDB and do not
reach the digest; types do (the string ``1`` is not the number ``1``), and so does the difference between an empty
value and an absent one. Items come in DynamoDB JSON, as botocore's client returns it (``{"pk": {"S": "a"}}``, binary
as bytes) or as the service writes it (binary as base64 text). Nothing here knows boto3, Atoll or a network.

**Encoding** (version 1). ``len(x)`` is the length in bytes of x, and counts and lengths are unsigned 32-bit big-endian
integers. A value is encoded as one tag byte and its content::

    NULL          5A 'Z'
    BOOL          54 'T' for true, 46 'F' for false
    S             53 'S'  len(u) u        u = the text in UTF-8; a lone surrogate as the three bytes of its code point
    N             4E 'N'  len(n) n        n = the canonical number, below, in ASCII
    B             42 'B'  len(b) b        b = the bytes
    L             4C 'L'  count, then each member encoded, in order
    M             4D 'M'  count, then for each name, by its UTF-8 bytes ascending: len(name) name, value encoded
    SS, NS, BS    73 's', 6E 'n', 62 'b'  count, then each *distinct* member (u, n or b), ascending by its bytes:
                                          len(member) member

The **canonical number** is ``0`` for zero of any sign, else ``[-]digits E exponent`` where ``digits`` has no zero at
either end and the value is ``digits * 10**exponent``: ``1``, ``1.0`` and ``1E0`` are all ``1E0``, ``-120`` is
``-12E1``.
It is exact for any number of digits, DynamoDB's 38 included.

The **item digest** is BLAKE2b with a 16-byte digest, no key and personalisation ``atoll.item.v1`` (padded with zero
bytes to 16) over the item encoded as an M. The **key digest** is the same over the key attributes alone, with
personalisation ``atoll.key.v1``. A **table checksum** is the number of items and the sum of their item digests, read as
big-endian integers, modulo 2**128: it does not depend on order, and checksums of parts add up to that of the whole.
Test vectors are in ``docs/canonical-digest.md``.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

DIGEST_BYTES = 16
MODULUS = 1 << (8 * DIGEST_BYTES)
ITEM = b"atoll.item.v1"
KEY = b"atoll.key.v1"
# Of the key of an item that an incremental export says was deleted.
DELETED = b"atoll.gone.v1"

# Standard alphabet, padded; written out because how strict the decoder of Python is differs by its version.
BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
# DynamoDB refuses exponents beyond 130; nine digits keep a hostile one from becoming a huge integer.
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?", re.ASCII)


class MalformedItemError(ValueError):
    """The value is not DynamoDB JSON; the message names the attribute and the problem."""


def item_digest(item: Mapping[str, Any], *, ignore: Collection[str] = (), only: Collection[str] | None = None) -> bytes:
    """Digest one item.

    Args:
        item: attribute name -> DynamoDB JSON value.
        ignore: top-level attributes that are left out.
        only: when given, the only top-level attributes that count (less ``ignore``).

    Raises:
        MalformedItemError: the item is not DynamoDB JSON.
    """
    if ignore or only is not None:
        item = {n: v for n, v in item.items() if n not in ignore and (only is None or n in only)}
    return blake2b(_encode_map(item, "item"), digest_size=DIGEST_BYTES, person=ITEM).digest()


def key_digest(item: Mapping[str, Any], key_names: Iterable[str]) -> bytes:
    """Digest the key of an item (or of a bare key); ``key_names`` is the table's key schema."""
    try:
        key = {name: item[name] for name in key_names}
    except KeyError as error:
        raise MalformedItemError(f"item: key attribute {error.args[0]!r} is missing") from error
    return blake2b(_encode_map(key, "key"), digest_size=DIGEST_BYTES, person=KEY).digest()


def canonical_number(text: str) -> str:
    """Spell a DynamoDB number in the one canonical way; exact.

    Raises:
        MalformedItemError: the text is not a decimal number.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise MalformedItemError(f"N: {text[:60]!r} is not a decimal number")
    sign, whole, fraction, exponent = match.groups(default="")
    if not (whole or fraction):
        raise MalformedItemError(f"N: {text[:60]!r} is not a decimal number")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0"
    stripped = digits.rstrip("0")
    power = int(exponent or 0) - len(fraction) + len(digits) - len(stripped)
    return f"{'-' if sign == '-' else ''}{stripped}E{power}"


@dataclass(frozen=True)
class Checksum:
    """What a set of items adds up to, whatever their order. ``a + b`` is the checksum of both sets together."""

    count: int = 0
    total: int = 0

    @classmethod
    def of(cls, digests: Iterable[bytes]) -> Checksum:
        """The checksum of the items that have these digests."""
        count = total = 0
        for digest in digests:
            count += 1
            total += int.from_bytes(digest, "big")
        return cls(count, total % MODULUS)

    def __add__(self, other: Checksum) -> Checksum:
        return Checksum(self.count + other.count, (self.total + other.total) % MODULUS)

    def __sub__(self, other: Checksum) -> Checksum:
        return Checksum(self.count - other.count, (self.total - other.total) % MODULUS)

    def __str__(self) -> str:
        return f"{self.count}:{self.total:032x}"


# --- encoding ----------------------------------------------------------------------------------------------------


def encode(value: Mapping[str, Any], where: str = "value") -> bytes:
    """Encode one typed value (``{"S": "a"}``) as the module's docstring specifies."""
    if not isinstance(value, Mapping) or len(value) != 1:
        raise MalformedItemError(f"{where}: expected one type and its content, found {_shown(value)}")
    ((kind, content),) = value.items()
    encoder = _ENCODERS.get(kind)
    if encoder is None:
        raise MalformedItemError(f"{where}: unknown type {kind!r}; accepted: {', '.join(_ENCODERS)}")
    return encoder(content, where)


def _length(data: Sequence[Any] | Mapping[Any, Any] | bytes) -> bytes:
    return len(data).to_bytes(4, "big")


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _text(content: Any, where: str) -> bytes:
    if not isinstance(content, str):
        raise MalformedItemError(f"{where}: S holds text, found {_shown(content)}")
    return content.encode("utf-8", "surrogatepass")


def _number(content: Any, where: str) -> bytes:
    if not isinstance(content, str):
        raise MalformedItemError(f"{where}: N holds a number as text, found {_shown(content)}")
    try:
        return canonical_number(content).encode("ascii")
    except MalformedItemError as error:
        raise MalformedItemError(f"{where}: {error}") from error


def _binary(content: Any, where: str) -> bytes:
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    if isinstance(content, str):
        raw = content.encode("utf-8", "surrogatepass")
        if BASE64.fullmatch(raw) is None:
            raise MalformedItemError(f"{where}: B is not base64: {_shown(content)}")
        return binascii.a2b_base64(raw)
    raise MalformedItemError(f"{where}: B holds bytes or base64 text, found {_shown(content)}")


def _encode_null(content: Any, where: str) -> bytes:
    if content is not True:
        raise MalformedItemError(f"{where}: NULL holds true, found {_shown(content)}")
    return b"Z"


def _encode_bool(content: Any, where: str) -> bytes:
    if not isinstance(content, bool):
        raise MalformedItemError(f"{where}: BOOL holds true or false, found {_shown(content)}")
    return b"T" if content else b"F"


def _encode_list(content: Any, where: str) -> bytes:
    if not isinstance(content, list | tuple):
        raise MalformedItemError(f"{where}: L holds a list, found {_shown(content)}")
    members = (encode(member, f"{where}[{index}]") for index, member in enumerate(content))
    return b"L" + _length(content) + b"".join(members)


def _encode_map(content: Any, where: str) -> bytes:
    if not isinstance(content, Mapping):
        raise MalformedItemError(f"{where}: M holds attributes, found {_shown(content)}")
    named = sorted((_text(name, f"{where}: name"), name) for name in content)
    parts = [b"M", _length(content)]
    for raw, name in named:
        parts.append(_sized(raw))
        parts.append(encode(content[name], f"{where}.{name}"))
    return b"".join(parts)


def _scalar(tag: bytes, raw: Callable[[Any, str], bytes]) -> Callable[[Any, str], bytes]:
    return lambda content, where: tag + _sized(raw(content, where))


def _set(tag: bytes, raw: Callable[[Any, str], bytes]) -> Callable[[Any, str], bytes]:
    def encoder(content: Any, where: str) -> bytes:
        if not isinstance(content, list | tuple | set | frozenset):
            raise MalformedItemError(f"{where}: a set holds a list of members, found {_shown(content)}")
        members = sorted({raw(member, f"{where}{{}}") for member in content})
        return tag + _length(members) + b"".join(map(_sized, members))

    return encoder


_ENCODERS: dict[str, Callable[[Any, str], bytes]] = {
    "S": _scalar(b"S", _text),
    "N": _scalar(b"N", _number),
    "B": _scalar(b"B", _binary),
    "SS": _set(b"s", _text),
    "NS": _set(b"n", _number),
    "BS": _set(b"b", _binary),
    "L": _encode_list,
    "M": _encode_map,
    "BOOL": _encode_bool,
    "NULL": _encode_null,
}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

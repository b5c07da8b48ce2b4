"""The keys that heartbeats have in a table, whatever its key schema; nothing else may bear them.

Each key attribute of a heartbeat is ``atoll#heartbeat#REGION``: as text for an ``S``, as its UTF-8 bytes for a ``B``,
and for an ``N`` a negative whole number of 30 digits, of which the first 20 are always the same and the last ten follow
from the region. ``REGION`` is where it is written, so that a table has one heartbeat a region, which a later run finds
by its key alone. Whoever compares, counts or proves leaves out what :func:`is_heartbeat` knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any

NAMESPACE = "atoll#heartbeat#"
_NUMBERS, _OWN_DIGITS = 72_019_431_866_530_147_295, 10**10


def heartbeat_key(names: Sequence[str], types: Sequence[str], region: str) -> dict[str, Any]:
    """The key of the heartbeat that is written in ``region``, as DynamoDB JSON; ``types`` are S, N or B."""
    text = f"{NAMESPACE}{region}"
    own = int.from_bytes(blake2b(region.encode(), digest_size=8).digest(), "big") % _OWN_DIGITS
    values = {"S": text, "B": text.encode(), "N": str(-(_NUMBERS * _OWN_DIGITS + own))}
    return {name: {kind: values[kind]} for name, kind in zip(names, types, strict=True)}


def is_heartbeat(item: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether an item, or a key, is a heartbeat's; ``names`` are the table's key attributes."""
    return all(_is_ours(item.get(name, {})) for name in names)


def _is_ours(value: Mapping[str, Any]) -> bool:
    for kind, content in value.items():
        if kind == "S":
            return str(content).startswith(NAMESPACE)
        if kind == "B":
            return bytes(content).startswith(NAMESPACE.encode())
        if kind == "N":
            return _is_our_number(str(content))
    return False


def _is_our_number(text: str) -> bool:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return False
    # Of 30 digits: what is far from that is not made an integer of, which might have any number of them.
    return number.is_finite() and number.adjusted() == 29 and int(-number) // _OWN_DIGITS == _NUMBERS

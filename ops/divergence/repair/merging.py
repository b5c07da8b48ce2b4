"""The union of what regions counted: every region's part grows only, so that of two values the larger one is later.

Merged are sets (which hold all that any region has seen), and numbers in a map with an entry a region (the larger of
each). Atoll's own activity items are sets of the keys that a region has seen (``ops.effects``). What stamps a write
(``version``, ``written_at``, ``written_region``) and the time to live go along, from the latest one. An item that
differs in anything else is no counter, and is not merged. The union is the same in any order of the images, and merging
what was merged changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ops.divergence.explaining import expires_at
from ops.divergence.repair.orders import Image
from sketch.canonical import canonical_number, encode

_SETS = ("SS", "NS", "BS")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+){1,3}-\d")
_STAMPS = ("written_at", "written_region")


class NotMergeableError(ValueError):
    """The images differ in something that is no counter."""


def union(images: Sequence[Image], expiry: Collection[str] = (), now: float = 0.0) -> Image:
    """What all images together have counted. Pure.

    Args:
        expiry: the time-to-live attributes.
        now: epoch seconds: an image whose time is over has nothing to add, as what began anew after it counts from 0.

    Raises:
        NotMergeableError: with the attribute that is no counter.
    """
    living = [one for one in images if not _over(one, expiry, now)] or list(images)
    latest = max(living, key=_order)
    merged = dict(latest)
    for name in sorted({name for one in living for name in one}):
        values = [one[name] for one in living if name in one]
        if name in _STAMPS:
            continue
        if name in expiry or name == "version":
            merged[name] = {"N": max((_number(value, name) for value in values), key=Decimal)}
        else:
            merged[name] = _merged(values, name, len(living))
    return merged


def _merged(values: Sequence[Mapping[str, Any]], name: str, of: int) -> Mapping[str, Any]:
    if len({encode(value, name) for value in values}) == 1:
        # A counter may begin in one region only; anything else that others lack was removed or never written.
        if len(values) < of and not _is_counter(values[0]):
            raise NotMergeableError(f"attribute {name!r} is not in every replica, and is no counter")
        return values[0]
    kinds = {next(iter(value)) for value in values}
    if len(kinds) == 1 and (kind := kinds.pop()) in _SETS:
        members = {encode({kind[0]: member}, name): member for value in values for member in value[kind]}
        return {kind: [members[one] for one in sorted(members)]}
    if all("M" in value and _is_counter(value) for value in values):
        regions = sorted({region for value in values for region in value["M"]})
        held = {r: [_number(v["M"][r], name) for v in values if r in v["M"]] for r in regions}
        return {"M": {region: {"N": max(found, key=Decimal)} for region, found in held.items()}}
    raise NotMergeableError(f"attribute {name!r} differs, and is neither a set nor a map of regions to numbers")


def _is_counter(value: Mapping[str, Any]) -> bool:
    ((kind, content),) = value.items()
    if kind in _SETS:
        return True
    return kind == "M" and all(_REGION.fullmatch(one) and set(part) == {"N"} for one, part in content.items())


def _number(value: Mapping[str, Any], name: str) -> str:
    if set(value) != {"N"}:
        raise NotMergeableError(f"attribute {name!r} is no number")
    return str(value["N"])


def _over(image: Image, expiry: Collection[str], now: float) -> bool:
    end = expires_at(image, expiry)
    return end is not None and end <= now


def _order(image: Image) -> tuple[str, Decimal, bytes]:
    """By which the latest is chosen; the whole item at the end, so that the order of the images is nothing to it."""
    version = image.get("version", {}).get("N", "0")
    whole = encode({"M": dict(image)}, "item")
    return str(image.get("written_at", {}).get("S", "")), Decimal(canonical_number(version)), whole

"""Replicas with known differences: what a comparison must name, and what only looks different.

``plant`` makes the items of each region from a seed: ordinary ones of about 400 bytes that all regions share and, at
random places among them, one item for each *case* below. Items are DynamoDB JSON as boto3's client has it (binary as
bytes; ``wire`` gives the service's own form), and keys are named as ``text`` spells them.

Where a case can be used: on Scan pages of a stub and in export files, all of them. The service, and the local cloud
as well, spell every number their own way when an item is written, so the lookalikes in ``raw_only`` are simply equal
once they went through PutItem; the local cloud keeps the order of attributes and of set members as it was written.
Expired items are deleted by time to live where the table has it enabled on ``TTL_ATTRIBUTE``.

Expected classes: ``missing`` (at least one region has none), ``stale`` (one region holds an earlier write, by the
stamps), ``conflicting`` (no stamps, equal stamps, or each region's own write of the same version: nothing tells which
is right), ``expired`` (absent in some regions, its time to live has passed: no difference).
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sketch import keys
from tests.planted.cases import FUTURE, HERE, STAMPS, TTL_ATTRIBUTE, Case, Item, cases

__all__ = ["FUTURE", "REGIONS", "TTL_ATTRIBUTE", "Item", "Planted", "cases", "ordinary", "plant", "text", "wire"]

REGIONS = ("us-east-1", "ap-south-1")
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
MAX_PARTITION_KEY, MAX_SORT_KEY = 2048, 1024


@dataclass(frozen=True)
class Planted:
    """The items of each region, and the truth about them.

    Attributes
    ----------
    names, types
        The key schema, partition key first.
    differing
        Text of the key -> expected class, of each item that truly differs.
    lookalikes
        Keys of items that differ in nothing but spelling or order.
    expired
        Keys of items that one region has no longer because they have expired.
    raw_only
        Those of ``lookalikes`` that a table would spell alike, whichever way they were written.
    case
        Text of the key -> what was planted there, for messages.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    items: dict[str, list[Item]]
    differing: dict[str, str]
    lookalikes: set[str]
    expired: set[str]
    raw_only: set[str]
    case: dict[str, str]

    @property
    def deletable(self) -> set[str]:
        """Keys that time to live may delete at any moment, in one region before the other."""
        return {key for key, case in self.case.items() if case.startswith("expired")}


def plant(
    count: int,
    regions: Sequence[str] = REGIONS,
    seed: int = 0,
    *,
    types: Sequence[str] = ("S", "S"),
    copies: int = 1,
    long_keys: bool = True,
) -> Planted:
    """``count`` items a region, less those that are planted as missing there.

    Args:
        types: of the key attributes ``pk`` and ``sk``, each ``S``, ``N`` or ``B``; one alone: a table without sort key.
        copies: how often each case is planted; the region that is the odd one out takes turns.
        long_keys: whether there are cases with keys as long as the service takes them.

    Raises:
        ValueError: ``count`` has no room for all cases.
    """
    rng = random.Random(seed)
    wanted = [case for case in cases(types, long_keys=long_keys) for _ in range(copies)]
    if count < len(wanted):
        raise ValueError(f"count: {len(wanted)} cases are planted, got {count}")
    places = dict(zip(rng.sample(range(count), len(wanted)), wanted, strict=True))
    names = ("pk", "sk")[: len(types)]
    made = Planted(names, tuple(types), {region: [] for region in regions}, {}, set(), set(), set(), {})
    turn = 0
    for number in range(count):
        case = places.get(number)
        item = ordinary(number, rng, types, long_key=case is not None and case.long_key)
        if case is None:
            for region in regions:
                made.items[region].append(item)
            continue
        _place(made, case, item, regions[turn % len(regions)])
        turn += 1
    return made


def _place(made: Planted, case: Case, item: Item, odd: str) -> None:
    if not case.stamped:
        item = {name: value for name, value in item.items() if name not in STAMPS}
    name = text(item, made.names)
    made.case[name] = f"{case.name} ({odd})"
    for region, items in made.items.items():
        image = case.one(item) if region == odd else case.others(item)
        if image is not None and image.get("written_region") == {"S": HERE}:
            image = {**image, "written_region": {"S": region}}
        if image is not None:
            items.append(image)
    if case.truth == "same":
        made.lookalikes.add(name)
        if case.raw_only:
            made.raw_only.add(name)
    elif case.truth == "expired":
        made.expired.add(name)
    else:
        made.differing[name] = case.truth


def ordinary(number: int, rng: random.Random, types: Sequence[str] = ("S", "S"), *, long_key: bool = False) -> Item:
    """An item like an event of Atoll's, of about 400 bytes as DynamoDB counts them."""
    key = {
        name: _key(kind, number, limit if long_key else 0)
        for name, kind, limit in zip(("pk", "sk"), types, (MAX_PARTITION_KEY, MAX_SORT_KEY), strict=False)
    }
    return {
        **key,
        "version": {"N": str(rng.randrange(2, 9))},
        "written_region": {"S": "us-east-1"},
        "written_at": {"S": f"2026-11-20T10:{rng.randrange(60):02}:{rng.randrange(60):02}.{rng.randrange(1000):03}Z"},
        "amount": {"N": f"{rng.randrange(1, 10**6)}.{rng.randrange(1, 10)}"},
        "live": {"BOOL": bool(rng.randrange(2))},
        "tags": {"SS": [f"tag-{tag:03}" for tag in rng.sample(range(1000), 3)]},
        "sizes": {"NS": [str(size) for size in rng.sample(range(1000), 3)]},
        "raw": {"B": rng.randbytes(12)},
        "subject": {"S": f"order {rng.randrange(10**6):06}"},
        "event": {
            "M": {
                "id": {"S": f"{rng.getrandbits(128):032x}"},
                "data": {"S": f"{rng.getrandbits(256):064x}"},
                "lines": {"L": [{"N": str(rng.randrange(100))}, {"S": "é"}, {"NULL": True}]},
            }
        },
        TTL_ATTRIBUTE: {"N": str(FUTURE + number)},
    }


def _key(kind: str, number: int, limit: int) -> Item:
    """A key attribute; ``limit``: its bytes where it is to be as long as the service takes it, else 0."""
    if kind == "N":
        return {"N": str(10**37 + number) if limit else f"{number}.5"}
    short = f"EVENT#{number:012x}"
    if kind == "B":
        return {"B": short.encode().ljust(limit, b"\x80") if limit else b"\x00\xff" + short.encode()}
    return {"S": short.ljust(limit, "x") if limit else short}


def text(item: Mapping[str, Any], names: Sequence[str]) -> str:
    """The key of an item as the toolkit names it."""
    return keys.text(keys.pack(item, names), names)


def wire(value: Any) -> Any:
    """An item, or any part of it, as the service writes it in JSON: binary as base64 text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {name: wire(content) for name, content in value.items()}
    return [wire(member) for member in value] if isinstance(value, list) else value

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sketch import keys

Item = dict[str, Any]
REGIONS = ("us-east-1", "ap-south-1")
TTL_ATTRIBUTE = "expires_at"
EXPIRED_AT, FUTURE = 1_500_000_000, 4_102_444_800  # July 2017, January 2100
HERE = "(the region that holds it)"
STAMPS = ("version", "written_region", "written_at")
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


@dataclass(frozen=True)
class Case:
    """One thing to plant: what one region holds and what the others do, each made from the same item.

    ``truth`` is the expected class, ``same`` or ``expired``; None: the item is not there.
    """

    name: str
    truth: str
    one: Callable[[Item], Item | None]
    others: Callable[[Item], Item | None] = lambda item: item
    raw_only: bool = False
    stamped: bool = True
    long_key: bool = False


# --- values that mean different things ------------------------------------------------------------------------

_DIFFERING: dict[str, tuple[Any, Any]] = {
    "changed number": ({"N": "12.5"}, {"N": "12.51"}),
    "changed last one of 38 digits": (
        {"N": "12345678901234567890123456789012345678"},
        {"N": "12345678901234567890123456789012345679"},
    ),
    "changed sign": ({"N": "7"}, {"N": "-7"}),
    "smallest number against zero": ({"N": "1E-130"}, {"N": "0"}),
    "changed string": ({"S": "placed"}, {"S": "Placed"}),
    "trailing blank": ({"S": "placed"}, {"S": "placed "}),
    "composed against decomposed letter": ({"S": "caf\u00e9"}, {"S": "cafe\u0301"}),
    "string with quotes and escapes": ({"S": 'a"\\\n\x00'}, {"S": 'a"\\\n'}),
    "changed letter outside the basic plane": ({"S": "\U0001f3dd"}, {"S": "\U0001f3de"}),
    "changed binary": ({"B": b"\x00\xff\x10"}, {"B": b"\x00\xff\x11"}),
    "binary with one zero byte more": ({"B": b"\x00"}, {"B": b"\x00\x00"}),
    "changed boolean": ({"BOOL": True}, {"BOOL": False}),
    "changed value in a nested map": (
        {"M": {"a": {"M": {"b": {"M": {"c": {"N": "1"}}}}}}},
        {"M": {"a": {"M": {"b": {"M": {"c": {"N": "2"}}}}}}},
    ),
    "changed name in a nested map": ({"M": {"a": {"M": {"b": {"S": "x"}}}}}, {"M": {"a": {"M": {"c": {"S": "x"}}}}}),
    "changed member of a nested list": (
        {"M": {"rows": {"L": [{"L": [{"S": "x"}, {"N": "1"}]}]}}},
        {"M": {"rows": {"L": [{"L": [{"S": "x"}, {"N": "3"}]}]}}},
    ),
    "re-ordered list": ({"L": [{"N": "1"}, {"N": "2"}]}, {"L": [{"N": "2"}, {"N": "1"}]}),
    "list cut otherwise": ({"L": [{"L": [{"S": "a"}]}, {"S": "b"}]}, {"L": [{"L": [{"S": "a"}, {"S": "b"}]}]}),
    "changed member of a string set": ({"SS": ["a", "b", "c"]}, {"SS": ["a", "b", "d"]}),
    "one member more in a number set": ({"NS": ["1", "2"]}, {"NS": ["1", "2", "3"]}),
    "changed member of a binary set": ({"BS": [b"\x01", b"\x02"]}, {"BS": [b"\x01", b"\x03"]}),
    "changed member of a set in a map": ({"M": {"seen": {"NS": ["1", "2"]}}}, {"M": {"seen": {"NS": ["1", "20"]}}}),
    "members joined otherwise": ({"SS": ["ab", "c"]}, {"SS": ["a", "bc"]}),
    "empty string against absent": ({"S": ""}, None),
    "empty list against absent": ({"L": []}, None),
    "empty map against absent": ({"M": {}}, None),
    "empty binary against absent": ({"B": b""}, None),
    "null against absent": ({"NULL": True}, None),
    "null against empty string": ({"NULL": True}, {"S": ""}),
    "empty list against empty map": ({"L": []}, {"M": {}}),
    "empty string against empty binary": ({"S": ""}, {"B": b""}),
    "string against number": ({"S": "1"}, {"N": "1"}),
    "boolean against string": ({"BOOL": True}, {"S": "true"}),
    "boolean against number": ({"BOOL": True}, {"N": "1"}),
    "binary against its base64 as string": ({"B": b"atoll"}, {"S": base64.b64encode(b"atoll").decode()}),
    "string set against number set": ({"SS": ["1", "2"]}, {"NS": ["1", "2"]}),
    "set against list": ({"SS": ["a", "b"]}, {"L": [{"S": "a"}, {"S": "b"}]}),
    "set of one against string": ({"SS": ["a"]}, {"S": "a"}),
}

# --- values that mean the same --------------------------------------------------------------------------------

_SAME: dict[str, tuple[Any, Any]] = {
    "re-ordered string set": ({"SS": ["a", "b", "\u00e9", "aa"]}, {"SS": ["\u00e9", "aa", "b", "a"]}),
    "re-ordered number set": ({"NS": ["1", "20", "-3", "0.5"]}, {"NS": ["0.5", "-3", "20", "1"]}),
    "re-ordered binary set": ({"BS": [b"\x00", b"\xff", b""]}, {"BS": [b"", b"\xff", b"\x00"]}),
    "re-ordered nested map": (
        {"M": {"a": {"S": "x"}, "b": {"M": {"c": {"N": "1"}, "d": {"N": "2"}}}}},
        {"M": {"b": {"M": {"d": {"N": "2"}, "c": {"N": "1"}}}, "a": {"S": "x"}}},
    ),
    "re-ordered set in a list in a map": (
        {"M": {"l": {"L": [{"SS": ["p", "q", "r"]}]}}},
        {"M": {"l": {"L": [{"SS": ["r", "q", "p"]}]}}},
    ),
}
_SPELLED: dict[str, tuple[Any, Any]] = {
    "1 against 1.00": ({"N": "1"}, {"N": "1.00"}),
    "1 against 1E0": ({"N": "1"}, {"N": "1E0"}),
    "1000 against 1e+3": ({"N": "1000"}, {"N": "1e+3"}),
    "0.5 against .50": ({"N": "0.5"}, {"N": ".50"}),
    "0 against -0": ({"N": "0"}, {"N": "-0"}),
    "0 against 0.00E5": ({"N": "0"}, {"N": "0.00E5"}),
    "leading zeros": ({"N": "-42"}, {"N": "-0042.0"}),
    "38 digits with an exponent": (
        {"N": "12345678901234567890123456789012345678"},
        {"N": "1.2345678901234567890123456789012345678E37"},
    ),
    "respelled members of a number set": ({"NS": ["1", "2.5"]}, {"NS": ["2.50", "1.0"]}),
    "respelled number in a map": ({"M": {"n": {"L": [{"N": "10"}]}}}, {"M": {"n": {"L": [{"N": "1E1"}]}}}),
}


def cases(types: Sequence[str]) -> list[Case]:
    """All there is to plant in a table whose key attributes have these types."""
    found = list(_cases())
    if "N" in types:
        found.append(Case("key spelled otherwise", "same", _respelled_key, raw_only=True))
    return found


def _cases() -> Iterator[Case]:
    for name, (held, other) in _DIFFERING.items():
        for stamped in (True, False):
            described = name if stamped else f"{name}, without stamps"
            yield Case(described, "conflicting", _with(held), _with(other), stamped=stamped)
    for name, (held, other) in (_SAME | _SPELLED).items():
        yield Case(name, "same", _with(held), _with(other), raw_only=name in _SPELLED)
    yield Case("re-ordered attributes", "same", _reversed)
    yield Case("re-ordered attributes, without stamps", "same", _reversed, stamped=False)
    yield Case("re-ordered attributes, long key", "same", _reversed, long_key=True)
    for suffix, options in (("", {}), (", without stamps", {"stamped": False}), (", long key", {"long_key": True})):
        yield Case(f"missing in one region{suffix}", "missing", _gone, **options)
        yield Case(f"left in one region only{suffix}", "missing", _as_it_is, _gone, **options)
    yield Case("missing in one region, not expired yet", "missing", _gone, _expiring(FUTURE))
    yield Case("nothing but its key, missing", "missing", _gone, _key_only, stamped=False)
    yield Case("changed number, long key", "conflicting", _with({"N": "1"}), _with({"N": "2"}), long_key=True)
    yield Case("one attribute against none", "conflicting", _key_only, _bare_with({"N": "1"}), stamped=False)
    yield Case("an earlier write", "stale", _earlier)
    yield Case("each region's own write", "conflicting", _written_here, _written_here)
    yield Case("expired, deleted in one region", "expired", _gone, _expiring(EXPIRED_AT))
    yield Case("expired, left in one region only", "expired", _expiring(EXPIRED_AT), _gone)
    yield Case("expired, without stamps", "expired", _gone, _expiring(EXPIRED_AT), stamped=False)
    yield Case("expired everywhere", "same", _expiring(EXPIRED_AT), _expiring(EXPIRED_AT))


def _as_it_is(item: Item) -> Item:
    return item


def _gone(item: Item) -> None:
    return None


def _with(value: Any) -> Callable[[Item], Item]:
    return lambda item: item if value is None else {**item, "planted": value}


def _bare_with(value: Any) -> Callable[[Item], Item]:
    return lambda item: {**_key_only(item), "planted": value}


def _expiring(at: int) -> Callable[[Item], Item]:
    return lambda item: {**item, TTL_ATTRIBUTE: {"N": str(at)}}


def _reversed(item: Item) -> Item:
    return dict(reversed(item.items()))


def _key_only(item: Item) -> Item:
    return {name: item[name] for name in ("pk", "sk") if name in item}


def _earlier(item: Item) -> Item:
    return {
        **item,
        "version": {"N": str(int(item["version"]["N"]) - 1)},
        "written_at": {"S": "2026-11-19T08:00:00.000Z"},
        "subject": {"S": "as it was before"},
    }


def _written_here(item: Item) -> Item:
    # Which region that is, `_place` knows.
    return {**item, "written_region": {"S": HERE}}


def _respelled_key(item: Item) -> Item:
    def respelled(value: Item) -> Item:
        return {"N": value["N"] + ("0" if "." in value["N"] else ".0")} if "N" in value else value

    return {name: respelled(value) if name in ("pk", "sk") else value for name, value in item.items()}


# --- planting -------------------------------------------------------------------------------------------------


def plant(
    count: int,
    regions: Sequence[str] = REGIONS,
    seed: int = 0,
    *,
    types: Sequence[str] = ("S", "S"),
    copies: int = 1,
) -> Planted:
    """``count`` items a region, less those that are planted as missing there.

    Args:
        types: of the key attributes ``pk`` and ``sk``, each ``S``, ``N`` or ``B``; one alone: a table without sort key.
        copies: how often each case is planted; the region that is the odd one out takes turns.

    Raises:
        ValueError: ``count`` has no room for all cases.
    """
    rng = random.Random(seed)
    wanted = [case for case in cases(types) for _ in range(copies)]
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

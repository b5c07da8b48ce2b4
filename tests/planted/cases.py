"""What is planted: for each case, what one region holds and what the others do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.planted.values import DIFFERING, SAME, SPELLED

Item = dict[str, Any]
TTL_ATTRIBUTE = "expires_at"
EXPIRED_AT, FUTURE = 1_500_000_000, 4_102_444_800  # July 2017, January 2100
STAMPS = ("version", "written_region", "written_at")
HERE = "(the region that holds it)"


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


def cases(types: Sequence[str], *, long_keys: bool = True) -> list[Case]:
    """All there is to plant in a table whose key attributes have these types."""
    found = [case for case in _cases() if long_keys or not case.long_key]
    if "N" in types:
        found.append(Case("key spelled otherwise", "same", _respelled_key, raw_only=True))
    return found


def _cases() -> Iterator[Case]:
    for name, (held, other) in DIFFERING.items():
        for stamped in (True, False):
            described = name if stamped else f"{name}, without stamps"
            yield Case(described, "conflicting", _with(held), _with(other), stamped=stamped)
    for name, (held, other) in (SAME | SPELLED).items():
        yield Case(name, "same", _with(held), _with(other), raw_only=name in SPELLED)
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

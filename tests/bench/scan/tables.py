"""The tables that the stub serves: rendered pages, with planted items in the places of some of their items."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import orjson

from tests.bench.scan.pages import PER_PAGE, Buffer, Template, key_of, place_of
from tests.planted import REGIONS, Planted, cases, plant, wire

NAMES, TYPES = ("pk", "sk"), ("S", "S")


@dataclass(frozen=True)
class Shape:
    """What the tables hold.

    Attributes
    ----------
    items
        Of each region, planted ones included, those that are missing somewhere counted.
    copies
        How often each of the planted cases is there; 0: no case at all.
    long_keys
        Whether some of them have keys as long as the service takes them.
    in_flight
        Items of which the second region's pages still have an earlier image, while a read finds the current one.
    shift_pages
        By how many pages the second region cuts its segments otherwise.
    """

    items: int
    copies: int = 0
    seed: int = 0
    regions: tuple[str, ...] = REGIONS
    in_flight: int = 0
    shift_pages: int = 0
    per_page: int = PER_PAGE
    long_keys: bool = True

    def planted(self) -> Planted:
        """The planted items alone."""
        count = self.copies * len(cases(TYPES, long_keys=self.long_keys))
        return plant(count, self.regions, self.seed, types=TYPES, copies=self.copies, long_keys=self.long_keys)

    def to_json(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def from_json(cls, text: str) -> Shape:
        found = orjson.loads(text)
        return cls(**{**found, "regions": tuple(found["regions"])})


class Table:
    """What one region's table holds, by page and by key."""

    def __init__(self, shape: Shape, region: str) -> None:
        self.shape = shape
        self.index = shape.regions.index(region)
        self.template = Template(self.index, shape.per_page)
        self.pages = -(-shape.items // shape.per_page)
        self.spliced: dict[int, dict[int, bytes | None]] = {}
        self._read: dict[bytes, bytes | None] = {}
        self._place(region)

    def _place(self, region: str) -> None:
        made = self.shape.planted()
        images = {_packed(item): item for item in made.items[region]}
        keys = sorted({_packed(item) for items in made.items.values() for item in items})
        for place, key in zip(places(self.shape, len(keys)), keys, strict=False):
            page, slot = divmod(place, self.shape.per_page)
            image = images.get(key)
            body = None if image is None else orjson.dumps(wire(image))
            self.spliced.setdefault(page, {})[slot] = body
            self._read[key] = body
            self._read[_packed(key_of(page, slot))] = None
        if self.index == 1:
            for page, slot in in_flight(self.shape, len(keys)):
                earlier = self.template.item(page, slot).replace(b'"version":{"N":"', b'"version":{"N":"1')
                self.spliced.setdefault(page, {})[slot] = earlier

    @cached_property
    def keys_template(self) -> Template:
        """What a Scan shows that is to give the keys alone."""
        return Template(self.index, self.shape.per_page, keys_only=True)

    def segment(self, segment: int, segments: int) -> tuple[int, int]:
        """Its first page, and the one after its last."""

        def cut(at: int) -> int:
            if at in (0, segments):
                return self.pages * at // segments
            return min(self.pages, -(-self.pages * at // segments) + self.shape.shift_pages * self.index)

        return cut(segment), cut(segment + 1)

    def body(self, template: Template, buffer: Buffer, page: int) -> tuple[int, bytes | memoryview, bool]:
        """How many items a page has, the items, and whether they are the template's as it is."""
        count = min(self.shape.per_page, self.shape.items - page * self.shape.per_page)
        rows, width = template.page(buffer, page), template.width
        if page not in self.spliced:
            return count, rows[: count * width - 1], count == self.shape.per_page
        kept = list(self.rows(template, buffer, page))
        return len(kept), b",".join(kept), False

    def rows(self, template: Template, buffer: Buffer, page: int) -> Iterator[bytes]:
        """The items of a page, one by one."""
        count = min(self.shape.per_page, self.shape.items - page * self.shape.per_page)
        rows, width = template.page(buffer, page), template.width
        spliced = self.spliced.get(page, {})
        if template is self.keys_template:
            spliced = {slot: row and _key_of(row) for slot, row in spliced.items()}
        for slot in range(count):
            row = spliced[slot] if slot in spliced else bytes(rows[slot * width : (slot + 1) * width - 1])
            if row is not None:
                yield row

    def get(self, key: dict[str, Any]) -> bytes | None:
        """The item of a key, as JSON."""
        packed = _packed(key)
        if packed in self._read:
            return self._read[packed]
        place = place_of(key)
        if place is None or place[0] * self.shape.per_page + place[1] >= self.shape.items:
            return None
        return self.template.item(*place)


def places(shape: Shape, count: int) -> list[int]:
    """Where the planted items are, and after them those in flight."""
    wanted = min(count + shape.in_flight, shape.items)
    return random.Random(shape.seed).sample(range(shape.items), wanted)


def in_flight(shape: Shape, planted: int) -> list[tuple[int, int]]:
    """Page and slot of the items in flight."""
    return [divmod(place, shape.per_page) for place in places(shape, planted)[planted:]]


def _key_of(row: bytes) -> bytes:
    item = orjson.loads(row)
    return orjson.dumps({name: item[name] for name in NAMES})


def _packed(item: dict[str, Any]) -> bytes:
    return orjson.dumps([wire(item[name]) for name in NAMES])

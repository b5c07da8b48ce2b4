"""Pages and export lines to elements in pure Python: what the native core must agree with, and what stands in for it.

``read`` has the signature of the native core, so that either can do the work. It is about forty times slower.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from hashlib import blake2b
from typing import NamedTuple

from sketch import ion
from sketch.canonical import DELETED, DIGEST_BYTES, ITEM, KEY, MODULUS
from sketch.keys import MAX_CONTENT_BYTES
from sketch.layout import Layout
from sketch.problems import Malformed, Problem, error
from sketch.table import Record, Table
from sketch.wire import Attributes, Scanner, encoded_map

_DIGITS = 18


class Kind(IntEnum):
    """What a text is."""

    PAGE = 0
    LINES = 1
    CHANGES = 2
    ION = 3
    ION_CHANGES = 4


class Outcome(NamedTuple):
    """What reading came to. Spans are of the text; -1 stands for what was not in it."""

    problem: int
    at: int
    items: int = 0
    total: bytes = bytes(DIGEST_BYTES)
    scanned: int = -1
    key_start: int = -1
    key_end: int = -1
    units_start: int = -1
    units_end: int = -1


def read(kind: int, body: bytes | bytearray | memoryview, layout: Layout, table: Table) -> Outcome:
    """Add all items of a text to the table, or none."""
    text = bytes(body)
    said: dict[str, int] = {}
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return Outcome(Problem.ENCODING, error.start)
    elements = _Elements(layout)
    try:
        records = list(elements.page(text, said) if kind == Kind.PAGE else elements.lines(kind, text))
    except Malformed as malformed:
        return Outcome(malformed.problem, malformed.at)
    total = 0
    for record in records:
        table.add(record)
        total += int.from_bytes(record.item_digest, "big")
    return Outcome(Problem.NONE, 0, len(records), (total % MODULUS).to_bytes(DIGEST_BYTES, "big"), **said)


def records(kind: int, text: bytes, layout: Layout) -> list[Record]:
    """The elements of export lines, each with its whole key, however long.

    Raises:
        MalformedItemError: with what is wrong, and at which byte.
    """
    try:
        return list(_Elements(layout).lines(kind, text))
    except Malformed as malformed:
        raise error(malformed.problem, malformed.at, memoryview(text), "export lines") from None


class _Elements:
    """From scanned attributes to elements, under one layout."""

    def __init__(self, layout: Layout) -> None:
        self.names = [name.encode("utf-8", "surrogatepass") for name in layout.names]
        self.ignore = {name.encode("utf-8", "surrogatepass") for name in layout.ignore}
        self.only = None
        if layout.only is not None:
            self.only = {name.encode("utf-8", "surrogatepass") for name in layout.only} | set(self.names)

    def key(self, attributes: Attributes, start: int) -> Attributes:
        """The key attributes, partition key first."""
        found = dict(attributes)
        for name in self.names:
            if name not in found:
                raise Malformed(Problem.KEY_MISSING, start)
            if found[name][:1] not in (b"S", b"N", b"B"):
                raise Malformed(Problem.KEY_TYPE, start)
            if len(found[name]) - 5 > MAX_CONTENT_BYTES:
                raise Malformed(Problem.KEY_LONG, start)
        return [(name, found[name]) for name in self.names]

    def record(self, key: Attributes, attributes: Attributes | None) -> Record:
        """An element; without attributes, that of an item that was deleted."""
        encoded = encoded_map(sorted(key))
        if attributes is None:
            item_digest = _digest(encoded, DELETED)
        else:
            item_digest = _digest(encoded_map([pair for pair in attributes if self.counts(pair[0])]), ITEM)
        return Record(item_digest, _digest(encoded, KEY), b"".join(one[:1] + one[3:] for _, one in key))

    def counts(self, name: bytes) -> bool:
        return name not in self.ignore and (self.only is None or name in self.only)

    # --- a Scan response -----------------------------------------------------------------------------------------

    def page(self, text: bytes, said: dict[str, int]) -> Iterator[Record]:
        scanner = Scanner(text)
        scanner.enter(b"{"[0], Problem.SYNTAX)
        seen: set[bytes] = set()
        items, count = 0, -1
        while scanner.more(b"}"[0], not seen):
            scanner.peek()
            at = scanner.at
            name = scanner.string()
            if name in seen and name in _MEMBERS:
                scanner.fail(Problem.MEMBER, at)
            seen.add(name)
            scanner.expect(b":"[0])
            if name == b"Items":
                for record in self._items(scanner):
                    items += 1
                    yield record
            elif name == b"Count":
                count = _whole(scanner)
            elif name == b"ScannedCount":
                said["scanned"] = _whole(scanner)
            elif name == b"LastEvaluatedKey":
                scanner.peek()
                said["key_start"] = start = scanner.at
                self.key(scanner.attributes(), start)
                said["key_end"] = scanner.at
            elif name == b"ConsumedCapacity":
                _capacity(scanner, said)
            else:
                scanner.skip()
        _end(scanner)
        if b"Items" not in seen:
            scanner.fail(Problem.NO_ITEMS, 0)
        if b"Count" in seen and count != items:
            scanner.fail(Problem.COUNT, 0)

    def _items(self, scanner: Scanner) -> Iterator[Record]:
        scanner.enter(b"["[0], Problem.CONTENT)
        first = True
        while scanner.more(b"]"[0], first):
            first = False
            yield self._item(scanner)

    def _item(self, scanner: Scanner) -> Record:
        scanner.peek()
        start = scanner.at
        attributes = scanner.attributes()
        return self.record(self.key(attributes, start), attributes)

    # --- export lines --------------------------------------------------------------------------------------------

    def lines(self, kind: int, text: bytes) -> Iterator[Record]:
        at = 0
        while at < len(text):
            end = text.find(b"\n", at)
            end = len(text) if end < 0 else end
            if text[at:end].strip(b" \t\r"):
                if kind in (Kind.ION, Kind.ION_CHANGES):
                    members = ion.members(text, at, end, wrapped=kind == Kind.ION_CHANGES)
                else:
                    members = _members(text, at, end)
                yield self._line(members, at, changes=kind in (Kind.CHANGES, Kind.ION_CHANGES))
            at = end + 1

    def _line(self, members: dict[bytes, tuple[Attributes, int]], at: int, *, changes: bool) -> Record:
        if not changes:
            if b"Item" not in members:
                raise Malformed(Problem.NO_ITEM, at)
            attributes, start = members[b"Item"]
            return self.record(self.key(attributes, start), attributes)
        if b"Keys" not in members:
            raise Malformed(Problem.NO_ITEM, at)
        key = self.key(*members[b"Keys"])
        if b"NewImage" not in members:
            return self.record(key, None)
        attributes, start = members[b"NewImage"]
        if self.key(attributes, start) != key:
            raise Malformed(Problem.KEY_MISSING, start)
        return self.record(key, attributes)


_MEMBERS = frozenset((b"Items", b"Count", b"ScannedCount", b"LastEvaluatedKey", b"ConsumedCapacity"))


def _members(text: bytes, at: int, end: int) -> dict[bytes, tuple[Attributes, int]]:
    """The items of one line of JSON, each with where it starts."""
    scanner = Scanner(text, at, end)
    scanner.enter(b"{"[0], Problem.SYNTAX)
    found: dict[bytes, tuple[Attributes, int]] = {}
    first = True
    while scanner.more(b"}"[0], first):
        first = False
        scanner.peek()
        at = scanner.at
        name = scanner.string()
        if name in found:
            scanner.fail(Problem.MEMBER, at)
        scanner.expect(b":"[0])
        if name in ion.IMAGES:
            scanner.peek()
            start = scanner.at
            found[name] = scanner.attributes(), start
        else:
            scanner.skip()
    _end(scanner)
    return found


def _end(scanner: Scanner) -> None:
    rest = scanner.text[scanner.at : scanner.end]
    blank = len(rest) - len(rest.lstrip(b" \t\r\n"))
    if blank < len(rest):
        scanner.fail(Problem.TRAILING, scanner.at + blank)


def _whole(scanner: Scanner) -> int:
    scanner.peek()
    at = scanner.at
    number = scanner.number(Problem.CONTENT)
    if not number.isdigit() or len(number) > _DIGITS:
        scanner.fail(Problem.CONTENT, at)
    return int(number)


def _capacity(scanner: Scanner, said: dict[str, int]) -> None:
    scanner.enter(b"{"[0], Problem.CONTENT)
    first = True
    while scanner.more(b"}"[0], first):
        first = False
        scanner.peek()
        at = scanner.at
        name = scanner.string()
        scanner.expect(b":"[0])
        if name != b"CapacityUnits":
            scanner.skip()
            continue
        if "units_start" in said:
            scanner.fail(Problem.MEMBER, at)
        number = scanner.number(Problem.CONTENT)
        said["units_start"], said["units_end"] = scanner.at - len(number), scanner.at


def _digest(encoded: bytes, person: bytes) -> bytes:
    return blake2b(encoded, digest_size=DIGEST_BYTES, person=person).digest()

"""DynamoDB JSON as it comes off the wire, straight to the canonical encoding: the reference of native/wire.c.

What is accepted is written down in docs/sketch.md. The native core makes the same decisions in the same order, so that
both accept and refuse the same texts, and name the same problem at the same byte.
"""

from __future__ import annotations

import binascii
import itertools
import re
import struct
from collections.abc import Callable
from typing import NoReturn

from sketch.canonical import BASE64, MalformedItemError, canonical_number
from sketch.problems import Malformed, Problem

# Containers within containers in the whole text. DynamoDB's 32 levels of lists and maps need 67.
MAX_DEPTH = 100

_SPACE = re.compile(rb"[ \t\n\r]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_HEX = re.compile(rb"[0-9a-fA-F]")
_LOW = re.compile(rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_ESCAPES = {ord(k): v for k, v in zip('"\\/bfnrt', (b'"', b"\\", b"/", b"\b", b"\f", b"\n", b"\r", b"\t"), strict=True)}
_QUOTE, _BACKSLASH, _COMMA, _COLON = b'",:'[0], b"\\"[0], b",:"[0], b":"[0]
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = b"{}[]"
_pack = struct.Struct(">I").pack

Attributes = list[tuple[bytes, bytes]]


def sized(tag: bytes, content: bytes) -> bytes:
    return tag + _pack(len(content)) + content


class Scanner:
    """A cursor over one text, ``[at, end)``; every method leaves it after what was read, or raises Malformed."""

    def __init__(self, text: bytes, at: int = 0, end: int | None = None) -> None:
        self.text, self.at, self.end = text, at, len(text) if end is None else end
        self.depth = 0

    def fail(self, problem: Problem, at: int | None = None) -> NoReturn:
        raise Malformed(problem, self.at if at is None else at)

    def peek(self) -> int:
        """The next byte that is no white space."""
        match = _SPACE.match(self.text, self.at, self.end)
        assert match is not None
        self.at = match.end()
        if self.at >= self.end:
            self.fail(Problem.END, self.end)
        return self.text[self.at]

    def expect(self, byte: int, problem: Problem = Problem.SYNTAX) -> None:
        if self.peek() != byte:
            self.fail(problem)
        self.at += 1

    def enter(self, byte: int, problem: Problem) -> None:
        """Into an object or array."""
        if self.peek() != byte:
            self.fail(problem)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(Problem.DEPTH)
        self.at += 1

    def more(self, close: int, first: bool) -> bool:
        """Whether another member follows; past the comma before it, or past the closing bracket."""
        byte = self.peek()
        if byte == close:
            self.at += 1
            self.depth -= 1
            return False
        if not first:
            if byte != _COMMA:
                self.fail(Problem.SYNTAX)
            self.at += 1
            if self.peek() == close:
                self.fail(Problem.SYNTAX)
        return True

    # --- JSON ----------------------------------------------------------------------------------------------------

    def string(self, problem: Problem = Problem.SYNTAX) -> bytes:
        """A string in UTF-8; a lone surrogate, which only an escape can write, as the three bytes of its code point."""
        self.expect(_QUOTE, problem)
        parts = []
        while True:
            match = _PLAIN.match(self.text, self.at, self.end)
            assert match is not None
            parts.append(match.group())
            self.at = match.end()
            if self.at >= self.end:
                self.fail(Problem.END, self.end)
            byte = self.text[self.at]
            if byte == _QUOTE:
                self.at += 1
                return parts[0] if len(parts) == 1 else b"".join(parts)
            if byte != _BACKSLASH:
                self.fail(Problem.CONTROL)
            parts.append(self._escape())

    def _escape(self) -> bytes:
        start = self.at
        if start + 1 >= self.end:
            self.fail(Problem.END, self.end)
        kind = self.text[start + 1]
        if kind != b"u"[0]:
            if kind not in _ESCAPES:
                self.fail(Problem.ESCAPE, start)
            self.at += 2
            return _ESCAPES[kind]
        for at in range(start + 2, start + 6):
            if at >= self.end:
                self.fail(Problem.END, self.end)
            if not _HEX.match(self.text, at):
                self.fail(Problem.ESCAPE, start)
        unit = int(self.text[start + 2 : start + 6], 16)
        self.at += 6
        if 0xD800 <= unit < 0xDC00 and _LOW.match(self.text, self.at, self.end):
            low = int(self.text[self.at + 2 : self.at + 6], 16)
            self.at += 6
            unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
        return chr(unit).encode("utf-8", "surrogatepass")

    def literal(self, word: bytes, problem: Problem) -> None:
        if not self.text.startswith(word, self.at, self.end):
            self.fail(problem)
        self.at += len(word)

    def number(self, problem: Problem) -> bytes:
        """A JSON number, as text."""
        self.peek()
        match = _NUMBER.match(self.text, self.at, self.end)
        if match is None:
            self.fail(problem)
        self.at = match.end()
        return match.group()

    def skip(self) -> None:
        """Any JSON value, checked and forgotten."""
        byte = self.peek()
        if byte == _QUOTE:
            self.string()
        elif byte == _OPEN:
            self.enter(_OPEN, Problem.SYNTAX)
            first = True
            while self.more(_CLOSE, first):
                first = False
                self.string()
                self.expect(_COLON)
                self.skip()
        elif byte == _OPEN_LIST:
            self.enter(_OPEN_LIST, Problem.SYNTAX)
            first = True
            while self.more(_CLOSE_LIST, first):
                first = False
                self.skip()
        elif byte in b"tfn":
            self.literal({b"t"[0]: b"true", b"f"[0]: b"false", b"n"[0]: b"null"}[byte], Problem.SYNTAX)
        else:
            self.number(Problem.SYNTAX)

    # --- DynamoDB JSON -------------------------------------------------------------------------------------------

    def attributes(self, problem: Problem = Problem.CONTENT) -> Attributes:
        """An item, or what an M holds: names and encoded values, sorted by name."""
        self.peek()
        start = self.at
        self.enter(_OPEN, problem)
        found: Attributes = []
        while self.more(_CLOSE, not found):
            name = self.string()
            self.expect(_COLON)
            found.append((name, self.value()))
        found.sort()
        if any(one[0] == other[0] for one, other in itertools.pairwise(found)):
            self.fail(Problem.DUPLICATE, start)
        return found

    def value(self) -> bytes:
        """One typed value, encoded."""
        self.peek()
        start = self.at
        self.enter(_OPEN, Problem.VALUE)
        if self.peek() == _CLOSE:
            self.fail(Problem.VALUE, start)
        at = self.at
        kind = self.string()
        encoder = _ENCODERS.get(kind)
        if encoder is None:
            self.fail(Problem.TYPE, at)
        self.expect(_COLON)
        encoded = encoder(self)
        byte = self.peek()
        if byte == _COMMA:
            self.fail(Problem.VALUE, start)
        if byte != _CLOSE:
            self.fail(Problem.SYNTAX)
        self.at += 1
        self.depth -= 1
        return encoded

    def _text(self) -> bytes:
        return self.string(Problem.CONTENT)

    def _numeral(self) -> bytes:
        self.peek()
        at = self.at
        content = self.string(Problem.CONTENT)
        try:
            return canonical_number(content.decode("latin-1")).encode("ascii")
        except MalformedItemError:
            self.fail(Problem.NUMBER, at)

    def _binary(self) -> bytes:
        self.peek()
        at = self.at
        content = self.string(Problem.CONTENT)
        if not BASE64.fullmatch(content):
            self.fail(Problem.BASE64, at)
        return binascii.a2b_base64(content)

    def _true(self) -> bytes:
        self.peek()
        self.literal(b"true", Problem.CONTENT)
        return b"Z"

    def _boolean(self) -> bytes:
        if self.peek() == b"t"[0]:
            self.literal(b"true", Problem.CONTENT)
            return b"T"
        self.literal(b"false", Problem.CONTENT)
        return b"F"

    def _list(self) -> bytes:
        self.enter(_OPEN_LIST, Problem.CONTENT)
        members: list[bytes] = []
        while self.more(_CLOSE_LIST, not members):
            members.append(self.value())
        return b"L" + _pack(len(members)) + b"".join(members)

    def _map(self) -> bytes:
        return encoded_map(self.attributes())

    def _set(self, tag: bytes, member: Callable[[Scanner], bytes]) -> bytes:
        self.enter(_OPEN_LIST, Problem.CONTENT)
        members: list[bytes] = []
        while self.more(_CLOSE_LIST, not members):
            members.append(member(self))
        distinct = sorted(set(members))
        return tag + _pack(len(distinct)) + b"".join(sized(b"", one) for one in distinct)


def encoded_map(attributes: Attributes) -> bytes:
    """The canonical encoding of an item or M from sorted attributes."""
    parts = [b"M", _pack(len(attributes))]
    for name, encoded in attributes:
        parts += (_pack(len(name)), name, encoded)
    return b"".join(parts)


_ENCODERS: dict[bytes, Callable[[Scanner], bytes]] = {
    b"S": lambda scanner: sized(b"S", scanner._text()),
    b"N": lambda scanner: sized(b"N", scanner._numeral()),
    b"B": lambda scanner: sized(b"B", scanner._binary()),
    b"SS": lambda scanner: scanner._set(b"s", Scanner._text),
    b"NS": lambda scanner: scanner._set(b"n", Scanner._numeral),
    b"BS": lambda scanner: scanner._set(b"b", Scanner._binary),
    b"L": Scanner._list,
    b"M": Scanner._map,
    b"BOOL": Scanner._boolean,
    b"NULL": Scanner._true,
}

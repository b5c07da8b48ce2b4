"""Lines of a DynamoDB export in Amazon Ion text, to the canonical encoding: the reference of native/ion.c.

Of Ion text this reads what DynamoDB writes (S3DataExport.Output in the developer guide: a line is ``$ion_1_0`` and a
struct; numbers are decimals such as ``103.`` and ``6d2``; sets are lists annotated ``$dynamodb_SS``, ``_NS`` or
``_BS``; binary is ``{{base64}}``) and the other spellings that Ion has for the same values: quoted and bare field
names, long strings, typed nulls of type null, ints and floats written in decimal, comments not.
"""

from __future__ import annotations

import binascii
import itertools
import re
from collections.abc import Callable

from sketch.canonical import BASE64, MalformedItemError, canonical_number
from sketch.problems import Malformed, Problem
from sketch.wire import Attributes, Scanner, encoded_map, sized

IMAGES = frozenset((b"Item", b"Keys", b"NewImage", b"OldImage"))

_BARE = re.compile(rb"[A-Za-z_$][A-Za-z0-9_$]*")
_DECIMAL = re.compile(rb"-?(?:0|[1-9][0-9]*(?:_[0-9]+)*)(?:\.(?:[0-9]+(?:_[0-9]+)*)?)?(?:[dDeE][+-]?[0-9]+)?")
_BLOB = re.compile(rb"\{\{([A-Za-z0-9+/= \t\r]*)\}\}")
_PLAIN = {quote: re.compile(rb"[^\\\x00-\x08\x0a-\x1f" + quote + rb"]*") for quote in (b'"', b"'")}
_ENDS = frozenset(b",]}: \t\r\n:")
_ESCAPES = {ord(k): v for k, v in zip("\"'\\/?0abtnfrv", b"\"'\\/?\0\a\b\t\n\f\r\v", strict=True)}
_WIDTHS = {b"x"[0]: 2, b"u"[0]: 4, b"U"[0]: 8}
_SETS = {b"$dynamodb_SS": b"s", b"$dynamodb_NS": b"n", b"$dynamodb_BS": b"b"}


def members(text: bytes, at: int, end: int, *, wrapped: bool) -> dict[bytes, tuple[Attributes, int]]:
    """The items of one line, each with where it starts. ``wrapped``: they may be within a member ``Record``."""
    scanner = _Ion(text, at, end)
    scanner.peek()
    scanner.literal(b"$ion_1_0", Problem.SYNTAX)
    scanner.enter(b"{"[0], Problem.SYNTAX)
    found: dict[bytes, tuple[Attributes, int]] = {}
    scanner.images(found, wrapped=wrapped)
    rest = text[scanner.at : end].strip(b" \t\r")
    if rest:
        scanner.fail(Problem.TRAILING)
    return found


class _Ion(Scanner):
    def images(self, found: dict[bytes, tuple[Attributes, int]], *, wrapped: bool) -> None:
        first = True
        while self.more(b"}"[0], first):
            first = False
            self.peek()
            at = self.at
            name = self.field()
            if name in found:
                self.fail(Problem.MEMBER, at)
            self.expect(b":"[0])
            if name in IMAGES:
                self.peek()
                start = self.at
                found[name] = self.struct(), start
            elif name == b"Record" and wrapped:
                self.enter(b"{"[0], Problem.CONTENT)
                self.images(found, wrapped=False)
            else:
                self.ion_value()

    def field(self) -> bytes:
        """A field name: a bare symbol, or quoted with either quote."""
        byte = self.peek()
        if byte in b"\"'":
            return self.quoted(bytes([byte]))
        return self._match(_BARE)

    def quoted(self, quote: bytes) -> bytes:
        if self.text.startswith(b"'''", self.at, self.end):
            return self._long()
        self.at += 1
        parts = []
        while True:
            match = _PLAIN[quote].match(self.text, self.at, self.end)
            assert match is not None
            parts.append(match.group())
            self.at = match.end()
            if self.at >= self.end:
                self.fail(Problem.END, self.end)
            if self.text[self.at] == quote[0]:
                self.at += 1
                return _joined(parts)
            parts.append(self._ion_escape())

    def _long(self) -> bytes:
        """Triple-quoted segments, one after the other."""
        parts = []
        while self.text.startswith(b"'''", self.at, self.end):
            self.at += 3
            while not self.text.startswith(b"'''", self.at, self.end):
                if self.at >= self.end:
                    self.fail(Problem.END, self.end)
                if self.text[self.at] == b"\\"[0]:
                    parts.append(self._ion_escape())
                else:
                    parts.append(self.text[self.at : self.at + 1])
                    self.at += 1
            self.at += 3
            self.peek()
        return _joined(parts)

    def _ion_escape(self) -> bytes:
        start = self.at
        if self.text[start] != b"\\"[0]:
            self.fail(Problem.CONTROL)
        if start + 1 >= self.end:
            self.fail(Problem.END, self.end)
        kind = self.text[start + 1]
        self.at += 2
        width = _WIDTHS.get(kind)
        if width is None:
            if kind not in _ESCAPES:
                self.fail(Problem.ESCAPE, start)
            return bytes([_ESCAPES[kind]])
        digits = self.text[self.at : min(self.at + width, self.end)]
        if len(digits) < width or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
            self.fail(Problem.ESCAPE, start)
        code = int(digits, 16)
        if code > 0x10FFFF:
            self.fail(Problem.ESCAPE, start)
        self.at += width
        return chr(code).encode("utf-8", "surrogatepass")

    def struct(self) -> Attributes:
        """The attributes of an item or a map, sorted by name."""
        self.peek()
        start = self.at
        self.enter(b"{"[0], Problem.CONTENT)
        found: Attributes = []
        while self.more(b"}"[0], not found):
            name = self.field()
            self.expect(b":"[0])
            found.append((name, self.ion_value()))
        found.sort()
        if any(one[0] == other[0] for one, other in itertools.pairwise(found)):
            self.fail(Problem.DUPLICATE, start)
        return found

    def ion_value(self) -> bytes:
        """One value, encoded canonically."""
        byte = self.peek()
        if byte == b'"'[0] or self.text.startswith(b"'''", self.at, self.end):
            return sized(b"S", self.quoted(b'"'))
        if self.text.startswith(b"{{", self.at, self.end):
            return sized(b"B", self._blob())
        if byte == b"{"[0]:
            return encoded_map(self.struct())
        if byte == b"["[0]:
            return self._sequence(b"L", _Ion.ion_value)
        if byte in b"-0123456789":
            return sized(b"N", self._decimal())
        return self._word()

    def _word(self) -> bytes:
        at = self.at
        quoted = self.text[at] == b"'"[0]
        word = self.quoted(b"'") if quoted else self._match(_BARE)
        if word in _SETS and self.text.startswith(b"::", self.at, self.end):
            self.at += 2
            self.peek()
            tag = _SETS[word]
            return self._sequence(tag, _MEMBERS[tag])
        if not quoted and word in (b"true", b"false"):
            return b"T" if word == b"true" else b"F"
        if not quoted and word == b"null":
            if self.text.startswith(b".", self.at, self.end):
                self.at += 1
                if self._match(_BARE) != b"null":
                    self.fail(Problem.TYPE, at)
            return b"Z"
        raise Malformed(Problem.TYPE, at)

    def _sequence(self, tag: bytes, member: Callable[[_Ion], bytes]) -> bytes:
        self.enter(b"["[0], Problem.CONTENT)
        found: list[bytes] = []
        while self.more(b"]"[0], not found):
            found.append(member(self))
        if tag != b"L":
            found = [sized(b"", one) for one in sorted(set(found))]
        return tag + len(found).to_bytes(4, "big") + b"".join(found)

    def _string(self) -> bytes:
        if self.peek() != b'"'[0] and not self.text.startswith(b"'''", self.at, self.end):
            self.fail(Problem.CONTENT)
        return self.quoted(b'"')

    def _decimal(self) -> bytes:
        self.peek()
        at = self.at
        match = _DECIMAL.match(self.text, at, self.end)
        if match is None or (match.end() < self.end and self.text[match.end()] not in _ENDS):
            self.fail(Problem.NUMBER)
        self.at = match.end()
        spelling = match.group().decode("ascii").lower().replace("_", "").replace("d", "e")
        try:
            return canonical_number(spelling).encode("ascii")
        except MalformedItemError:
            self.fail(Problem.NUMBER, at)

    def _blob(self) -> bytes:
        self.peek()
        match = _BLOB.match(self.text, self.at, self.end)
        content = b"".join(match.group(1).split()) if match else b""
        if match is None or BASE64.fullmatch(content) is None:
            self.fail(Problem.BASE64)
        self.at = match.end()
        return binascii.a2b_base64(content)

    def _match(self, pattern: re.Pattern[bytes]) -> bytes:
        match = pattern.match(self.text, self.at, self.end)
        if match is None:
            raise Malformed(Problem.SYNTAX, self.at)
        self.at = match.end()
        return match.group()


def _joined(parts: list[bytes]) -> bytes:
    """Pieces of a string; surrogates that two escapes wrote are one code point."""
    if len(parts) == 1:
        return parts[0]
    return (
        b"".join(parts)
        .decode("utf-8", "surrogatepass")
        .encode("utf-16-le", "surrogatepass")
        .decode("utf-16-le", "surrogatepass")
        .encode("utf-8", "surrogatepass")
    )


_MEMBERS: dict[bytes, Callable[[_Ion], bytes]] = {b"s": _Ion._string, b"n": _Ion._decimal, b"b": _Ion._blob}

"""What can be wrong with the text of a page or an export line. Both implementations report the same code and offset."""

from __future__ import annotations

from enum import IntEnum

from sketch.canonical import MalformedItemError


class Problem(IntEnum):
    """The codes are shared with native/wire.h; a test holds the two together."""

    NONE = 0
    ENCODING = 1
    END = 2
    SYNTAX = 3
    CONTROL = 4
    ESCAPE = 5
    DEPTH = 6
    DUPLICATE = 7
    VALUE = 8
    TYPE = 9
    CONTENT = 10
    NUMBER = 11
    BASE64 = 12
    KEY_MISSING = 13
    KEY_TYPE = 14
    KEY_LONG = 15
    MEMBER = 16
    NO_ITEMS = 17
    COUNT = 18
    TRAILING = 19
    NO_ITEM = 20


_SAID = {
    Problem.ENCODING: "the text is not UTF-8",
    Problem.END: "the text ends too early: it was cut short",
    Problem.SYNTAX: "unexpected character",
    Problem.CONTROL: "a control character in a string",
    Problem.ESCAPE: "an escape that the format does not have",
    Problem.DEPTH: "nested too deeply: DynamoDB allows 32 levels of lists and maps",
    Problem.DUPLICATE: "two attributes of the same name in this item or map",
    Problem.VALUE: "expected a value: one type and its content",
    Problem.TYPE: "unknown type; accepted: S, N, B, SS, NS, BS, L, M, BOOL, NULL",
    Problem.CONTENT: "the content does not fit",
    Problem.NUMBER: "not a decimal number",
    Problem.BASE64: "not base64",
    Problem.KEY_MISSING: "a key attribute is missing",
    Problem.KEY_TYPE: "a key attribute is neither S, N nor B",
    Problem.KEY_LONG: "a key attribute is longer than 65,535 bytes",
    Problem.MEMBER: "a member of the response appears twice",
    Problem.NO_ITEMS: "no Items: this is not a Scan response",
    Problem.COUNT: "Count is not the number of items",
    Problem.TRAILING: "text after the end",
    Problem.NO_ITEM: "no item in this line",
}


class Malformed(Exception):  # noqa: N818 - becomes a MalformedItemError where the whole text is known
    """Where the reference stopped."""

    def __init__(self, problem: Problem, at: int) -> None:
        super().__init__(problem, at)
        self.problem, self.at = problem, at


def error(problem: int, at: int, text: memoryview, what: str) -> MalformedItemError:
    """The error to raise: what is wrong, at which byte, and what is there (a few bytes, as an aid to find it)."""
    found = bytes(text[at : at + 20])
    shown = f", found {found!r}" if found and problem in (Problem.SYNTAX, Problem.CONTENT, Problem.TYPE) else ""
    return MalformedItemError(f"{what}, byte {at:,} of {len(text):,}: {_SAID[Problem(problem)]}{shown}")

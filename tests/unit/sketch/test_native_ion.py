"""The native core reads Ion text as the reference does: the same elements, or the same problem at the same byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sketch import Layout, MalformedItemError, Sketch, backend
from sketch.problems import Problem
from sketch.reference import Kind
from tests.fuzz.harness import ION_ITEM, ION_KEY
from tests.unit.sketch.test_canonical import items
from tests.unit.sketch.test_ion import struct
from tests.unit.sketch.test_native import KEY, LAYOUT, LAYOUTS, both

ION_KINDS = (Kind.ION, Kind.ION_CHANGES)
WHOLE = f"$ion_1_0 {{Item:{ION_ITEM}}}\n".encode()
CHANGE = (
    f"$ion_1_0 {{Record:{{Metadata:{{t:1.}},Keys:{ION_KEY},NewImage:{ION_ITEM},OldImage:{ION_KEY}}}}}\n \t\r\n"
    f"$ion_1_0{{'Keys':{ION_KEY}}} "
).encode()


def value_line(value: str) -> bytes:
    return b'$ion_1_0 {Item:{pk:"k",sk:1.,a:%s}}' % value.encode("utf-8", "surrogatepass")


@given(st.lists(items, max_size=3), st.sampled_from(LAYOUTS))
def test_read_when_items_in_ion_are_random_agrees(found: Any, layout: Layout) -> None:
    whole = [struct({**item, "pk": {"S": "k"}, "sk": {"N": "7E0"}}) for item in found]
    text = " \r\n".join(f"$ion_1_0 {{Item:{item}}}" for item in whole).encode("utf-8", "surrogatepass")
    outcome = both(text, Kind.ION, layout)
    assert outcome.problem == Problem.ENCODING or outcome.items == len(found)
    key = struct({"pk": {"S": "k"}, "sk": {"N": "7E0"}})
    text = "\n".join(f"$ion_1_0 {{Record:{{Keys:{key},NewImage:{item}}}}}" for item in whole).encode("utf-8", "replace")
    assert both(text, Kind.ION_CHANGES, layout).items == len(found)


FRAGMENTS = st.sampled_from(
    [
        *"{}[]:,\"'\\ \t\n\x01\x7fé._-0$",
        *["true", "false", "null", "null.null", "null.int", "nan", "'true'", "//", "/**/", "0x1", "2020-01-01T"],
        *["1.", "-1_0.5d3", "1_", "1__0", "1._0", "1.0_1", "1d", "1e+", "1D-5", "1E999999999", "1d1234567890", "01"],
        *[
            "$dynamodb_SS::[",
            "$dynamodb_NS::[",
            "$dynamodb_BS::[",
            "'$dynamodb_SS'::[",
            "'$dynamodb\\x5fNS'::",
            "::",
            "]",
        ],
        *["{{", "}}", "{{AA==}}", "{{ A A = = }}", "{{AAA}}", '"a"', "'''a'''", "'''", "''", "a:", "'a':", '"a":'],
        *[r'"\x41"', r'"\xe9"', r'"\u00e9"', r'"\U0001F600"', r'"\U00110000"', r'"\ud83d\ude00"', r'"\ude00\ud83d"'],
        *[
            r"'''\ud83d''' '''\ude00'''",
            r'"\U0000d83d\ude00"',
            r'"\q"',
            r'"\x4',
            r'"\u12',
            "\\",
            r'"\0\a\b\t\n\f\r\v\?\/\'"',
        ],
        *['"tab\there"', "'''line\x01'''", "pk:", "Item:", "Record:{", "Keys:{", "$ion_1_0 "],
    ]
)


@given(st.lists(FRAGMENTS, max_size=10))
@settings(max_examples=1500, deadline=None)
def test_read_when_ion_is_made_of_fragments_agrees(parts: list[str]) -> None:
    text = "".join(parts)
    for kind in ION_KINDS:
        both(value_line(text), kind)
        both(f"$ion_1_0 {{{text}}}".encode(), kind)
        both(f"$ion_1_0 {{Record:{{{text}}}}}{text}".encode(), kind)
        both(text.encode(), kind)


@given(st.text("0123456789_.-+dDeE,} ", max_size=14))
@settings(max_examples=800, deadline=None)
def test_read_when_a_number_is_of_any_spelling_agrees(text: str) -> None:
    both(value_line(text), Kind.ION)
    both(value_line(f"$dynamodb_NS::[1.,{text}]"), Kind.ION)


@given(st.sampled_from([(WHOLE, Kind.ION), (CHANGE, Kind.ION_CHANGES)]), st.data())
@settings(max_examples=800, deadline=None)
def test_read_when_bytes_of_ion_are_changed_agrees(seed: tuple[bytes, Kind], data: st.DataObject) -> None:
    text, kind = seed
    at = data.draw(st.integers(0, len(text) - 1))
    put, dropped = data.draw(st.binary(max_size=3)), data.draw(st.integers(0, 3))
    both(text[:at] + put + text[at + dropped :], kind)


@pytest.mark.parametrize(("text", "kind"), [(WHOLE, Kind.ION), (CHANGE, Kind.ION_CHANGES)], ids=["items", "changes"])
def test_read_when_ion_is_cut_short_at_any_byte_agrees(text: bytes, kind: Kind) -> None:
    assert both(text, kind).items == text.count(b"$ion_1_0")
    for end in range(len(text)):
        both(text[:end], kind)


REFUSED = {
    "duplicate": ("{a:1.,'a':2.}", Problem.DUPLICATE),
    "duplicate after an escape": ('{a:1.,"\\x61":2.}', Problem.DUPLICATE),
    "lists a million deep": ("[" * 1_000_000, Problem.DEPTH),
    "structs a hundred thousand deep": ("{a:" * 100_000, Problem.DEPTH),
    "unknown annotation": ("$dynamodb_LS::[]", Problem.TYPE),
    "annotation with white space": ("$dynamodb_SS ::[]", Problem.TYPE),
    "comment": ("/* one */ 1.", Problem.SYNTAX),
    "timestamp": ("2020-01-01T", Problem.NUMBER),
    "control character": ('"a\x01"', Problem.CONTROL),
    "code point beyond the last": ('"\\U00110000"', Problem.ESCAPE),
    "blob that is not closed": ("{{AA==} }", Problem.BASE64),
    "set of two types": ('$dynamodb_NS::["1"]', Problem.NUMBER),
}


@pytest.mark.parametrize(("value", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_read_when_ion_is_malformed_names_the_problem(value: str, problem: Problem) -> None:
    assert both(value_line(value), Kind.ION).problem == problem


ACCEPTED = [
    "9" * 38 + "d-130",
    "-" + "1_0" * 2000 + ".0d9",
    '"' + "x" * 70_000 + '\\n"',
    "[" * 90 + "]" * 90,
    "{" + ",".join(f"n{n}:{n}" for n in range(300, 0, -1)) + "}",
    "$dynamodb_NS::[" + ",".join(f"{n % 90}d0" for n in range(300, 0, -1)) + "]",
    "{{" + "AAAA " * 20_000 + "}}",
    "{'':1.}",
    '"it\'s"',
    r'"\ud83d\ud83d\ude00\ude00"',
    r"'''\ud83d''' '''\ude00'''",
]


@pytest.mark.parametrize("value", ACCEPTED, ids=range(len(ACCEPTED)))
def test_read_when_ion_is_odd_but_whole_accepts_it(value: str) -> None:
    assert both(value_line(value), Kind.ION).items == 1


@pytest.mark.parametrize("step", [1, 7, 64])
def test_add_ion_takes_chunks_that_end_anywhere(step: int) -> None:
    text = WHOLE * 3
    one, other = Sketch(LAYOUT), Sketch(LAYOUT)
    one.add_ion(text)
    for at in range(0, len(text), step):
        other.add_ion(text[at : at + step])
    other.add_ion(b"", last=True)
    assert one.items == other.items == 3
    assert (one - other).empty


def test_add_ion_when_a_later_line_is_malformed_leaves_no_trace() -> None:
    sketch = Sketch(LAYOUT)
    with pytest.raises(MalformedItemError, match=r"export lines, byte .* unknown type"):
        sketch.add_ion(WHOLE + b"$ion_1_0 {Item:{a:nan}}\n" + WHOLE)
    assert sketch.empty


def test_add_ion_is_read_by_the_native_core(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("the reference was asked")

    if backend.implementation() != "native":
        pytest.skip(backend.reason())
    monkeypatch.setattr("sketch.reference.read", never)
    assert Sketch(Layout(tuple(KEY), cells=30)).add_ion(WHOLE) == 1

"""The native core is the reference, decision for decision: the same elements, or the same problem at the same byte."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sketch import Layout, reference
from sketch.problems import Problem
from sketch.reference import Kind, Outcome
from sketch.table import CELL_BYTES, Table
from tests.unit.sketch.test_canonical import items

_native = pytest.importorskip("sketch._native", reason="the native core was not built: no C compiler at make setup")

ROOT = Path(__file__).resolve().parents[3]
LAYOUT = Layout(("pk", "sk"), cells=60)
FILTERED = Layout(("pk", "sk"), ignore=("note", "a"), cells=60)
ONLY = Layout(("sk", "pk"), only=("a", "é"), cells=60)
LAYOUTS = (LAYOUT, FILTERED, ONLY)
KEY = {"pk": {"S": "k"}, "sk": {"N": "7"}}


def both(text: bytes, kind: Kind = Kind.PAGE, layout: Layout = LAYOUT) -> Outcome:
    """Read by both, found equal; what it came to."""
    tables = Table(layout.third), Table(layout.third)
    expected = reference.read(kind, text, layout, tables[0])
    found = Outcome(*_native.read(kind, text, layout.packed, layout.third, tables[1].counts, tables[1].cells))
    if expected.problem:
        assert (found.problem, found.at) == (expected.problem, expected.at), text
        assert tables[1].empty
    else:
        assert found == expected
    assert (tables[0].counts, tables[0].cells) == (tables[1].counts, tables[1].cells)
    return found


def plain(value: Any) -> Any:
    """Binary as base64, as the wire has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    return [plain(member) for member in value] if isinstance(value, list) else value


def page(*found: Any, **more: Any) -> dict[str, Any]:
    return {"Items": [plain(item) for item in found], "Count": len(found), "ScannedCount": len(found), **more}


def value_page(value: str) -> bytes:
    return b'{"Items":[{"pk":{"S":"k"},"sk":{"N":"1"},"a":%s}]}' % value.encode("utf-8", "surrogatepass")


@given(st.lists(items, max_size=4), st.sampled_from(LAYOUTS), st.booleans(), st.sampled_from([None, 1]))
def test_read_when_items_are_random_agrees(found: Any, layout: Layout, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(page(*({**item, **KEY} for item in found)), ensure_ascii=ascii_only, indent=indent)
    outcome = both(text.encode("utf-8", "surrogatepass"), layout=layout)
    assert outcome.problem in (Problem.NONE, Problem.ENCODING)
    if ascii_only:
        assert outcome.items == len(found)


FRAGMENTS = st.sampled_from(
    [
        *'{}[]:,"\\ \t\n\x01\x7fé',
        *[
            '"S"',
            '"N"',
            '"B"',
            '"M"',
            '"L"',
            '"SS"',
            '"NS"',
            '"BS"',
            '"BOOL"',
            '"NULL"',
            "true",
            "false",
            "null",
            "1",
            "-",
            "0.5",
            "1E+",
            '{"M":{',
            "}}",
        ],
        *[
            r'"1"',
            r'"1e5"',
            r'"-0.0"',
            r'"AA=="',
            r'"AAA"',
            r'"\u0041"',
            r'"\ud83d\ude00"',
            r'"\ud83d"',
            r'"\u0053"',
            r'"\x"',
            r'"\u12',
        ],
        *[
            '"pk"',
            '"sk"',
            '"Items"',
            '"Count"',
            '"LastEvaluatedKey"',
            '"CapacityUnits"',
            '"ConsumedCapacity"',
            '{"S":"k"}',
            '{"N":"1"}',
        ],
    ]
)


@given(st.lists(FRAGMENTS, max_size=12))
@settings(max_examples=400)
def test_read_when_a_value_is_made_of_fragments_agrees(parts: list[str]) -> None:
    both(value_page("".join(parts)))
    both("".join(parts).encode("utf-8", "surrogatepass"))


NESTED = {"M": {"z": {"L": [{"NULL": True}, {"BOOL": False}]}, "a": {"N": "-1.50E+3"}}}
RESPONSE = page(
    {**KEY, "t": {"S": 'é\U0001f600\n"'}, "m": NESTED},
    {**KEY, "s": {"SS": ["b", "a"]}, "n": {"NS": ["2", "10"]}, "b": {"BS": ["AQ==", "AA=="]}, "e": {"B": ""}},
    LastEvaluatedKey=KEY,
    ConsumedCapacity={"TableName": "t", "CapacityUnits": 128.5},
    Other=[{"deep": [1, -2.5e3, "x", None, True, False, {}]}],
)
WHOLE = json.dumps(RESPONSE).encode()


@pytest.mark.parametrize("text", [WHOLE, json.dumps(RESPONSE, ensure_ascii=False).encode()], ids=["escaped", "raw"])
def test_read_when_a_page_is_cut_short_at_any_byte_refuses_it_alike(text: bytes) -> None:
    for end in range(len(text)):
        assert both(text[:end]).problem != Problem.NONE


def test_read_when_a_whole_page_is_given_agrees_on_everything_beside_the_items() -> None:
    outcome = both(WHOLE)
    assert (outcome.problem, outcome.items, outcome.scanned) == (Problem.NONE, 2, 2)
    assert json.loads(WHOLE[outcome.key_start : outcome.key_end]) == KEY
    assert WHOLE[outcome.units_start : outcome.units_end] == b"128.5"


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=3), st.integers(0, 3))
@settings(max_examples=500)
def test_read_when_bytes_are_changed_agrees(at: int, put: bytes, dropped: int) -> None:
    both(WHOLE[:at] + put + WHOLE[at + dropped :])


REFUSED = {
    "duplicate attribute": ('{"M":{"x":{"S":"1"},"x":{"S":"1"}}}', Problem.DUPLICATE),
    "duplicate after escapes": ('{"M":{"x":{"S":"1"},"\\u0078":{"S":"2"}}}', Problem.DUPLICATE),
    "two types": ('{"S":"1","N":"1"}', Problem.VALUE),
    "no type": ("{}", Problem.VALUE),
    "no value": ('"text"', Problem.VALUE),
    "unknown type": ('{"X":"1"}', Problem.TYPE),
    "lower case type": ('{"s":"1"}', Problem.TYPE),
    "number that is none": ('{"N":"one"}', Problem.NUMBER),
    "number with white space": ('{"N":" 1"}', Problem.NUMBER),
    "number of JSON": ('{"N":1}', Problem.CONTENT),
    "infinity": ('{"N":"Infinity"}', Problem.NUMBER),
    "exponent of ten digits": ('{"N":"1e1234567890"}', Problem.NUMBER),
    "base64 without padding": ('{"B":"AAA"}', Problem.BASE64),
    "base64 of URLs": ('{"B":"-_-_"}', Problem.BASE64),
    "base64 with padding within": ('{"B":"AA==AAAA"}', Problem.BASE64),
    "base64 of nothing but padding": ('{"B":"===="}', Problem.BASE64),
    "null that is false": ('{"NULL":false}', Problem.CONTENT),
    "bool that is text": ('{"BOOL":"true"}', Problem.CONTENT),
    "set of numbers": ('{"SS":[1]}', Problem.CONTENT),
    "set with a type within": ('{"SS":[{"S":"a"}]}', Problem.CONTENT),
    "trailing comma": ('{"L":[{"S":"a"},]}', Problem.SYNTAX),
    "control character": ('{"S":"a\x01"}', Problem.CONTROL),
    "raw newline": ('{"S":"a\n"}', Problem.CONTROL),
    "escape that JSON lacks": ('{"S":"\\x41"}', Problem.ESCAPE),
    "escape of three digits": ('{"S":"\\u12g4"}', Problem.ESCAPE),
    "lone surrogate that is no escape": ('{"S":"\ud800"}', Problem.ENCODING),
    "nested 101 deep": ('{"L":[' * 60 + "]}" * 60, Problem.DEPTH),
    "nested a million deep": ("[" * 1_000_000, Problem.VALUE),
    "lists a million deep": ('{"L":[' * 200_000, Problem.DEPTH),
}


@pytest.mark.parametrize(("value", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_read_when_a_value_is_malformed_names_the_problem(value: str, problem: Problem) -> None:
    assert both(value_page(value)).problem == problem


ACCEPTED = [
    '{"S":"\\ud800"}',
    '{"S":"\\ud83d\\ude00\\/\\b\\f"}',
    '{"\\u0053":"escaped type"}',
    '{"N":"' + "9" * 5000 + 'e-999999999"}',
    '{"N":"\\u0031"}',
    '{"B":"\\u0041A=="}',
    '{"B":"AB=="}',
    '{"SS":[]}',
    '{"NS":["1","1.0","10e-1"]}',
    '{"S":"' + "x" * 70_000 + '"}',
    ' { "L" : [ ] } ',
    '{"L":[' * 32 + '{"M":{}}' + "]}" * 32,
    '{"M":{' + ",".join(f'"{n}":{{"N":"{n}"}}' for n in range(300, 0, -1)) + "}}",
    '{"SS":[' + ",".join(f'"{n % 90}"' for n in range(300, 0, -1)) + "]}",
]


@pytest.mark.parametrize("value", ACCEPTED, ids=range(len(ACCEPTED)))
def test_read_when_a_value_is_odd_but_whole_accepts_it(value: str) -> None:
    assert both(value_page(value)).items == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", Problem.END),
        ("[]", Problem.SYNTAX),
        ("{}", Problem.NO_ITEMS),
        ('{"__type":"com.amazon.coral#ThrottlingException"}', Problem.NO_ITEMS),
        ('{"Items":[],"Items":[]}', Problem.MEMBER),
        ('{"Items":[],"Count":1}', Problem.COUNT),
        ('{"Items":[],"Count":-1}', Problem.CONTENT),
        ('{"Items":[],"Count":1.5}', Problem.CONTENT),
        ('{"Items":[],"Count":1234567890123456789}', Problem.CONTENT),
        ('{"Items":{}}', Problem.CONTENT),
        ('{"Items":[[]]}', Problem.CONTENT),
        ('{"Items":[]}x', Problem.TRAILING),
        ('{"Items":[]}\0', Problem.TRAILING),
        ('{"Items":[{"pk":{"S":"a"}}]}', Problem.KEY_MISSING),
        ('{"Items":[{"pk":{"S":"a"},"sk":{"BOOL":true}}]}', Problem.KEY_TYPE),
        ('{"Items":[{"pk":{"S":"%s"},"sk":{"S":""}}]}' % ("x" * 65_536), Problem.KEY_LONG),
        ('{"Items":[],"LastEvaluatedKey":{"pk":{"S":"a"}}}', Problem.KEY_MISSING),
        ('{"Items":[],"LastEvaluatedKey":null}', Problem.CONTENT),
        ('{"Items":[],"ConsumedCapacity":{"CapacityUnits":"1"}}', Problem.CONTENT),
        ('{"Items":[],"ConsumedCapacity":{"CapacityUnits":1,"CapacityUnits":1}}', Problem.MEMBER),
        ('{"Items":[],"x":' + "[" * 101 + "]" * 101 + "}", Problem.DEPTH),
        ('\ufeff{"Items":[]}', Problem.SYNTAX),
    ],
)
def test_read_when_a_response_is_malformed_names_the_problem(text: str, problem: Problem) -> None:
    assert both(text.encode()).problem == problem


@pytest.mark.parametrize(
    ("value", "at"), [(b"\xff", 0), (b"\xc0\x80", 0), (b"a\xe2\x82", 1), (b"\xed\xa0\x80", 0), (b"\xf4\x90\x80\x80", 0)]
)
def test_read_when_the_text_is_not_utf8_says_where(value: bytes, at: int) -> None:
    for padding in (0, 7, 31, 32, 63):
        before = b'{"' + b"x" * padding + "é".encode()
        outcome = both(before + value + b'":1,"Items":[]}')
        assert (outcome.problem, outcome.at) == (Problem.ENCODING, len(before) + at)


@given(st.binary(max_size=80))
@example("é".encode() * 40)
def test_read_when_bytes_are_random_agrees(text: bytes) -> None:
    both(text)
    both(b'{"Items":[],"' + text + b'":1}')


def line(**members: Any) -> bytes:
    return json.dumps({name: plain(member) for name, member in members.items()}).encode() + b"\n"


@given(st.lists(items, max_size=3), st.sampled_from(LAYOUTS))
def test_read_when_export_lines_are_random_agrees(found: Any, layout: Layout) -> None:
    text = b" \r\n".join(line(Item={**item, **KEY}) for item in found)
    assert both(text, Kind.LINES, layout).items == len(found)
    changes = b"".join(line(Keys=KEY, NewImage={**item, **KEY}, OldImage=item) for item in found)
    assert both(changes + line(Metadata={"x": {"N": "1"}}, Keys=KEY), Kind.CHANGES, layout).items == len(found) + 1


CHANGE = line(Keys=KEY, OldImage=KEY, NewImage={**KEY, "a": {"S": "é"}}) + line(Keys=KEY) + b"\n" + line(Keys=KEY)


@given(st.integers(0, len(CHANGE) - 1), st.binary(max_size=3), st.integers(0, 3), st.sampled_from([1, 2]))
@settings(max_examples=300)
def test_read_when_bytes_of_lines_are_changed_agrees(at: int, put: bytes, dropped: int, kind: int) -> None:
    both(CHANGE[:at] + put + CHANGE[at + dropped :], Kind(kind))


def test_read_when_the_new_image_is_of_another_key_is_refused() -> None:
    other = {**KEY, "pk": {"S": "other"}}
    assert both(line(Keys=KEY, NewImage=other), Kind.CHANGES).problem == Problem.KEY_MISSING
    assert both(line(Keys=KEY), Kind.LINES).problem == Problem.NO_ITEM
    assert both(line(Item=KEY), Kind.CHANGES).problem == Problem.NO_ITEM


def test_read_when_buffers_do_not_fit_is_refused() -> None:
    table = Table(LAYOUT.third)
    for third, packed, kind in (
        (7, LAYOUT.packed, 0),
        (20, LAYOUT.packed[:-1], 0),
        (20, b"", 0),
        (20, LAYOUT.packed, 5),
    ):
        with pytest.raises(ValueError):
            _native.read(kind, b"{}", packed, third, table.counts, table.cells)
    with pytest.raises((TypeError, BufferError)):
        _native.read(0, b"{}", LAYOUT.packed, LAYOUT.third, table.counts, bytes(CELL_BYTES))  # type: ignore[arg-type]


def test_problem_codes_are_those_of_the_native_core() -> None:
    header = (ROOT / "sketch" / "native" / "wire.h").read_text(encoding="utf-8")
    codes = {name: int(code) for name, code in re.findall(r"PROBLEM_([A-Z0-9_]+) = ([0-9]+)", header)}
    assert codes.pop("MEMORY") not in set(Problem)
    assert codes == {problem.name: problem.value for problem in Problem}


@pytest.mark.parametrize(("choice", "said"), [("native", "native ''"), ("reference", "reference 'ATOLL_SKETCH=")])
def test_implementation_is_what_the_environment_asks_for(choice: str, said: str) -> None:
    code = "import sketch; print(sketch.implementation(), repr(sketch.reason()))"
    environment = os.environ | {"ATOLL_SKETCH": choice}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(said)

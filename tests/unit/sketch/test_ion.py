"""Export lines in Amazon Ion text mean the same as their DynamoDB JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketch import Layout, MalformedItemError, Sketch
from tests.unit.sketch.test_canonical import items

LAYOUT = Layout(("Id",), cells=30)

# The service's own example (S3DataExport.Output in the developer guide), in both formats.
SERVICE_ION = """$ion_1_0 {Item:{Authors:$dynamodb_SS::["Author1","Author2"],Dimensions:"8.5 x 11.0 x 1.5",\
ISBN:"333-3333333333",Id:103.,InPublication:false,PageCount:6d2,Price:2d3,ProductCategory:"Book",\
Title:"Book 103 Title"}}
"""
SERVICE_JSON = """{"Item":{"Authors":{"SS":["Author1","Author2"]},"Dimensions":{"S":"8.5 x 11.0 x 1.5"},\
"ISBN":{"S":"333-3333333333"},"Id":{"N":"103"},"InPublication":{"BOOL":false},"PageCount":{"N":"600"},\
"Price":{"N":"2000"},"ProductCategory":{"S":"Book"},"Title":{"S":"Book 103 Title"}}}
"""


def ion_text(text: str) -> str:
    """A string as Ion writes it: what JSON escapes in pairs of surrogates stands for itself."""
    return json.dumps(text, ensure_ascii=False)


def ion(value: dict[str, Any]) -> str:
    ((kind, content),) = value.items()
    if kind in ("SS", "NS", "BS"):
        return f"$dynamodb_{kind}::[" + ",".join(ion({kind[0]: one}) for one in content) + "]"
    return WRITERS[kind](content)


def ion_number(text: str) -> str:
    mantissa, _, exponent = text.partition("E")
    sign, digits = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    whole, point, fraction = digits.partition(".")
    return f"{sign}{whole.lstrip('0') or '0'}{point}{fraction}d{exponent}"


def struct(item: dict[str, Any]) -> str:
    return "{" + ",".join(f"{ion_text(name)}:{ion(value)}" for name, value in item.items()) + "}"


WRITERS: dict[str, Callable[[Any], str]] = {
    "S": ion_text,
    "N": ion_number,
    "B": lambda content: "{{" + base64.b64encode(content).decode() + "}}",
    "BOOL": lambda content: "true" if content else "false",
    "NULL": lambda content: "null",
    "L": lambda content: "[" + ",".join(map(ion, content)) + "]",
    "M": struct,
}


def test_add_ion_reads_the_services_own_example_as_its_json() -> None:
    one, other = Sketch(LAYOUT), Sketch(LAYOUT)
    one.add_ion(SERVICE_ION.encode())
    other.add_lines(SERVICE_JSON.encode())
    assert one.items == 1
    assert (one - other).empty


@given(st.lists(items, max_size=3))
def test_add_ion_agrees_with_the_items_it_was_written_from(found: list[dict[str, Any]]) -> None:
    one, other = Sketch(LAYOUT), Sketch(LAYOUT)
    for number, each in enumerate(found):
        item = {**each, "Id": {"N": f"{number}E0"}}
        other.add_item(item)
        one.add_ion(f"$ion_1_0 {{Item:{struct(item)}}}\n".encode())
    assert (one - other).empty


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("103.", {"N": "103"}),
        ("-1.5d-3", {"N": "-0.0015"}),
        ("1_000", {"N": "1000"}),
        ("0d5", {"N": "0"}),
        ('"a\\x41\\u00e9\\U0001F600\\0"', {"S": "aA\u00e9\U0001f600\0"}),
        ('"\\ud83d\\ude00"', {"S": "\U0001f600"}),
        ("'''one''' '''two'''", {"S": "onetwo"}),
        ("{{ }}", {"B": b""}),
        ("{{ AP8= }}", {"B": b"\0\xff"}),
        ("null.null", {"NULL": True}),
        ("{'quoted name':[], bare:{}}", {"M": {"quoted name": {"L": []}, "bare": {"M": {}}}}),
        ("'$dynamodb_NS'::[1., 10d-1]", {"NS": ["1"]}),
        ("$dynamodb_BS::[{{AA==}}]", {"BS": [b"\0"]}),
    ],
)
def test_add_ion_reads_the_spellings_that_ion_has(text: str, value: dict[str, Any]) -> None:
    one, other = Sketch(LAYOUT), Sketch(LAYOUT)
    one.add_ion(f"$ion_1_0 {{Item:{{Id:1.,a:{text}}}}}\n".encode())
    other.add_item({"Id": {"N": "1"}, "a": value})
    assert (one - other).empty


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nan", "unknown type"),
        ("null.int", "unknown type"),
        ("2020-01-01T", "not a decimal"),
        ("0x10", "not a decimal"),
        ("01", "not a decimal"),
        ("{{AAA}}", "not base64"),
        ("$dynamodb_XX::[]", "unknown type"),
        ("$dynamodb_SS::[1.]", "does not fit"),
        ("{a:1.,'a':2.}", "same name"),
        ('"\\q"', "escape"),
        ('"\\ud8"', "escape"),
        ("[1.,]", "unexpected"),
        ("[" * 200, "nested"),
        ('"open', "cut short"),
        ("'''open", "cut short"),
    ],
)
def test_add_ion_when_a_value_is_malformed_names_the_problem(value: str, message: str) -> None:
    with pytest.raises(MalformedItemError, match=message):
        Sketch(LAYOUT).add_ion(f"$ion_1_0 {{Item:{{Id:1.,a:{value}}}}}\n".encode())


@given(st.integers(0, len(SERVICE_ION) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_add_ion_when_bytes_are_changed_is_read_or_refused(at: int, put: bytes, dropped: int) -> None:
    text = SERVICE_ION.encode()
    sketch = Sketch(LAYOUT)
    try:
        sketch.add_ion(text[:at] + put + text[at + dropped :], last=True)
    except MalformedItemError:
        assert sketch.empty


def test_add_ion_when_cut_short_anywhere_is_refused() -> None:
    text = SERVICE_ION.encode().rstrip()
    for end in range(1, len(text)):
        with pytest.raises(MalformedItemError):
            Sketch(LAYOUT).add_ion(text[:end], last=True)

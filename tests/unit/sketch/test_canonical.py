"""The canonical digest: what it must not see, what it must see, and the published vectors."""

from __future__ import annotations

import base64
import json
import re
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sketch.canonical import Checksum, MalformedItemError, canonical_number, item_digest, key_digest

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "canonical-digest.md"

digits = st.from_regex(r"-?[0-9]{1,38}(\.[0-9]{1,20})?", fullmatch=True)
numbers = st.tuples(digits, st.integers(-80, 80)).map(lambda pair: f"{pair[0]}E{pair[1]}")
text = st.text(max_size=12)
blob = st.binary(max_size=12)
scalars = st.one_of(
    text.map(lambda v: {"S": v}),
    numbers.map(lambda v: {"N": v}),
    blob.map(lambda v: {"B": v}),
    st.booleans().map(lambda v: {"BOOL": v}),
    st.just({"NULL": True}),
    st.lists(text, min_size=1, max_size=5, unique=True).map(lambda v: {"SS": v}),
    st.lists(blob, min_size=1, max_size=5, unique=True).map(lambda v: {"BS": v}),
    st.lists(numbers, min_size=1, max_size=5, unique_by=canonical_number).map(lambda v: {"NS": v}),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda v: {"L": v}),
        st.dictionaries(text, inner, max_size=4).map(lambda v: {"M": v}),
    ),
    max_leaves=12,
)
items = st.dictionaries(text, values, max_size=6)


def respelled(value: dict[str, Any], draw: Any) -> dict[str, Any]:
    """The same value written differently: order of members and attributes, spelling of numbers, base64."""
    ((kind, content),) = value.items()
    if kind == "M":
        return {"M": reordered(content, draw)}
    if kind == "L":
        return {"L": [respelled(member, draw) for member in content]}
    if kind == "N":
        return {"N": renumbered(content)}
    if kind == "B":
        return {"B": base64.b64encode(content).decode()}
    if kind in ("SS", "NS", "BS"):
        members = draw(st.permutations(content))
        return {kind: [renumbered(m) for m in members] if kind == "NS" else list(members)}
    return value


def reordered(item: dict[str, Any], draw: Any) -> dict[str, Any]:
    return {name: respelled(item[name], draw) for name in draw(st.permutations(sorted(item)))}


def renumbered(number: str) -> str:
    mantissa, exponent = number.split("E")
    return f"{mantissa}{'' if '.' in mantissa else '.'}0000e{int(exponent):+d}"


@given(items, st.data())
def test_item_digest_when_item_is_written_differently_is_the_same(item: dict[str, Any], data: st.DataObject) -> None:
    assert item_digest(reordered(item, data.draw)) == item_digest(item)


@given(items, items)
def test_item_digest_when_items_mean_different_things_differs(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (item_digest(one) == item_digest(other)) == (meaning({"M": one}) == meaning({"M": other}))


def meaning(value: dict[str, Any]) -> Any:
    """An independent notion of equality, by Python values."""
    ((kind, content),) = value.items()
    if kind == "M":
        return kind, frozenset((name, meaning(v)) for name, v in content.items())
    if kind == "L":
        return kind, tuple(map(meaning, content))
    if kind in ("SS", "BS"):
        return kind, frozenset(content)
    if kind == "N":
        return kind, Decimal(content)
    if kind == "NS":
        return kind, frozenset(map(Decimal, content))
    return kind, content


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"S": "1"}, {"N": "1"}),
        ({"S": "ab"}, {"B": b"ab"}),
        ({"L": []}, {"M": {}}),
        ({"S": ""}, {"NULL": True}),
        ({"BOOL": True}, {"BOOL": False}),
        ({"SS": ["1"]}, {"NS": ["1"]}),
        ({"SS": ["a", "b"]}, {"L": [{"S": "a"}, {"S": "b"}]}),
        ({"L": [{"S": "a"}, {"S": "b"}]}, {"L": [{"S": "b"}, {"S": "a"}]}),
        ({"SS": ["ab", "c"]}, {"SS": ["a", "bc"]}),
        ({"N": "12345678901234567890123456789012345678"}, {"N": "12345678901234567890123456789012345679"}),
    ],
)
def test_item_digest_when_type_or_value_differs_differs(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert item_digest({"a": one}) != item_digest({"a": other})


def test_item_digest_when_attribute_is_absent_differs_from_every_empty_value() -> None:
    empty = [{"S": ""}, {"L": []}, {"M": {}}, {"B": b""}, {"NULL": True}]
    assert len({item_digest({}), *(item_digest({"a": value}) for value in empty)}) == len(empty) + 1


def test_item_digest_when_attributes_are_ignored_or_selected_sees_the_rest_only() -> None:
    item = {"pk": {"S": "k"}, "a": {"N": "1"}, "b": {"N": "2"}}
    assert item_digest(item, ignore={"b"}) == item_digest({"pk": {"S": "k"}, "a": {"N": "1"}})
    assert item_digest(item, only={"a"}) == item_digest({"a": {"N": "1"}})


def test_key_digest_when_other_attributes_differ_is_the_same() -> None:
    one = {"pk": {"S": "k"}, "sk": {"N": "1.0"}, "a": {"S": "x"}}
    assert key_digest(one, ["pk", "sk"]) == key_digest({"sk": {"N": "1"}, "pk": {"S": "k"}}, ["sk", "pk"])
    assert key_digest(one, ["pk", "sk"]) != item_digest({"pk": {"S": "k"}, "sk": {"N": "1"}})


def test_key_digest_when_key_attribute_is_missing_names_it() -> None:
    with pytest.raises(MalformedItemError, match="'sk'"):
        key_digest({"pk": {"S": "k"}}, ["pk", "sk"])


@given(numbers)
def test_canonical_number_is_exact_and_idempotent(number: str) -> None:
    canonical = canonical_number(number)
    assert canonical_number(canonical) == canonical
    exact = Context(prec=400, Emin=-99999, Emax=99999)
    assert exact.create_decimal(canonical) == exact.create_decimal(number)


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("1", "1E0"),
        ("1.0", "1E0"),
        ("1E0", "1E0"),
        ("+0010.500e-1", "105E-2"),
        ("-120", "-12E1"),
        ("-0.00", "0"),
        ("0E17", "0"),
        (".5", "5E-1"),
        ("5.", "5E0"),
        ("12345678901234567890123456789012345678E-130", "12345678901234567890123456789012345678E-130"),
    ],
)
def test_canonical_number_when_spelled_so_gives_one_spelling(spelling: str, canonical: str) -> None:
    assert canonical_number(spelling) == canonical


@pytest.mark.parametrize(
    "spelling", ["", ".", "-", "1e", "NaN", "Infinity", "0x1", "1 ", "\u0661", "1_0", "1e9999999999"]
)
def test_canonical_number_when_not_a_number_is_refused(spelling: str) -> None:
    with pytest.raises(MalformedItemError, match="not a decimal number"):
        canonical_number(spelling)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "item.a: expected one type"),
        ({"S": "a", "N": "1"}, "item.a: expected one type"),
        ({"X": "a"}, "unknown type 'X'"),
        ({"S": 1}, "S holds text"),
        ({"N": 1}, "N holds a number as text"),
        ({"B": "not base64!"}, "B is not base64"),
        ({"NULL": False}, "NULL holds true"),
        ({"BOOL": "true"}, "BOOL holds"),
        ({"L": [{"M": {"x": {"N": "one"}}}]}, r"item\.a\[0\]\.x: N"),
    ],
)
def test_item_digest_when_malformed_names_the_attribute(value: Any, message: str) -> None:
    with pytest.raises(MalformedItemError, match=message):
        item_digest({"a": value})


def test_item_digest_when_text_holds_a_lone_surrogate_is_defined() -> None:
    assert item_digest({"a": {"S": "\ud800"}}) != item_digest({"a": {"S": "?"}})


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=20), st.integers(0, 20), st.randoms())
@settings(max_examples=50)
def test_checksum_is_free_of_order_and_adds_up(digests: list[bytes], cut: int, random: Any) -> None:
    shuffled = list(digests)
    random.shuffle(shuffled)
    whole = Checksum.of(digests)
    assert Checksum.of(shuffled) == whole
    assert Checksum.of(digests[:cut]) + Checksum.of(digests[cut:]) == whole
    assert whole - Checksum.of(digests[cut:]) == Checksum.of(digests[:cut])


def test_checksum_when_one_item_is_changed_differs() -> None:
    digests = [item_digest({"pk": {"S": str(n)}}) for n in range(50)]
    assert str(Checksum.of([*digests[:-1], item_digest({"pk": {"S": "x"}})])) != str(Checksum.of(digests))


def test_documented_vectors_are_what_the_code_computes() -> None:
    rows = re.findall(r"^\| `(\{.*\})` \| `([0-9a-f]{32})` \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) >= 12
    assert [(item, item_digest(json.loads(item)).hex()) for item, _ in rows] == rows
    checksum = re.search(r"checksum of all of them is `([0-9]+:[0-9a-f]{32})`", DOCUMENT.read_text(encoding="utf-8"))
    assert checksum is not None
    assert checksum[1] == str(Checksum.of(item_digest(json.loads(item)) for item, _ in rows))

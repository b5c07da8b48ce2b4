"""Attribute diffs: down to what differs, with its type to be seen, and no secret in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.divergence import attribute_diffs, shown
from ops.divergence.diffs import MAX_ATTRIBUTES, SHOWN
from sketch.canonical import item_digest

US, AP = "us-east-1", "ap-south-1"


def item(**attributes: Any) -> dict[str, Any]:
    return {"pk": {"S": "a"}, **attributes}


def found(one: Any, other: Any) -> dict[str, tuple[str, str]]:
    images = {US: item(**({"x": one} if one else {})), AP: item(**({"x": other} if other else {}))}
    return {diff.path: (diff.values[US], diff.values[AP]) for diff in attribute_diffs(images)}


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"N": "1"}, {"S": "1"}, {"x": ("1", '"1"')}),
        ({"S": ""}, None, {"x": ('""', "(absent)")}),
        ({"NULL": True}, {"BOOL": False}, {"x": ("null", "false")}),
        ({"M": {"a": {"N": "1"}, "b": {"S": "s"}}}, {"M": {"b": {"S": "s"}}}, {"x.a": ("1", "(absent)")}),
        ({"L": [{"N": "1"}, {"N": "2"}]}, {"L": [{"N": "1"}, {"N": "3"}]}, {"x[1]": ("2", "3")}),
        (
            {"L": [{"S": "a"}, {"S": "b"}, {"S": "c"}]},
            {"L": [{"S": "a"}, {"S": "c"}]},
            {"x[1:]": ('["b"]', "[]")},
        ),
        ({"L": []}, {"L": [{"N": "1"}]}, {"x": ("[]", "[1]")}),
        (
            {"SS": ["a", "b", "c"]},
            {"SS": ["c", "a"]},
            {"x": ('has "b" (2 in common)', "nothing more (2 in common)")},
        ),
        ({"NS": ["1.0", "2"]}, {"NS": ["1", "3"]}, {"x": ("has 2 (1 in common)", "has 3 (1 in common)")}),
        ({"SS": ["1"]}, {"NS": ["1"]}, {"x": ('{"1"}', "{1}")}),
        (
            {"B": b"\x00\xff"},
            {"B": "AP4="},
            {"x": ("binary, 2 bytes, sha256 06eb7d6a69ee", "binary, 2 bytes, sha256 dcc3494d4980")},
        ),
        ({"S": '{"n": 1.0, "m": {"a": [1]}}'}, {"S": '{"n": 1, "m": {"a": [2]}}'}, {"x.m.a[0]": ("1", "2")}),
    ],
)
def test_attribute_diffs_when_values_differ_shows_how(one: Any, other: Any, said: dict[str, Any]) -> None:
    assert found(one, other) == said


def test_attribute_diffs_when_a_json_text_is_spelled_otherwise_shows_the_texts() -> None:
    assert found({"S": '{"n":1}'}, {"S": '{"n": 1.0}'}) == {"x": ('{"n": 1}', '{"n": 1.0}')}


@pytest.mark.parametrize("text", ["{" * 50, "[" * 100_000, '{"a": NaN}', "{not json}", '{"a": ' * 40 + "1" + "}" * 40])
def test_attribute_diffs_when_a_text_only_looks_like_json_takes_it_as_text(text: str) -> None:
    assert set(found({"S": text}, {"S": text + " "})) == {"x"}


def test_attribute_diffs_when_long_texts_part_late_shows_where() -> None:
    one, other = found({"S": "a" * 500 + "one"}, {"S": "a" * 500 + "other"})["x"]
    assert one.endswith('one"')
    assert other.endswith('other"')
    assert one.startswith("…aaa")


def test_attribute_diffs_when_json_differs_names_the_path_and_masks_secrets() -> None:
    def event(amount: int, password: str) -> dict[str, Any]:
        return {"S": json.dumps({"data": {"amount": amount, "password": password, "same": [1]}})}

    assert found(event(1, "hunter2"), event(2, "hunter3")) == {
        "x.data.amount": ("1", "2"),
        "x.data.password": ("•••", "•••"),
    }


@pytest.mark.parametrize(
    "value",
    [
        {"M": {"api_key": {"S": "hunter2"}, "n": {"N": "1"}}},
        {"S": json.dumps({"nested": {"token": "hunter2"}})},
        {"L": [{"S": json.dumps([{"Authorization": "hunter2"}])}]},
        {"SS": [json.dumps({"secret": "hunter2"})]},
        {"M": {"passwords": {"L": [{"S": "hunter2"}]}}},
    ],
)
def test_attribute_diffs_when_a_secret_is_inside_a_value_masks_it(value: Any) -> None:
    assert "hunter2" not in repr(found(value, None))
    assert "hunter2" not in repr(found(value, {"N": "1"}))
    assert "hunter2" not in shown(value)


def test_attribute_diffs_when_many_attributes_differ_says_that_there_are_more() -> None:
    images = {label: item(**{f"a{n:03}": {"S": label} for n in range(200)}) for label in (US, AP)}
    diffs = attribute_diffs(images)
    assert len(diffs) == MAX_ATTRIBUTES + 1
    assert diffs[-1].values == {US: "more attributes differ", AP: "more attributes differ"}


values: Any = st.recursive(
    st.one_of(
        st.text(max_size=6).map(lambda v: {"S": v}),
        st.integers(-99, 99).map(lambda v: {"N": str(v)}),
        st.binary(max_size=4).map(lambda v: {"B": v}),
        st.booleans().map(lambda v: {"BOOL": v}),
        st.just({"NULL": True}),
        st.sets(st.text(max_size=3), min_size=1, max_size=3).map(lambda v: {"SS": sorted(v)}),
        st.sets(st.integers(0, 9), min_size=1, max_size=3).map(lambda v: {"NS": [str(n) for n in v]}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda v: {"L": v}),
        st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=4).map(lambda v: {"M": v}),
        inner.map(lambda v: {"S": json.dumps({"a": str(v)})}),
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text("xyz", min_size=1, max_size=2), values, max_size=3), min_size=2, max_size=3))
def test_attribute_diffs_names_something_exactly_when_the_digests_differ(contents: list[dict[str, Any]]) -> None:
    images = {f"r{number}": content for number, content in enumerate(contents)}
    diffs = attribute_diffs(images)
    assert bool(diffs) == (len({item_digest(content) for content in contents}) > 1)
    assert len({diff.path for diff in diffs}) == len(diffs)
    for diff in diffs:
        assert set(diff.values) == set(images)
        assert all(len(text) <= SHOWN + len(" (99 in common)") for text in diff.values.values())

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.core import strictjson
from handlers.core.strictjson import MalformedError

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(values)
def test_canonical_of_any_value_survives_another_round(value: object) -> None:
    text = strictjson.canonical(value)
    assert strictjson.canonical(strictjson.loads(text.encode())) == text
    assert json.loads(text) == value


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"a":1} x', b"\xef\xbb", b"[" * 100_000])
def test_loads_when_not_json_raises_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        strictjson.loads(raw)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "NaN"), ("-Infinity", "Infinity"), ("1e400", "too large"), (str(2**63), "integer outside"),
        ("9" * 5000, "integer outside"), ('"\\ud800"', "surrogate"), ("[" * 101 + "]" * 101, "deeper than 100"),
    ],
)  # fmt: skip
def test_canonical_when_a_value_is_unacceptable_says_why(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        strictjson.canonical(strictjson.loads(text))


def test_loads_when_one_member_is_unacceptable_leaves_its_neighbours_alone() -> None:
    bad, good = strictjson.loads('[{"n":NaN},{"n":1}]')
    assert strictjson.canonical(good) == '{"n":1}'
    with pytest.raises(MalformedError):
        strictjson.canonical(bad)


def test_depth_when_brackets_are_inside_strings_ignores_them() -> None:
    assert strictjson.canonical({"text": '[{"' * 200})
    assert strictjson.canonical([[[]]] * 200)

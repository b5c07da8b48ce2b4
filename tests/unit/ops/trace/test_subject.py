from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import UsageError
from ops.trace import Subject, subject
from tests.unit.ops.trace.made import KEY, TRACE

HEX = st.text("0123456789abcdef", min_size=32, max_size=32)


def test_subject_of_a_key_in_capitals_is_the_same_key() -> None:
    assert subject(event_key=f" {KEY.upper()} ") == Subject("event_key", KEY)


@given(HEX)
def test_subject_of_a_trace_is_one_in_whatever_form_it_comes(digits: str) -> None:
    expected = Subject("trace_id", f"1-{digits[:8]}-{digits[8:]}")
    forms = (
        expected.value,
        digits,
        digits.upper(),
        f"00-{digits}-00f067aa0ba902b7-01",
        f"Root={expected.value}",
        f"Self=1-0-0;Root={expected.value};Parent=53995c3f42cd8ad8;Sampled=1",
    )
    assert {subject(trace_id=form) for form in forms} == {expected}


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128))
def test_subject_of_any_visible_text_is_a_correlation_id_as_it_is(text: str) -> None:
    assert subject(correlation_id=text) == Subject("correlation_id", text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "none of them is given; accepted: exactly one"),
        ({"event_key": KEY, "trace_id": TRACE}, "event_key and trace_id are given; accepted: exactly one"),
        ({"event_key": "order-1"}, "event_key: 'order-1' is none; accepted: a UUID"),
        ({"event_key": KEY[:-1]}, "event_key: .* is none; accepted: a UUID"),
        ({"correlation_id": "two words"}, "correlation_id: 'two words' is none; accepted: 1 to 128 visible ASCII"),
        ({"correlation_id": "x" * 129}, "correlation_id: .* 1 to 128"),
        ({"trace_id": "1-2-3"}, "trace_id: '1-2-3' is none; accepted: 1-<8 hex>-<24 hex>"),
    ],
)
def test_subject_when_malformed_names_the_field_and_what_is_accepted(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        subject(**given)

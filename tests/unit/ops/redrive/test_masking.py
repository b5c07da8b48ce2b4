"""What a report shows of a message: no secret, and never much."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.redrive.masking import MAX_SAMPLE, Masker
from ops.scrub import MASK, Scrubber

MASKER = Masker(Scrubber({}))
SECRET = "s3cr3t-value-of-a-customer"
NAMES = [
    "password",
    "Authorization",
    "api_key",
    "apiKey",
    "X-API-Key",
    "client_secret",
    "card_number",
    "cvv",
    "iban",
    "sessionToken",
    "private-key",
]
_values: Any = st.just(SECRET) | st.lists(st.just(SECRET), min_size=1) | st.dictionaries(st.text(), st.just(SECRET))


@given(name=st.sampled_from(NAMES), value=_values, path=st.lists(st.text(max_size=5) | st.none(), max_size=8))
def test_sample_of_a_secret_field_anywhere_never_shows_its_value(name: str, value: Any, path: list[str | None]) -> None:
    nested: Any = {name: value}
    for step in path:
        nested = [nested] if step is None else {step: nested}
    assert SECRET not in MASKER.sample(json.dumps(nested)) or not value


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f'{{"detail": "{{\\"password\\": \\"{SECRET}\\"}}"}}',
        f'"Authorization: Bearer {SECRET}"',
        f"Basic {SECRET}",
        f"https://user:{SECRET}@host/path",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}",
        f'{{"note": "token: {SECRET}"}}',
    ],
)
def test_sample_of_a_text_that_labels_a_secret_masks_it(text: str) -> None:
    assert SECRET not in MASKER.sample(text)
    assert MASK in MASKER.sample(text)


@pytest.mark.parametrize(
    "card", ['"4111 1111 1111 1111"', "4111111111111111", '{"n": "paid with 5500-0000-0000-0004"}']
)
def test_sample_of_a_card_number_masks_it(card: str) -> None:
    assert MASK in MASKER.sample(card)


def test_sample_of_an_event_keeps_its_shape_and_what_identifies_it() -> None:
    event = {
        "event_key": "0f8fad5b-d9cb-569f-a165-70867728950e",
        "time": "2026-03-01T12:00:00Z",
        "data": {"total": 12.5, "items": list(range(9)), "note": "x" * 500, "password": None},
    }
    shown = json.loads(MASKER.sample(json.dumps(event)))
    assert (shown["event_key"], shown["time"]) == (event["event_key"], event["time"])
    assert shown["data"]["items"] == [0, 1, 2, 3, 4, "… 4 more"]
    assert shown["data"]["note"].endswith("… (500 characters)")
    assert shown["data"]["password"] is None


@given(body=st.text() | st.text().map(json.dumps) | st.sampled_from(["[" * 100_000, '{"a":' * 9_999, '"\\ud800"']))
def test_sample_of_anything_is_short_and_printable(body: str) -> None:
    shown = MASKER.sample(body)
    assert len(shown) <= MAX_SAMPLE + 40
    assert shown.isprintable()

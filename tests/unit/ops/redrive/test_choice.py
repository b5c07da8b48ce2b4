"""Which messages are meant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import UsageError
from ops.redrive.choice import Choice, age_s
from ops.redrive.messages import read
from tests.unit.ops.redrive.letters import KEY, SENT_MS, given_up, store_dlq

LETTER = read(given_up(), store_dlq())
NOW = datetime.fromtimestamp(SENT_MS / 1000, UTC) + timedelta(hours=1)


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        ({}, True),
        ({"queues": ("atoll-unit-store-dlq",)}, True),
        ({"queues": ("atoll-unit-activity-dlq",)}, False),
        ({"error_codes": ("AccessDenied*", "Throttling")}, True),
        ({"error_codes": ("AccessDenied",)}, False),
        ({"handlers": ("atoll-unit-store",), "types": ("com.shop.*",), "keys": (KEY,)}, True),
        ({"handlers": ("atoll-unit-store",), "types": ("com.bank.*",)}, False),
        ({"keys": ("other",)}, False),
        ({"older_than_s": 3600}, True),
        ({"older_than_s": 3601}, False),
        ({"younger_than_s": 3601}, True),
        ({"younger_than_s": 3600}, False),
    ],
)
def test_takes_when_all_that_is_named_holds(choice: dict[str, Any], taken: bool) -> None:
    assert Choice(**choice).takes(LETTER, NOW) is taken


@given(age=st.floats(min_value=0, max_value=1e7), edge=st.floats(min_value=0, max_value=1e7))
def test_takes_of_older_and_younger_than_the_same_age_is_one_of_the_two(age: float, edge: float) -> None:
    now = LETTER.sent + timedelta(seconds=age)
    assert Choice(older_than_s=edge).takes(LETTER, now) is not Choice(younger_than_s=edge).takes(LETTER, now)


def test_everything_when_only_queues_are_named_is_all_of_them() -> None:
    assert Choice(queues=("a",)).everything
    assert not Choice(types=("a*",)).everything
    assert not Choice(older_than_s=0).everything


def test_age_s_of_text_is_seconds() -> None:
    assert [age_s("older_than", text) for text in ("30s", "2h", " 13d", "")] == [30, 7200, 13 * 86400, None]


@pytest.mark.parametrize("text", ["2", "h", "-1h", "1.5h", "2026-01-01"])
def test_age_s_of_anything_else_names_the_field(text: str) -> None:
    with pytest.raises(UsageError, match=r"older_than: .* is no age"):
        age_s("older_than", text)

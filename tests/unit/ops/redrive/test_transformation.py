"""What a rule's target gets of an event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.redrive.transformation import NotRepeatableError, transform
from tests.unit.ops.redrive.letters import BODY, EVENT, RULE

PATHS = {"type": "$.detail-type", "detail": "$.detail", "first": "$.resources[0]"}


def filled(template: str, paths: dict[str, str] = PATHS, event: dict[str, Any] = EVENT) -> str:
    return transform(json.dumps(event), {"InputTransformer": {"InputPathsMap": paths, "InputTemplate": template}}, RULE)


def test_transform_when_the_target_takes_the_event_changes_nothing() -> None:
    assert transform(BODY, {}, RULE) == BODY
    assert transform("no JSON", {}, RULE) == "no JSON"


def test_transform_when_the_input_is_constant_is_that() -> None:
    assert transform("no JSON", {"Input": '{"run": true}'}, RULE) == '{"run": true}'


def test_transform_when_a_template_holds_values_puts_them_in_as_json() -> None:
    made = json.loads(filled('{"kind": <type>, "said": "a <type>", "all": <detail>, "rule": <aws.events.rule-name>}'))
    assert made["kind"] == "order.created"
    assert made["said"] == "a order.created"
    assert made["all"] == EVENT["detail"]
    assert made["rule"] == "atoll-unit-store"


def test_transform_when_a_template_holds_the_event_itself_puts_it_in() -> None:
    made = json.loads(filled('{"whole": <aws.events.event.json>, "envelope": <aws.events.event>}'))
    assert made["whole"] == EVENT
    assert "detail" not in made["envelope"]


@given(text=st.text().filter(lambda text: text.isprintable()))
def test_transform_when_a_text_stands_inside_quotes_is_valid_json_with_that_text(text: str) -> None:
    made = filled('{"said": "<word>!"}', {"word": "$.detail.word"}, {"detail": {"word": text}})
    assert json.loads(made) == {"said": f"{text}!"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"InputPath": "$.nothing"}, "no such part"),
        ({"InputPath": "$.detail.*"}, "only names and indices"),
        ({"InputPath": "detail"}, r"begins with \$"),
        ({"InputPath": "$.source[0]"}, "no such part"),
        ({"InputTransformer": {"InputTemplate": "<aws.events.event.ingestion-time>"}}, "does not tell"),
        ({"InputTransformer": {"InputTemplate": "<typo>"}}, "no path says"),
        ({"InputTransformer": {"InputPathsMap": {"d": "$.detail"}, "InputTemplate": '"<d>"'}}, "its value is none"),
    ],
)
def test_transform_when_it_cannot_be_repeated_for_sure_says_why(change: dict[str, Any], why: str) -> None:
    with pytest.raises(NotRepeatableError, match=why):
        transform(BODY, change, RULE)


def test_transform_when_the_body_is_no_json_says_so() -> None:
    with pytest.raises(NotRepeatableError, match="no JSON"):
        transform("[" * 100_000, {"InputPath": "$.detail"}, RULE)

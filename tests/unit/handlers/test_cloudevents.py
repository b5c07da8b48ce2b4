from __future__ import annotations

import json
from typing import Any

import pytest

from handlers.core import cloudevents
from handlers.core.problem import ProblemError
from tests.unit.handlers.support import cloudevent


def refusal(value: Any) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        cloudevents.from_json(value)
    return caught.value


def test_from_json_when_valid_keeps_every_member_in_canonical_form() -> None:
    given = cloudevent(subject="7", dataschema="https://schema.example/1", traceparent="00-ab", retries=3, urgent=True)
    event = cloudevents.from_json(given)
    assert json.loads(event.text) == given
    assert (event.source, event.id, event.type) == ("/shop", "order-1", "order.created")
    assert event.time is not None


def test_from_json_when_members_are_reordered_gives_the_same_digest() -> None:
    given = cloudevent()
    assert cloudevents.from_json(given).digest == cloudevents.from_json(dict(reversed(given.items()))).digest


def test_from_json_when_an_attribute_is_null_treats_it_as_absent() -> None:
    assert cloudevents.from_json({**cloudevent(), "subject": None}) == cloudevents.from_json(cloudevent())
    assert refusal({**cloudevent(), "id": None}).field == "id"


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_from_json_when_a_required_attribute_is_missing_names_it(name: str) -> None:
    problem = refusal(cloudevent(**{name: None}))
    assert (problem.status, problem.kind, problem.field) == (400, "invalid-attribute", name)
    assert "missing" in problem.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("specversion", "0.3"), ("specversion", 1.0),
        ("id", ""), ("id", 7), ("id", "x" * 257), ("id", "a\nb"), ("id", "\ud800"), ("id", "\ufffe"), ("id", "\u0085"),
        ("source", ""), ("source", "a b"), ("source", "/caf\u00e9"), ("source", "%zz"), ("source", "/" + "x" * 1024),
        ("type", ""), ("type", "t" * 129), ("type", True),
        ("subject", ""), ("subject", "s" * 1025),
        ("time", "yesterday"), ("time", "2026-11-20T10:15:30"), ("time", 1700000000),
        ("dataschema", "schema.json"), ("dataschema", ""), ("datacontenttype", "json"), ("datacontenttype", "a/b; c"),
        ("Extension", "x"), ("ext_a", "x"), ("abcdefghijklmnopqrstu", "x"), ("", "x"),
        ("ext", 1.5), ("ext", {"a": 1}), ("ext", ["a"]), ("ext", 2**31), ("ext", "x" * 4097), ("ext", "\x00"),
    ],
)  # fmt: skip
def test_from_json_when_an_attribute_is_not_valid_names_it_and_what_is_accepted(name: str, value: Any) -> None:
    problem = refusal({**cloudevent(), name: value})
    assert (problem.status, problem.kind, problem.field) == (400, "invalid-attribute", name)


@pytest.mark.parametrize("value", [None, 7, "event", [], [cloudevent()]])
def test_from_json_when_not_an_object_is_malformed(value: Any) -> None:
    assert refusal(value).kind == "malformed-body"


@pytest.mark.parametrize(
    "members",
    [
        {"data": {"n": 1}, "data_base64": "AA=="},
        {"data": None, "data_base64": "not base64"},
        {"data": None, "data_base64": 7},
    ],
)
def test_from_json_when_data_is_contradictory_or_not_base64_is_refused(members: dict[str, Any]) -> None:
    problem = refusal(cloudevent(**members))
    assert (problem.kind, problem.field) == ("invalid-data", "data_base64")


def test_from_json_when_just_within_the_size_is_accepted_and_above_is_413() -> None:
    room = cloudevents.MAX_EVENT_BYTES - len(cloudevents.from_json(cloudevent(data="")).text)
    assert cloudevents.from_json(cloudevent(data="x" * room))
    problem = refusal(cloudevent(data="x" * (room + 1)))
    assert (problem.status, problem.kind) == (413, "event-too-large")
    assert "262144" in problem.detail
    assert refusal(cloudevent(data="\u00e9" * (room // 2 + 1))).status == 413


def test_refusal_of_any_value_never_quotes_the_data() -> None:
    assert "secret" not in refusal(cloudevent(id=None, data="secret")).detail

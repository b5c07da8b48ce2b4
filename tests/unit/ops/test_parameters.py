from __future__ import annotations

from typing import Any

import pytest

from ops.errors import OpsError, RefusedError, UsageError
from ops.parameters import Parameter, as_text, checked, from_text, parse_cell, typed

CELL = """
stage: str = "local"
region: str = ""  # region whose archive is replayed; empty: home region
count: int = -3  # how many
rate: float = 0.5
quick: bool = False
regions: list[str] = ["a", "b"]  # only "these" # and no others
period: Literal["hour", "day"] = "day"  # of a bucket
size: Literal[1, 2] = 2
note: str = "a # is no comment"
limits: list[str] = [
    "x",
]  # over several lines
"""


def test_parse_cell_when_well_formed_reads_type_default_and_help() -> None:
    assert parse_cell(CELL, "n") == (
        Parameter("stage", "str", "local"),
        Parameter("region", "str", "", "region whose archive is replayed; empty: home region"),
        Parameter("count", "int", -3, "how many"),
        Parameter("rate", "float", 0.5),
        Parameter("quick", "bool", False),
        Parameter("regions", "list[str]", ["a", "b"], 'only "these" # and no others'),
        Parameter("period", "choice", "day", "of a bucket", ("hour", "day")),
        Parameter("size", "choice", 2, "", (1, 2)),
        Parameter("note", "str", "a # is no comment"),
        Parameter("limits", "list[str]", ["x"], "over several lines"),
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x: int = 1 +", "not Python: line 1"),
        ("import os", r"line 1: expected `name: type = default  # help`"),
        ("x: int", "line 1: expected"),
        ("x = y = 1", "line 1: expected"),
        ("x: int = len('a')", "'x': the default must be a literal"),
        ("x: dict = {}", "type dict is not one of str, int"),
        ("x: int = 'a'", "'x': its own default 'a' is not a whole number"),
        ("x: Literal['a'] = 'b'", "its own default 'b' is not one of: a"),
    ],
)
def test_parse_cell_when_it_holds_something_else_names_the_place(source: str, message: str) -> None:
    with pytest.raises(OpsError, match=message) as caught:
        parse_cell(source, "replay.ipynb")
    assert str(caught.value).startswith("replay.ipynb")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("region", "", ""),
        ("region", "true", "true"),
        ("count", " 12 ", 12),
        ("rate", "3", 3.0),
        ("rate", "1e-3", 0.001),
        ("quick", "True", True),
        ("quick", "false", False),
        ("regions", "a, b,,c", ["a", "b", "c"]),
        ("regions", "", []),
        ("period", "hour", "hour"),
        ("size", "1", 1),
    ],
)
def test_from_text_when_of_the_type_converts(name: str, text: str, value: Any) -> None:
    (parameter,) = (p for p in parse_cell(CELL, "n") if p.name == name)
    converted = from_text(parameter, text)
    assert converted == value
    assert type(converted) is type(value)
    assert from_text(parameter, as_text(converted)) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("count", "1.5", "'1.5' is not a whole number"),
        ("count", "", "'' is not a whole number"),
        ("rate", "nan", "'nan' is not a number"),
        ("rate", "fast", "'fast' is not a number"),
        ("quick", "yes", "'yes' is not true or false"),
        ("period", "week", "'week' is not one of: hour, day"),
    ],
)
def test_from_text_when_of_another_type_says_what_is_accepted(name: str, text: str, message: str) -> None:
    (parameter,) = (p for p in parse_cell(CELL, "n") if p.name == name)
    with pytest.raises(ValueError, match=message):
        from_text(parameter, text)


def test_typed_when_several_are_wrong_names_each_and_lists_what_is_accepted() -> None:
    with pytest.raises(UsageError) as caught:
        typed(parse_cell(CELL, "n"), {"regoin": "x", "count": "many", "stage": "prod", "zzz": "1"}, "replay")
    assert str(caught.value).splitlines() == [
        "regoin: replay has no such parameter (did you mean 'region'?)",
        "count: 'many' is not a whole number; how many",
        "stage: is set with --stage, not with -p",
        "zzz: replay has no such parameter",
    ]
    assert "count (int, default -3); rate (float, default 0.5); quick (bool, default false)" in caught.value.hint


@pytest.mark.parametrize(
    "values", [{"count": True}, {"count": "1"}, {"regions": "a"}, {"regions": [1]}, {"nothing": 1}]
)
def test_checked_when_a_value_has_another_type_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        checked(parse_cell(CELL, "n"), values, "replay")


@pytest.mark.parametrize("name", ["db_password", "webhook_secret", "auth_token", "api_key", "apikey", "PRIVATE_KEYS"])
def test_secret_when_given_by_value_is_refused_without_repeating_it(name: str) -> None:
    declared = parse_cell(f'{name}: str = ""', "n")
    with pytest.raises(RefusedError) as caught:
        typed(declared, {name: "correct horse battery"}, "replay")
    assert "horse" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "reference",
    [
        "/atoll/prod/webhook",
        "ssm:webhook",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:webhook-AbCdEf",
        "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/webhook",
        "{{resolve:secretsmanager:webhook}}",
    ],
)
def test_secret_when_given_by_reference_is_accepted(reference: str) -> None:
    assert typed(parse_cell('webhook_secret: str = ""', "n"), {"webhook_secret": reference}, "r")


@pytest.mark.parametrize("name", ["event_key", "keys", "keyword", "monkey"])
def test_secret_when_the_key_is_of_an_item_is_no_secret(name: str) -> None:
    assert typed(parse_cell(f'{name}: str = ""', "n"), {name: "0b7c"}, "trace") == {name: "0b7c"}

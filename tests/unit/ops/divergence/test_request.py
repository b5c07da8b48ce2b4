"""What is asked: checked before anything is looked at, and never left out silently."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from ops import runbooks
from ops.divergence.modes import MODES
from ops.divergence.request import Request, request
from ops.errors import UsageError

EXPORT = "arn:aws:dynamodb:us-east-1:123456789012:table/t/export/01-a"
TAKES = {name: mode.takes for name, mode in MODES.items()}


def refused(**asked: Any) -> str:
    with pytest.raises(UsageError) as error:
        request(TAKES, **asked)
    return str(error.value)


def test_request_when_all_is_as_it_should_be_holds_it() -> None:
    made = request(TAKES, mode="scan", tables=["one", "two"], ignore=["seen"], segments=8)
    assert (made.tables, made.ignore, made.counted) == (("one", "two"), ("seen",), None)
    assert made.given() == {"mode": "scan", "tables": ["one", "two"], "ignore": ["seen"], "segments": 8}


def test_defaults_of_the_runbook_are_those_of_a_request() -> None:
    own = {one.name: one.default for one in fields(Request)}
    book = {one.name: one.default for one in runbooks.find("divergence").parameters}
    del book["stage"], book["apply"]
    assert {name: tuple(value) if isinstance(value, list) else value for name, value in book.items()} == {
        name: own[name] for name in book
    }


def test_runbook_has_the_parameters_of_its_modes_and_no_others() -> None:
    book = {one.name for one in runbooks.find("divergence").parameters} - {"stage", "apply", "mode"}
    assert book == {name for mode in MODES.values() for name in mode.takes}
    assert all(takes <= {one.name for one in fields(Request)} for takes in TAKES.values())


def test_request_when_the_mode_is_unknown_names_those_there_are() -> None:
    assert refused(mode="scna") == f"mode: 'scna' is unknown (did you mean 'scan'?); accepted: {', '.join(MODES)}"


def test_request_when_a_parameter_is_another_modes_is_refused_with_the_mode_that_takes_it() -> None:
    said = refused(mode="scan", per_million=5.0)
    assert said == "per_million: mode scan has no use for it, and '5.0' was given; it goes with mode=sample"
    assert refused(mode="probe", ignore=["seen"]).startswith(
        "ignore: mode probe has no use for it, and 'seen' was given"
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tables": ["a b"]}, "tables: 'a b'; accepted: names of tables"),
        ({"tables": ["one", "one"]}, "tables: one is named more than once"),
        ({"tables": ["one", "two"], "replicas": ["us-east-1", "ap-south-1"]}, "tables: replicas are of one table"),
        ({"regions": ["virginia"]}, "regions: 'virginia'; accepted: names of AWS regions"),
        ({"ignore": [""]}, "ignore: ''; accepted: names of attributes"),
        ({"ignore": ["a"], "only": ["a", "b"]}, "only: a is in ignore as well"),
        ({"attempts": 2}, "attempts: at least 3, is 2"),
        ({"attempts": 1000}, "attempts: 1000 is out of range; accepted: 1 to 100"),
        ({"settle_s": -1.0}, "settle_s: -1.0 is out of range; accepted: 0 to 600"),
        ({"segments": -1}, "segments: -1 is out of range; accepted: 0 to 1,000,000"),
        ({"read_units_per_s": float("nan")}, "read_units_per_s: nan is out of range"),
        ({"resume": "x", "tables": ["one", "two"]}, "resume: a checkpoint is one table's"),
        ({"mode": "sample", "per_million": 0.0}, "per_million: 0.0 is out of range"),
        ({"mode": "sample", "seed": -1}, "seed: -1 is out of range"),
        ({"mode": "export", "exports": ["x"]}, "exports: 'x'; accepted: ARNs of exports, or s3://"),
        (
            {"mode": "export", "exports": [EXPORT], "at": "2026-03-01T12:00:00Z"},
            "exports: these are made already, and at",
        ),
        ({"mode": "export", "exports": [EXPORT, EXPORT]}, f"exports: {EXPORT} is named more than once"),
        ({"mode": "export", "at": "noon"}, "at: 'noon' is no time; accepted: RFC 3339 with its zone"),
        ({"mode": "export", "at": "2026-03-01T12:00:00"}, "at: '2026-03-01T12:00:00' is no time"),
        (
            {"mode": "export", "at": "2026-03-01T12:00:00Z", "since": "2026-03-01T13:00:00Z"},
            "since: 2026-03-01T13:00:00Z is not before at",
        ),
        ({"mode": "export", "export_format": "CSV"}, "export_format: 'CSV'; accepted: DYNAMODB_JSON, ION"),
        ({"mode": "probe", "rounds": 0}, "rounds: 0 is out of range; accepted: 1 to 100"),
    ],
)
def test_request_when_a_value_is_wrong_names_it(asked: dict[str, Any], said: str) -> None:
    assert refused(**asked).startswith(said)


def test_request_when_several_are_wrong_has_a_line_for_each() -> None:
    assert len(refused(attempts=1, segments=-1, seed=5).splitlines()) == 3

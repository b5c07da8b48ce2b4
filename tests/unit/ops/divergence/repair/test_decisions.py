"""The table of decisions: read in both forms, and refused with line, field, problem and what is accepted."""

from __future__ import annotations

import pytest

from ops.divergence.repair.decisions import parse, template
from ops.divergence.repair.orders import Row
from ops.divergence.replicas import Schema
from ops.errors import UsageError
from sketch import keys

SCHEMA = Schema(("pk", "n", "raw")[:2], ("B", "N"))
LABELS = ("us-east-1", "ap-south-1")
KEY = keys.pack({"pk": {"B": b"\x00,\n"}, "n": {"N": "-1.50"}}, SCHEMA.names)


def test_template_when_filled_in_is_read_back_and_rows_left_empty_are_no_decisions() -> None:
    made = template([Row(KEY, "", "conflicting", "", "two writes", decided=False)], SCHEMA)
    assert made.splitlines() == ["pk,n,decision,why", "ACwK,-1.5,,two writes"]
    assert parse(made.encode(), "f", SCHEMA, LABELS) == {}
    filled = made.replace("-1.5,,", "-1.500,keep,")
    assert parse(filled.encode(), "f", SCHEMA, LABELS) == {KEY: "keep"}


def test_json_lines_name_keys_as_dynamodb_does() -> None:
    body = b'{"key": {"pk": {"B": "ACwK"}, "n": {"N": "-15e-1"}}, "decision": "delete"}\n\n'
    assert parse(body, "f", SCHEMA, LABELS) == {KEY: "delete"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"pk,decision\n", r"f: line 1: header: is 'pk,decision'; accepted: pk,n,decision"),
        (b"pk,n,decision\nACwK,1\n", "line 2: row: has 2 cells; accepted: 3"),
        (
            b"pk,n,decision\nACwK,1,eu\n",
            "line 2: decision: 'eu' is none; accepted: us-east-1, .*, delete, keep",
        ),
        (b"pk,n,decision\n?,1,keep\n", "line 2: pk: .*; accepted: base64"),
        (b"pk,n,decision\nACwK,one,keep\n", "line 2: n: .*; accepted: a number"),
        (b"pk,n,decision\n,1,keep\n", "line 2: pk: is empty or of another type"),
        (b"pk,n,decision\nACwK,1,keep\nACwK,1.0,delete\n", "line 3: key: .* was decided 'keep' before"),
        (b'{"key": {}, "decision": "keep"}', "line 1: key: has nothing"),
        (b'{"key": 1}', "line 1: key: is missing or is no object"),
        (b'{"key": {}, "decision": 1}', "line 1: decision: is no text"),
        (b'{"key"', "line 1: row: is no JSON"),
        (b"\xff", "byte 0: is not UTF-8"),
    ],
)
def test_decisions_when_a_row_is_wrong_name_line_field_and_what_is_accepted(body: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(body, "f", SCHEMA, LABELS)

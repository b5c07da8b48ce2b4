"""What was read of a segment, as bytes: whole or refused."""

from __future__ import annotations

import dataclasses
import json
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketch import Layout, Sketch
from sketch.portion import Portion

LAYOUT = Layout(("pk",), ignore=("é",), cells=30)
POSITION = b'{"pk":{"S":"\xc3\xa9\\"x"}}'


def portion(items: int = 5, **changes: object) -> Portion:
    sketch = Sketch(LAYOUT)
    for number in range(items):
        sketch.add_item({"pk": {"S": str(number)}})
    made = Portion(
        segment=2,
        segments=9,
        done=False,
        position=POSITION,
        pages=3,
        size_bytes=1 << 40,
        read_units=12.5,
        throttles=1,
        laps=2,
        started=1.75e9,
        duration_s=0.1,
        implementation="native",
        sketch=sketch,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{}, {"done": True, "position": None}, {"segments": 10_000, "segment": 9_999}])
def test_portion_comes_back_as_it_was(changes: dict[str, object]) -> None:
    made = portion(**changes)
    found = Portion.from_bytes(made.to_bytes())

    assert (found.sketch - made.sketch).empty
    assert found.sketch.layout == LAYOUT
    assert dataclasses.replace(found, sketch=made.sketch) == made


@given(st.data())
def test_portion_that_was_cut_off_or_changed_is_refused(data: st.DataObject) -> None:
    raw = bytearray(portion().to_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(ValueError, match=r"^portion: "):
        Portion.from_bytes(bytes(raw))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"segment": 9}, "its counts make no sense"),
        ({"pages": -1}, "its counts make no sense"),
        ({"laps": True}, "its counts make no sense"),
        ({"position": 5}, "its position makes no sense"),
        ({"done": True}, "its position makes no sense"),
        ({"more": 1}, "its description has"),
    ],
)
def test_portion_that_says_what_cannot_be_is_refused(changes: dict[str, object], said: str) -> None:
    magic, line, rest = portion().to_bytes()[:-16].split(b"\n", 2)
    body = magic + b"\n" + json.dumps(json.loads(line) | changes).encode() + b"\n" + rest

    with pytest.raises(ValueError, match=said):
        Portion.from_bytes(body + blake2b(body, digest_size=16).digest())

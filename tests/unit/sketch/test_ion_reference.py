"""Ion text as another library writes it (``amazon.ion``, of the format's makers) means the same as the items in it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from amazon.ion import simpleion
from amazon.ion.core import IonType
from amazon.ion.simple_types import IonPyList
from hypothesis import given, settings
from hypothesis import strategies as st

from sketch import Layout, Sketch
from tests.unit.sketch.test_canonical import items

LAYOUT = Layout(("Id",), cells=30)


def written(item: dict[str, Any]) -> bytes:
    """One line of an export."""
    text: str = simpleion.dumps({"Item": {name: valued(value) for name, value in item.items()}}, binary=False)
    return text.encode() + b"\n"


def valued(value: dict[str, Any]) -> Any:
    """A value of DynamoDB JSON, as what the other library writes as DynamoDB does."""
    ((kind, content),) = value.items()
    if kind == "N":
        return Decimal(content)
    if kind == "B":
        return bytes(content)
    if kind == "L":
        return [valued(one) for one in content]
    if kind == "M":
        return {name: valued(one) for name, one in content.items()}
    if kind in ("SS", "NS", "BS"):
        members = [valued({kind[0]: one}) for one in content]
        return IonPyList.from_value(IonType.LIST, members, (f"$dynamodb_{kind}",))
    return None if kind == "NULL" else content


@settings(max_examples=200, deadline=None)
@given(st.lists(items, min_size=1, max_size=3))
def test_add_ion_agrees_with_items_that_another_library_wrote(found: list[dict[str, Any]]) -> None:
    one, other = Sketch(LAYOUT), Sketch(LAYOUT)
    for number, each in enumerate(found):
        item = {**each, "Id": {"N": str(number)}}
        other.add_item(item)
        assert one.add_ion(written(item)) == 1
    assert (one - other).empty


def test_add_ion_tells_items_of_another_library_apart() -> None:
    one, other = Sketch(LAYOUT), Sketch(LAYOUT)
    one.add_ion(written({"Id": {"N": "1"}, "a": {"SS": ["1"]}}))
    other.add_item({"Id": {"N": "1"}, "a": {"NS": ["1"]}})
    assert not (one - other).empty

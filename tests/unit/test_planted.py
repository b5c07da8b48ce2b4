"""The planted cases are what they say they are, by the reference digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from sketch.canonical import encode, item_digest
from tests.planted import REGIONS, cases, plant, text, wire

KEYS = [("S", "S"), ("N", "N"), ("B", "B"), ("S", "N"), ("S",)]


@pytest.mark.parametrize("types", KEYS)
def test_planted_replicas_differ_in_exactly_the_keys_that_are_named(types: Sequence[str]) -> None:
    made = plant(600, types=types, copies=3)
    first, second = ({text(item, made.names): item_digest(item) for item in made.items[region]} for region in REGIONS)

    assert {key for key in first | second if first.get(key) != second.get(key)} == set(made.differing) | made.expired
    assert not made.expired & set(made.differing)
    assert {key for key in first | second if not (key in first and key in second)} == made.expired | {
        key for key, kind in made.differing.items() if kind == "missing"
    }
    assert set(made.case) == set(made.differing) | made.lookalikes | made.expired
    assert len(made.case) == 3 * len(cases(types))


def test_planted_lookalikes_differ_as_they_are_written() -> None:
    made = plant(300)
    first, second = ({text(item, made.names): orjson.dumps(wire(item)) for item in made.items[r]} for r in REGIONS)

    assert {key for key in first if key in second and first[key] != second[key]} >= made.lookalikes - {
        key for key in made.lookalikes if made.case[key].startswith("expired everywhere")
    }
    assert made.raw_only < made.lookalikes


def test_planted_twice_from_one_seed_is_the_same_and_from_another_is_not() -> None:
    assert plant(300, seed=1) == plant(300, seed=1)
    assert plant(300, seed=1) != plant(300, seed=2)


def test_planted_in_three_regions_leaves_each_of_them_the_odd_one_out() -> None:
    regions = (*REGIONS, "eu-west-1")
    made = plant(600, regions, copies=3)

    assert {name.rpartition(" (")[2].rstrip(")") for name in made.case.values()} == set(regions)
    assert len({len(made.items[region]) for region in regions}) <= 3


def test_planted_without_room_for_all_cases_is_refused() -> None:
    with pytest.raises(ValueError, match="cases are planted, got 10"):
        plant(10)


def test_planted_keys_reach_the_limits_and_items_the_usual_size() -> None:
    made = plant(2000, types=("S", "B"))
    keys = [(len(item["pk"]["S"]), len(item["sk"]["B"])) for item in made.items[REGIONS[0]]]
    sizes = sorted(_size({"M": item}) for item in made.items[REGIONS[0]])

    assert (2048, 1024) in keys
    assert 350 < sizes[len(sizes) // 2] < 450


def _size(value: dict[str, Any]) -> int:
    """About what DynamoDB counts: names and contents, a few bytes for numbers and nesting."""
    ((kind, content),) = value.items()
    encode(value)  # is well-formed
    if kind == "M":
        return 3 + sum(len(name.encode()) + _size(inner) + 1 for name, inner in content.items())
    if kind == "L":
        return 3 + sum(_size(inner) + 1 for inner in content)
    if kind in ("SS", "NS", "BS"):
        return sum(len(member) for member in content)
    return len(content) if kind in ("S", "B") else len(content) // 2 + 1 if kind == "N" else 1

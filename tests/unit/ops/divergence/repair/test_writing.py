"""One write: it does what it says, within what an expression may have, and never undoes what a writer did meanwhile."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st

from ops.divergence.repair.writing import CHANGED, DELETED, REFUSED, WRITTEN, write
from sketch import keys
from tests.unit.ops.divergence.fakes import refused
from tests.unit.ops.divergence.repair.tables import AP, NAMES, US, World

KEY = {"pk": {"S": "EVENT#1"}, "sk": {"S": "EVENT"}}
PACKED = keys.pack(KEY, NAMES)

values = st.one_of(
    st.builds(lambda n: {"N": str(n)}, st.integers(0, 3)),
    st.builds(lambda s: {"S": s}, st.sampled_from(["", "a", "b"])),
    st.builds(lambda s: {"SS": sorted(s)}, st.sets(st.sampled_from("ab"), min_size=1)),
    st.builds(lambda n: {"M": {"inner": {"N": str(n)}}}, st.integers(0, 2)),
)
# `g` is in neither image: an attribute that only the writer knows.
items = st.dictionaries(st.sampled_from("abcd"), values).map(lambda more: KEY | more)
# What a writer does: the values it sets, None: it removes the attribute. Or it deletes the item.
changes = st.one_of(st.just("delete"), st.dictionaries(st.sampled_from("abcdg"), st.none() | values, min_size=1))


def run(world: World, seen: Any, wanted: Any) -> str:
    return write(world.client(None, US), "t", NAMES, seen, wanted)


@given(st.none() | items, st.none() | items)
def test_write_when_nobody_comes_between_leaves_what_is_wanted(seen: Any, wanted: Any) -> None:
    if seen == wanted:
        return
    world = World(US, AP)
    if seen is not None:
        world.put(US.label, seen)
    assert run(world, seen, wanted) == (DELETED if wanted is None else WRITTEN)
    assert world.items[US.label].get(PACKED) == wanted


@given(st.none() | items, st.none() | items, changes)
@example(KEY | {"a": {"N": "1"}}, None, {"g": {"N": "1"}})
@example(KEY | {"a": {"N": "1"}}, KEY | {"a": {"N": "2"}}, {"g": {"N": "1"}})
@example(KEY | {"a": {"N": "1"}}, KEY | {"b": {"N": "2"}}, {"b": {"N": "1"}})
def test_write_when_a_writer_comes_between_keeps_all_that_the_writer_did(seen: Any, wanted: Any, change: Any) -> None:
    if seen == wanted:
        return
    world = World(US, AP)
    table = world.items[US.label]
    if seen is not None:
        world.put(US.label, seen)
    made: Any = None
    if change != "delete":
        made = {**(seen or KEY), **{name: value for name, value in change.items() if value is not None}}
        made = {name: value for name, value in made.items() if change.get(name, value) is not None}

    def between(label: str, key: bytes) -> None:
        world.between = lambda label, key: None
        if made is None:
            table.pop(PACKED, None)
        else:
            table[PACKED] = deepcopy(made)

    world.between = between
    said = run(world, seen, wanted)
    left = table.get(PACKED)
    if made == seen:
        assert left == wanted
    elif made is None:
        assert left is None
        assert said == CHANGED
    else:
        assert left is not None
        assert said.startswith(CHANGED)
        own = {name for name in {*made, *(seen or {})} if made.get(name) != (seen or {}).get(name)}
        assert {name: left.get(name) for name in own} == {name: made.get(name) for name in own}


def test_write_when_the_item_is_too_wide_for_a_condition_holds_what_changes_and_the_stamps() -> None:
    world = World(US, AP)
    wide = KEY | {f"attribute-{n}": {"N": str(n)} for n in range(400)} | {"version": {"N": "1"}}
    world.put(US.label, wide)
    assert run(world, wide, None).startswith(f"{REFUSED}: 401 of its attributes")
    assert world.items[US.label][PACKED] == wide
    newer = wide | {"attribute-7": {"S": "new"}, "version": {"N": "2"}}
    world.between = lambda label, key: None
    assert run(world, wide, newer) == WRITTEN
    # The stamp holds off a writer of any attribute, where it goes along.
    world.put(US.label, newer | {"attribute-9": {"S": "other"}, "version": {"N": "3"}})
    assert run(world, newer, newer | {"attribute-7": {"S": "newer still"}}) == CHANGED


def test_write_when_too_much_differs_refuses_and_writes_nothing() -> None:
    world = World(US, AP)
    many = KEY | {f"attribute-{n}": {"N": str(n)} for n in range(400)}
    world.put(US.label, many)
    other = KEY | {name: {"S": "x"} for name in many if name not in KEY}
    assert run(world, many, other).startswith(REFUSED)
    assert world.items[US.label][PACKED] == many


def test_write_when_the_table_refuses_the_item_says_so_and_when_the_table_fails_raises() -> None:
    world = World(US, AP)

    def fail(code: str) -> Any:
        def between(label: str, key: bytes) -> None:
            raise refused(code)

        return between

    world.between = fail("ValidationException")
    assert run(world, None, KEY) == f"{REFUSED}: ValidationException"
    world.between = fail("ExpiredTokenException")
    with pytest.raises(ClientError):
        run(world, None, KEY)

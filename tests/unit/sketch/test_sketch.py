"""Sketches: they add up, subtract, and give back what two sets do not share, or say that they cannot."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sketch import Checksum, Layout, MalformedItemError, Sketch, keys
from sketch.canonical import item_digest, key_digest
from sketch.keys import pack
from sketch.sketch import MAX_LINE_BYTES

NAMES = ("pk", "sk")
LAYOUT = Layout(NAMES, cells=300)

numbered = st.sets(st.integers(0, 10_000), max_size=60)


def item(number: int, content: str = "x") -> dict[str, Any]:
    return {"pk": {"S": f"EVENT#{number}"}, "sk": {"N": str(number)}, "content": {"S": content}}


def sketched(numbers: Iterable[int], layout: Layout = LAYOUT, content: str = "x") -> Sketch:
    sketch = Sketch(layout)
    for number in numbers:
        sketch.add_item(item(number, content))
    return sketch


def response(items: Iterable[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps({"Items": list(items), **more}).encode()


def same(one: Sketch, other: Sketch) -> bool:
    return one.to_bytes() == other.to_bytes()


@given(numbered, numbered, numbered)
@settings(max_examples=30)
def test_addition_is_commutative_and_associative(a: set[int], b: set[int], c: set[int]) -> None:
    one, two, three = sketched(a), sketched(b), sketched(c)
    assert same(one + two, two + one)
    assert same((one + two) + three, one + (two + three))
    assert same((one + two) - two, one)
    assert (one - one).empty
    assert same(sketched(a), one), "arithmetic must not change its operands"


@given(numbered, numbered)
@settings(max_examples=60)
def test_peel_of_a_difference_within_capacity_finds_exactly_the_symmetric_difference(a: set[int], b: set[int]) -> None:
    peeled = (sketched(a) - sketched(b)).peel()
    assert peeled.complete
    assert peeled.rest is None
    found = {(element.count, element.key, element.item_digest, element.key_digest) for element in peeled.elements}
    expected = {
        (sign, pack(item(n), NAMES), item_digest(item(n)), key_digest(item(n), NAMES))
        for sign, numbers in ((1, a - b), (-1, b - a))
        for n in numbers
    }
    assert found == expected
    assert len(peeled.elements) == len(expected)


@given(st.integers(0, 2**32), st.integers(250, 3_000))
@settings(max_examples=25)
def test_peel_over_capacity_is_incomplete_and_names_nothing_wrong(seed: int, count: int) -> None:
    numbers = random.Random(seed).sample(range(10**6), count)
    ours, theirs = numbers[: count // 2], numbers[count // 2 :]
    difference = sketched(ours) - sketched(theirs)
    peeled = difference.peel()
    signed = {(1, item_digest(item(n))) for n in ours} | {(-1, item_digest(item(n))) for n in theirs}
    assert {(element.count, element.item_digest) for element in peeled.elements} <= signed
    if not peeled.complete:
        assert peeled.rest is not None
        found = sketched([])
        for element in peeled.elements:
            (number,) = (n for n in numbers if pack(item(n), NAMES) == element.key)
            one = sketched([number])
            found = found + one if element.count > 0 else found - one
        assert same(peeled.rest + found, difference), "what was taken out and the rest are the whole"


def test_peel_when_an_item_was_counted_twice_is_incomplete() -> None:
    peeled = (sketched([1, 1, 2]) - sketched([2])).peel()
    assert not peeled.complete
    assert peeled.elements == ()


def test_peel_when_an_item_changed_gives_one_key_with_two_digests() -> None:
    peeled = (sketched(range(50), content="new") - sketched(range(1, 50), content="new") - sketched([0])).peel()
    assert {(e.count, e.key, e.item_digest) for e in peeled.elements} == {
        (1, pack(item(0), NAMES), item_digest(item(0, "new"))),
        (-1, pack(item(0), NAMES), item_digest(item(0))),
    }


@pytest.mark.parametrize("length", [0, 40, 85, 86, 87, 2048])
def test_peel_when_a_key_does_not_fit_a_cell_gives_its_digest_only(length: int) -> None:
    sketch = Sketch(Layout(("pk", "sk"), cells=30))
    long = {"pk": {"S": "k" * length}, "sk": {"N": "1"}}
    sketch.add_item(long)
    (element,) = sketch.peel().elements
    packed = pack(long, NAMES)
    assert element.key == (packed if len(packed) <= 95 else None)
    assert element.key_digest == key_digest(long, NAMES)


@pytest.mark.parametrize("at", [0, 20, 35, 45, 60])
def test_peel_when_a_cell_is_corrupt_names_nothing_wrong(at: int) -> None:
    sketch = sketched([1])
    for cell in range(len(sketch._table.counts)):
        sketch._table.cells[cell * 136 + at] ^= 1 if sketch._table.counts[cell] else 0
    peeled = sketch.peel()
    assert peeled.elements == ()
    assert not peeled.complete


@pytest.mark.parametrize("count", [0, 1, 50, 2_000, 40_000])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_estimate_of_a_difference_is_near_whether_it_peels_or_not(count: int, share: float) -> None:
    layout = Layout(("pk",), cells=3_000)
    difference, generator = Sketch(layout), random.Random(count)
    for number in range(count):
        one = difference._table
        digest = generator.randbytes(16)
        for position in one.positions(digest):
            one.counts[position] += 1 if number < count * share else -1
    assert difference.estimate() == pytest.approx(count, rel=0.15, abs=2)


def test_layouts_that_mean_the_same_are_equal_and_others_are_not_subtracted() -> None:
    assert Layout(NAMES, ("b", "a", "pk")) == Layout(NAMES, ("a", "b"))
    assert Layout(NAMES, ("a",), ("pk", "a", "c"), 16_384) == Layout(NAMES, ("a",), ("c",), 16_386)
    with pytest.raises(ValueError, match="different layouts"):
        _ = Sketch(Layout(NAMES)) - Sketch(Layout(("sk", "pk")))
    with pytest.raises(ValueError, match="different layouts"):
        _ = Sketch(Layout(NAMES, only=())) + Sketch(Layout(NAMES))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ()}, "key attributes"),
        ({"names": ("a", "a")}, "each once"),
        ({"names": "pk"}, "names holds attribute names"),
        ({"names": ("a",), "ignore": "b"}, "ignore holds attribute names"),
        ({"names": ("a",), "cells": 2}, "from 3 to"),
        ({"names": ("a",), "cells": 1 << 40}, "from 3 to"),
    ],
)
def test_layout_when_it_makes_no_sense_says_so(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Layout(**arguments)


def test_ignored_and_selected_attributes_do_not_count_but_keys_always_do() -> None:
    for layout in (Layout(NAMES, ignore=("content", "pk")), Layout(NAMES, only=())):
        assert (sketched([1, 2], layout, "old") - sketched([2, 1], layout, "new")).empty
        assert len((sketched([1], layout) - sketched([2], layout)).peel().elements) == 2


# --- pages and lines -----------------------------------------------------------------------------------------------


def test_add_page_gives_what_the_response_says_and_adds_its_items() -> None:
    sketch = Sketch(LAYOUT)
    last = '{ "pk": {"S":"EVENT#9"}, "sk":{"N":"9"}}'
    body = response(map(item, range(9)), Count=9, ScannedCount=12, ConsumedCapacity={"CapacityUnits": 1.5})
    page = sketch.add_page(bytearray(body[:-1] + b',"LastEvaluatedKey":' + last.encode() + b"}"))
    assert (page.items, page.scanned, page.read_units) == (9, 12, 1.5)
    assert page.last_key == last.encode()
    assert (sketch - sketched(range(9))).empty
    assert (sketch.items, sketch.checksum) == (9, Checksum.of(item_digest(item(n)) for n in range(9)))
    last_page = sketch.add_page(memoryview(response([])))
    assert (last_page.items, last_page.scanned, last_page.last_key, last_page.read_units) == (0, 0, None, 0.0)


def test_add_page_when_it_is_malformed_says_where_and_leaves_no_trace() -> None:
    sketch = sketched([1])
    before = sketch.to_bytes()
    bad = response([item(5), {**item(6), "n": {"N": "1x"}}])
    with pytest.raises(MalformedItemError, match=rf"page, byte {bad.index(b'1x') - 1} of {len(bad)}: not a decimal"):
        sketch.add_page(bad)
    assert sketch.to_bytes() == before


GROWTH = """
import json, resource, sys
from sketch import Layout, Sketch
sketch = Sketch(Layout(("pk",), cells=3_000))
def pages(first, count):
    for number in range(first, first + count):
        items = [{"pk": {"S": f"{number}-{slot}"}, "filler": {"S": "x" * 300}} for slot in range(200)]
        sketch.add_page(json.dumps({"Items": items, "Count": 200}).encode())
pages(0, 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pages(20, 300)
print(sketch.items, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_what_is_added() -> None:
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    items, grown_kb = map(int, done.stdout.split())
    assert items == 320 * 200
    assert grown_kb < 4_096


def test_add_item_when_it_is_malformed_leaves_no_trace() -> None:
    sketch = Sketch(LAYOUT)
    for bad in ({"pk": {"S": "a"}}, {**item(1), "x": {"Q": 1}}, {"pk": {"BOOL": True}, "sk": {"N": "1"}}):
        with pytest.raises(MalformedItemError):
            sketch.add_item(bad)
    assert sketch.empty


LINES = b"".join(json.dumps({"Item": item(n, "é\n")}).encode() + b"\n" for n in range(7))
ION = b"".join(
    f'$ion_1_0 {{Item:{{pk:"EVENT#{n}",sk:{n}.,\'content\':"é\\n"}}}}\n'.encode() for n in range(7)
)  # fmt: skip


@given(st.lists(st.integers(0, len(LINES)), max_size=8), st.booleans())
def test_lines_when_cut_anywhere_add_up_to_the_same(cuts: list[int], as_ion: bool) -> None:
    text = (ION if as_ion else LINES)[:-1]
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    sketch = Sketch(LAYOUT)
    add = sketch.add_ion if as_ion else sketch.add_lines
    count = sum(add(text[start:end]) for start, end in itertools.pairwise(edges))
    assert count + add(b"", last=True) == 7
    assert (sketch - sketched(range(7), content="é\n")).empty


def test_lines_when_one_waits_for_its_rest_refuse_arithmetic() -> None:
    sketch = Sketch(LAYOUT)
    assert sketch.add_lines(LINES[:-5]) == 6
    for act in (sketch.to_bytes, sketch.copy, sketch.peel, lambda: Sketch(LAYOUT) - sketch):
        with pytest.raises(ValueError, match="bytes of a line wait"):
            act()


def test_lines_when_one_is_malformed_leave_no_trace_of_the_chunk() -> None:
    sketch = Sketch(LAYOUT)
    with pytest.raises(MalformedItemError, match="export lines, byte"):
        sketch.add_lines(LINES + b'{"Item":{}}\n')
    assert sketch.empty
    with pytest.raises(MalformedItemError, match="cut short"):
        sketch.add_lines(LINES[:-3], last=True)
    with pytest.raises(MalformedItemError, match="a line of more than"):
        sketch.add_lines(b"x" * (MAX_LINE_BYTES + 1))


def change(number: int, content: str | None) -> bytes:
    key = {name: item(number)[name] for name in NAMES}
    image = {} if content is None else {"NewImage": item(number, content)}
    return json.dumps({"Metadata": {}, "Keys": key, **image, "OldImage": item(number)}).encode() + b"\n"


def test_changes_are_elements_of_the_new_image_or_of_the_deletion() -> None:
    ours, theirs = Sketch(LAYOUT), Sketch(LAYOUT)
    assert ours.add_changes(change(1, "a") + change(2, None) + change(3, "c")) == 3
    assert theirs.add_changes(change(3, "c") + change(2, "b") + change(1, "a")) == 3
    elements = (ours - theirs).peel().elements
    assert {(element.count, element.key) for element in elements} == {
        (1, pack(item(2), NAMES)),
        (-1, pack(item(2), NAMES)),
    }
    ion = Sketch(LAYOUT)
    text = b"""$ion_1_0 {Record:{Metadata:{WriteTimestampMicros:1d3},Keys:{pk:"EVENT#2",sk:2.},OldImage:{pk:"x"}}}
$ion_1_0 {Record:{Keys:{pk:"EVENT#1",sk:1.},NewImage:{sk:1.,pk:"EVENT#1",content:"a"}}}
$ion_1_0 {Keys:{pk:"EVENT#3",sk:3.},NewImage:{sk:3.,pk:"EVENT#3",content:"c"}}"""
    assert ion.add_changes(text, last=True) == 3
    assert (ion - ours).empty


# --- bytes -----------------------------------------------------------------------------------------------------------


@given(numbered, numbered, st.sampled_from([None, (), ("content", "é")]), st.sampled_from([(), ("x",)]))
@settings(max_examples=30)
def test_to_bytes_round_trips(a: set[int], b: set[int], only: Any, ignore: Any) -> None:
    layout = Layout(NAMES, ignore, only, 150)
    sketch = sketched(a, layout) - sketched(b, layout)
    twin = Sketch.from_bytes(sketch.to_bytes())
    assert (twin.layout, twin.items, twin.checksum) == (layout, sketch.items, sketch.checksum)
    assert same(twin, sketch)
    assert (twin - sketch).empty


@given(st.data())
def test_from_bytes_when_bytes_were_changed_is_refused(data: st.DataObject) -> None:
    raw = sketched(range(3)).to_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = bytearray(raw)
    changed[at] ^= data.draw(st.integers(1, 255))
    for bad in (bytes(changed), raw[:at], raw + b"\0"):
        with pytest.raises(ValueError, match="sketch: "):
            Sketch.from_bytes(bad)


def test_to_bytes_of_a_small_difference_is_small() -> None:
    layout = Layout(NAMES)
    assert len(Sketch(layout).to_bytes()) < 120
    assert len(sketched(range(10), layout).to_bytes()) < 5_000
    assert len(sketched(range(9_000), Layout(NAMES, cells=900)).to_bytes()) < 900 * 144 + 120


def test_documented_sketch_is_what_the_code_writes() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "sketch.md").read_text(encoding="utf-8")
    _, _, block = text.partition("<!-- vector -->")
    stated = bytes.fromhex("".join(block.split("```")[1].split()))
    sketch = Sketch(Layout(("pk", "sk"), ignore=("seen",), cells=9))
    sketch.add_page(b'{"Items":[{"pk":{"S":"a"},"sk":{"N":"1.0"},"seen":{"S":"now"}}]}')
    assert sketch.to_bytes() == stated


# --- keys ------------------------------------------------------------------------------------------------------------

parts = st.one_of(
    st.text(max_size=9).map(lambda v: {"S": v}),
    st.binary(max_size=9).map(lambda v: {"B": v}),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20).map(
        lambda v: {"N": f"{v}"}
    ),
)


@given(parts, parts)
def test_packed_key_gives_the_key_back_and_equal_keys_pack_equally(pk: dict[str, Any], sk: dict[str, Any]) -> None:
    packed = pack({"pk": pk, "sk": sk, "other": {"S": "x"}}, NAMES)
    again = keys.unpack(packed, NAMES)
    assert pack(again, NAMES) == packed
    assert key_digest(again, NAMES) == key_digest({"pk": pk, "sk": sk}, NAMES)
    assert keys.text(packed, NAMES).startswith("pk=")


def test_packed_key_reads_well_and_refuses_what_is_no_key() -> None:
    packed = pack({"pk": {"S": "EVENT#1"}, "sk": {"N": "1.50E1"}, "b": {"B": b"\0\xff"}}, ("pk", "sk", "b"))
    assert keys.text(packed, ("pk", "sk", "b")) == "pk=EVENT#1, sk=15, b=AP8="
    for bad in (packed[:-1], packed + b"S", b"Q" + packed[1:], b""):
        with pytest.raises(ValueError, match="packed key"):
            keys.unpack(bad, ("pk", "sk", "b"))
    with pytest.raises(MalformedItemError, match="'sk' is missing"):
        pack({"pk": {"S": "a"}}, NAMES)
    with pytest.raises(MalformedItemError, match="neither S, N nor B"):
        pack({"pk": {"L": []}}, ("pk",))
    with pytest.raises(MalformedItemError, match="longer than 65535"):
        pack({"pk": {"S": "x" * 65_536}}, ("pk",))

"""From sketches to suspects: over any segments, replicas and order, exactly the keys that differ, or a clear no."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.divergence.subtracting import Differences, Outcome
from ops.errors import OpsError
from sketch import Layout, Sketch, keys
from sketch.canonical import Checksum, item_digest, key_digest

NAMES = ("pk",)
SMALL = Layout(NAMES, cells=48)
WIDE = Layout(NAMES, cells=1536)
Contents = dict[int, int]  # key -> version


def item(key: int, version: int) -> dict[str, Any]:
    return {"pk": {"S": f"k{key}"}, "v": {"N": str(version)}}


def sketch(layout: Layout, items: Sequence[dict[str, Any]]) -> Sketch:
    made = Sketch(layout)
    for one in items:
        made.add_item(one)
    return made


def taken(
    replicas: Sequence[Contents],
    segments: int,
    layout: Layout,
    *,
    cuts: Sequence[int] = (),
    order: int = 0,
    **options: Any,
) -> Differences:
    """The differences of these replicas, whose keys are cut into segments (each replica by its own cut)."""
    labels = [f"r{index}" for index in range(len(replicas))]
    found = Differences(labels, layout, **options)
    numbers = list(range(segments))
    random.Random(order).shuffle(numbers)
    for segment in numbers:
        parts = []
        for index, contents in enumerate(replicas):
            cut = cuts[index] if cuts else 0
            mine = [
                item(key, version) for key, version in contents.items() if (key + cut * key // 3) % segments == segment
            ]
            parts.append(sketch(layout, mine))
        found.take(segment, parts)
    return found


def truth(replicas: Sequence[Contents]) -> dict[str, tuple[bytes | None, ...]]:
    digests = [{key: item_digest(item(key, version)) for key, version in one.items()} for one in replicas]
    return {
        f"pk=k{key}": seen
        for key in {key for one in replicas for key in one}
        if len(set(seen := tuple(one.get(key) for one in digests))) > 1
    }


def named(outcome: Outcome) -> dict[str, tuple[bytes | None, ...]]:
    return {keys.text(one.key, NAMES): one.digests for one in outcome.suspects}


contents = st.dictionaries(st.integers(0, 40), st.integers(0, 3), max_size=40)


@settings(max_examples=60)
@given(
    replicas=st.lists(contents, min_size=2, max_size=4),
    segments=st.integers(1, 5),
    shifted=st.booleans(),
    order=st.integers(0, 9),
)
def test_close_names_exactly_what_differs_however_it_was_cut(
    replicas: list[Contents], segments: int, shifted: bool, order: int
) -> None:
    cuts = range(len(replicas)) if shifted else ()
    differences = taken(replicas, segments, WIDE, cuts=list(cuts), order=order)
    outcome = differences.close()
    assert outcome.complete
    assert outcome.unpeeled == {}
    assert outcome.unlocated == ()
    assert named(outcome) == truth(replicas)
    assert outcome.about == len(outcome.suspects)
    assert differences.totals == [
        Checksum.of(item_digest(item(key, version)) for key, version in one.items()) for one in replicas
    ]


@settings(max_examples=30)
@given(base=contents, other=contents, cells=st.sampled_from([12, 24, 48]), segments=st.integers(1, 4))
def test_close_with_small_sketches_is_exact_or_says_that_it_is_not(
    base: Contents, other: Contents, cells: int, segments: int
) -> None:
    outcome = taken([base, other], segments, Layout(NAMES, cells=cells)).close()
    if outcome.complete:
        assert named(outcome) == truth([base, other])
    else:
        assert outcome.unpeeled
        assert named(outcome).items() <= truth([base, other]).items()


@settings(max_examples=30)
@given(
    replicas=st.lists(contents, min_size=2, max_size=3), kept_after=st.integers(0, 4), cells=st.sampled_from([12, 1536])
)
def test_json_at_any_point_gives_the_same_outcome(replicas: list[Contents], kept_after: int, cells: int) -> None:
    layout, segments = Layout(NAMES, cells=cells), 4
    through = Differences([f"r{index}" for index in range(len(replicas))], layout)
    for segment in range(segments):
        if segment == kept_after:
            through = Differences.from_json(json.loads(json.dumps(through.to_json())))
        through.take(
            segment,
            [
                sketch(layout, [item(key, version) for key, version in one.items() if key % segments == segment])
                for one in replicas
            ],
        )
    undisturbed = taken(replicas, segments, layout)
    assert through.close() == undisturbed.close()
    assert through.totals == undisturbed.totals


def test_residues_that_cancel_together_are_named_though_no_segment_was() -> None:
    """Two replicas that cut their segments differently: all differs in a segment, hardly anything in the table."""
    same = dict.fromkeys(range(400), 0)
    outcome = taken([same, same | {7: 1}], 2, SMALL, cuts=[0, 1]).close()
    assert outcome.complete
    assert set(named(outcome)) == {"pk=k7"}


def test_segments_that_do_not_peel_are_read_again_with_larger_sketches() -> None:
    base = dict.fromkeys(range(300), 0)
    other = {key: int(key % 3 == 0 and key % 2 == 0) for key in base}  # all in the even segments of two
    differences = taken([base, other], 2, SMALL)
    outcome = differences.close()
    assert not outcome.complete
    assert list(outcome.unpeeled) == [0]
    assert 25 <= outcome.unpeeled[0] <= 400
    assert 12 <= outcome.about <= 200
    differences.again(WIDE)
    differences.take(0, [sketch(WIDE, [item(k, v) for k, v in one.items() if k % 2 == 0]) for one in (base, other)])
    again = differences.close()
    assert again.complete
    assert named(again) == truth([base, other])
    assert [one.count for one in differences.totals] == [300, 300]


def test_take_of_another_layout_is_refused() -> None:
    with pytest.raises(ValueError):
        Differences(["a", "b"], SMALL).take(0, [Sketch(SMALL), Sketch(WIDE)])


def test_more_than_can_be_kept_is_counted_and_never_complete() -> None:
    base = dict.fromkeys(range(60), 0)
    other = dict.fromkeys(base, 1)
    outcome = taken([base, other], 3, WIDE, limit=50).close()
    assert not outcome.complete
    assert outcome.about == 60
    assert len(outcome.suspects) == 20


def test_close_when_elements_and_checksums_disagree_is_an_error() -> None:
    differences = taken([{1: 0, 2: 0}, {1: 0}], 1, WIDE)
    differences.checksums[1] += Checksum(1, 5)
    with pytest.raises(OpsError, match=r"r0 and r1: the 1 items found to differ add up to .*contradicts itself"):
        differences.close()


def test_close_when_nothing_was_found_and_checksums_differ_is_an_error() -> None:
    differences = taken([{1: 0}, {1: 0}], 1, WIDE)
    differences.checksums[0] += Checksum(0, 1)
    with pytest.raises(OpsError, match="contradicts itself"):
        differences.close()


def test_keys_too_long_for_a_cell_are_told_by_digest_and_where_they_were() -> None:
    long = {"pk": {"S": "x" * 2000}, "v": {"N": "1"}}
    differences = Differences(["a", "b"], WIDE)
    differences.take(0, [sketch(WIDE, [item(1, 1)]), sketch(WIDE, [item(1, 2)])])
    differences.take(5, [sketch(WIDE, [long]), sketch(WIDE, [])])
    outcome = differences.close()
    digest = key_digest(long, NAMES)
    assert outcome.unlocated == (digest,)
    assert outcome.complete
    assert outcome.about == 2
    assert [keys.text(one.key, NAMES) for one in outcome.suspects] == ["pk=k1"]
    assert differences.whereabouts([digest]) == {5}
    differences.located({digest: keys.pack(long, NAMES)})
    again = differences.close()
    assert again.unlocated == ()
    assert {one.key: one.digests for one in again.suspects}[keys.pack(long, NAMES)] == (item_digest(long), None)

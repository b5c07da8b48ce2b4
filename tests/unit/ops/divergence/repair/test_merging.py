"""The union of counters: the same in any order, idempotent, and refused where something else differs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.divergence.repair.merging import NotMergeableError, union
from sketch.canonical import item_digest

REGIONS = ("us-east-1", "ap-south-1", "eu-west-1")
counts = st.dictionaries(st.sampled_from(REGIONS), st.integers(0, 10**38 - 1), min_size=1)
sets = st.sets(st.binary(min_size=1, max_size=2), min_size=1, max_size=5)


@st.composite
def images(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "pk": {"S": "COUNT#1"},
        "version": {"N": str(draw(st.integers(1, 9)))},
        "written_at": {"S": f"2026-03-01T12:00:0{draw(st.integers(0, 9))}.000Z"},
        "written_region": {"S": draw(st.sampled_from(REGIONS))},
        "expires_at": {"N": str(draw(st.integers(1, 20)))},
        "seen": {"BS": sorted(draw(sets))},
        "hits": {"M": {region: {"N": str(count)} for region, count in draw(counts).items()}},
    }


@given(st.lists(images(), min_size=1, max_size=3).flatmap(lambda held: st.tuples(st.just(held), st.permutations(held))))
def test_union_in_any_order_has_every_count_and_merging_again_changes_nothing(held: Any) -> None:
    given_, permuted = held
    ttl = ["expires_at"]
    made = union(given_, ttl)
    assert item_digest(made) == item_digest(union(permuted, ttl)) == item_digest(union([made, *permuted], ttl))
    for one in given_:
        assert set(one["seen"]["BS"]) <= set(made["seen"]["BS"])
        for region, count in one["hits"]["M"].items():
            assert int(made["hits"]["M"][region]["N"]) >= int(count["N"])


def test_union_when_one_image_is_over_takes_what_began_anew_after_it() -> None:
    old = {"pk": {"S": "a"}, "seen": {"SS": ["x"]}, "expires_at": {"N": "10"}}
    new = {"pk": {"S": "a"}, "seen": {"SS": ["y"]}, "expires_at": {"N": "30"}}
    assert union([old, new], ["expires_at"], now=20) == new


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"a": {"N": "1"}}, {"a": {"N": "2"}}, "'a' differs"),
        ({"a": {"S": "x"}}, {}, "'a' is not in every replica"),
        ({"a": {"SS": ["x"]}}, {"a": {"NS": ["1"]}}, "'a' differs"),
        ({"a": {"M": {"key": {"N": "1"}}}}, {"a": {"M": {"key": {"N": "2"}}}}, "'a' differs"),
    ],
)
def test_union_when_something_else_differs_names_it(one: Any, other: Any, said: str) -> None:
    key = {"pk": {"S": "a"}}
    with pytest.raises(NotMergeableError, match=said):
        union([key | one, key | other])

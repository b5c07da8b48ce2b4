"""The bounds of a sample: against published tables, against simulated tables with clusters, and as laws."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.divergence.statistics import (
    Slices,
    binomial_tail,
    clopper_pearson,
    estimate,
    interval,
    lower_bound,
    slices_needed,
    upper_bound,
)


# One-sided 95 % upper limits: 1 - 0.05 ** (1 / n), and Beta quantiles of published tables of the binomial.
@pytest.mark.parametrize(
    ("successes", "trials", "limit"),
    [
        (0, 1, 0.95),
        (0, 10, 0.25887),
        (0, 59, 0.04951),
        (0, 100, 0.02951),
        (1, 10, 0.39416),
        (2, 10, 0.50690),
        (5, 10, 0.77756),
        (9, 10, 0.99488),
        (1, 100, 0.04656),
        (3, 100, 0.07571),
        (10, 100, 0.16372),
        (10, 10, 1.0),
    ],
)
def test_clopper_pearson_is_that_of_the_tables(successes: int, trials: int, limit: float) -> None:
    assert clopper_pearson(successes, trials) == pytest.approx(limit, abs=6e-6)


@given(st.integers(1, 2000), st.floats(0.5, 0.999))
def test_clopper_pearson_with_no_success_is_the_exact_rule_of_three(trials: int, confidence: float) -> None:
    assert clopper_pearson(0, trials, confidence) == pytest.approx(1 - (1 - confidence) ** (1 / trials), rel=1e-9)


@given(st.integers(1, 60), st.floats(0.001, 0.999), st.data())
def test_binomial_tail_is_the_sum_of_its_terms(trials: int, chance: float, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    terms = (math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(successes + 1))
    assert binomial_tail(successes, trials, chance) == pytest.approx(sum(terms), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3)])
def test_clopper_pearson_when_there_are_more_successes_than_trials_refuses(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} of {trials}"):
        clopper_pearson(successes, trials)


# --- the bound ---------------------------------------------------------------------------------------------------

slices = st.integers(1, 12).flatmap(
    lambda limit: st.tuples(
        st.just(limit),
        st.lists(
            st.integers(0, limit).flatmap(lambda m: st.tuples(st.just(m), st.integers(0, m))), min_size=1, max_size=60
        ),
        st.integers(0, 5000),
        st.integers(0, 10),
    )
)


def drawn(limit: int, pairs: list[tuple[int, int]], more: int, trial: int) -> Slices:
    items, differing = zip(*pairs, strict=True)
    return Slices(len(pairs) + more, items, differing, limit, min(trial, len(pairs)))


@given(slices)
def test_the_estimate_lies_between_the_bounds_and_more_confidence_widens_them(
    made: tuple[int, list[tuple[int, int]], int, int],
) -> None:
    found = drawn(*made)
    low, high = interval(found)
    assert 0 <= low <= estimate(found) <= high <= 1
    assert low <= lower_bound(found) <= upper_bound(found) + 1e-12
    assert upper_bound(found, 0.99) >= upper_bound(found, 0.9) - 1e-12


@given(slices, st.integers(1, 40))
def test_the_bound_falls_when_more_slices_without_a_difference_are_read(
    made: tuple[int, list[tuple[int, int]], int, int], more: int
) -> None:
    limit, pairs, rest, trial = made
    total = len(pairs) + rest + 41
    before = Slices(total, *zip(*pairs, strict=True), limit, min(trial, len(pairs)))
    items, differing = zip(*pairs, *[(limit, 0)] * more, strict=True)
    after = Slices(total, items, differing, limit, before.trial)
    assert upper_bound(after) <= upper_bound(before) + 1e-9


def test_the_bound_of_equal_full_slices_without_a_difference_is_about_the_rule_of_three() -> None:
    for n in (100, 1_000, 10_000):
        found = upper_bound(Slices(1_000_000, [8] * n, [0] * n, 8))
        assert found >= clopper_pearson(0, n) * (1 - n / 1_000_000) - 1e-9
        assert found <= 1.1 * clopper_pearson(0, n)


def test_the_bound_of_slices_that_may_be_larger_is_as_many_times_larger() -> None:
    full, third = (upper_bound(Slices(10**6, [m] * 3000, [0] * 3000, 12)) for m in (12, 4))
    assert third == pytest.approx(3 * full, rel=0.01)


def test_the_bound_when_nothing_was_read_says_nothing_and_when_all_was_read_says_all() -> None:
    assert upper_bound(Slices(100, [0] * 9, [0] * 9, 5)) == 1.0
    assert upper_bound(Slices(100, [5] * 9, [0] * 9, 5, trial=9)) == 1.0
    assert interval(Slices(3, [5, 0, 5], [1, 0, 0], 5)) == (0.1, 0.1)
    assert lower_bound(Slices(100, [5] * 50, [0] * 50, 5)) == 0.0


def test_slices_needed_is_what_reaches_the_bound() -> None:
    needed = slices_needed(1e-3, 10, 25)
    assert upper_bound(Slices(10**6, [10] * needed, [0] * needed, 25)) == pytest.approx(1e-3, rel=0.02)


@pytest.mark.parametrize(
    ("total", "items", "differing"), [(1, [1, 1], [0, 0]), (5, [1], [2]), (5, [1], [-1]), (5, [1, 2], [0])]
)
def test_slices_that_cannot_be_are_refused(total: int, items: list[int], differing: list[int]) -> None:
    with pytest.raises(ValueError, match="slice"):
        Slices(total, items, differing, 5)


# --- does it cover? ----------------------------------------------------------------------------------------------

TOTAL, LIMIT, TABLES = 1500, 24, 120
Table = tuple[list[int], list[int]]


def sizes(chance: random.Random, mean: float) -> list[int]:
    """Items of each slice as a hash spreads them, up to the limit."""
    return [min(LIMIT, sum(chance.random() < mean / 40 for _ in range(40))) for _ in range(TOTAL)]


def alone(chance: random.Random) -> Table:
    """Differences here and there."""
    items = sizes(chance, 8)
    return items, [sum(chance.random() < 0.01 for _ in range(m)) for m in items]


def whole_slices(chance: random.Random) -> Table:
    """Whatever lies in a slice differs together, in few of them."""
    items = sizes(chance, 8)
    return items, [m if chance.random() < 0.01 else 0 for m in items]


def largest_slices(chance: random.Random) -> Table:
    """The few slices that differ are the largest, full to the limit, among small ones."""
    items = [LIMIT if chance.random() < 0.005 else 2 for _ in range(TOTAL)]
    return items, [m if m == LIMIT else 0 for m in items]


def neighbours(chance: random.Random) -> Table:
    """A stretch of the key space was not replicated."""
    items, first = sizes(chance, 8), chance.randrange(TOTAL)
    return items, [m if first <= place < first + TOTAL // 50 else 0 for place, m in enumerate(items)]


def equal_sizes(chance: random.Random) -> Table:
    """As tight as it gets: full slices, of which some differ whole."""
    return [LIMIT] * TOTAL, [LIMIT if chance.random() < 0.006 else 0 for _ in range(TOTAL)]


@pytest.mark.parametrize("make", [alone, whole_slices, largest_slices, neighbours, equal_sizes])
def test_the_bound_covers_the_truth_in_95_of_100_tables_wherever_the_sample_stops(
    make: Callable[[random.Random], Table],
) -> None:
    chance = random.Random(f"coverage {make.__name__}")
    missed = missed_low = 0
    for _ in range(TABLES):
        items, differing = make(chance)
        truth = sum(differing) / sum(items)
        order = chance.sample(range(TOTAL), 700)
        # It stops when it likes what it sees: at the smallest bound of all that it looks at.
        looks = [
            Slices(TOTAL, [items[i] for i in order[:n]], [differing[i] for i in order[:n]], LIMIT, trial=20)
            for n in (60, 180, 700)
        ]
        missed += min(map(upper_bound, looks)) < truth
        missed_low += max(map(lower_bound, looks)) > truth
    assert missed <= 0.05 * TABLES
    assert missed_low <= 0.05 * TABLES


def test_a_bound_that_takes_items_for_independent_draws_would_not_cover() -> None:
    """Why the slice is the unit: the naive bound of the same samples misses far more often than 5 times in 100."""
    chance, missed = random.Random("naive"), 0
    for _ in range(100):
        items, differing = equal_sizes(chance)
        order = chance.sample(range(TOTAL), 60)
        found, read = sum(differing[i] for i in order), sum(items[i] for i in order)
        missed += clopper_pearson(found, read) < sum(differing) / sum(items)
    assert missed > 30


def test_the_capital_grows_with_the_share_that_is_bet_against() -> None:
    """Bisection finds the bound only if a larger share is ruled out wherever a smaller one is."""
    chance = random.Random("monotone")
    for make in (alone, whole_slices, largest_slices):
        items, differing = make(chance)
        found = Slices(TOTAL, items[:400], differing[:400], LIMIT, trial=20)
        bounds = [upper_bound(found, c / 100) for c in range(50, 100, 7)]
        assert all(a <= b for a, b in itertools.pairwise(bounds))

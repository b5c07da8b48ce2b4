"""How much may differ that a sample did not show: bounds that hold at every size of the sample, whatever clusters.

A table is cut into slices, of which some are drawn at random and read whole. Slice ``i`` holds ``m_i`` items, of which
``d_i`` differ; the share looked for is ``r = sum(d) / sum(m)`` over all slices. Items of a slice are no independent
draws (a partition key is never cut, and what one failing write path did not replicate may lie side by side), so the
slice is the unit, and nothing is assumed about how differences lie within it or how its size relates to them.

**The bound.** For a supposed share ``r``, put ``v_i = d_i - r m_i``. If the share is ``r`` or more, the mean of ``v``
over all slices is not negative. Someone who bets against that, on each slice drawn and never more than there is, has a
capital that is multiplied by ``1 - bet (v_i - c_i)``, where ``c_i`` is the least that the mean of the slices not yet
drawn can then be. The capital does not grow on average when the share is ``r`` or more, so it ever reaches
``1 / alpha`` with a probability of ``alpha`` at most (Ville's inequality): what share would let it be reached is ruled
out with the confidence ``1 - alpha``, *whenever* one looks, so that a sample may go on until its answer is good enough.
Several bets are kept side by side, and their capitals added up. ``limit`` is the most items that a slice counts with,
and so the largest that ``v`` can be.

With no difference found this is the rule of three, with ``sum(m) / limit`` in the place of the number of draws: slices
of equal size that are read to the last item count as many draws as there are slices.

I. Waudby-Smith, A. Ramdas: Estimating means of bounded random variables by betting, J. R. Stat. Soc. B 86 (2024),
https://arxiv.org/abs/2010.09686 (with and without replacement); C. J. Clopper, E. S. Pearson: The use of confidence or
fiducial limits illustrated in the case of the binomial, Biometrika 26 (1934).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
# Most of the capital on the bet that is best while nothing differs, the rest on ever more careful ones.
_FIRST_BET = 0.8
_BETS = np.array([1.0] + [0.5**power for power in range(1, 13)])
_STAKES = np.array([_FIRST_BET] + [(1 - _FIRST_BET) / 12] * 12)
_HALVINGS = 50

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Slices:
    """What was read of a table, a number a slice in the order drawn.

    Attributes
    ----------
    total
        Slices that the table is cut into.
    items, differing
        Of each slice that was read; a slice beyond ``limit`` counts as ``limit`` items.
    limit
        Settled before the first slice after the first ``trial`` was read.
    trial
        How many of those read first were used to settle ``limit``: they count, and nothing is bet on them.
    """

    total: int
    items: Sequence[int]
    differing: Sequence[int]
    limit: int
    trial: int = 0

    def __post_init__(self) -> None:
        if len(self.items) != len(self.differing) or not len(self.items) <= self.total:
            raise ValueError(f"{len(self.items)} slices and {len(self.differing)} counts of {self.total} slices")
        if any(not 0 <= d <= m for d, m in zip(self.differing, self.items, strict=True)):
            raise ValueError("a slice has more items that differ than items")

    @property
    def read(self) -> int:
        return len(self.items)

    @property
    def complete(self) -> bool:
        """Whether every slice was read: then nothing is estimated."""
        return self.read == self.total


def estimate(slices: Slices) -> float:
    """The share of the items read that differ; 0 where no item was read."""
    items = sum(slices.items)
    return sum(slices.differing) / items if items else 0.0


def upper_bound(slices: Slices, confidence: float = CONFIDENCE) -> float:
    """The share below which the items that differ are, with this confidence; 1 where the sample says nothing."""
    if slices.complete:
        return estimate(slices)
    items, differing = _clipped(slices)
    target = math.log(1 / (1 - confidence))
    low, high = 0.0, 1.0
    if _log_capital_against_more(high * (1 - 1e-12), items, differing, slices) < target:
        return 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        reached = _log_capital_against_more(middle, items, differing, slices) >= target
        low, high = (low, middle) if reached else (middle, high)
    return high


def lower_bound(slices: Slices, confidence: float = CONFIDENCE) -> float:
    """The share above which the items that differ are, with this confidence; 0 where none was seen."""
    found = estimate(slices)
    if slices.complete or not found:
        return found
    items, differing = _clipped(slices)
    target = math.log(1 / (1 - confidence))
    low, high = 0.0, found
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        reached = _log_capital_against_less(middle, items, differing, slices) >= target
        low, high = (middle, high) if reached else (low, middle)
    return low


def interval(slices: Slices, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Both bounds together: half of the doubt on either side."""
    each = 1 - (1 - confidence) / 2
    return lower_bound(slices, each), upper_bound(slices, each)


def slices_needed(share: float, mean_items: float, limit: int, confidence: float = CONFIDENCE) -> int:
    """About how many slices bound the share by ``share`` when none of their items differs."""
    needed = math.log(1 / ((1 - confidence) * _FIRST_BET)) / max(share * mean_items / limit, 1e-12)
    return math.ceil(needed)


def _clipped(slices: Slices) -> tuple[Floats, Floats]:
    items = np.minimum(np.asarray(slices.items, dtype=np.float64), slices.limit)
    return items, np.minimum(np.asarray(slices.differing, dtype=np.float64), items)


def _deviations(share: float, items: Floats, differing: Floats, slices: Slices) -> tuple[Floats, Floats]:
    """``v`` of each slice, and what the mean of those not yet drawn is if that of all is zero."""
    values = differing - share * items
    before = np.concatenate(([0.0], np.cumsum(values)[:-1]))
    left = slices.total - np.arange(len(values))
    return values[slices.trial :], (-before / left)[slices.trial :]


def _log_capital_against_more(share: float, items: Floats, differing: Floats, slices: Slices) -> float:
    """What betting that less than ``share`` differs has made of a capital of 1, as a logarithm."""
    values, expected = _deviations(share, items, differing, slices)
    room = (1 - share) * slices.limit - expected
    return _mixed(expected - values, room)


def _log_capital_against_less(share: float, items: Floats, differing: Floats, slices: Slices) -> float:
    values, expected = _deviations(share, items, differing, slices)
    room = share * slices.limit + expected
    return _mixed(values - expected, room)


def _mixed(gains: Floats, room: Floats) -> float:
    """The logarithm of the capitals' sum; ``room`` is what a bet loses at the most."""
    if np.any(room <= 0):
        return math.inf  # no slices that are left could make up for those that were seen
    if not len(gains):
        return 0.0
    with np.errstate(divide="ignore"):
        logs = np.log1p(np.maximum(np.outer(_BETS, gains / room), -1.0)).sum(axis=1) + np.log(_STAKES)
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum())) if math.isfinite(top) else -math.inf


# --- the binomial, for slices as such ----------------------------------------------------------------------------


def binomial_tail(successes: int, trials: int, chance: float) -> float:
    """The probability of ``successes`` or fewer in ``trials``."""
    if chance <= 0 or successes >= trials:
        return 1.0
    if chance >= 1:
        return 0.0
    logs = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        + k * math.log(chance) + (trials - k) * math.log1p(-chance)
        for k in range(successes + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, logs)))


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """The exact upper confidence limit of a binomial share, where the number of trials was settled beforehand.

    With no success, ``1 - (1 - confidence) ** (1 / trials)``: about three by the number of trials, for 95 %.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials}")
    if successes == trials:
        return 1.0
    low, high = successes / trials, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = binomial_tail(successes, trials, middle) > 1 - confidence
        low, high = (middle, high) if above else (low, middle)
    return high

"""When a burn rate is worth waking someone: pairs of windows, and the odds that so many errors are chance.

A pair speaks when both its windows burn at its rate: the long one shows that it matters, the short one that it still
goes on. Windows and rates are those of "Multiwindow, Multi-Burn-Rate Alerts":
https://sre.google/workbook/alerting-on-slos/
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

# The Workbook's pairs are of an objective over 30 days; over another window they scale, and spend the same share of it:
# 2 % of the budget in 1 h, 5 % in 6 h, 10 % in 3 d.
BASE = timedelta(days=30)
# A service that just meets its objective shows such a count in fewer than one window of a hundred.
CHANCE = 0.01


@dataclass(frozen=True)
class Pair:
    """Two windows and the burn rate at which they speak. A rate of 1 spends the budget in the objective's window."""

    long: timedelta
    short: timedelta
    rate: float
    verdict: Literal["page", "ticket"]


PAIRS = (
    Pair(timedelta(hours=1), timedelta(minutes=5), 14.4, "page"),
    Pair(timedelta(hours=6), timedelta(minutes=30), 6.0, "page"),
    Pair(timedelta(days=3), timedelta(hours=6), 1.0, "ticket"),
)


def pairs(window: timedelta, period_s: int) -> tuple[Pair, ...]:
    """The pairs for an objective over ``window``, in whole periods of the data and at least one."""

    def scaled(length: timedelta) -> timedelta:
        return timedelta(seconds=period_s * max(1, round(length * (window / BASE) / timedelta(seconds=period_s))))

    return tuple(Pair(scaled(one.long), scaled(one.short), one.rate, one.verdict) for one in PAIRS)


def chance(bad: int, total: int, budget: float) -> float:
    """The probability of ``bad`` or more of ``total`` when each is bad with probability ``budget`` (binomial)."""
    if bad <= 0:
        return 1.0
    if bad > total:
        return 0.0
    # From there away from the mean the terms only get smaller, so that the sum ends early, however many events.
    if bad > total * budget:
        return _tail(bad, total, budget, 1)
    return max(0.0, 1.0 - _tail(bad - 1, total, budget, -1))


def fewest(total: int, budget: float, rate: float) -> int:
    """How few bad ones of ``total`` reach ``rate`` and are not chance; more than ``total`` where none would."""
    count = max(1, math.ceil(total * budget * rate - 1e-9))
    left = chance(count, total, budget)
    while count <= total and left > CHANCE:
        left -= math.exp(_log_odds(count, total, budget))
        count += 1
    return count


def _log_odds(count: int, total: int, budget: float) -> float:
    """The logarithm of the probability of exactly ``count``."""
    ways = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
    return ways + count * math.log(budget) + (total - count) * math.log1p(-budget)


def _tail(first: int, total: int, budget: float, step: Literal[1, -1]) -> float:
    """The sum of the probabilities of ``first`` and of what is beyond it, seen from the mean."""
    term, count, odds = math.exp(_log_odds(first, total, budget)), first, budget / (1 - budget)
    found = term
    while term > found * 1e-16 and 0 <= count + step <= total:
        term *= (total - count) / (count + 1) * odds if step == 1 else count / ((total - count + 1) * odds)
        found += term
        count += step
    return min(1.0, found)


def text(length: timedelta) -> str:
    """``3d``, ``6h``, ``5m`` or ``2h 5m``."""
    left, parts = round(length.total_seconds()), []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts) or "0s"

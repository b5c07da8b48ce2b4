"""When a burn rate is worth waking someone: pairs of windows, and the odds that so many errors are chance.

A pair speaks when both its windows burn at its rate: the long one shows that it matters, the short one that it still
goes on. https://sre.google/workbook/alerting-on-slos/ (multiwindow, multi-burn-rate alerts)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

# The Workbook's pairs are of an objective over 30 days; over another window they scale, and spend the same share of it.
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
    mean = total * budget
    if bad > mean + 10 * math.sqrt(mean) + 50:
        return 0.0  # beyond ten deviations; the sum below would take long and say the same
    log_p, log_q = math.log(budget), math.log1p(-budget)
    ways = math.lgamma(total + 1)
    fewer = math.fsum(
        math.exp(ways - math.lgamma(k + 1) - math.lgamma(total - k + 1) + k * log_p + (total - k) * log_q)
        for k in range(bad)
    )
    return max(0.0, 1.0 - fewer)


def fewest(total: int, budget: float, rate: float) -> int:
    """How few bad ones of ``total`` reach ``rate`` and are not chance; more than ``total`` where none would."""
    count = max(1, math.ceil(total * budget * rate - 1e-9))
    while count <= total and chance(count, total, budget) > CHANCE:
        count += 1
    return count


def text(length: timedelta) -> str:
    """``3d``, ``6h`` or ``5m``."""
    minutes = round(length.total_seconds() / 60)
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"

"""What a sample says: the bound, the estimate, and the arithmetic that leads to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops import charts
from ops.divergence import statistics
from ops.divergence.designing import TRIAL, Design
from ops.divergence.slices import Slice
from ops.record import Check

if TYPE_CHECKING:
    import pandas as pd

# Items that the slices read suggest, against those that DynamoDB counted: fewer, and some slices are far larger.
PLAUSIBLE = 0.8


@dataclass(frozen=True)
class Looked:
    """The bound when so much was read. ``read_units`` are of the replica that took the most."""

    slices: int
    items: int
    unlike: int
    bound_per_million: float
    read_units: float


@dataclass(frozen=True)
class Conclusion:
    """What is known of the whole table, with 95 % confidence.

    Attributes
    ----------
    bound_per_million
        Fewer items than this, in a million, differ.
    interval_per_million
        Where the share lies: half of the doubt on either side.
    """

    bound_per_million: float
    estimate_per_million: float
    interval_per_million: tuple[float, float]
    text: str
    warnings: tuple[str, ...]
    arithmetic: tuple[tuple[str, str, str], ...]
    looked: tuple[Looked, ...]
    asked_per_million: float
    differing: int

    def arithmetic_frame(self) -> pd.DataFrame:
        """A row a step from what was read to the bound."""
        import pandas as pd

        return pd.DataFrame(self.arithmetic, columns=["figure", "value", "how"])

    def chart(self) -> charts.Chart | charts.NoData:
        """The bound as the sample grew."""
        rows = [{"slices": one.slices, "bound": one.bound_per_million} for one in self.looked]
        return charts.lines(
            rows,
            x="slices",
            y="bound",
            title="Items that may differ, as the sample grew (95 % confidence)",
            x_title="slices read",
            y_title="upper bound",
            unit="per million",
            threshold=self.asked_per_million,
            log=True,
            even=False,
        )

    def checks(self) -> list[Check]:
        """Whether no item of the sample differs, and whether the bound that was asked for is reached."""
        found = f"{self.differing:,} items of the sample differ" if self.differing else "no item of the sample differs"
        reached = self.bound_per_million <= self.asked_per_million
        asked = f"asked for: {self.asked_per_million:,.6g} per million"
        return [
            Check("the sample agrees", not self.differing, found),
            Check("the bound is reached", reached, f"{self.text} ({asked})"),
        ]

    def figures(self) -> dict[str, float | int]:
        low, high = self.interval_per_million
        return {
            "bound_per_million": round(self.bound_per_million, 3),
            "estimate_per_million": round(self.estimate_per_million, 3),
            "interval_low_per_million": round(low, 3),
            "interval_high_per_million": round(high, 3),
            "sampled_differences": self.differing,
        }


def conclusion(
    slices: Sequence[Slice],
    design: Design,
    confirmed: frozenset[bytes],
    *,
    limit: int,
    looked: Sequence[Looked],
    stopped: str,
) -> Conclusion:
    """The conclusion from the slices drawn, in their order."""
    own = [sum(1 for suspect in one.suspects if suspect.key in confirmed) for one in slices]
    drawn = statistics.Slices(
        design.total,
        [min(one.items, limit) for one in slices],
        [min(count, one.items, limit) for count, one in zip(own, slices, strict=True)],
        limit,
        trial=min(TRIAL, len(slices)),
    )
    bound, low_high = statistics.upper_bound(drawn), statistics.interval(drawn)
    items, differing, bad = sum(drawn.items), sum(own), sum(1 for count in own if count)
    text = _text(drawn, bound, items, differing, stopped)
    return Conclusion(
        bound_per_million=1e6 * bound,
        estimate_per_million=1e6 * statistics.estimate(drawn),
        interval_per_million=(1e6 * low_high[0], 1e6 * low_high[1]),
        text=text,
        warnings=tuple(_warnings(slices, design, limit, items)),
        arithmetic=tuple(_arithmetic(drawn, bound, low_high, differing, bad)),
        looked=tuple(looked),
        asked_per_million=design.per_million,
        differing=differing,
    )


def _text(drawn: statistics.Slices, bound: float, items: int, differing: int, stopped: str) -> str:
    read = f"{drawn.read:,} of {drawn.total:,} slices with {items:,} items were read, and {differing:,} items differ"
    if drawn.complete:
        return f"every slice was read: {differing:,} of {items:,} items differ"
    if bound >= 1:
        return f"the sample is too small to say anything: {read} ({stopped})"
    return f"with 95 % confidence fewer than {_per_million(bound)} per million items differ: {read} ({stopped})"


def _warnings(slices: Sequence[Slice], design: Design, limit: int, items: int) -> list[str]:
    found = []
    beyond = sum(1 for one in slices if one.beyond or one.items > limit)
    if beyond:
        found.append(
            f"{beyond:,} of {len(slices):,} slices hold more than {limit:,} items: of those, what lies beyond was not "
            "looked at, and the bound does not speak of it; a scan does"
        )
    suggested = design.total * items / max(1, len(slices))
    if suggested < PLAUSIBLE * design.items:
        found.append(
            f"the slices read suggest {suggested:,.0f} items, and DynamoDB counted {design.items:,} within the last "
            "hours: a few partition keys may hold the rest, of which a sample says nothing; a scan does"
        )
    return found


def _arithmetic(
    drawn: statistics.Slices, bound: float, low_high: tuple[float, float], differing: int, bad: int
) -> list[tuple[str, str, str]]:
    items, trial = sum(drawn.items), drawn.trial
    rows = [
        ("slices of the table", f"{drawn.total:,}", "segments of a parallel scan, about 10 items each"),
        ("slices read", f"{drawn.read:,}", f"drawn without replacement; the first {trial:,} settled the limit"),
        ("items read", f"{items:,}", "that any replica has"),
        ("items that differ", f"{differing:,}", "confirmed by the verdict"),
        ("slices that hold some", f"{bad:,}", f"{_share(bad, drawn.read)} of those read"),
        ("estimate", _per_million(statistics.estimate(drawn)), f"{differing:,} / {items:,}, per million"),
    ]
    if drawn.complete:
        return [*rows, ("bound", _per_million(bound), "every slice was read: nothing is estimated")]
    counted = sum(drawn.items[trial:])
    draws = counted / drawn.limit
    rows += [
        ("limit", f"{drawn.limit:,}", "items that a slice counts with at the most: the unit is the largest slice"),
        ("draws", f"{draws:,.1f}", f"{counted:,} items after the trial / {drawn.limit:,}: slices of the largest size"),
    ]
    if not differing:
        share = math.log(1 / (0.05 * 0.8)) / draws if draws else 1.0
        rows.append(
            (
                "rule of three",
                _per_million(min(1.0, share)),
                "ln(1 / (0.05 x 0.8)) / draws = 3.2 / draws: 3.0 where the size is settled beforehand, 0.2 more "
                "because the sample stops when it likes what it sees",
            )
        )
    rows += [
        (
            "bound",
            _per_million(bound),
            "with 95 % confidence, per million; lower than by the rule where a good part of the slices was read",
        ),
        (
            "interval",
            f"{_per_million(low_high[0])} to {_per_million(low_high[1])}",
            "with 95 % confidence, two-sided, per million",
        ),
        (
            "slices, Clopper-Pearson",
            f"{statistics.clopper_pearson(bad, drawn.read):.4%}",
            "for comparison: at most so many slices hold a difference, had their number been settled beforehand",
        ),
    ]
    return rows


def _per_million(share: float) -> str:
    return f"{1e6 * share:,.4g}" if share < 0.01 else f"{1e6 * share:,.0f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.4%}" if whole else "none"

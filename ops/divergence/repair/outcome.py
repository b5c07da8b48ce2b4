"""What became of a repair: as a table, as figures, and as checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ops.divergence.naming import shown
from ops.divergence.repair import mending, writing
from ops.divergence.repair.images import Outcomes
from ops.divergence.repair.orders import Order, Work
from ops.record import Check

DONE = (writing.WRITTEN, writing.DELETED, mending.ALREADY, mending.ARRIVED)
NAMED = 5


@dataclass
class Repaired:
    """What became of the orders. ``outcomes``: by key (in hexadecimal) and label."""

    work: Work
    outcomes: Outcomes = field(default_factory=dict)
    duration_s: float = 0.0
    resumed: bool = False

    @property
    def mended(self) -> list[Order]:
        """The orders that were brought about in every replica."""
        return [
            one
            for one in self.work.orders
            if one.key in self.outcomes and all(said in DONE for said in self.outcomes[one.key].values())
        ]

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for one in self.work.orders:
            for label, said in self.outcomes.get(one.key, {}).items():
                yield shown(one.packed, self.work.schema.names), label, said

    def frame(self) -> pd.DataFrame:
        """A row a key and replica that was to change."""
        return pd.DataFrame(self._rows(), columns=["key", "replica", "outcome"])

    def figures(self) -> dict[str, Any]:
        said = [word.partition(":")[0] for _, _, word in self._rows()]
        counts = {word.replace(" ", "_"): said.count(word) for word in (*DONE, writing.CHANGED, writing.REFUSED)}
        rate = round((counts["written"] + counts["deleted"]) / self.duration_s, 1) if self.duration_s else 0.0
        return {
            "items": len(self.work.orders),
            "mended": len(self.mended),
            **counts,
            "duration_s": round(self.duration_s, 2),
            "writes_per_s": rate,
        }

    def checks(self) -> list[Check]:
        """Whether every order was brought about; what was left to a concurrent writer is named."""
        left = [f"{key} in {label}: {said}" for key, label, said in self._rows() if said not in DONE]
        total = len(self.work.orders)
        more = f"; and {len(left) - NAMED:,} more" if len(left) > NAMED else ""
        detail = f"{len(self.mended):,} of {total:,}" + (
            f"; left alone: {'; '.join(left[:NAMED])}{more}" if left else ""
        )
        return [Check(f"items of {self.work.table} are written as planned", len(self.mended) == total, detail)]

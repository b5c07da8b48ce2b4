"""What a drill came to: checks, figures, and what was expected beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from ops.failover import experiments
from ops.failover.arrivals import Arrivals, Rpo
from ops.failover.evacuation import TOLERANCE_S
from ops.failover.experiments import Experiment
from ops.failover.measures import Recovery
from ops.failover.proof import Proof
from ops.failover.request import Request
from ops.failover.returning import Fit
from ops.failover.timeline import Timeline
from ops.failover.watching import Answer, Watch, bound_s
from ops.load import LoadRecord
from ops.record import Check
from ops.stage import Stage


@dataclass(frozen=True)
class Drilled:
    """A finished drill. ``moved_after_s`` is None where not every city of the region moved."""

    request: Request
    stage: Stage
    timeline: Timeline
    watch: Watch
    record: LoadRecord
    arrivals: Arrivals
    proof: Proof
    recovery: Recovery
    rpo: Rpo
    fit: Fit
    experiments: tuple[Experiment, ...]
    outage_started: float
    outage_ended: float
    before: dict[str, Answer]
    after: dict[str, Answer]
    moved_after_s: float | None
    back: bool
    back_after_s: float
    expected: list[dict[str, str]]

    @property
    def mine(self) -> list[str]:
        """The cities that the region answered before."""
        return [city for city, answer in self.before.items() if answer.region == self.request.region]

    @property
    def moves(self) -> bool:
        """Whether traffic has to move: the API is taken away, and some city is answered by it."""
        return "api" in self.request.parts and bool(self.mine)

    def checks(self) -> list[Check]:
        bound = bound_s(self.stage)
        made = [self._outage()]
        if self.moves:
            moved = self.moved_after_s is not None
            seen = f"{', '.join(self.mine)} after {self.moved_after_s:.1f} s" if moved else "not every city moved"
            made.append(Check("traffic moved", moved, seen))
        rto = self.recovery.rto_s
        made += [
            Check("RTO", rto <= (bound if self.moves else 0.0), f"{rto:.1f} s of {bound:.0f} s"),
            Check(
                "traffic is back",
                self.back and self.back_after_s <= bound + TOLERANCE_S,
                f"after {self.back_after_s:.1f} s of {bound:.0f} s" if self.back else self._not_back(),
            ),
            *self.proof.checks(),
            *self.fit.checks,
        ]
        return [*made, *self._left_broken()]

    def _outage(self) -> Check:
        lasted = self.outage_ended - self.outage_started
        bad = [one for one in self.experiments if one.state not in ("completed", "running", "stopped")]
        short = lasted < self.request.minutes * 60 - 5
        said = "; ".join(f"{one.id} {one.state} {one.reason}".strip() for one in self.experiments)
        return Check(
            "outage", not bad and not short, f"{', '.join(self.request.parts)} away for {lasted:.0f} s: {said}"
        )

    def _not_back(self) -> str:
        return "; ".join(
            f"{city}: {self.after.get(city, Answer())}, before {was}"
            for city, was in self.before.items()
            if self.after.get(city) != was
        )

    def _left_broken(self) -> list[Check]:
        if not self.request.leave:
            return []
        what = f"{', '.join(self.request.leave)} of {self.request.region} was not given back, as asked"
        return [Check("left broken", False, f"{what}; heals with: {experiments.healing_command(self.stage)}")]

    def figures(self) -> dict[str, Any]:
        """What was measured; times in seconds."""
        return {
            "rto_s": round(self.recovery.rto_s, 1),
            "rto_bound_s": bound_s(self.stage),
            "rpo_events": self.rpo.events,
            "rpo_s": round(self.rpo.seconds, 3),
            "moved_after_s": None if self.moved_after_s is None else round(self.moved_after_s, 1),
            "back_after_s": round(self.back_after_s, 1),
            "outage_s": round(self.outage_ended - self.outage_started, 1),
            **self.proof.figures(),
        }

    def compared(self) -> pd.DataFrame:
        """What was expected before, beside what was measured."""
        figures = self.figures()
        missing = sum(len(keys) for keys in self.proof.missing.values())
        moved = f"{', '.join(self.mine) or 'no city'}: "
        measured = {
            "moves": moved + ("nobody moved" if self.moved_after_s is None else f"after {self.moved_after_s:.1f} s"),
            "stays": ", ".join(f"{c} ({a.region})" for c, a in self.after.items() if c not in self.mine) or "no city",
            "RTO": f"{figures['rto_s']} s",
            "RPO": f"{figures['rpo_events']} events, the oldest {figures['rpo_s']} s; missing after healing: {missing}",
            "lost": f"{missing} missing",
            "doubled": f"{len(self.proof.doubled)} doubled, {len(self.proof.foreign)} foreign",
            "afterwards": "; ".join(f"{'✔' if one.ok else '✘'} {one.name}" for one in self.fit.checks),
        }
        rows = [(row["what"], row["expected"], measured.get(row["what"], "")) for row in self.expected]
        return pd.DataFrame(rows, columns=["what", "expected", "measured"])

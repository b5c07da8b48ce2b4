"""What a redrive did, queue by queue: as a table, as figures, and as checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from ops.plan import Step
from ops.record import Check
from ops.redrive.orders import Tally
from ops.redrive.proof import Proof

if TYPE_CHECKING:
    from ops.redrive.survey import Survey

COLUMNS = ["region", "queue", "engine", "moved", "quarantined", "left", "not chosen", "still there, why", "duration_s"]


@dataclass
class Done:
    """What became of one queue."""

    step: Step
    engine: str
    tally: Tally = field(default_factory=Tally)
    duration_s: float = 0.0

    def __str__(self) -> str:
        tally = self.tally
        parts = [f"{tally.moved:,} moved", f"{tally.quarantined:,} quarantined"]
        parts += [
            f"{count:,} {name}" for name, count in (("left", tally.left), ("not chosen", tally.passed_over)) if count
        ]
        return ", ".join([*parts, *self.troubles])

    @property
    def troubles(self) -> list[str]:
        """Why chosen messages are still on the queue, and what else went wrong."""
        tally = self.tally
        found = [f"{count:,} not taken: {why}" for why, count in tally.undelivered.most_common()]
        found += [f"{count:,} without a target: {why}" for why, count in tally.untargeted.most_common()]
        if tally.undeleted:
            found.append(f"{tally.undeleted:,} delivered and not deleted: they will be delivered again")
        return found + ([tally.incomplete] if tally.incomplete else [])

    @property
    def by_task(self) -> bool:
        """Whether SQS itself moved messages of it."""
        return self.engine == "move-task" and self.tally.moved > 0

    @property
    def row(self) -> list[Any]:
        tally, after = self.tally, self.step.after
        counts = [tally.moved, tally.quarantined, tally.left, tally.passed_over]
        return [
            after["region"],
            after["queue"],
            self.engine,
            *counts,
            "; ".join(self.troubles),
            round(self.duration_s, 1),
        ]


@dataclass
class Redriven:
    """What a redrive did. ``moved_keys``: event key and region of each message that its target has; without those of
    move tasks, which do not tell. ``rates``: time, messages so far, and messages a second since the last row."""

    done: list[Done] = field(default_factory=list)
    moved_keys: list[tuple[str, str]] = field(default_factory=list)
    rates: list[tuple[datetime, int, float]] = field(default_factory=list)
    duration_s: float = 0.0
    resumed: bool = False

    def keys(self, looked: Survey) -> list[tuple[str, str]]:
        """Event key and region of each message that was moved. A move task tells none, and takes a queue only when all
        of it was looked at before: so its keys are those that were seen."""
        by_task = {(done.step.after["region"], done.step.after["queue"]) for done in self.done if done.by_task}
        seen = [
            (key, one.queue.region)
            for one in looked.queues
            if (one.queue.region, one.queue.name) in by_task
            for key in one.event_keys
        ]
        return [*self.moved_keys, *seen]

    def _sum(self, name: str) -> int:
        return sum(getattr(done.tally, name) for done in self.done)

    def frame(self) -> pd.DataFrame:
        """A row a queue."""
        return pd.DataFrame([done.row for done in self.done], columns=COLUMNS)

    def rate_frame(self) -> pd.DataFrame:
        """How fast it went, a row every few seconds."""
        return pd.DataFrame(self.rates, columns=["time", "moved", "per_s"])

    def figures(self) -> dict[str, Any]:
        moved, quarantined = self._sum("moved"), self._sum("quarantined")
        return {
            "moved": moved,
            "quarantined": quarantined,
            "left": self._sum("left"),
            "not_chosen": self._sum("passed_over"),
            "not_taken": sum(done.tally.undelivered.total() + done.tally.untargeted.total() for done in self.done),
            "duration_s": round(self.duration_s, 2),
            "rate_per_s": round((moved + quarantined) / self.duration_s, 1) if self.duration_s else 0.0,
        }

    def checks(self, proof: Proof | None = None) -> list[Check]:
        """Whether each queue's chosen messages are where they belong; and of the proof, if there is one, its own."""
        made = [
            Check(
                f"redrive of {done.step.after['queue']} in {done.step.after['region']}",
                not done.troubles,
                str(done),
            )
            for done in self.done
        ]
        return made + ([] if proof is None else list(proof.checks()))

"""Mode ``scan``: read every replica once, in step, and name the keys on which they did not agree.

1. Each replica is cut into the same segments, and each segment is reduced to a sketch a replica (``lockstep``).
2. Sketches of a segment are subtracted and peeled (``subtracting``). Segments that hold too many differences for their
   sketch are read again, only they, with a sketch of the size that they need, within a bound on memory.
3. Keys too long for a cell of a sketch are looked for in their segments, by their digest.

What always holds: nothing is written but the checkpoint; reading keeps to a budget and stops at its thresholds; memory
does not depend on the size of the table; and where not every difference can be named, the survey says so (figures
``complete`` and ``differ_about``) instead of giving a part for the whole.

Keys that differ are suspects, no more: they are to be read again before anyone calls them different.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ops.aws import Cloud
from ops.divergence import checkpoint as checkpoints
from ops.divergence.checkpoint import State, Tally
from ops.divergence.lockstep import Lockstep
from ops.divergence.looking import find
from ops.divergence.pace import CELLS, Pace, budget_for, segments_for, workers_for
from ops.divergence.replicas import Described, Replica, Schema, describe
from ops.divergence.sources import source
from ops.divergence.subtracting import Differences, Outcome
from ops.divergence.survey import Side, Survey
from ops.divergence.telling import Teller
from ops.divergence.wire import Buffer, Pages
from ops.errors import InterruptedRunError, OpsError
from sketch import Layout, implementation

__all__ = ["Pace", "scan", "segments_for"]

Progress = Callable[[str], None]

# Each has sketches at least four times as large as the one before.
# Looking makes objects of keys: more threads take more memory, and are no faster.
LOOKERS = 4
ROUNDS = 4
CHECKPOINT_S = 5.0


def scan(
    cloud: Cloud,
    replicas: Sequence[Replica],
    schema: Schema,
    *,
    ignore: Sequence[str] = (),
    only: Sequence[str] | None = None,
    pace: Pace | None = None,
    checkpoint: Path | None = None,
    progress: Progress = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> Survey:
    """Read the replicas of one table.

    Args:
        checkpoint: a file to go on from if it is there, and to keep in what was read; it goes when that is judged
            (``checkpoint.until_judged``).

    Raises:
        UsageError, RefusedError: the pace is not possible, or the checkpoint is damaged or another comparison's.
        OpsError: a replica could not be read, or is to be left in peace; the hint says how to go on.
        InterruptedRunError: the operator stopped it; what was read is kept.
    """
    described = describe(cloud, replicas)
    layout = Layout(schema.names, tuple(ignore), None if only is None else tuple(only), CELLS)
    run = _Scan(
        cloud,
        replicas,
        schema,
        described,
        layout,
        pace=pace or Pace(),
        path=checkpoint,
        progress=progress,
        clock=clock,
        sleep=sleep,
        now=now,
    )
    try:
        return run.survey()
    except KeyboardInterrupt:
        run.keep()
        raise InterruptedRunError(f"the scan was stopped: {run.reached}", hint=run.hint) from None
    except OpsError as error:
        run.keep()
        error.hint = " ".join(part for part in (error.hint, run.hint) if part)
        raise


class _Scan:
    def __init__(
        self,
        cloud: Cloud,
        replicas: Sequence[Replica],
        schema: Schema,
        described: Mapping[Replica, Described | None],
        layout: Layout,
        *,
        pace: Pace,
        path: Path | None,
        progress: Progress,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        now: Callable[[], float],
    ) -> None:
        self.path, self.schema, self.pace, self.progress = path, schema, pace, progress
        self.clock, self.sleep, self.begun = clock, sleep, clock()
        self.labels = [replica.label for replica in replicas]
        self.items = [found.items if (found := described[replica]) else 0 for replica in replicas]
        subject = {
            "replicas": [f"{one.label}: {one.table} in {one.region}" for one in replicas],
            "key": str(schema),
            "ignore": list(layout.ignore),
            "only": None if layout.only is None else list(layout.only),
            "segments": pace.segments or "auto",
        }
        kept = checkpoints.load(path, subject) if path else None
        self.state = kept or State(
            subject=subject,
            differences={},
            segments=pace.segments or segments_for(max(self.items), pace.workers),
            tallies=[Tally() for _ in replicas],
            started=now(),
        )
        self.differences = Differences.from_json(kept.differences) if kept else Differences(self.labels, layout)
        self.spent_before_s = self.state.spent_s
        self.workers, self.read_again = pace.workers, 0
        self.round: Lockstep | None = None
        self.sources = [source(cloud, replica) for replica in replicas]
        self.budgets = [budget_for(replica, described[replica], pace, clock, progress) for replica in replicas]
        if kept:
            progress(f"going on from {path}: {self.reached}")

    def survey(self) -> Survey:
        # At once, so that a place that cannot be written to is not found out in the middle.
        self.keep()
        outcome = self._rounds()
        self.keep()
        vanished = 0
        if outcome.unlocated:
            self._look(outcome)
            outcome = self.differences.close()
            vanished = len(outcome.unlocated)
        sides = tuple(
            Side(label, total.count, tally.size_bytes, tally.pages, tally.read_units, str(total), self.spent_s)
            for label, total, tally in zip(self.labels, self.differences.totals, self.state.tallies, strict=True)
        )
        return Survey(
            mode="scan",
            sides=sides,
            suspects=outcome.suspects,
            settled_at=self.state.started,
            duration_s=self.spent_s,
            implementation=implementation(),
            figures={
                "complete": outcome.complete,
                "differ_about": outcome.about - vanished,
                "segments": self.state.segments,
                "segments_read_again": self.read_again,
                "throttles": {budget.label: budget.throttles for budget in self.budgets},
                "latency_p95_ms": {budget.label: round(budget.p95_ms, 1) for budget in self.budgets},
            },
        )

    # --- rounds ------------------------------------------------------------------------------------------------

    def _rounds(self) -> Outcome:
        """Read, and read again what did not peel, until all is named or it is certain that it cannot be."""
        while True:
            if self.state.round:
                self.read_again += len(self.state.wanted or ())
                self.workers = max(1, workers_for(self.differences.layout.cells, len(self.sources), self.pace))
            self._read()
            outcome = self.differences.close()
            if not outcome.unpeeled or self.state.round + 1 >= ROUNDS or not self._grow(outcome):
                return outcome

    def _read(self) -> None:
        self.round = Lockstep(
            self.sources,
            self.budgets,
            self.state,
            self.differences,
            workers=self.workers,
            keep=self.path is not None,
            clock=self.clock,
            sleep=self.sleep,
        )
        kept, cost = self.clock(), 0.0
        before = 0 if self.state.round else sum(total.count for total in self.differences.totals)
        teller = Teller(
            self.progress, self.state, self.differences, before=before, expected=sum(self.items), clock=self.clock
        )

        def tick(read: int) -> None:
            nonlocal kept, cost
            teller.tick(read)
            at = self.clock()
            # What keeping takes grows with the differences: it gets a twentieth of the time at the most.
            if at - kept >= max(CHECKPOINT_S, 20 * cost):
                self.keep()
                kept = self.clock()
                cost = kept - at

        self.round.run(tick)
        teller.tell(self.round.read)

    def _grow(self, outcome: Outcome) -> bool:
        """Prepare another round with larger sketches for the segments that did not peel; false if it would not help."""
        if self.differences.size + outcome.remaining > self.differences.limit:
            return False
        # Large enough for each segment, or for all together where replicas cut their segments differently.
        needed = min(max(outcome.unpeeled.values()), outcome.remaining)
        cells = max(4 * self.differences.layout.cells, 2 * needed)
        if not workers_for(cells, len(self.sources), self.pace):
            return False
        self.state.round += 1
        self.state.wanted = sorted(outcome.unpeeled)
        self.state.done.clear()
        old = self.differences.layout
        self.differences.again(Layout(old.names, old.ignore, old.only, cells))
        self.progress(
            f"reading {len(outcome.unpeeled):,} of {self.state.segments:,} segments again, in which more differs than "
            f"their sketches hold: about {outcome.remaining:,} elements"
        )
        return True

    def _look(self, outcome: Outcome) -> None:
        wanted = self.differences.whereabouts(outcome.unlocated)
        self.progress(f"looking for {len(outcome.unlocated):,} long keys in {len(wanted):,} segments")

        def readers() -> list[Pages]:
            buffer = Buffer()
            return [
                Pages(one, budget, buffer, clock=self.clock, sleep=self.sleep)
                for one, budget in zip(self.sources, self.budgets, strict=True)
            ]

        names, segments = self.schema.names, self.state.segments
        workers = min(self.pace.workers, LOOKERS, len(wanted))
        self.differences.located(find(readers, names, segments, wanted, outcome.unlocated, workers=workers))

    # --- what is told and kept ---------------------------------------------------------------------------------

    @property
    def spent_s(self) -> float:
        return self.spent_before_s + self.clock() - self.begun

    @property
    def reached(self) -> str:
        """How far it came, in words."""
        wanted = self.state.segments if self.state.wanted is None else len(self.state.wanted)
        again = " again" if self.state.round else ""
        return f"{len(self.state.done):,} of {wanted:,} segments were read{again}"

    @property
    def hint(self) -> str:
        return f"To go on from there: the same again with -p resume={self.path}" if self.path else ""

    def keep(self) -> None:
        """Write the checkpoint."""
        if self.path is None:
            return
        self.state.spent_s = self.spent_s
        with self.round.lock if self.round else nullcontext():
            kept = replace(
                self.state,
                differences=self.differences.to_json(),
                done=set(self.state.done),
                opened=dict(self.state.opened),
                tallies=[replace(tally) for tally in self.state.tallies],
            )
        checkpoints.save(self.path, kept)

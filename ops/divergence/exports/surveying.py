"""Mode ``export``: the exports of all replicas, read once, and the keys on which they did not agree.

1. Manifests are verified, and every replica's files are reduced to one sketch (``reading``): files of two replicas do
   not correspond, so there are no segments.
2. The sketches are subtracted and peeled (``subtracting``). More differences than they hold: the files are read again
   into sketches of the size that is needed, within a bound on memory.
3. Keys too long for a cell are looked for in the files, by their digest.

What always holds: tables are not touched; memory follows the differences; and where not every difference can be named,
the survey says so (figures ``complete`` and ``differ_about``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ops.aws import Cloud
from ops.divergence import checkpoint as checkpoints
from ops.divergence.checkpoint import State
from ops.divergence.exports.locating import locate
from ops.divergence.exports.looking import find
from ops.divergence.exports.reading import Progress, Source, through
from ops.divergence.exports.totals import Totals, identity
from ops.divergence.replicas import Described, Replica, Schema
from ops.divergence.subtracting import Differences, Outcome
from ops.divergence.survey import Side, Survey
from ops.errors import InterruptedRunError, OpsError
from sketch import Layout, implementation

# Enough for some 6,000 changed items.
CELLS = 16_383
ROUNDS = 3
# Each has a sketch. Two a processor keep it busy while S3 is waited for.
WORKERS = min(8, 2 * (os.cpu_count() or 1))
CELL_BYTES = 144
# Of all sketches at once: those of the workers, the totals and what is subtracted.
MEMORY_BYTES = 160 << 20
CHECKPOINT_S = 5.0


def survey(
    cloud: Cloud,
    replicas: Sequence[Replica],
    schema: Schema,
    described: Mapping[Replica, Described | None],
    exports: Sequence[str],
    *,
    ignore: Sequence[str] = (),
    only: Sequence[str] | None = None,
    workers: int = WORKERS,
    cells: int = CELLS,
    checkpoint: Path | None = None,
    progress: Progress = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Survey:
    """Compare exports, one of each replica; nothing is written in the cloud and no table is read.

    Args:
        checkpoint: a file to go on from if it is there, and to keep in which files were read; it goes when what
            they hold is judged (``checkpoint.until_judged``).

    Raises:
        UsageError, RefusedError: the exports do not belong to these replicas, or cannot be compared; or the checkpoint
            is damaged or another comparison's.
        OpsError: a file or a manifest is missing or damaged.
        InterruptedRunError: the operator stopped it; what was read is kept.
    """
    sources = locate(cloud, replicas, described, exports)
    layout = Layout(schema.names, tuple(ignore), None if only is None else tuple(only), cells)
    told = ", ".join(f"{len(one.manifest.files):,} files of {one.label}" for one in sources)
    progress(f"reading {told}; {sources[0].manifest.form}")
    run = _Comparison(
        sources, schema, layout, path=checkpoint, workers=workers, progress=progress, clock=clock, sleep=sleep
    )
    again = f"-p mode=export -p exports={','.join(exports)}"
    if checkpoint:
        again += f" -p resume={checkpoint}"
    try:
        return run.survey()
    except KeyboardInterrupt as stop:
        run.keep()
        raise InterruptedRunError(
            f"stopped while exports were read, which are as they were: {run.reached}", hint=f"To go on: {again}"
        ) from stop
    except OpsError as error:
        run.keep()
        if checkpoint:
            error.hint = " ".join(part for part in (error.hint, f"To go on with the same exports: {again}") if part)
        raise


class _Comparison:
    def __init__(
        self,
        sources: Sequence[Source],
        schema: Schema,
        layout: Layout,
        *,
        path: Path | None,
        workers: int,
        progress: Progress,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.sources, self.path, self.workers = sources, path, workers
        self.progress, self.clock, self.sleep, self.begun = progress, clock, sleep, clock()
        subject = {
            "exports": [identity(one.manifest) for one in sources],
            "key": str(schema),
            "ignore": list(layout.ignore),
            "only": None if layout.only is None else list(layout.only),
        }
        kept = checkpoints.load(path, subject) if path else None
        self.state = kept or State(subject=subject, differences={}, segments=0, started=sources[0].manifest.at)
        labels = [one.label for one in sources]
        self.differences = Differences.from_json(kept.differences) if kept else Differences(labels, layout)
        self.spent_before_s = self.state.spent_s
        self.totals = self._begun(self.differences.layout)
        if kept:
            self.totals.restore(kept)
            progress(f"going on from {path}: {self.reached}")

    def survey(self) -> Survey:
        # At once, so that a place that cannot be written to is not found out in the middle.
        self.keep()
        outcome = self._rounds()
        if outcome.unlocated:
            outcome = self._located(outcome)
        manifest = self.sources[0].manifest
        return Survey(
            mode="export",
            sides=tuple(
                Side(one.label, total.count, one.tally.size_bytes, one.tally.files, 0.0, str(total), self.spent_s)
                for one, total in zip(self.sources, self.differences.totals, strict=True)
            ),
            suspects=outcome.suspects,
            settled_at=manifest.at,
            duration_s=self.spent_s,
            implementation=implementation(),
            figures={
                "complete": outcome.complete and not outcome.unlocated,
                "differ_about": outcome.about,
                "files": {one.label: one.tally.files for one in self.sources},
                "times_read": self.state.round + 1,
                "exports": [one.manifest.uri for one in self.sources],
                "incremental": manifest.incremental,
            },
        )

    def _rounds(self) -> Outcome:
        """Read, and read again if not all peeled, until all is named or it is certain that it cannot be."""
        while True:
            self._read()
            self.differences.take(0, self.totals.sketches)
            outcome = self.differences.close()
            larger = self._larger(outcome)
            if larger is None:
                return outcome
            self.progress(
                f"about {outcome.remaining:,} elements differ, more than the sketches hold: read again into larger ones"
            )
            self.state.round += 1
            self.differences.again(larger)
            self.totals = self._begun(larger)

    def _begun(self, layout: Layout) -> Totals:
        """Nothing read yet in this round. What is kept of the differences is from before anything is subtracted: with
        the totals of all files, that gives the same again."""
        self.state.differences = self.differences.to_json()
        return Totals(self.sources, layout)

    def _read(self) -> None:
        kept, cost = self.clock(), 0.0

        def tick() -> None:
            nonlocal kept, cost
            at = self.clock()
            # What keeping takes grows with the sketches: it gets a twentieth of the time at the most.
            if at - kept >= max(CHECKPOINT_S, 20 * cost):
                self.keep()
                kept = self.clock()
                cost = kept - at

        through(
            self.sources,
            self.totals.begin,
            done=frozenset(self.totals.done),
            workers=max(1, min(self.workers, _workers(self.totals.layout.cells, len(self.sources)))),
            progress=self.progress,
            tick=tick if self.path else lambda: None,
            clock=self.clock,
            sleep=self.sleep,
        )
        self.keep()
        for one, sketch in zip(self.sources, self.totals.sketches, strict=True):
            if sketch.items != one.manifest.items:
                raise OpsError(
                    f"{one.manifest.uri}: {sketch.items:,} items were read, and it says {one.manifest.items:,}"
                )

    def _larger(self, outcome: Outcome) -> Layout | None:
        """A layout that holds what did not peel; None when all did, or when it is more than can be named."""
        too_many = self.differences.size + outcome.remaining > self.differences.limit
        if not outcome.unpeeled or too_many or self.state.round + 1 == ROUNDS:
            return None
        cells = max(4 * self.totals.layout.cells, 2 * max(outcome.unpeeled.values()))
        return replace(self.totals.layout, cells=cells) if _workers(cells, len(self.sources)) >= 1 else None

    def _located(self, outcome: Outcome) -> Outcome:
        self.progress(f"looking for {len(outcome.unlocated):,} long keys")
        found = find(
            self.sources,
            self.totals.layout,
            outcome.unlocated,
            workers=self.workers,
            clock=self.clock,
            sleep=self.sleep,
        )
        self.differences.located(found)
        return self.differences.close()

    # --- what is told and kept ---------------------------------------------------------------------------------

    @property
    def spent_s(self) -> float:
        return self.spent_before_s + self.clock() - self.begun

    @property
    def reached(self) -> str:
        """How far it came, in words."""
        again = " again" if self.state.round else ""
        return f"{len(self.totals.done):,} of {self.totals.count:,} files were read{again}"

    def keep(self) -> None:
        """Write the checkpoint."""
        if self.path is None:
            return
        self.state.spent_s = self.spent_s
        checkpoints.save(self.path, self.totals.state(self.state))


def _workers(cells: int, replicas: int) -> int:
    """How many workers have room for a sketch, beside the totals and what is subtracted of them."""
    return MEMORY_BYTES // (cells * CELL_BYTES) - 4 * replicas

"""Carries a fleet's plan out: segments that are missing are read, all are fetched, subtracted and peeled.

1. Segments that an earlier apply of the same plan finished are not read again.
2. One execution a region reads the others; Ctrl-C and failures stop all of them.
3. Sketches are fetched segment by segment, of all regions, and subtracted.
4. Segments that hold more differences than their sketches name are read again into larger ones, a bounded number of
   times; what is beyond that is told as a number, never as a wrong answer.
5. What was kept in the buckets is deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ops.aws import Cloud
from ops.divergence.budget import Budget
from ops.divergence.fleet import collecting, executions
from ops.divergence.fleet.collecting import Tally
from ops.divergence.fleet.executions import TAKE_UP, Asked, Progress
from ops.divergence.looking import find
from ops.divergence.replicas import Replica
from ops.divergence.sources import source
from ops.divergence.subtracting import Differences
from ops.divergence.subtracting import Outcome as Found
from ops.divergence.survey import Survey
from ops.divergence.wire import Buffer, Pages
from ops.errors import InterruptedRunError, OpsError
from ops.fanout import each
from ops.plan import Outcome, Plan, Report, Step, authorize
from sketch import Layout
from sketch.portion import Portion

# The state machine itself gives up after a day (deploy/resources/fleet.yml).
DEADLINE_S = 86_000.0
# Sizes of sketches that are tried, and the largest: about 150 MB a segment and replica, of which one is held at a time.
ROUNDS = 4
MAX_CELLS = 1_000_000
# Segments whose sketches are fetched at once.
FETCHED_AT_ONCE = 4


@dataclass(frozen=True)
class _Replica:
    """A step of the plan, as the run needs it."""

    step: Step
    label: str
    region: str


def survey(
    cloud: Cloud,
    plan: Plan,
    token: str,
    progress: Progress = lambda _: None,
    report: Report = lambda _: None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Survey:
    """Read every replica of a fleet's plan, and say on which keys they did not agree.

    Raises:
        RefusedError: the token is not this plan's, or a region cannot read.
        OpsError: a segment failed, with its cause; nothing is left running.
        InterruptedRunError: Ctrl-C; the executions were stopped.
    """
    authorize(plan, token)
    started = clock()
    sides = [_Replica(step, step.after["label"], step.region or "") for step in plan.changes]
    run = _Run(cloud, plan, sides, progress, clock=clock, sleep=sleep)
    segments, layout = int(sides[0].step.after["segments"]), _layout(sides[0].step)
    tallies = {side.label: Tally() for side in sides}
    differences = Differences([side.label for side in sides], layout)
    missing, read_again = set(range(segments)), 0
    for number in range(ROUNDS):
        run.read(layout, missing, segments)
        for portions in run.portions(layout, missing, segments):
            differences.take(portions[0].segment, [portion.sketch for portion in portions])
            for tally, portion in zip(tallies.values(), portions, strict=True):
                tally.add(portion)
        outcome = differences.close()
        larger = _larger(layout, outcome, differences.size, differences.limit)
        if larger is None or number + 1 == ROUNDS:
            break
        missing, layout = set(outcome.unpeeled), larger
        read_again += len(missing)
        differences.again(layout)
        progress(f"{len(missing)} segments differ in more than their sketches hold: read again into larger ones")
    outcome = run.located(differences, outcome, segments)
    collecting.forget(cloud, [side.region for side in sides], plan.token)
    duration_s = clock() - started
    for side, total in zip(sides, differences.totals, strict=True):
        report(Outcome(side.step, f"read {total.count:,} items", duration_s))
    implementations = set[str]().union(*(one.implementations for one in tallies.values()))
    return Survey(
        mode="fleet",
        sides=tuple(
            tallies[label].side(label, total) for label, total in zip(tallies, differences.totals, strict=True)
        ),
        suspects=outcome.suspects,
        settled_at=min(one.started for one in tallies.values()),
        duration_s=duration_s,
        implementation="reference" if "reference" in implementations else "native",
        figures={
            "complete": outcome.complete,
            "differ_about": outcome.about,
            "segments": segments,
            "segments_read_again": read_again,
            "invocations": sum(one.laps for one in tallies.values()),
            "throttles": sum(one.throttles for one in tallies.values()),
        },
    )


def _larger(layout: Layout, outcome: Found, known: int, limit: int) -> Layout | None:
    """A layout that holds what did not peel; None when all did, or when it is more than can be named."""
    if not outcome.unpeeled or known + sum(outcome.unpeeled.values()) > limit:
        return None
    cells = max(4 * layout.cells, 2 * max(outcome.unpeeled.values()))
    return replace(layout, cells=cells) if cells <= MAX_CELLS else None


class _Run:
    """One apply of a plan: what is the same for all its rounds."""

    def __init__(
        self,
        cloud: Cloud,
        plan: Plan,
        sides: Sequence[_Replica],
        progress: Progress,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._cloud, self._token, self._sides, self._progress = cloud, plan.token, sides, progress
        self._clock, self._sleep = clock, sleep

    def read(self, layout: Layout, segments: set[int], total: int) -> None:
        """Have every region read those of ``segments`` that it has not read."""
        folder, now = collecting.prefix(self._token, layout.cells), datetime.now(UTC)
        asked = {}
        for side in self._sides:
            left = segments - collecting.finished(self._cloud, side.region, folder, now)
            if len(left) < len(segments):
                self._progress(f"{side.region}: {len(segments) - len(left)} segments were read before")
            if left:
                asked[side.region] = self._asked(side, layout, left, total=total, folder=folder)
        running: dict[str, str] = {}
        try:
            for region, one in asked.items():
                running[region] = executions.start(self._cloud, one)
                self._progress(f"{region}: reading {len(one.segments)} segments")
            executions.follow(self._cloud, running, DEADLINE_S, self._progress, clock=self._clock, sleep=self._sleep)
        except KeyboardInterrupt as stop:
            executions.stop(self._cloud, running, "Ctrl-C")
            raise InterruptedRunError(
                f"stopped: the executions in {', '.join(running) or 'no region'} were stopped; nothing reads any more",
                hint=TAKE_UP,
            ) from stop
        except OpsError as error:
            try:
                executions.stop(self._cloud, running, "another region failed")
            except OpsError as still:
                # Told is what failed first, and what it left running: expired credentials stop nothing either.
                told = f"The executions in {', '.join(running)} could not be stopped and go on ({still})."
                error.hint = " ".join(dict.fromkeys(part for part in (error.hint, told, TAKE_UP) if part))
            raise
        except BaseException:
            executions.stop(self._cloud, running, "the run that waited for it is over")
            raise

    def portions(self, layout: Layout, segments: set[int], total: int) -> Iterator[list[Portion]]:
        """What was read of each segment, in every replica in order; a few segments are held at a time."""
        folder, ordered = collecting.prefix(self._token, layout.cells), sorted(segments)

        def one(key: tuple[int, str]) -> Portion:
            segment, region = key
            return collecting.fetch(self._cloud, region, folder, segment=segment, segments=total, layout=layout)

        for start in range(0, len(ordered), FETCHED_AT_ONCE):
            some = ordered[start : start + FETCHED_AT_ONCE]
            found = each([(segment, side.region) for segment in some for side in self._sides], one)
            for segment in some:
                yield [found[segment, side.region] for side in self._sides]

    def located(self, differences: Differences, outcome: Found, total: int) -> Found:
        """With the keys that are too long for a cell: their segments are read from here, keys alone, as by ``scan``."""
        if not outcome.unlocated:
            return outcome
        wanted = differences.whereabouts(outcome.unlocated)
        self._progress(f"looking for {len(outcome.unlocated):,} long keys in {len(wanted):,} segments, from here")
        replicas = [Replica(side.label, side.region, side.step.after["table"]) for side in self._sides]
        sources = [source(self._cloud, replica) for replica in replicas]
        budgets = [Budget(one.label, one.step.after["read_units_per_s"], clock=self._clock) for one in self._sides]

        def readers() -> list[Pages]:
            buffer = Buffer()
            return [
                Pages(one, budget, buffer, clock=self._clock, sleep=self._sleep)
                for one, budget in zip(sources, budgets, strict=True)
            ]

        workers, names = min(FETCHED_AT_ONCE, len(wanted)), differences.layout.names
        differences.located(find(readers, names, total, wanted, outcome.unlocated, workers=workers))
        return differences.close()

    def _asked(self, side: _Replica, layout: Layout, left: set[int], *, total: int, folder: str) -> Asked:
        after = side.step.after
        at_once = min(self._cloud.stage.divergence.fleet_concurrency, len(left))
        return Asked(
            region=side.region,
            state_machine=str(after["state_machine"]),
            name=f"{self._token}-{layout.cells}",
            segments=tuple(sorted(left)),
            run={
                "segments": total,
                "layout": after["layout"] | {"cells": layout.cells},
                "prefix": folder,
                # Those that are read at once share the region's budget.
                "read_units_per_s": after["read_units_per_s"] / at_once,
                "until": time.time() + DEADLINE_S,
            },
        )


def _layout(step: Step) -> Layout:
    found = step.after["layout"]
    only = None if found["only"] is None else tuple(found["only"])
    return Layout(tuple(found["names"]), tuple(found["ignore"]), only, int(found["cells"]))

"""Carrying out a repair, or its undo: chunk by chunk, each item kept before it is touched, at a limited rate.

In this order: 1. the plan with its orders is kept, and the ledger says that it runs; 2. of each chunk the items of all
replicas are kept; 3. its orders are carried out; 4. what became of them is kept, which closes the chunk. A run that was
killed anywhere is gone on with by applying the same plan: closed chunks are passed over, and of an open one the images
that were kept first are the ones that count, and what is as wanted already is not written again.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from ops import bucket, ledger
from ops.aws import Cloud, caller, explained
from ops.divergence.repair import mending
from ops.divergence.repair.images import Images, Outcomes, Store
from ops.divergence.repair.orders import CHUNK, Order, RepairPlan
from ops.divergence.repair.outcome import Repaired
from ops.divergence.rereading import strongly
from ops.errors import InterruptedRunError, OpsError
from ops.ledger import Entry, State
from ops.plan import Outcome, Report, apply_command, authorize
from ops.rate import TokenBucket

WORKERS = 16
LINE_EVERY_S = 2.0

Progress = Callable[[str], None]


def apply(
    cloud: Cloud,
    plan: RepairPlan,
    token: str,
    progress: Progress = lambda line: None,
    report: Report = lambda outcome: None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Repaired:
    """Write what the plan says, and what an earlier run of it left to be written.

    Raises:
        RefusedError: the token is not the plan's, or something is in the way.
        OpsError: images or the ledger cannot be written, or a table cannot be reached; applying again goes on.
        InterruptedRunError: Ctrl-C; what was begun is finished.
    """
    authorize(plan, token)
    with explained("repairing"):
        return _Run(cloud, plan, progress=progress, report=report, sleep=sleep, clock=clock).carry_out()


class _Run:
    def __init__(
        self,
        cloud: Cloud,
        plan: RepairPlan,
        *,
        progress: Progress,
        report: Report,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._cloud, self._plan, self._work = cloud, plan, plan.work
        self._progress, self._report, self._sleep, self._clock = progress, report, sleep, clock
        self._place = bucket.place(cloud, cloud.stage.home_region, plan.parameters["keep"])
        self._store = Store(cloud, self._place, plan.token)
        self._earlier = Store(cloud, self._place, self._work.undoes)
        self._repaired = Repaired(self._work)
        self._stop = threading.Event()
        self._tokens = TokenBucket(float(plan.parameters["rate_per_s"]), least=1, clock=clock)
        self._begun = self._line = clock()

    def carry_out(self) -> Repaired:
        if not self._work.orders:
            return self._repaired
        known = ledger.read(self._cloud, self._place, self._plan.runbook, self._plan.token)
        self._repaired.resumed = known is not None
        if known is None:
            # Before the entry, which is how a run that ended early is found.
            self._store.save_plan(self._plan)
        now = datetime.now(UTC)
        self._entry = Entry(
            runbook=self._plan.runbook,
            token=self._plan.token,
            stage=self._plan.stage,
            account=self._plan.account,
            region=self._place.region,
            by=caller(self._cloud),
            started=known.started if known is not None else now,
            updated=now,
            state="running",
            parameters=self._plan.parameters,
        )
        self._record("running")
        try:
            for number, start in enumerate(range(0, len(self._work.orders), CHUNK)):
                self._chunk(number, self._work.orders[start : start + CHUNK])
        except KeyboardInterrupt as stop:
            self._close("stopped")
            count = len(self._repaired.outcomes)
            raise InterruptedRunError(
                f"repair: stopped after {count:,} of {len(self._work.orders):,} items; none is half written",
                hint=f"Go on: {apply_command(self._plan.record())}",
            ) from stop
        except BaseException:
            self._close("failed")
            raise
        self._record("done")
        for step in (one for one in self._plan.steps if one.action == "run"):
            self._report(Outcome(step, self._said(step.resource), self._repaired.duration_s))
        return self._repaired

    def _chunk(self, number: int, orders: Sequence[Order]) -> None:
        closed = self._store.outcomes(number)
        if closed is not None:
            self._repaired.outcomes |= closed
            return
        kept = self._store.images(number)
        before = kept if kept is not None else self._look(orders)
        if kept is None:
            self._store.keep(number, before)
        earlier: dict[int, Images] = {one.kept: self._kept(one.kept) for one in orders if one.kept >= 0}

        def mend(order: Order) -> dict[str, str]:
            if self._stop.is_set():
                raise KeyboardInterrupt
            return mending.carry_out(
                self._cloud,
                self._work,
                order,
                before[order.key],
                earlier=earlier[order.kept][order.key] if order.kept >= 0 else None,
                resumed=kept is not None,
                take=self._turn,
                sleep=self._sleep,
            )

        outcomes: Outcomes = {}
        with ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="atoll-repair") as pool:
            futures = [(order, pool.submit(mend, order)) for order in orders]
            try:
                for order, future in futures:
                    outcomes[order.key] = future.result()
                    self._tick(len(self._repaired.outcomes) + len(outcomes))
            except BaseException:
                # What waits is not begun; what is begun ends.
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self._store.close(number, outcomes)
        self._repaired.outcomes |= outcomes
        self._record("running")

    def _look(self, orders: Sequence[Order]) -> Images:
        """What every replica holds now."""
        labels = [one.label for one in self._work.replicas]
        packed = [one.packed for one in orders]
        found = strongly(self._cloud, self._work.replicas, self._work.schema, packed, sleep=self._sleep)
        return {key.hex(): dict(zip(labels, images, strict=True)) for key, images in found}

    def _kept(self, chunk: int) -> Images:
        found = self._earlier.images(chunk)
        if found is None:
            raise OpsError(f"undo: the images of chunk {chunk} of {self._work.undoes} are gone")
        return found

    def _turn(self) -> None:
        """Wait for the next write's turn; not for ever, if the run ends meanwhile."""
        if not self._tokens.take(1, self._stop):
            raise KeyboardInterrupt

    # --- saying how far it is -----------------------------------------------------------------------------------

    def _tick(self, count: int) -> None:
        now = self._clock()
        if now - self._line < LINE_EVERY_S:
            return
        self._line, total = now, len(self._work.orders)
        per_s = count / (now - self._begun)
        self._progress(f"{count:,} of {total:,} items, {per_s:,.0f}/s, about {(total - count) / per_s:,.0f} s left")

    def _said(self, resource: str) -> str:
        label = resource.rpartition(" in ")[2]
        said = [one[label].partition(":")[0] for one in self._repaired.outcomes.values() if label in one]
        return ", ".join(f"{said.count(word):,} {word}" for word in dict.fromkeys(said)) or "nothing"

    def _close(self, state: State) -> None:
        """Keep how far it came; that this fails must not hide what ended the run."""
        try:
            self._record(state)
        except OpsError as error:
            self._progress(f"the ledger could not be written: {error}")

    def _record(self, state: State) -> None:
        self._repaired.duration_s = self._clock() - self._begun
        figures = self._repaired.figures()
        self._entry = dataclasses.replace(self._entry, updated=datetime.now(UTC), state=state, figures=figures)
        ledger.write(self._cloud, self._place, self._entry)

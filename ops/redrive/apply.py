"""Carrying out the plan of a redrive, queue after queue, with its progress, its record and what came of it.

What always holds: the ledger is written before the first message is touched, so that a run that dies leaves its trace;
one rate holds over all queues; a second run of the same plan goes on where the first one ended, whatever ended it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from ops import bucket
from ops.aws import Cloud, explained
from ops.errors import InterruptedRunError, OpsError
from ops.ledger import State
from ops.plan import Outcome, Plan, Report, Step, apply_command, authorize
from ops.rate import TokenBucket
from ops.redrive import movetask, queues
from ops.redrive.book import Book, invoked
from ops.redrive.choice import Choice, age_s
from ops.redrive.delivering import Delivered
from ops.redrive.moving import Pass
from ops.redrive.orders import Orders
from ops.redrive.outcome import Done, Redriven
from ops.redrive.queues import DeadLetterQueue

LINE_EVERY_S = 2.0

Progress = Callable[[str], None]


def apply(
    cloud: Cloud,
    plan: Plan,
    token: str,
    progress: Progress = lambda line: None,
    report: Report = lambda outcome: None,
) -> Redriven:
    """Redrive what the plan says, and wait for the end.

    Raises:
        RefusedError: the token is not the plan's.
        OpsError: the ledger or the quarantine cannot be written, or a queue cannot be read; what is not done stays.
        InterruptedRunError: Ctrl-C; what was in hand is delivered or given back.
    """
    authorize(plan, token)
    with explained("redriving"):
        return _Run(cloud, plan, progress, report).carry_out()


class _Run:
    def __init__(self, cloud: Cloud, plan: Plan, progress: Progress, report: Report) -> None:
        self._cloud, self._plan, self._progress, self._report = cloud, plan, progress, report
        self._parameters = plan.parameters
        self._stop = threading.Event()
        self._begun = self._last = self._line = time.monotonic()
        self._counted = 0
        self._redriven = Redriven()
        seen = plan.estimates
        self._total = int(seen.get("messages_to_move", 0)) + int(seen.get("messages_to_quarantine", 0))
        self._rate = int(self._parameters["rate_per_s"]) or cloud.stage.recovery.redrive_per_s
        self._tokens = TokenBucket(self._rate)

    @property
    def _steps(self) -> list[Step]:
        return [step for step in self._plan.steps if step.action == "run"]

    def carry_out(self) -> Redriven:
        """Take the steps one after the other."""
        if not self._steps:
            return self._redriven
        self._book = Book(self._cloud, self._plan)
        self._redriven.resumed = self._book.resumed
        if self._book.resumed:
            self._progress(
                "an earlier run of this plan did not end: this one goes on; what it hid comes back by itself"
            )
        self._ours = invoked(self._cloud, self._plan)
        try:
            for step in self._steps:
                self._take(step)
        except KeyboardInterrupt as stop:
            self._close("stopped")
            raise InterruptedRunError(
                f"redrive: stopped after {self._moved():,} messages; what was in hand is delivered or given back",
                hint=f"Go on: {apply_command(self._plan.record())}",
            ) from stop
        except BaseException:
            self._close("failed")
            raise
        self._book.write("done", self._figures())
        return self._redriven

    def _close(self, state: State) -> None:
        """Keep how far it came; that this fails must not hide what ended the run."""
        try:
            self._book.write(state, self._figures())
        except OpsError as error:
            self._progress(f"the ledger could not be written: {error}")

    def _take(self, step: Step) -> None:
        began, after = time.monotonic(), step.after
        (queue,) = queues.find(self._cloud, [after["region"]], [after["queue"]])
        done = Done(step, after.get("engine", "client"))
        self._redriven.done.append(done)
        try:
            if done.engine == "move-task":
                self._by_task(queue, done)
            else:
                self._by_client(queue, done)
        except BaseException:
            done.tally.incomplete = done.tally.incomplete or "not gone through to the end"
            raise
        finally:
            done.duration_s = time.monotonic() - began
            self._redriven.duration_s = time.monotonic() - self._begun
            self._book.step(
                {"queue": queue.name, "region": queue.region, "engine": done.engine, **done.tally.figures()}
            )
            self._report(Outcome(step, str(done), done.duration_s))
        self._progress(f"{queue.name} in {queue.region}: {done}")

    def _by_client(self, queue: DeadLetterQueue, done: Done) -> None:
        limit = int(self._parameters.get("limit", 0))
        orders = Orders(
            choice=_choice(self._parameters),
            second=self._parameters["on_second_failure"],
            place=bucket.place(self._cloud, queue.region, self._parameters.get("keep", "")),
            rate_per_s=self._rate,
            limit=max(0, limit - self._moved()) if limit else None,
            ours=self._ours,
        )
        if queue.name.endswith(".fifo") and not (orders.choice.everything and orders.second != "leave"):
            raise OpsError(
                f"{queue.name} in {queue.region}: of a FIFO queue all messages are moved or none: one that is passed"
                " over blocks those of its group",
                hint="Name this queue alone, without filters, and with on_second_failure=quarantine or redrive.",
            )
        Pass(
            self._cloud,
            queue,
            orders,
            rate=self._tokens,
            tally=done.tally,
            stop=self._stop,
            delivered=self._keep_keys,
            tick=self._tick,
        ).run()

    def _by_task(self, queue: DeadLetterQueue, done: Done) -> None:
        def moved(count: int, left: int) -> None:
            done.tally.moved = count
            self._tick()

        task = movetask.run(
            self._cloud, queue, rate_per_s=self._rate, resume=self._book.resumed, moved=moved, stop=self._stop
        )
        if task.status != "COMPLETED":
            done.tally.incomplete = f"the move task is {task.status}"

    def _keep_keys(self, delivered: Sequence[Delivered]) -> None:
        self._redriven.moved_keys += [
            (one.letter.event_key, one.letter.region) for one in delivered if one.letter.event_key is not None
        ]
        self._book.add(one.request_id for one in delivered if one.request_id is not None)

    # --- saying how far it is --------------------------------------------------------------------------------------

    def _moved(self) -> int:
        return sum(done.tally.moved + done.tally.quarantined for done in self._redriven.done)

    def _figures(self) -> dict[str, Any]:
        return self._redriven.figures()

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._line < LINE_EVERY_S:
            return
        moved = self._moved()
        per_s = (moved - self._counted) / (now - self._line)
        self._redriven.rates.append((datetime.now(UTC), moved, round(per_s, 1)))
        overall = moved / (now - self._begun)
        left = f", about {max(0, self._total - moved) / overall:,.0f} s left" if overall and self._total > moved else ""
        self._progress(f"{moved:,} of about {max(self._total, moved):,} moved, {per_s:,.0f}/s{left}")
        self._counted, self._line = moved, now
        self._redriven.duration_s = now - self._begun
        self._book.tick(self._figures())


def _choice(parameters: dict[str, Any]) -> Choice:
    return Choice(
        queues=tuple(parameters["queues"]),
        error_codes=tuple(parameters["error_codes"]),
        handlers=tuple(parameters["handlers"]),
        types=tuple(parameters["types"]),
        keys=tuple(parameters["keys"]),
        older_than_s=age_s("older_than", parameters["older_than"]),
        younger_than_s=age_s("younger_than", parameters["younger_than"]),
    )

"""The ledger entry of a redrive, written while it runs: what a killed run leaves, and the next one goes on from."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from ops import ledger
from ops.aws import Cloud, caller
from ops.bucket import place
from ops.ledger import Entry, State
from ops.plan import Plan

EVERY_S = 5.0
# Entries of earlier redrives in which a failed invocation is looked for.
EARLIER = 100


class Book:
    """The entry of one plan, in the region of its first queue. Written where its state changes, and every few seconds.

    ``resumed``: an earlier run of the same plan did not come to its end.
    """

    def __init__(self, cloud: Cloud, plan: Plan, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cloud, self._clock, self._lock = cloud, clock, threading.Lock()
        region = str(next(step.after["region"] for step in plan.steps if step.action == "run"))
        self._place = place(cloud, region, plan.parameters.get("keep", ""))
        earlier = ledger.read(cloud, self._place, plan.runbook, plan.token)
        self.resumed = earlier is not None and earlier.state != "done"
        self._before: dict[str, Any] = earlier.figures if earlier is not None and self.resumed else {}
        self._request_ids: list[str] = list(earlier.request_ids) if earlier is not None else []
        now = datetime.now(UTC)
        self._entry = Entry(
            runbook=plan.runbook,
            token=plan.token,
            stage=plan.stage,
            account=plan.account,
            region=region,
            by=caller(cloud),
            started=earlier.started if earlier is not None and self.resumed else now,
            updated=now,
            state="running",
            parameters=plan.parameters,
            steps=list(earlier.steps) if earlier is not None and self.resumed else [],
        )
        self._written = clock()
        self.write("running")

    def add(self, request_ids: Iterable[str]) -> None:
        """Keep the ids of invocations, by which their failures are known again."""
        with self._lock:
            self._request_ids += request_ids

    def step(self, done: dict[str, Any]) -> None:
        """Keep what was done about a queue."""
        self._entry.steps.append(done)

    def tick(self, figures: dict[str, Any]) -> None:
        """Write the entry if it is time to."""
        if self._clock() - self._written >= EVERY_S:
            self.write("running", figures)

    def write(self, state: State, figures: dict[str, Any] | None = None) -> None:
        """Write the entry now. Counts go on from those of the runs before.

        Raises:
            OpsError: it could not be written.
        """
        counts = dict(self._before)
        for name, value in (figures or {}).items():
            before = self._before.get(name, 0)
            counts[name] = value + before if isinstance(value, int) and isinstance(before, int) else value
        with self._lock:
            self._entry = dataclasses.replace(
                self._entry,
                updated=datetime.now(UTC),
                state=state,
                figures=counts,
                request_ids=list(self._request_ids),
            )
        ledger.write(self._cloud, self._place, self._entry)
        self._written = self._clock()


def invoked(cloud: Cloud, plan: Plan) -> frozenset[str]:
    """Request ids of the invocations of earlier redrives, kept in any of the plan's regions."""
    places = dict.fromkeys(place(cloud, region, plan.parameters.get("keep", "")) for region in plan.regions)
    found = ledger.entries(cloud, list(places), plan.runbook, EARLIER, unread=lambda where, error: None)
    return frozenset(one for entry in found for one in entry.request_ids)

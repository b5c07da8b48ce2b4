"""Comparisons and repairs that end by SIGKILL at a chosen call to the cloud, so that nothing of them can tidy up.

``killed`` runs this module in a process of its own and returns when it is dead. A *point* is the n-th time that an
operation is called, before it is sent or after it was answered: after StartExecution, something runs that the process
never came to know of.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ops.divergence import exports, findings, fleet, look, repair
from ops.divergence.exports import reading, surveying
from ops.stage import ROOT
from tests.bench.divergence import EndpointCloud
from tests.planted import REGIONS

LONGEST_S = 120


@dataclass(frozen=True)
class Point:
    """``when``: ``before-call`` or ``after-call``, as botocore names its events; ``turn`` counts from 1."""

    operation: str
    turn: int
    when: str

    @classmethod
    def anywhere(cls, rng: random.Random, operation: str, least: int, most: int) -> Point:
        """Before or after any of the calls from ``least`` to ``most`` of an operation."""
        return cls(operation, rng.randint(least, most), rng.choice(("before-call", "after-call")))


class MortalCloud(EndpointCloud):
    """The local cloud, for a process that is to die at ``point``."""

    def __init__(self, endpoint: str, point: Point) -> None:
        super().__init__(endpoint)
        self._point, self._turns, self._counting = point, 0, threading.Lock()
        self._made.events.register(point.when, self._count)

    def _count(self, model: Any, **_: Any) -> None:
        if model.name != self._point.operation:
            return
        with self._counting:
            self._turns += 1
            if self._turns == self._point.turn:
                os.kill(os.getpid(), signal.SIGKILL)


def killed(endpoint: str, mode: str, point: Point, **given: Any) -> str:
    """Begin a run, and wait until it has died at ``point``. Returns what it told before."""
    asked = json.dumps({"endpoint": endpoint, "mode": mode, "point": asdict(point), "given": given})
    done = subprocess.run(
        [sys.executable, "-m", "tests.local.mortal", asked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, f"{point} was not reached\n{done.stdout}\n{done.stderr}"
    return done.stdout


def fleet_survey(cloud: EndpointCloud, *, table: str, progress: Any = lambda line: None, **options: Any) -> Any:
    """Plan and apply a fleet's run, as whoever gives the same command again."""
    subject = look(cloud, table, list(REGIONS))
    plan = fleet.plan(cloud, subject.replicas, subject.schema, subject.described, **options)
    return fleet.survey(cloud, plan, plan.token, progress)


def export_survey(
    cloud: EndpointCloud, *, table: str, at: str, checkpoint: str, progress: Any = lambda line: None, **options: Any
) -> Any:
    """Have the exports as of a second made, or find those that are there, and compare them."""
    subject = look(cloud, table, list(REGIONS))
    plan = exports.plan(cloud, subject.replicas, subject.described, at=at, **options)
    arns = exports.make(cloud, plan, plan.token, progress)
    return exports.survey(
        cloud,
        subject.replicas,
        subject.schema,
        subject.described,
        arns,
        workers=1,
        checkpoint=Path(checkpoint),
        progress=progress,
    )


def mend(
    cloud: EndpointCloud, *, found: str, progress: Any = lambda line: None, **options: Any
) -> tuple[repair.RepairPlan, repair.Repaired]:
    """Plan and apply the repair of kept findings, or go on with the one that did not end."""
    plan = repair.plan(cloud, findings.load(cloud, found), reference=found, **options)
    return plan, repair.apply(cloud, plan, plan.token, progress)


def main() -> None:
    asked = json.loads(sys.argv[1])
    cloud = MortalCloud(asked["endpoint"], Point(**asked["point"]))
    # What was read is kept after each file, as in a long run every few seconds.
    surveying.CHECKPOINT_S, reading.LOOK_S = 0.0, 0.01
    run: Any = {"fleet": fleet_survey, "export": export_survey, "repair": mend}[asked["mode"]]
    run(cloud, progress=lambda line: sys.stdout.write(f"{line}\n") and sys.stdout.flush(), **asked["given"])


if __name__ == "__main__":
    main()

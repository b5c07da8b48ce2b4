"""Coming back: whether a region is fit to take traffic again, and taking the flag away once it is.

The checks are made in this order, and all of them: it was well for ``stable_s`` without a break (its own ``/status``,
the evacuation aside), queues are drained, DLQs are empty, and the replicas hold the same. The flag is cleared only when
every one passed; what was interrupted or failed leaves it standing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ops import divergence, queues
from ops.aws import Cloud
from ops.errors import InterruptedRunError, OpsError
from ops.failover import flag
from ops.failover.evacuation import MARGIN_S
from ops.failover.timeline import Progress, Timeline
from ops.failover.watching import CITIES, Answer, Watch, bound_s, says_evacuated
from ops.plan import Outcome, Plan, Report
from ops.record import Check

# How long a region may take to become well, beyond the time it has to stay so.
UNREST_S = 120.0
DRAIN_S = 120.0


@dataclass(frozen=True)
class Fit:
    """Whether a region is fit to take traffic."""

    checks: tuple[Check, ...]
    stable_s: float
    comparison: divergence.Comparison | None

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


def examine(
    cloud: Cloud, region: str, watch: Watch, progress: Progress, *, sleep: Callable[[float], None] = time.sleep
) -> Fit:
    """Make every check of a failback, whatever became of those before."""
    wanted = float(cloud.stage.failover.stable_s)

    def stable() -> float:
        since = watch.good_since.get(region)
        return 0.0 if since is None else watch.timeline.now() - since

    watch.timeline.note(f"{region} has to be well for {wanted:.0f} s without a break")
    well = watch.wait(lambda: stable() >= wanted, wanted + UNREST_S, sleep)
    made = [Check("stably well", well, f"{stable():.0f} s of {wanted:.0f} s: {watch.health.get(region, 'not asked')}")]
    made += _queues(cloud, progress)
    comparison, check = _replicas(cloud, progress)
    made.append(check)
    for one in made:
        watch.timeline.note(f"{'✔' if one.ok else '✘'} {one.name}: {one.detail}")
    return Fit(tuple(made), stable(), comparison)


def _queues(cloud: Cloud, progress: Progress) -> list[Check]:
    try:
        drained = queues.drain(cloud, deadline_s=DRAIN_S, progress=progress)
        full = {name: depth for name, depth in queues.dlq_depths(queues.depths(cloud)).items() if depth}
    except OpsError as error:
        return [Check("queues drained", False, str(error))]
    shown = "; ".join(f"{name} holds {depth}" for name, depth in full.items())
    return [
        Check("queues drained", drained, "empty" if drained else f"still busy after {DRAIN_S:.0f} s"),
        Check("DLQs empty", not full, shown or "empty"),
    ]


def _replicas(cloud: Cloud, progress: Progress) -> tuple[divergence.Comparison | None, Check]:
    try:
        found = divergence.compare(cloud, progress=progress)
    except OpsError as error:
        return None, Check("replicas equal", False, str(error))
    differing = ", ".join(f"{one.text} ({one.explanation})" for one in found.confirmed[:5])
    detail = f"{len(found.confirmed):,} items differ: {differing}" if found.confirmed else found.check().detail
    return found, Check("replicas equal", found.equal, "equal" if found.equal else detail)


@dataclass(frozen=True)
class Returned:
    """What became of a failback; ``written`` is None where the flag was left standing."""

    region: str
    fit: Fit
    written: flag.Written | None
    before: dict[str, Answer]
    after: dict[str, Answer]
    back: bool
    back_after_s: float
    green: bool
    bound_s: float
    timeline: Timeline
    watch: Watch

    def checks(self) -> list[Check]:
        if self.written is None:
            return [*self.fit.checks, Check("flag cleared", False, "it stands: the region is not fit to come back")]
        mine = [city for city, answer in self.after.items() if answer.region == self.region]
        nearest = f"{', '.join(mine) or 'no city asked here'} answered by {self.region}"
        return [
            *self.fit.checks,
            Check("flag cleared", True, str(self.written)),
            Check("health checks see it well", self.green, f"/status of {self.region} and /evacuated at its peer"),
            # Where no city asked here is nearest to the region, what its health checks ask is all there is to see.
            Check("traffic comes back", self.back, f"after {self.back_after_s:.1f} s: {nearest}"),
        ]

    def figures(self) -> dict[str, Any]:
        return {
            "stable_s": round(self.fit.stable_s, 1),
            "back_after_s": round(self.back_after_s, 1) if self.written else None,
            "rto_bound_s": self.bound_s,
        }

    def frame(self) -> pd.DataFrame:
        """A row a city."""
        rows = [(city, str(was), str(self.after.get(city, Answer()))) for city, was in self.before.items()]
        return pd.DataFrame(rows, columns=["city", "before", "after"])


def return_to(
    cloud: Cloud,
    plan: Plan,
    api_urls: Mapping[str, str],
    progress: Progress,
    report: Report,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Returned:
    """Examine the region and, if it is fit, clear the flag and watch traffic come back.

    Raises:
        OpsError: the flag that was read is gone or another's, or no replica answered.
        InterruptedRunError: stopped; the message says whether the flag stands.
    """
    stage, region = cloud.stage, str(plan.parameters["region"])
    standing = flag.read(cloud, region).flag
    if standing is None:
        raise OpsError(f"{region}: the flag that the plan speaks of is gone", hint="Run: ops status")
    timeline, written = Timeline(progress), None
    peer = flag.ways(stage, region)[0]
    back, back_after_s, green, bound = False, 0.0, False, bound_s(stage)
    try:
        with Watch(cloud.edge_url, api_urls, timeline, CITIES) as watch:
            timeline.begin("checks", f"is {region} fit to come back?")
            watch.wait(lambda: watch.polls >= 1, 30, sleep)
            before, begun = dict(watch.answers), timeline.now()
            fit = examine(cloud, region, watch, progress, sleep=sleep)
            report(Outcome(plan.steps[0], "passed" if fit.ok else "failed", timeline.now() - begun))
            if fit.ok:
                begun = timeline.begin("coming back", f"clearing the evacuation flag of {region}")
                written = flag.clear_flag(cloud, standing)
                cleared = timeline.note(f"flag {written}")
                report(Outcome(plan.steps[1], str(written), cleared - begun))

                def green_now() -> bool:
                    own = watch.health.get(region)
                    return own is not None and own.code == 200 and says_evacuated(api_urls[peer], region) is False

                def answers() -> bool:
                    return any(one.region == region and one.good for one in watch.answers.values())

                polls = watch.polls
                back = watch.wait(lambda: watch.polls > polls + 1 and answers(), bound + MARGIN_S, sleep)
                back_after_s, green = timeline.now() - cleared, green_now()
                timeline.begin("back" if back else "not back", "traffic is back" if back else "traffic is not back")
                report(Outcome(plan.steps[2], "back" if back else "failed: not back", back_after_s))
            after = dict(watch.answers)
    except KeyboardInterrupt as stop:
        state = "the flag is cleared, and traffic comes back by itself" if written else "the flag stands as it was"
        raise InterruptedRunError(f"failback of {region}: stopped; {state}", hint="Run: ops status") from stop
    timeline.end()
    return Returned(region, fit, written, before, after, back, back_after_s, green, bound, timeline, watch)

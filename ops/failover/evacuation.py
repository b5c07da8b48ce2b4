"""Leaving a region on purpose: the flag is set, and traffic is watched until it has moved.

Every step is safe to repeat: a flag that stands stays as it is, and watching changes nothing. What always holds: no
control plane of the region that is left is needed; what was interrupted leaves the flag standing and says so, because
to leave is the safe state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ops import aws
from ops.aws import Cloud
from ops.errors import InterruptedRunError
from ops.failover import flag
from ops.failover.timeline import Progress, Timeline
from ops.failover.watching import CITIES, Answer, Watch, bound_s, says_evacuated
from ops.plan import Outcome, Plan, Report
from ops.record import Check

# Beyond the bound: the watch asks every two seconds, and a question may take a while.
TOLERANCE_S = 3.0
# How much longer than the bound is waited before it is said that traffic did not move.
MARGIN_S = 30.0


@dataclass(frozen=True)
class Moved:
    """What became of an evacuation. Times in seconds since the flag was set."""

    region: str
    written: flag.Written
    before: dict[str, Answer]
    after: dict[str, Answer]
    moved_after_s: dict[str, float]
    all_moved: bool
    bound_s: float
    own_health: str
    peer: str
    peer_says: bool | None
    disturbed: dict[str, int]
    timeline: Timeline
    watch: Watch

    @property
    def rto_s(self) -> float:
        """Until the last city had moved."""
        return max(self.moved_after_s.values(), default=0.0)

    def checks(self) -> list[Check]:
        stuck = [f"{city}: {answer}" for city, answer in self.after.items() if self._stuck(answer)]
        red = [f"{region} for {polls} questions" for region, polls in self.disturbed.items() if polls > 1]
        return [
            Check("flag", True, str(self.written)),
            Check(
                "the next region says so",
                self.peer_says is True,
                f"GET /evacuated/{self.region} at {self.peer}: {self.peer_says}",
            ),
            Check(
                "traffic moved",
                self.all_moved,
                "; ".join(stuck) or ", ".join(f"{c}: {a.region}" for c, a in self.after.items()),
            ),
            Check(
                "within the bound",
                self.all_moved and self.rto_s <= self.bound_s + TOLERANCE_S,
                f"{self.rto_s:.1f} s of {self.bound_s:.0f} s",
            ),
            Check("the others stayed well", not red, "; ".join(red) or "/status answered 200 throughout"),
        ]

    def _stuck(self, answer: Answer) -> bool:
        return not answer.good or answer.region == self.region

    def figures(self) -> dict[str, Any]:
        return {"moved_after_s": round(self.rto_s, 1), "rto_bound_s": self.bound_s, "flag_through": self.written.via}

    def frame(self) -> pd.DataFrame:
        """A row a city."""
        rows = [
            (city, str(was), str(self.after.get(city, Answer())), self.moved_after_s.get(city))
            for city, was in self.before.items()
        ]
        return pd.DataFrame(rows, columns=["city", "before", "after", "moved_after_s"])


def evacuate(  # noqa: PLR0917 - what an apply is given, and what the run knows
    cloud: Cloud,
    plan: Plan,
    run: str,
    api_urls: Mapping[str, str],
    progress: Progress,
    report: Report,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Moved:
    """Set the flag and watch traffic move; see :class:`Moved`.

    Raises:
        OpsError: no replica took the flag.
        InterruptedRunError: stopped; the message says whether the flag stands.
    """
    stage, region = cloud.stage, str(plan.parameters["region"])
    timeline = Timeline(progress)
    peer = flag.ways(stage, region)[0]
    written: flag.Written | None = None
    try:
        with Watch(cloud.edge_url, api_urls, timeline, CITIES) as watch:
            timeline.begin("before", "asking who answers")
            watch.wait(lambda: watch.polls >= 1, 30, sleep)
            before = dict(watch.answers)
            by, reason = aws.caller(cloud), str(plan.parameters["reason"])
            begun = timeline.begin("leaving", f"setting the evacuation flag of {region}")
            written = flag.set_flag(cloud, region, reason=reason, by=by, run=run)
            set_at = timeline.note(f"flag {written}")
            report(Outcome(plan.steps[0], str(written), set_at - begun))
            bound = bound_s(stage)
            polls = watch.polls
            moved = watch.wait(lambda: watch.polls > polls + 1 and watch.moved_from(region), bound + MARGIN_S, sleep)
            timeline.begin("moved" if moved else "not moved", "traffic has moved" if moved else "traffic has not moved")
            after = dict(watch.answers)
            peer_says = says_evacuated(api_urls[peer], region) if peer in api_urls else None
            report(Outcome(plan.steps[1], "moved" if moved else "failed: not moved", timeline.now() - set_at))
    except KeyboardInterrupt as stop:
        state = f"the flag of {region} stands" if written else "no flag was set"
        raise InterruptedRunError(
            f"evacuation of {region}: stopped; {state}",
            hint=f"Watch on with a new plan, or come back: ops run failover --stage {stage.stage} -p mode=failback "
            f"-p region={region}",
        ) from stop
    timeline.end()
    return Moved(
        region=region,
        written=written,
        before=before,
        after=after,
        moved_after_s={
            city: max(0.0, watch.changed.get(city, set_at) - set_at)
            for city, was in before.items()
            if was.region == region
        },
        all_moved=moved,
        bound_s=bound,
        own_health=str(watch.health.get(region, "not asked")),
        peer=peer,
        peer_says=peer_says,
        disturbed={name: polls for name, polls in watch.worst.items() if name != region},
        timeline=timeline,
        watch=watch,
    )

"""What the notebook of the ``metrics`` runbook calls: measure once (or take a recording), then one call a section."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops import charts, service_levels, tables, window
from ops.aws import Cloud
from ops.charts import Panel
from ops.divergence import beating
from ops.divergence.comparison import look as look_at_replicas
from ops.errors import UsageError
from ops.fanout import each
from ops.markup import Html
from ops.metrics import comparing, golden, marks, pairs, peers, recording, summary
from ops.metrics.collecting import collect
from ops.metrics.frames import later
from ops.metrics.recording import Recording
from ops.record import Check
from ops.runbook import Run

if TYPE_CHECKING:
    import pandas as pd

    from ops.divergence.beats import Beats
    from ops.plan import Plan, Report

_AGO = re.compile(r"(\d{1,4})(h|d|w)")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
SHOWN_CHANGES = 40


@dataclass(frozen=True)
class View:
    """All that the page shows; ``earlier`` is what is compared with, at its own time."""

    run: Run
    found: Recording
    earlier: pd.DataFrame | None = None
    source: str = ""

    @cached_property
    def levels(self) -> list[service_levels.Level]:
        """The service levels, as of the recording's time."""
        return service_levels.evaluate(self.found.fine, self.found.coarse, self.run.stage, self.found.now)

    @cached_property
    def oddities(self) -> list[peers.Oddity]:
        """What regions do unlike their peers."""
        return peers.odd(self.found.frame)

    def happened(self) -> Html:
        """Deployments, failovers and replays, by the names they have on the axes."""
        rows = self.found.marks.frame()
        shown = tables.table(rows, "What happened meanwhile", empty="no deployment, failover or replay")
        unread = [{"what": what, "why": why} for what, why in self.found.marks.unread.items()]
        return tables.together(shown, *([tables.table(unread, "What could not be looked at")] if unread else []))

    def burn(self) -> Any:
        """How fast the error budgets burn in each pair of windows."""
        return service_levels.burn_chart(
            self.found.fine, self.found.coarse, self.run.stage, self.found.now, self.found.marks.drawn()
        )

    def budget(self) -> Any:
        """What is left of the error budgets."""
        return service_levels.budget_chart(
            self.found.fine, self.found.coarse, self.run.stage, self.found.now, self.found.marks.drawn()
        )

    def levels_table(self) -> Html:
        """Each level in each region."""
        return tables.table(
            service_levels.frame(self.levels), "Service levels", empty="the stage file has no service_levels"
        )

    def golden(self) -> charts.Panels:
        """The golden signals of every region, with what is compared with as a thin line."""
        before = None
        if self.earlier is not None:
            before = later(self.earlier, comparing.shift(self.found.frame, self.earlier))
        return self._panels(golden.golden_signals(self.found.frame, before))

    def side_by_side(self) -> Html:
        """The sums and the worst of each region."""
        return tables.side_by_side(summary.summarise(self.found.frame), "region", "Region by region")

    def end_to_end(self) -> charts.Panels:
        """From acceptance to the last replica to have an event, over time."""
        rows = pairs.slowest_replica(self.found.frame)
        return self._panels([Panel("From acceptance to every replica", rows, "ms", log=True)])

    def end_to_end_table(self) -> Html:
        """The same by pair of regions."""
        return tables.table(pairs.end_to_end_summary(self.found.frame), "From acceptance to each replica")

    def replication(self, beats: Beats | None) -> Html:
        """The matrix of regions, measured twice where heartbeats were sent."""
        found = pairs.matrix(self.found.frame, beats)
        drawn = [pairs.matrix_chart(found, "mean_ms")]
        drawn += [pairs.matrix_chart(found, "heartbeat_p95_ms")] if beats is not None else []
        return tables.together(*drawn, tables.table(found, "Replication from region to region", empty="one region"))

    def heartbeats(self, rounds: int) -> Beats | None:
        """Time replication by heartbeats: they write, so there is a plan; None without its token, or without rounds.

        Raises:
            UsageError: the number of rounds is none, or the page is a recording's.
            RefusedError: the token is another plan's.
        """
        if not rounds:
            return None
        if self.source:
            raise UsageError(f"heartbeats: {rounds} would be sent now, and source is a recording; accepted: 0")
        subject = look_at_replicas(self.run.cloud, "", (), ())
        described = {replica: one for replica, one in subject.described.items() if one is not None}
        plan = beating.plan(
            self.run.cloud,
            subject.schema,
            described,
            rounds=rounds,
            runbook="metrics",
            parameters={"heartbeats": rounds},
        )
        self.run.plan(plan)

        def beat(cloud: Cloud, plan: Plan, token: str, progress: Callable[[str], None], report: Report) -> Beats:
            return beating.apply(
                cloud, plan, token, subject.schema, described, rounds=rounds, progress=progress, report=report
            )

        return self.run.apply(plan, beat)

    def dead_letters(self) -> Html:
        """Every DLQ that CloudWatch knows of."""
        empty = "CloudWatch knows of no DLQ in this time: SQS reports queues in use only"
        return tables.table(golden.dead_letters(self.found.frame), "Dead letters", empty=empty)

    def unlike_peers(self) -> Html:
        """Each region that behaves unlike its peers, with the figures."""
        rows = [{"region": one.region, "unlike its peers": str(one)} for one in self.oddities]
        return tables.table(rows, "Unlike their peers", empty="no region behaves unlike its peers")

    def changes(self) -> Html:
        """What changed since the time compared with; what did not is folded away."""
        if self.earlier is None:
            return tables.table([], "What changed", empty="nothing was compared with: -p compare=7d, or a recording")
        rows = comparing.compare(self.found.frame, self.earlier)
        named = rows["says"].isin([comparing.CHANGED, comparing.NEW, comparing.GONE])
        said = f"What changed since {self.earlier.attrs['start'][:16].replace('T', ' ')}Z"
        return tables.together(
            tables.table(rows[named].head(SHOWN_CHANGES), said, empty="nothing more than noise"),
            tables.table(rows[~named], "What did not", folded=True, empty="nothing"),
        )

    def figures(self, beats: Beats | None = None) -> dict[str, Any]:
        """What a report compares from run to run."""
        named = sorted({one.region for one in self.oddities})
        found = summary.figures(self.found.frame) | service_levels.figures(self.levels)
        found["regions_unlike_their_peers"] = ", ".join(named) or "none"
        return found | (beats.figures() if beats is not None else {})

    def checks(self, max_error_rate: float, max_queue_age_s: float, beats: Beats | None = None) -> list[Check]:
        """The service levels, then each region by itself."""
        return [
            *service_levels.checks(self.levels),
            *summary.checks(self.found.frame, max_error_rate=max_error_rate, max_queue_age_s=max_queue_age_s),
            *(beats.checks() if beats is not None else []),
        ]

    def _panels(self, shown: list[Panel]) -> charts.Panels:
        return charts.panels(shown, x="time", y="value", colour="region", marks=self.found.marks.drawn())


def look(
    run: Run,
    window_start: str,
    window_end: str = "",
    period_s: int = 0,
    *,
    source: str = "",
    save: str = "",
    compare: str = "",
) -> View:
    """Measure, or take a recording.

    Args:
        source: a recording to show in the place of what CloudWatch has now.
        save: where to keep what is shown, as a recording.
        compare: how long before (``7d``), or a recording.

    Raises:
        UsageError: a parameter is wrong.
        OpsError: CloudWatch did not answer.
    """
    if source and _AGO.fullmatch(compare):
        raise UsageError(f"compare: {compare!r} is asked of CloudWatch, and source is a recording; accepted: a file")
    if source:
        found = recording.load(Path(source), run.stage.stage)
        earlier = None
    else:
        start, end = window.resolve(window_start, window_end)
        found, earlier = _measure(run, start, end, period_s, compare)
    if compare and earlier is None:
        earlier = recording.load(Path(compare), run.stage.stage, "compare").frame
    if save:
        run.progress(f"kept as {recording.save(found, Path(save))}")
    return View(run, found, earlier, source)


def _measure(
    run: Run, start: datetime, end: datetime, period_s: int, compare: str
) -> tuple[Recording, pd.DataFrame | None]:
    """Everything side by side: the window, the service levels, what happened, and the window of then."""
    cloud, now = run.cloud, datetime.now(UTC)
    ago = _AGO.fullmatch(compare)
    back = timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else None
    parts: dict[str, Callable[[], Any]] = {
        "window": lambda: collect(cloud, start, end, period_s or None),
        "marks": lambda: marks.collect(cloud, start, end),
    }
    if run.stage.service_levels is not None:
        parts["levels"] = lambda: service_levels.collect(cloud, now)
    if back:
        parts["earlier"] = lambda: collect(cloud, start - back, end - back, period_s or None)
    got = each(parts, lambda name: parts[name]())
    fine, coarse = got.get("levels", (got["window"], got["window"]))
    return Recording(run.stage.stage, now, got["window"], fine, coarse, got["marks"]), got.get("earlier")

"""How many events, how long, and what it costs: the figures of a plan, and the tables and chart that show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ops import charts
from ops.aws import Cloud
from ops.plan import Plan
from ops.prices import CUSTOM_EVENT_USD, SQS_REQUEST_USD, invocations_per_s
from ops.replay.archives import Archive
from ops.replay.counting import Stored
from ops.replay.receivers import COLUMNS, Rule, rows_of

# EventBridge's one call to the temporary queue an event, and two of ours for ten: receiving and deleting.
TAP_REQUESTS_PER_EVENT = 1.2


@dataclass(frozen=True)
class Known:
    """What is known of the window. ``whole``: nothing is selected, so that EventBridge's count is of the same events.

    ``metered``: EventBridge's count by period; ``events_per_s``: of the slowest processor; None: no figure.
    """

    stored: Stored
    metered: list[tuple[str, int]] | None
    events_per_s: float | None
    whole: bool
    in_table: bool

    @property
    def by_metrics(self) -> int | None:
        return None if self.metered is None else sum(count for _, count in self.metered)

    @property
    def comparable(self) -> int | None:
        """EventBridge's count, where it is of the events that were counted in the table."""
        return self.by_metrics if self.whole and self.in_table and self.stored.complete else None

    @property
    def events(self) -> int:
        """The best count: the table lacks what was not processed, the metrics what was not delivered to CloudWatch."""
        return max(self.stored.total, self.by_metrics or 0) if self.whole else self.stored.total

    @property
    def estimated(self) -> int | None:
        """For the length of slices, which cut what the archive holds, selected or not; None: nothing is known."""
        if self.in_table or self.metered is not None:
            return max(self.stored.total, self.by_metrics or 0)
        return None


def estimates(
    cloud: Cloud, source: Archive, known: Known, rules: Sequence[Rule], *, slices: int, taps: bool
) -> dict[str, Any]:
    """The figures of the plan; ``rules`` are those that it delivers to."""
    receiving = [target["Arn"] for rule in rules if rule.receives for target in rule.targets]
    duration_s = known.events * max(1, len(receiving) + taps) / invocations_per_s(source.region)
    processors = {cloud.stage.queue(name) for name in cloud.stage.processor_names}
    if known.events_per_s and processors & {arn.rpartition(":")[2] for arn in receiving}:
        duration_s = max(duration_s, known.events / known.events_per_s)
    tap_usd = known.events * TAP_REQUESTS_PER_EVENT * SQS_REQUEST_USD if taps else 0.0
    return {
        "slices": slices,
        "events_in_archive": source.events,
        "events_in_window": known.events,
        "events_in_window_is_partial": not known.stored.complete,
        "already_processed": known.stored.total if known.in_table else None,
        "events_by_metrics": known.by_metrics,
        "duration_s": duration_s,
        "cost_usd": known.events * CUSTOM_EVENT_USD + tap_usd,
        "by_minute": [[minute, kind, count] for (minute, kind), count in sorted(known.stored.by_minute.items())],
        "metrics_by_minute": [[minute, count] for minute, count in known.metered or ()],
        "receivers": rows_of(cloud, rules),
    }


def preview(plan: Plan) -> pd.DataFrame:
    """Events that the table has of the window, a row a minute and type."""
    return _timed(plan.estimates.get("by_minute", []), ["minute", "type", "events"])


def archived(plan: Plan) -> pd.DataFrame:
    """Events that EventBridge counted into the archive, a row a minute (a period, when it is long ago)."""
    return _timed(plan.estimates.get("metrics_by_minute", []), ["minute", "events"])


def receivers(plan: Plan) -> pd.DataFrame:
    """The rules and targets, whether each would receive the events, and whether it may get one twice."""
    return pd.DataFrame(plan.estimates.get("receivers", []), columns=list(COLUMNS))


def planned_slices(plan: Plan) -> pd.DataFrame:
    """The window as it would be replayed, a row a slice; times are whole minutes in UTC."""
    rows = [(step.after["slice"], step.after["from"], step.after["to"]) for step in plan.steps if step.action == "run"]
    frame = pd.DataFrame(rows, columns=["slice", "from", "to"])
    minutes = pd.to_datetime(frame["to"], utc=True) - pd.to_datetime(frame["from"], utc=True)
    return frame.assign(minutes=[int(one.total_seconds() // 60) for one in minutes])


def chart(plan: Plan) -> charts.Chart | charts.NoData:
    """Bars of what the table has by minute and type, and over them the line of what EventBridge archived."""
    return charts.bars(
        preview(plan),
        x="minute",
        y="events",
        colour="type",
        title="Events in the window: in the table, by type; line: archived, as EventBridge counted",
        line=archived(plan),
    )


def _timed(rows: list[Any], columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(minute=pd.to_datetime(frame["minute"], utc=True))

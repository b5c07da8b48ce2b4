"""The golden signals (traffic, errors, latency, saturation) of every region, over the same time.

What they are: https://sre.google/sre-book/monitoring-distributed-systems/#xref_monitoring_golden-signals
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.charts import Panel
from ops.metrics.frames import percentiles, select, whole

if TYPE_CHECKING:
    import pandas as pd

AGE, DEPTH = "ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"
_PER = {60: "per minute", 3600: "per hour", 86_400: "per day"}


def per(period_s: int) -> str:
    """What a sum over a period is, as a unit."""
    return _PER.get(period_s, f"per {period_s // 60} minutes")


def golden_signals(frame: pd.DataFrame, earlier: pd.DataFrame | None = None) -> list[Panel]:
    """Traffic, errors, latency and saturation, as small charts over the same time.

    The period that was under way is left out. ``earlier`` is what is compared with, moved to the same time: a thin line
    beside the sums.
    """
    frame = whole(frame)
    unit = per(frame.attrs.get("period_s", 60))

    def beside(rows: pd.DataFrame, resource: str, metric: str) -> tuple[pd.DataFrame, str]:
        before = rows[:0] if earlier is None else select(earlier, resource, metric, "Sum").assign(when="compared with")
        if before.empty:
            return rows, ""
        import pandas as pd

        return pd.concat([rows.assign(when="now"), before], ignore_index=True), "when"

    def sums(title: str, resource: str, metric: str) -> Panel:
        rows, shade = beside(select(frame, resource, metric, "Sum"), resource, metric)
        return Panel(title, rows, unit, shade)

    def times(title: str, resource: str, metric: str) -> Panel:
        return Panel(title, percentiles(frame, resource, metric), "ms", "statistic", log=True)

    return [
        sums("Requests", "api", "Count"),
        sums("Events accepted", "service/ingest", "EventsAccepted"),
        sums("Server errors (5xx)", "api", "5xx"),
        sums("Declined requests (4xx)", "api", "4xx"),
        times("API latency", "api", "Latency"),
        times("From acceptance to storage", "service/store", "EndToEndLatency"),
        Panel("Functions running at once", select(frame, "account/lambda", "ConcurrentExecutions"), "in the account"),
        Panel("Throttles of functions and tables", throttles(frame), unit),
        Panel("Age of the oldest message", _of_each(frame, "queue/", AGE), "s", "processor"),
        Panel("Dead letters", _in_all(select(frame, "dlq/", DEPTH)), "messages"),
    ]


def throttles(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a period and region: requests that functions or tables turned away."""
    import pandas as pd

    found = [select(frame, "function/", "Throttles", "Sum")]
    found += [select(frame, "table/", f"{kind}ThrottleEvents", "Sum") for kind in ("Read", "Write")]
    return _in_all(pd.concat(found))


def dead_letters(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a region and DLQ that CloudWatch knows of: ``now``, ``most`` and ``oldest_s`` of its messages."""
    import pandas as pd

    rows = []
    for (region, resource), own in select(frame, "dlq/", DEPTH).groupby(["region", "resource"], sort=False):
        age = select(frame[frame["region"] == region], str(resource), AGE)["value"]
        rows.append(
            {
                "region": region,
                "dlq": str(resource).removeprefix("dlq/"),
                "now": int(own.sort_values("time")["value"].iloc[-1]),
                "most": int(own["value"].max()),
                "oldest_s": float(age.max()) if len(age) else None,
            }
        )
    return pd.DataFrame(rows, columns=["region", "dlq", "now", "most", "oldest_s"])


def _of_each(frame: pd.DataFrame, kind: str, metric: str) -> pd.DataFrame:
    """The rows of one metric of several queues; ``processor`` names whose."""
    chosen = select(frame, kind, metric)
    return chosen.assign(processor=chosen["resource"].str.removeprefix(kind))


def _in_all(rows: pd.DataFrame) -> pd.DataFrame:
    """Of all resources of a region together, a row a period."""
    return rows.groupby(["time", "region"])["value"].sum().reset_index()

"""What the metrics add up to, by region, and whether that is good enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ops.metrics.frames import select
from ops.metrics.series import PERCENTILES
from ops.record import Check

if TYPE_CHECKING:
    import pandas as pd


def figures(frame: pd.DataFrame) -> dict[str, Any]:
    """The headline of all regions together; the worst region's latency and queue age. Unknown is None."""
    import pandas as pd

    rows = summarise(frame)
    totals = {name: rows[name].sum(min_count=1) for name in ("requests", "accepted", "stored", "dlq_messages")}
    worst = {name: rows[name].max() for name in ("error_rate", "p50_ms", "p95_ms", "p99_ms", "max_queue_age_s")}
    return {name: None if pd.isna(value) else round(float(value), 4) for name, value in (totals | worst).items()}


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a region.

    ``requests``; ``error_rate`` (5xx of all requests) and ``rejected_rate`` (4xx); ``p50_ms`` to ``p99_ms``, the means
    of the periods' percentiles weighted by their requests (CloudWatch's percentiles cannot be merged exactly);
    ``worst_p99_ms`` and ``end_to_end_p95_ms`` (from acceptance to storage), the highest of a period;
    ``max_queue_age_s``; ``dlq_messages``, the last known depth of all DLQs. What has no data is NaN, never zero.
    """
    import pandas as pd

    regions = list(dict.fromkeys([*frame.attrs.get("regions", []), *frame["region"]]))
    rows = []
    for region in regions:
        own = frame[frame["region"] == region]
        requests = _sum(select(own, "api", "Count"))
        rows.append(
            {
                "region": region,
                "requests": requests,
                "error_rate": _rate(_sum(select(own, "api", "5xx")), requests),
                "rejected_rate": _rate(_sum(select(own, "api", "4xx")), requests),
                **{f"{p}_ms": _weighted(own, p) for p in PERCENTILES},
                "worst_p99_ms": select(own, "api", "Latency", "p99")["value"].max(),
                "accepted": _sum(select(own, "service/ingest", "EventsAccepted")),
                "stored": _sum(select(own, "service/store", "EventsStored")),
                "end_to_end_p95_ms": select(own, "service/store", "EndToEndLatency", "p95")["value"].max(),
                "max_queue_age_s": select(own, "queue/", "ApproximateAgeOfOldestMessage")["value"].max(),
                "function_errors": _sum(select(own, "function/", "Errors")),
                "dlq_messages": _last_sum(select(own, "dlq/", "ApproximateNumberOfMessagesVisible")),
            }
        )
    return (
        pd.DataFrame(rows).astype({name: "float64" for name in rows[0] if name != "region"}) if rows else pd.DataFrame()
    )


def checks(
    frame: pd.DataFrame, *, max_error_rate: float = 0.001, min_requests: int = 1, max_queue_age_s: float | None = None
) -> list[Check]:
    """Traffic seen, server errors within ``max_error_rate``, functions without errors, DLQs empty; per region."""
    import pandas as pd

    found = []
    for row in summarise(frame).to_dict("records"):
        region, requests, rate = row["region"], row["requests"], row["error_rate"]
        seen = 0 if pd.isna(requests) else int(requests)
        found.append(Check(f"traffic in {region}", seen >= min_requests, f"{seen:,} requests"))
        shown = "no requests" if pd.isna(rate) else f"{rate:.3%} of requests failed; accepted: {max_error_rate:.3%}"
        found.append(Check(f"server errors in {region}", pd.isna(rate) or rate <= max_error_rate, shown))
        own = frame[frame["region"] == region]
        failing = select(own, "function/", "Errors").groupby("resource")["value"].sum()
        failing = failing[failing > 0]
        shown = ", ".join(f"{name}: {int(count)}" for name, count in failing.items()) or "none"
        found.append(Check(f"function errors in {region}", failing.empty, shown))
        dlq = row["dlq_messages"]
        shown = "no data: SQS reports queues in use only" if pd.isna(dlq) else f"{int(dlq):,} messages"
        found.append(Check(f"DLQs in {region}", pd.isna(dlq) or dlq == 0, shown))
        age = row["max_queue_age_s"]
        if max_queue_age_s is not None:
            shown = (
                "no data"
                if pd.isna(age)
                else f"the oldest message waited {age:.0f} s; accepted: {max_queue_age_s:.0f} s"
            )
            found.append(Check(f"queue age in {region}", pd.isna(age) or age <= max_queue_age_s, shown))
    partial = frame.attrs.get("incomplete", [])
    found.append(Check("metrics complete", not partial, "; ".join(partial[:5]) or "every series in full"))
    return found


def _sum(rows: pd.DataFrame) -> float:
    return float(rows["value"].sum(min_count=1))


def _rate(part: float, whole: float) -> float:
    import pandas as pd

    if pd.isna(whole) or whole == 0:
        return float("nan")
    # A region without a single error has no series of errors.
    return (0.0 if pd.isna(part) else part) / whole


def _weighted(own: pd.DataFrame, statistic: str) -> float:
    latency = select(own, "api", "Latency", statistic).set_index("time")["value"]
    weight = select(own, "api", "Count").set_index("time")["value"].reindex(latency.index).fillna(0)
    return float((latency * weight).sum() / weight.sum()) if weight.sum() else float(latency.mean())


def _last_sum(rows: pd.DataFrame) -> float:
    """The sum over resources of the last known value of each."""
    return float(rows.sort_values("time").groupby("resource")["value"].last().sum(min_count=1))

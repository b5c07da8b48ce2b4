"""What the levels need of CloudWatch, and nothing else: a few series a region, fine for the windows, coarse before.

CloudWatch keeps points of a minute for 15 days only, those of an hour for 455. Points of both periods are counts, so
that an hour is what its minutes add up to. Requests within a time are counted by the statistics "trimmed count" and
"trimmed sum" with fixed bounds, the lower exclusive, the upper inclusive. CloudWatch has them for API Gateway's metrics
and for custom ones that are published value by value, as embedded metrics are:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ops import metrics, stack
from ops.aws import Cloud
from ops.errors import UsageError
from ops.fanout import each
from ops.metrics import Series
from ops.service_levels import windows
from ops.stage import Objective, ServiceLevelSettings, Stage

if TYPE_CHECKING:
    import pandas as pd

COARSE_S = 3600


def within(objective: Objective) -> str:
    """The statistic that counts what took ``threshold_ms`` or less."""
    return f"TC(:{objective.threshold_ms})"


def over(objective: Objective) -> str:
    """The statistic that counts what took longer."""
    return f"TC({objective.threshold_ms}:)"


def taken(objective: Objective) -> str:
    """The statistic that adds up the times of what took ``threshold_ms`` or less."""
    return f"TS(:{objective.threshold_ms})"


def series(stage: Stage, api_id: str | None) -> list[Series]:
    """The series of one region; without an API (no stack) its own are left out."""
    settings = stage.service_levels
    return [] if settings is None else [*_api(settings, api_id), *_events(settings, stage)]


def _api(settings: ServiceLevelSettings, api_id: str | None) -> Iterator[Series]:
    if api_id is None:
        return
    dimensions = (("ApiId", api_id),)
    for metric in ("Count", "5xx"):
        yield Series("api", "AWS/ApiGateway", metric, dimensions, "Sum", "count")
    for statistic in (within(settings.latency), over(settings.latency)):
        yield Series("api", "AWS/ApiGateway", "Latency", dimensions, statistic, "count")


def _events(settings: ServiceLevelSettings, stage: Stage) -> Iterator[Series]:
    for service, metric, statistic, unit in (
        ("ingest", "EventsAccepted", "Sum", "count"),
        ("store", "EndToEndLatency", within(settings.freshness), "count"),
        ("store", "EndToEndLatency", taken(settings.freshness), "ms"),
    ):
        dimensions = (("service", service), ("stage", stage.stage))
        yield Series(f"service/{service}", "Atoll", metric, dimensions, statistic, unit)


def fine_start(settings: ServiceLevelSettings, now: datetime) -> datetime:
    """Where the fine data begin, on a whole hour: the longest pair of windows, and what the burn chart goes back."""
    longest = max(
        windows.pairs(one.window, settings.period_s)[-1].long + chart_span(one) for _, one in settings.objectives
    )
    waits = timedelta(milliseconds=settings.freshness.threshold_ms, seconds=settings.settle_s + 2 * settings.period_s)
    return floored(now - longest - waits, COARSE_S)


def chart_span(objective: Objective) -> timedelta:
    """How far back the burn chart goes: a day of an objective over 30."""
    return timedelta(days=1) * (objective.window / windows.BASE)


def floored(moment: datetime, period_s: int) -> datetime:
    """The begin of the period that holds ``moment``."""
    return datetime.fromtimestamp(int(moment.timestamp()) // period_s * period_s, UTC)


def collect(cloud: Cloud, now: datetime) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The fine and the coarse frame that :func:`evaluate` takes, of every region; reads only.

    The fine one has points of ``service_levels.period_s`` for the windows, the coarse one points of an hour for the
    objectives. Columns and ``attrs`` are those of :func:`ops.metrics.collect`.

    Raises:
        UsageError: the stage has no service levels, or ``now`` no time zone.
        OpsError: CloudWatch did not answer.
    """
    settings = cloud.stage.service_levels
    if settings is None:
        raise UsageError(f"service_levels: {cloud.stage.shown_file} has none")
    if now.tzinfo is None:
        raise UsageError("now: it needs a time zone, for example datetime.now(UTC)")
    longest = max(one.window for _, one in settings.objectives)
    starts = {
        settings.period_s: fine_start(settings, now),
        COARSE_S: floored(now - longest - timedelta(seconds=COARSE_S), COARSE_S),
    }
    regions = cloud.stage.regions
    asked = each(regions, lambda region: series(cloud.stage, stack.read(cloud, region).api_id))

    def read(key: tuple[int, str]) -> pd.DataFrame:
        period_s, region = key
        return metrics.read(cloud, region, asked[region], starts[period_s], now, period_s=period_s)

    found = each([(period_s, region) for period_s in starts for region in regions], read)

    def joined(period_s: int) -> pd.DataFrame:
        parts = {region: found[period_s, region] for region in regions}
        frame = metrics.together(parts.values())
        last = floored(now, period_s)
        frame.attrs = {
            "period_s": period_s,
            "start": starts[period_s].isoformat(),
            "end": (last if last == now else last + timedelta(seconds=period_s)).isoformat(),
            "asked_end": now.isoformat(),
            "regions": list(regions),
            "incomplete": [f"{region} {one}" for region, part in parts.items() for one in part.attrs["incomplete"]],
        }
        return frame

    return joined(settings.period_s), joined(COARSE_S)

"""What is known of the events of a window before they are replayed: from the table, and from EventBridge's metrics.

The table has what was processed, by minute and type, and of whichever region accepted it. EventBridge counts what it
put into an archive by the rule that it manages for it, delivered on a best-effort basis. What the second has more than
the first is, about, what a replay would bring back.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ops import metrics
from ops.aws import Cloud
from ops.replay.archives import Archive
from ops.replay.selection import Selection
from ops.tablescan import scan_segment
from ops.window import text_of

# Pages of the index that a preview reads before it says that its count is partial.
PREVIEW_PAGES = 200
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-archive.html: the rule is named after its archive.
MANAGED_RULE = "Events-Archive-{archive}"
# Either counts an archived event once; the first is there whether or not the archive could take it.
COUNTED = ("MatchedEvents", "Invocations")
SPEED_WINDOW = timedelta(hours=3)

Window = tuple[datetime, datetime]


@dataclass
class Stored:
    """Events of a window that the table has. ``complete`` is False when there were more pages than were read.

    ``kinds`` has a subject of each type and source that there is.
    """

    by_minute: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: dict[tuple[str, str], str] = field(default_factory=dict)
    complete: bool = True

    @property
    def total(self) -> int:
        return sum(self.by_minute.values())


def count_events(
    cloud: Cloud,
    region: str,
    accepted_in: str,
    window: Window,
    *,
    selection: Selection | None = None,
    tenants: Sequence[str] = (),
) -> Stored:
    """Events of the window that ``accepted_in`` accepted, as the table's ``by_time`` index in ``region`` has them."""
    client: Any = cloud.client("dynamodb", region)
    start, end = window
    chosen, stored = selection or Selection(), Stored()
    asked: dict[str, Any] = {
        "ProjectionExpression": "#time, #type, #source, #subject",
        "ExpressionAttributeNames": {
            "#region": "accepted_region",
            "#time": "gsi_sk",
            "#type": "type",
            "#source": "source",
            "#subject": "subject",
        },
    }
    values = {":region": {"S": accepted_in}, ":from": {"S": text_of(start)[:19]}, ":to": {"S": text_of(end)[:19]}}

    def count(items: list[Any]) -> None:
        for item in items:
            source, kind, subject = (item.get(name, {}).get("S", "") for name in ("source", "type", "subject"))
            if chosen.takes(source, kind, subject):
                stored.by_minute[item["gsi_sk"]["S"][:16] + ":00Z", kind] += 1
                stored.kinds.setdefault((kind, source), subject)

    if tenants:
        asked["ExpressionAttributeNames"] |= {"#pk": "gsi_pk"}
        days = [start + timedelta(days=n) for n in range((end.date() - start.date()).days + 1)]
        for pk in (f"{tenant}#{day:%Y-%m-%d}" for tenant in tenants for day in days):
            pages = client.get_paginator("query").paginate(
                TableName=cloud.stage.table_name,
                IndexName="by_time",
                KeyConditionExpression="#pk = :pk AND #time BETWEEN :from AND :to",
                FilterExpression="#region = :region",
                ExpressionAttributeValues=values | {":pk": {"S": pk}},
                **asked,
            )
            for page in pages:
                count(page["Items"])
        return stored
    scanned = scan_segment(
        client,
        cloud.stage.table_name,
        0,
        1,
        IndexName="by_time",
        FilterExpression="#region = :region AND #time BETWEEN :from AND :to",
        ExpressionAttributeValues=values,
        **asked,
    )
    for number, page in enumerate(scanned, start=1):
        count(page.items)
        if number >= PREVIEW_PAGES:
            stored.complete = False
            break
    return stored


def count_archived(cloud: Cloud, archive: Archive, window: Window, now: datetime) -> list[tuple[str, int]] | None:
    """What EventBridge counted into the archive, by period (a minute for 15 days); None where there is no figure.

    Raises:
        OpsError: CloudWatch could not be asked.
    """
    period_s = metrics.finest_s(now - window[0])
    if period_s is None:
        return None
    rule = ("RuleName", MANAGED_RULE.format(archive=archive.name))
    # Of the default bus the dimensions are the rule's name alone.
    dimensions = (rule,) if archive.bus == "default" else (("EventBusName", archive.bus), rule)
    series = [metrics.Series("archive", "AWS/Events", name, dimensions, "Sum", "count") for name in COUNTED]
    frame = metrics.read(cloud, archive.region, series, *window, period_s=period_s)
    for name in COUNTED:
        rows = frame[(frame["metric"] == name) & (frame["time"] < window[1])]
        if len(rows):
            return [(text_of(time), int(value)) for time, value in zip(rows["time"], rows["value"], strict=True)]
    return None


def processing_speed(cloud: Cloud, region: str, now: datetime) -> float | None:
    """Events a second that the slowest of the stage's processors takes at most, as its functions ran of late.

    ``processors.max_concurrency`` invocations of ``processors.batch_size`` events; None where none of them ran.

    Raises:
        OpsError: CloudWatch could not be asked.
    """
    stage = cloud.stage
    series = [
        metrics.Series(name, "AWS/Lambda", "Duration", (("FunctionName", stage.function(name)),), "Average", "ms")
        for name in stage.processor_names
    ]
    frame = metrics.read(cloud, region, series, now - SPEED_WINDOW, now, period_s=300)
    slowest = frame.groupby("resource")["value"].mean().max() if len(frame) else 0.0
    if not slowest > 0:
        return None
    return stage.processors.max_concurrency * stage.processors.batch_size / (slowest / 1000)

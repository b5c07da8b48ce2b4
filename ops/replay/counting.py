"""What the table knows of the events of a window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ops.aws import Cloud
from ops.tablescan import scan_segment
from ops.window import text_of

# Pages of the index that a preview reads before it says that its count is partial.
PREVIEW_PAGES = 200


def count_events(
    cloud: Cloud, region: str, accepted_in: str, window: tuple[datetime, datetime], tenants: Sequence[str]
) -> tuple[Counter[tuple[str, str]], bool]:
    """Events of the window that ``accepted_in`` accepted, by (minute, type), as the table's ``by_time`` index in
    ``region`` has them."""
    client: Any = cloud.client("dynamodb", region)
    start, end = window
    names = {"#type": "type", "#region": "accepted_region", "#time": "gsi_sk"}
    values = {":region": {"S": accepted_in}, ":from": {"S": text_of(start)[:19]}, ":to": {"S": text_of(end)[:19]}}
    counted: Counter[tuple[str, str]] = Counter()

    def count(items: list[Any]) -> None:
        for item in items:
            counted[item["gsi_sk"]["S"][:16] + ":00Z", item.get("type", {}).get("S", "")] += 1

    if tenants:
        days = [start + timedelta(days=n) for n in range((end.date() - start.date()).days + 1)]
        for tenant in tenants:
            for day in days:
                pages = client.get_paginator("query").paginate(
                    TableName=cloud.stage.table_name,
                    IndexName="by_time",
                    KeyConditionExpression="#pk = :pk AND #time BETWEEN :from AND :to",
                    FilterExpression="#region = :region",
                    ProjectionExpression="#time, #type",
                    ExpressionAttributeNames=names | {"#pk": "gsi_pk"},
                    ExpressionAttributeValues=values | {":pk": {"S": f"{tenant}#{day:%Y-%m-%d}"}},
                )
                for page in pages:
                    count(page["Items"])
        return counted, True
    where = "#region = :region AND #time BETWEEN :from AND :to"
    pages = scan_segment(
        client,
        cloud.stage.table_name,
        0,
        1,
        IndexName="by_time",
        FilterExpression=where,
        ProjectionExpression="#time, #type",
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
    )
    for number, page in enumerate(pages, start=1):
        count(page.items)
        if number >= PREVIEW_PAGES:
            return counted, False
    return counted, True

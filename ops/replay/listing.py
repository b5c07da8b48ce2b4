"""EventBridge's own list of replays, page by page."""

from __future__ import annotations

from typing import Any

from ops.aws import Cloud

PAGES = 100


def replays(cloud: Cloud, region: str, **asked: str) -> list[dict[str, Any]]:
    """Those of a region that are as ``asked`` (``NamePrefix``, ``State`` or ``EventSourceArn``); it keeps 90 days.

    https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_ListReplays.html
    """
    events: Any = cloud.client("events", region)
    found: list[dict[str, Any]] = []
    for _ in range(PAGES):
        answer = events.list_replays(**asked)
        found += answer["Replays"]
        if not answer.get("NextToken"):
            break
        asked["NextToken"] = answer["NextToken"]
    return found

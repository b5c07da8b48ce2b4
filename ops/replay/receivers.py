"""The rules and targets that would receive what is replayed onto a bus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ops.aws import Cloud


def find_receivers(cloud: Cloud, region: str, bus: str, only: Sequence[str]) -> list[list[str]]:
    events: Any = cloud.client("events", region)
    found, request = [], {"EventBusName": bus}
    for _ in range(100):
        answer = events.list_rules(**request)
        for rule in answer["Rules"]:
            # EventBridge itself feeds archives by rules of its own, which take no replayed events.
            if (only and rule["Name"] not in only) or rule.get("ManagedBy"):
                continue
            targets = events.list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"]
            found += [[rule["Name"], rule.get("State", "ENABLED"), target["Arn"]] for target in targets]
        if not answer.get("NextToken"):
            break
        request["NextToken"] = answer["NextToken"]
    return found

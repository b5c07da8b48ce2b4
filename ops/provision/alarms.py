"""The alarms of the platform as a whole, and the topic that they tell: in us-east-1, where Route 53's metrics are.

A region's own alarms belong to its stack; these are on what no region can say of itself: whether Route 53 finds it
healthy, and whether it finds any. One looks at the check that each latency record uses, one at the platform's, and a
composite one over all of them acts, where the stage's cloud has composites. A check that publishes nothing is neither
good nor bad: its alarm has insufficient data. What always holds: names begin with ``<prefix>-global``, and what begins
so is ours.

Route 53's metrics are in us-east-1 whatever the regions of the stage, one data point a minute, 1 or 0:
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/monitoring-health-checks.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.provision.healthchecks import PLATFORM, routing, slot_name
from ops.stage import Stage

METRICS_REGION = "us-east-1"
NAMESPACE, METRIC, DIMENSION = "AWS/Route53", "HealthCheckStatus", "HealthCheckId"


@dataclass(frozen=True)
class Topic:
    arn: str
    policy: Any


@dataclass(frozen=True)
class Alarm:
    """An alarm in the terms in which it is desired, its health check by its id."""

    spec: dict[str, Any]


def topic_name(stage: Stage) -> str:
    return f"{stage.prefix}-global"


def topic_arn(stage: Stage, account: str) -> str:
    return f"arn:aws:sns:{METRICS_REGION}:{account}:{topic_name(stage)}"


def composite_name(stage: Stage) -> str:
    return f"{stage.prefix}-global-unhealthy"


def region_alarm_name(stage: Stage, region: str) -> str:
    """Of the alarm that says that Route 53 keeps traffic away from ``region``."""
    return f"{stage.prefix}-global-{region}"


def desired_topic(stage: Stage, account: str) -> dict[str, Any]:
    """Alarms of this account and stage publish, over TLS only, as in the regional stacks (deploy/resources/alarms.yml).

    It carries states, never event data, and is under no key: the stage's own are of its regions, and us-east-1 need
    not be one of them.
    """
    arn, alarms = topic_arn(stage, account), f"arn:aws:cloudwatch:{METRICS_REGION}:{account}:alarm:{stage.prefix}-*"
    return {
        "policy": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "OnlyAlarmsOfThisAccount",
                    "Effect": "Allow",
                    "Principal": {"Service": "cloudwatch.amazonaws.com"},
                    "Action": "sns:Publish",
                    "Resource": arn,
                    "Condition": {
                        "StringEquals": {"aws:SourceAccount": account},
                        "ArnLike": {"aws:SourceArn": alarms},
                    },
                },
                {
                    "Sid": "OnlyOverTls",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sns:Publish",
                    "Resource": arn,
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
            ],
        }
    }


def desired_alarms(stage: Stage, account: str) -> dict[str, dict[str, Any]]:
    """Name -> alarm, what a composite looks at before it; health checks by their names."""
    watched = {
        f"{stage.prefix}-global-platform": (
            PLATFORM,
            "Route 53 finds no region healthy, and answers with all of them. First: `ops status`, then GET /status of "
            "each region.",
        )
    } | {
        region_alarm_name(stage, region): (
            routing(stage, region),
            f"Route 53 keeps traffic away from {region}: its /status fails, or it was evacuated. First: `ops edge "
            "explain`, then GET /status of the region.",
        )
        for region in stage.regions
    }
    alarms: dict[str, dict[str, Any]] = {
        name: {
            "description": description,
            "health_check": slot_name(stage, slot),
            "statistic": "Minimum",
            "period_s": stage.alarms.period_s,
            # The check has waited for its threshold already: the first bad period counts.
            "periods": 1,
            "comparison": "LessThanThreshold",
            "threshold": 1,
            "without_data": "missing",
            "actions": [],
        }
        for name, (slot, description) in watched.items()
    }
    if stage.alarms.combined:
        alarms[composite_name(stage)] = {
            "description": "Route 53 keeps traffic away from a region, or finds none healthy; see which of its alarms "
            "is on.",
            "rule": " OR ".join(f'ALARM("{name}")' for name in watched),
            "actions": [topic_arn(stage, account)],
        }
    return alarms


def find_topic(cloud: Cloud) -> Topic | None:
    arn = topic_arn(cloud.stage, cloud.account)
    try:
        found = cloud.client("sns", METRICS_REGION).get_topic_attributes(TopicArn=arn)["Attributes"]
    except ClientError as error:
        if error_code(error) in ("NotFound", "NotFoundException"):
            return None
        raise
    return Topic(arn, json.loads(found.get("Policy") or "null"))


def find_alarms(cloud: Cloud) -> dict[str, Alarm]:
    """Ours by name, composites among them."""
    cloudwatch = cloud.client("cloudwatch", METRICS_REGION)
    found: dict[str, Alarm] = {}
    pages = cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=f"{topic_name(cloud.stage)}-", AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    for page in pages:
        metric: Any = page.get("MetricAlarms", [])
        composite: Any = page.get("CompositeAlarms", [])
        found |= {one["AlarmName"]: Alarm(_metric_spec(one)) for one in metric}
        found |= {one["AlarmName"]: Alarm(_composite_spec(one)) for one in composite}
    return found


def _metric_spec(one: Mapping[str, Any]) -> dict[str, Any]:
    dimensions = {d["Name"]: d["Value"] for d in one.get("Dimensions", [])}
    watched = (one.get("Namespace"), one.get("MetricName"), list(dimensions))
    return {
        "description": one.get("AlarmDescription", ""),
        "health_check": dimensions.get(DIMENSION) if watched == (NAMESPACE, METRIC, [DIMENSION]) else str(watched),
        "statistic": one.get("Statistic"),
        "period_s": one.get("Period"),
        "periods": one.get("EvaluationPeriods"),
        "comparison": one.get("ComparisonOperator"),
        "threshold": one.get("Threshold"),
        "without_data": one.get("TreatMissingData") or "missing",
        "actions": _acting(one),
    }


def _composite_spec(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": one.get("AlarmDescription", ""), "rule": one["AlarmRule"], "actions": _acting(one)}


def _acting(one: Mapping[str, Any]) -> list[str]:
    """Whom both transitions tell; what tells of one of them only, or of nothing just now, is no state of ours."""
    into, out_of = sorted(one.get("AlarmActions", [])), sorted(one.get("OKActions", []))
    if into != out_of:
        return [*(f"ALARM: {arn}" for arn in into), *(f"OK: {arn}" for arn in out_of)]
    return into if one.get("ActionsEnabled", True) else [f"disabled: {arn}" for arn in into]

"""What one unit of each thing that the platform uses costs: the price file, told in the terms of usage."""

from __future__ import annotations

from dataclasses import dataclass

from ops import prices
from ops.stage import Stage


@dataclass(frozen=True)
class Rate:
    """The price of one ``unit`` in US dollars; ``standing`` costs are there without a single event."""

    service: str
    unit: str
    usd: float
    standing: bool = False


def rates(stage: Stage) -> dict[str, Rate]:
    """By item of usage. List prices of us-east-1, in every region; the sources and days are in ops/prices.py."""
    arm = stage.lambda_.architecture == "arm64"
    gb_second = prices.LAMBDA_ARM_GB_SECOND_USD if arm else prices.LAMBDA_GB_SECOND_USD
    check = prices.health_check_usd_per_month({"Type": "HTTPS", "RequestInterval": stage.health_check.interval_s})
    return {
        "requests to the API": Rate("API Gateway", "requests", prices.API_REQUEST_USD),
        "invocations": Rate("Lambda", "invocations", prices.LAMBDA_REQUEST_USD),
        "duration": Rate("Lambda", "GB-s", gb_second),
        "events published": Rate("EventBridge", "events", prices.CUSTOM_EVENT_USD),
        "events to the journal of another region": Rate("EventBridge", "events", prices.CUSTOM_EVENT_USD),
        "archived": Rate("EventBridge", "GB", prices.ARCHIVED_USD_PER_GB),
        "kept in archives": Rate("EventBridge", "GB-months", prices.ARCHIVE_USD_PER_GB_MONTH, True),
        "requests to queues": Rate("SQS", "requests", prices.SQS_REQUEST_USD),
        "reads": Rate("DynamoDB", "units", prices.READ_REQUEST_UNIT_USD),
        "writes": Rate("DynamoDB", "units", prices.WRITE_REQUEST_UNIT_USD),
        "read capacity": Rate("DynamoDB", "unit-hours", prices.READ_CAPACITY_USD_PER_HOUR, True),
        "write capacity": Rate("DynamoDB", "unit-hours", prices.WRITE_CAPACITY_USD_PER_HOUR, True),
        "kept in tables": Rate("DynamoDB", "GB-months", prices.TABLE_USD_PER_GB_MONTH, True),
        "point-in-time recovery": Rate("DynamoDB", "GB-months", prices.POINT_IN_TIME_USD_PER_GB_MONTH, True),
        "logs taken in": Rate("CloudWatch", "GB", prices.LOGS_USD_PER_GB),
        "logs kept": Rate("CloudWatch", "GB-months", prices.LOGS_USD_PER_GB_MONTH, True),
        "metrics of our own": Rate("CloudWatch", "months", prices.METRIC_USD_PER_MONTH, True),
        "dashboards": Rate("CloudWatch", "months", prices.DASHBOARD_USD_PER_MONTH, True),
        "alarms": Rate("CloudWatch", "months", prices.ALARM_USD_PER_MONTH, True),
        "alarms of high resolution": Rate("CloudWatch", "months", prices.FAST_ALARM_USD_PER_MONTH, True),
        "composite alarms": Rate("CloudWatch", "months", prices.COMPOSITE_ALARM_USD_PER_MONTH, True),
        "traces": Rate("X-Ray", "traces", prices.TRACE_USD),
        "interface endpoints": Rate("VPC", "zone-hours", prices.INTERFACE_ENDPOINT_USD_PER_ZONE_HOUR, True),
        "key": Rate("KMS", "months", prices.KEY_USD_PER_MONTH, True),
        "hosted zone": Rate("Route 53", "months", prices.HOSTED_ZONE_USD_PER_MONTH, True),
        "health checks": Rate("Route 53", "months", check, True),
    }

"""Prices and quotas that plans estimate with: list prices in US dollars, before any free allowance.

Each has its source. Prices are those of us-east-1 where they differ by region; they were read on 2026-09-20, unless a
line says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of up to 64 KB; a replayed event costs what a custom event does. https://aws.amazon.com/eventbridge/pricing/
CUSTOM_EVENT_USD = 1.00 / 1_000_000

# A request of up to 64 KB, a batch of ten messages being one; standard queues, the first million a month is free.
# https://aws.amazon.com/sqs/pricing/
SQS_REQUEST_USD = 0.40 / 1_000_000
# An invocation, without its duration. https://aws.amazon.com/lambda/pricing/
LAMBDA_REQUEST_USD = 0.20 / 1_000_000
# Its duration, on x86 and for the first 6 billion GB-seconds a month. https://aws.amazon.com/lambda/pricing/
LAMBDA_GB_SECOND_USD = 0.0000166667
# Of a standard workflow, the first 4,000 a month are free. https://aws.amazon.com/step-functions/pricing/
STATE_TRANSITION_USD = 0.025 / 1_000
# Of S3 Standard. https://aws.amazon.com/s3/pricing/
S3_PUT_USD = 0.005 / 1_000
# SQS, Lambda, Step Functions and S3 as others quoted them on 2026-11-22.

# What the cost runbook counts besides, as others quoted it on 2026-11-23, but for point-in-time recovery and traces:
# no page was found that says those two, and they have to be held against AWS's own.
# A request of up to 512 KB to an HTTP API, the first 300 million a month. https://aws.amazon.com/api-gateway/pricing/
API_REQUEST_USD = 1.00 / 1_000_000
# Lambda's duration on arm64. https://aws.amazon.com/lambda/pricing/
LAMBDA_ARM_GB_SECOND_USD = 0.0000133334
# What goes into an archive, and what it keeps, a month. https://aws.amazon.com/eventbridge/pricing/
ARCHIVED_USD_PER_GB = 0.10
ARCHIVE_USD_PER_GB_MONTH = 0.023
# Of a table of the Standard class; and of its backups for point-in-time recovery.
# https://aws.amazon.com/dynamodb/pricing/on-demand/
TABLE_USD_PER_GB_MONTH = 0.25
POINT_IN_TIME_USD_PER_GB_MONTH = 0.20
# Logs of the Standard class, as they come in and as they are kept; a metric of one's own, the first 10,000 of them; a
# dashboard, the first three are free. https://aws.amazon.com/cloudwatch/pricing/
LOGS_USD_PER_GB = 0.50
LOGS_USD_PER_GB_MONTH = 0.03
METRIC_USD_PER_MONTH = 0.30
DASHBOARD_USD_PER_MONTH = 3.00
# A trace recorded, the first 100,000 a month are free. https://aws.amazon.com/xray/pricing/
TRACE_USD = 5.00 / 1_000_000
# A customer-managed key, without its use; older key material costs the same again, twice at most.
# https://aws.amazon.com/kms/pricing/
KEY_USD_PER_MONTH = 1.00

# https://aws.amazon.com/route53/pricing/ (the first 25 zones; AWS endpoints, of which the first 50 are free)
HOSTED_ZONE_USD_PER_MONTH = 0.50
HEALTH_CHECK_USD_PER_MONTH = 0.50
# Each of: HTTPS, an interval of 10 s instead of 30 s. A calculated check has neither; that it costs what another
# does without them is assumed.
HEALTH_CHECK_OPTION_USD_PER_MONTH = 1.00

# https://aws.amazon.com/fis/pricing/, as others quoted it on 2026-11-22
FIS_ACTION_USD_PER_MINUTE = 0.10

# https://aws.amazon.com/cloudwatch/pricing/, as others quoted it on 2026-11-22; a period below 60 s makes it one of
# high resolution
ALARM_USD_PER_MONTH = 0.10
FAST_ALARM_USD_PER_MONTH = 0.30
COMPOSITE_ALARM_USD_PER_MONTH = 0.50

HOURS_PER_MONTH = 730  # 8,760 hours of a year by 12, as AWS's own calculator counts

# An interface endpoint, by zone. What passes costs 0.01 a GB more; gateway endpoints (DynamoDB, S3) cost nothing.
# https://aws.amazon.com/privatelink/pricing/, read on 2026-11-22
INTERFACE_ENDPOINT_USD_PER_ZONE_HOUR = 0.01

# A unit of provisioned capacity; a replicated write unit costs what a write unit does. Storage and what passes between
# regions come on top. https://aws.amazon.com/dynamodb/pricing/provisioned/, and for the replicated ones
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/global-tables-billing.html; as others quoted them on
# 2026-11-22
READ_CAPACITY_USD_PER_HOUR = 0.00013
WRITE_CAPACITY_USD_PER_HOUR = 0.00065

# A request unit of a table of the Standard class, billed on demand: a strong read of up to 4 KB; a write of up to 1 KB,
# and the same again for each replica that it goes to. https://aws.amazon.com/dynamodb/pricing/on-demand/, as others
# quoted it on 2026-11-22
READ_REQUEST_UNIT_USD = 0.125 / 1_000_000
WRITE_REQUEST_UNIT_USD = 0.625 / 1_000_000

# Of a table's data, exported to S3; and of what passes from one region to another.
# https://aws.amazon.com/dynamodb/pricing/on-demand/, https://aws.amazon.com/ec2/pricing/on-demand/ (data transfer); as
# others quoted them on 2026-11-23
TABLE_EXPORT_USD_PER_GB = 0.10
INTER_REGION_USD_PER_GB = 0.02

# A new replica of a table that holds items is charged as a restore of that many GB, and for their way between regions.
# https://docs.aws.amazon.com/prescriptive-guidance/latest/dynamodb-global-tables/faq.html; the figure as others
# quoted it on 2026-11-22
TABLE_RESTORE_USD_PER_GB = 0.15

# Events to targets that EventBridge delivers, a second, by default. A replay is delivered at this rate at most.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html (invocations throttle limit)
_INVOCATIONS_PER_S = {
    "us-east-1": 18_750,
    "us-east-2": 4_500,
    "us-west-1": 2_250,
    "us-west-2": 18_750,
    "af-south-1": 750,
    "ap-northeast-1": 2_250,
    "ap-northeast-3": 750,
    "ap-southeast-1": 2_250,
    "ap-southeast-2": 2_250,
    "ap-southeast-3": 750,
    "eu-central-1": 4_500,
    "eu-south-1": 750,
    "eu-west-1": 18_750,
    "eu-west-2": 2_250,
}
_INVOCATIONS_PER_S_ELSEWHERE = 1_100


def health_check_usd_per_month(config: Mapping[str, Any]) -> float:
    """Of a check with this configuration, as Route 53 has it."""
    options = int(config["Type"] == "HTTPS") + int(config.get("RequestInterval") == 10)
    return HEALTH_CHECK_USD_PER_MONTH + options * HEALTH_CHECK_OPTION_USD_PER_MONTH


def alarm_usd_per_month(spec: Mapping[str, Any]) -> float:
    """Of an alarm on one metric, or a composite one, as ``ops.provision.alarms`` describes it."""
    if "rule" in spec:
        return COMPOSITE_ALARM_USD_PER_MONTH
    return FAST_ALARM_USD_PER_MONTH if spec["period_s"] < 60 else ALARM_USD_PER_MONTH


def invocations_per_s(region: str) -> int:
    """The default quota of EventBridge invocations in a region, in events times targets a second."""
    return _INVOCATIONS_PER_S.get(region, _INVOCATIONS_PER_S_ELSEWHERE)

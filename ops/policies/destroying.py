"""Grants of ``provision`` when it takes everything away again."""

from __future__ import annotations

from collections.abc import Iterator

from ops.policies.grant import CHECKS, GENERATED, NO_RESOURCE, ZONES, Grant, Names
from ops.policies.provisioning import records_grant
from ops.policies.shared import reading_items
from ops.provision.alarms import METRICS_REGION, topic_name


def destroy(names: Names) -> Iterator[Grant]:
    stage = names.stage
    if stage.table.autoscaling:
        prefix = "application-autoscaling"
        yield Grant(
            "Scaling", (f"{prefix}:DescribeScalableTargets", f"{prefix}:DescribeScalingPolicies"), ("*",), NO_RESOURCE
        )
        targets, why = names.everywhere(prefix, "scalable-target/*"), f"a target's id: {GENERATED}"
        yield Grant("EndScaling", (f"{prefix}:DeregisterScalableTarget",), targets, why, changes=True)
    tables = names.everywhere("dynamodb", names.table)
    yield Grant("AnyItems", ("dynamodb:Scan",), tables)
    yield from reading_items(names)
    home = names.at(stage.home_region, "dynamodb", names.table)
    yield Grant("DeleteTable", ("dynamodb:DeleteTable",), home, changes=True)
    others = tuple(arn for arn in tables if arn not in home)
    if others:
        yield Grant("ChangeTable", ("dynamodb:UpdateTable",), home, changes=True)
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2gt_IAM.html
        deleting = ("dynamodb:DeleteTable", "dynamodb:DeleteTableReplica")
        yield Grant("DeleteReplicas", deleting, others, behind="dynamodb:UpdateTable", changes=True)
    yield Grant("DeleteArchives", ("events:DeleteArchive",), names.archives, changes=True)
    yield Grant("AnyObjects", ("s3:ListBucketVersions",), names.kept())
    why = "a destroy that discards data discards all that the bucket holds"
    yield Grant("DeleteObjects", ("s3:DeleteObjectVersion",), names.kept("*"), why, changes=True)
    yield Grant("DeleteBuckets", ("s3:DeleteBucket",), names.kept(), changes=True)
    yield records_grant(names, "DeleteRecords", "DELETE")
    zone = f"a zone's id: {GENERATED}"
    yield Grant("DeleteZone", ("route53:DeleteHostedZone",), ZONES, zone, changes=True)
    check = f"a health check's id: {GENERATED}"
    yield Grant("DeleteHealthChecks", ("route53:DeleteHealthCheck",), CHECKS, check, changes=True)
    change = ("arn:aws:route53:::change/*",)
    yield Grant("DnsChanges", ("route53:GetChange",), change, f"a change's id: {GENERATED}", changes=True)
    topic = names.at(METRICS_REGION, "sns", topic_name(stage))
    yield Grant("DeleteTopic", ("sns:DeleteTopic",), topic, changes=True)
    alarms = names.at(METRICS_REGION, "cloudwatch", f"alarm:{topic_name(stage)}-*")
    why = "one a region, and those that a region of before has left"
    yield Grant("DeleteAlarms", ("cloudwatch:DeleteAlarms",), alarms, why, changes=True)

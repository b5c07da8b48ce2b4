"""Grants of ``provision``: the global table, its replicas and their capacity, archives, DNS, buckets and alarms."""

from __future__ import annotations

from collections.abc import Iterator

from ops.policies.grant import CHECKS, GENERATED, NO_RESOURCE, ZONES, Grant, Names
from ops.policies.shared import alarms, keys
from ops.provision.alarms import METRICS_REGION, composite_name, topic_name
from ops.provision.desired import desired_archives

# As IAM calls what a bucket is set to: each is read by a plan and put by an apply of ``provision``.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_BUCKET_SETTINGS = (
    "BucketOwnershipControls",
    "BucketPublicAccessBlock",
    "BucketVersioning",
    "EncryptionConfiguration",
    "BucketPolicy",
    "LifecycleConfiguration",
    "BucketTagging",
)


def provision(names: Names) -> Iterator[Grant]:
    actions = ("dynamodb:DescribeTimeToLive", "dynamodb:DescribeContinuousBackups")
    yield Grant("TableSettings", actions, names.everywhere("dynamodb", names.table))
    yield Grant("HealthChecks", ("route53:ListHealthChecks",), ("*",), NO_RESOURCE)
    check = f"a health check's id: {GENERATED}"
    yield Grant("HealthCheckNames", ("route53:ListTagsForResource",), CHECKS, check)
    yield from keys(names, "Key", ("kms:DescribeKey",))
    yield Grant("OperationsBuckets", ("s3:ListBucket", *(f"s3:Get{one}" for one in _BUCKET_SETTINGS)), names.kept())
    yield from _platform_alarms(names)


def provision_changes(names: Names) -> Iterator[Grant]:
    yield from _provision_table(names)
    yield from _provision_leaving(names)
    yield from _provision_scaling(names)
    yield from _provision_archives(names)
    # Without a key of the stage's, a bucket's encryption is left as it is.
    put = [one for one in _BUCKET_SETTINGS if names.stage.key_alias or one != "EncryptionConfiguration"]
    yield Grant("WriteBuckets", ("s3:CreateBucket", *(f"s3:Put{one}" for one in put)), names.kept(), changes=True)
    yield from _provision_dns(names)
    yield from _provision_alarms(names)


def _provision_table(names: Names) -> Iterator[Grant]:
    stage, home = names.stage, names.at(names.stage.home_region, "dynamodb", names.table)
    yield Grant("CreateTable", ("dynamodb:CreateTable", "dynamodb:UpdateTimeToLive"), home, changes=True)
    yield Grant("TagTable", ("dynamodb:TagResource",), home, behind="dynamodb:CreateTable", changes=True)
    actions = ("dynamodb:UpdateTable", "dynamodb:UpdateContinuousBackups")
    yield Grant("ChangeTable", actions, names.everywhere("dynamodb", names.table), changes=True)
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
    data = ("CreateGrant", "Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext")
    using = tuple(f"kms:{one}" for one in (*data, "DescribeKey", "ReEncryptFrom", "ReEncryptTo"))
    yield from keys(names, "TableKey", using, behind="dynamodb:UpdateTable", changes=True)
    others = [region for region in stage.regions if region != stage.home_region]
    if not others:
        return
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2gt_IAM.html
    filling = ("Query", "Scan", "GetItem", "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")
    creating = tuple(f"dynamodb:{one}" for one in ("CreateTable", "CreateTableReplica", *filling))
    replicas = tuple(arn for region in others for arn in names.at(region, "dynamodb", names.table))
    yield Grant("CreateReplicas", creating, replicas, behind="dynamodb:UpdateTable", changes=True)
    # A setting of the whole group, which is made in one region and asked for in all.
    ttl = "dynamodb:UpdateTimeToLive"
    yield Grant("ReplicasTtl", (ttl,), replicas, behind=ttl, changes=True)
    service = "replication.dynamodb.amazonaws.com"
    yield Grant(
        "ReplicationRole",
        ("iam:CreateServiceLinkedRole",),
        (f"arn:aws:iam::{names.account}:role/aws-service-role/{service}/AWSServiceRoleForDynamoDBReplication",),
        behind="dynamodb:UpdateTable",
        changes=True,
        condition={"StringEquals": {"iam:AWSServiceName": [service]}},
    )


def _provision_leaving(names: Names) -> Iterator[Grant]:
    stage = names.stage
    if stage.table.consistency == "strong":
        empty = names.at(stage.home_region, "dynamodb", names.table)
        yield Grant("EmptyTable", ("dynamodb:Scan",), empty)
    if names.leaving or stage.table.consistency == "strong":
        # Under another name than the reading of ``TableKey``, which an apply has besides.
        yield from keys(names, "ItemsKey", ("kms:Decrypt",), behind="dynamodb:Scan")
    if not names.leaving:
        return
    tables = tuple(arn for region in names.leaving for arn in names.at(region, "dynamodb", names.table))
    reads = ("dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:DescribeContinuousBackups")
    compared = ("dynamodb:Scan", "dynamodb:BatchGetItem")
    yield Grant("LeavingTables", reads, tables)
    yield Grant("ComparedItems", compared, (*tables, *names.everywhere("dynamodb", names.table)))
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2gt_IAM.html
    deleting = ("dynamodb:DeleteTable", "dynamodb:DeleteTableReplica")
    yield Grant("DeleteReplicas", deleting, tables, behind="dynamodb:UpdateTable", changes=True)


def _provision_scaling(names: Names) -> Iterator[Grant]:
    """https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html"""
    if not names.stage.table.autoscaling:
        return
    prefix = "application-autoscaling"
    reads = (f"{prefix}:DescribeScalableTargets", f"{prefix}:DescribeScalingPolicies")
    yield Grant("Scaling", reads, ("*",), NO_RESOURCE)
    ending = f"{prefix}:DeregisterScalableTarget"
    # On demand there is nothing to scale, and what is left of it goes.
    capacity = names.stage.table.capacity is not None
    actions = (f"{prefix}:RegisterScalableTarget", f"{prefix}:PutScalingPolicy") if capacity else (ending,)
    targets, why = names.everywhere(prefix, "scalable-target/*"), f"a target's id: {GENERATED}"
    yield Grant("ChangeScaling", actions, targets, why, changes=True)
    if names.leaving:
        gone = tuple(arn for region in names.leaving for arn in names.at(region, prefix, "scalable-target/*"))
        yield Grant("EndScaling", (ending,), gone, why, changes=True)
    if not capacity:
        return
    alarms = names.everywhere("cloudwatch", f"alarm:TargetTracking-{names.table}*")
    behind = ("cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms")
    why = "an alarm's name ends with what it is for and an identifier of AWS's"
    yield Grant("ScalingAlarms", behind, alarms, why, behind=f"{prefix}:PutScalingPolicy", changes=True)
    service = "dynamodb.application-autoscaling.amazonaws.com"
    role = f"role/aws-service-role/{service}/AWSServiceRoleForApplicationAutoScaling_DynamoDBTable"
    yield Grant(
        "ScalingRole",
        ("iam:CreateServiceLinkedRole",),
        (f"arn:aws:iam::{names.account}:{role}",),
        behind=f"{prefix}:RegisterScalableTarget",
        changes=True,
        condition={"StringEquals": {"iam:AWSServiceName": [service]}},
    )


def _provision_archives(names: Names) -> Iterator[Grant]:
    wanted = [
        (region, name)
        for region in names.stage.regions
        for name in desired_archives(names.stage, names.account, region)
    ]
    # An archive bears the name of its bus.
    buses = tuple(arn for region, name in wanted for arn in names.at(region, "events", f"event-bus/{name}"))
    yield Grant("CreateArchives", ("events:CreateArchive",), (*names.archives, *buses), changes=True)
    yield Grant("ChangeArchives", ("events:UpdateArchive",), names.archives, changes=True)


def _provision_dns(names: Names) -> Iterator[Grant]:
    actions = ("route53:CreateHostedZone", "route53:CreateHealthCheck")
    yield Grant("CreateDns", actions, ("*",), NO_RESOURCE, changes=True)
    yield records_grant(names, "WriteRecords", "UPSERT")
    changing = ("route53:UpdateHealthCheck", "route53:DeleteHealthCheck", "route53:ChangeTagsForResource")
    yield Grant("ChangeHealthChecks", changing, CHECKS, f"a health check's id: {GENERATED}", changes=True)
    change = ("arn:aws:route53:::change/*",)
    yield Grant("DnsChanges", ("route53:GetChange",), change, f"a change's id: {GENERATED}", changes=True)


def _provision_alarms(names: Names) -> Iterator[Grant]:
    stage = names.stage
    topic = names.at(METRICS_REGION, "sns", topic_name(stage))
    yield Grant("WriteTopic", ("sns:CreateTopic", "sns:SetTopicAttributes"), topic, changes=True)
    why = "one a region, and those that a region of before has left"
    alarms = names.at(METRICS_REGION, "cloudwatch", f"alarm:{topic_name(stage)}-*")
    actions = ("cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms")
    yield Grant("WriteAlarms", actions, alarms, why, changes=True)
    if stage.alarms.combined:
        composite = names.at(METRICS_REGION, "cloudwatch", f"alarm:{composite_name(stage)}")
        yield Grant("WriteComposite", ("cloudwatch:PutCompositeAlarm",), composite, changes=True)


def records_grant(names: Names, sid: str, action: str) -> Grant:
    """The stage's own CNAMEs, in one way."""
    return Grant(
        sid,
        ("route53:ChangeResourceRecordSets",),
        ZONES,
        f"a zone's id: {GENERATED}; the condition names the records",
        changes=True,
        condition={
            "ForAllValues:StringEquals": {
                "route53:ChangeResourceRecordSetsNormalizedRecordNames": names.records,
                "route53:ChangeResourceRecordSetsRecordTypes": ["CNAME"],
                "route53:ChangeResourceRecordSetsActions": [action],
            }
        },
    )


def _platform_alarms(names: Names) -> Iterator[Grant]:
    yield from alarms(names)
    yield Grant("Topic", ("sns:GetTopicAttributes",), names.at(METRICS_REGION, "sns", topic_name(names.stage)))

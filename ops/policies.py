"""What an operator's or a scheduler's role needs of AWS to run one runbook on one stage: IAM policies, as data.

A runbook's policy is made of parts that several share and of parts of its own. What always holds: actions are named one
by one; resources are the stage's own, in every region of the stage; what stands on more than that says why; nothing
that changes anything is granted for a dry run. tests/unit/ops/test_policies.py holds every grant against the calls that
the runbooks make, both ways. `ops deploy` is not here: what it needs is what CloudFormation makes of the template.

Which resources an action knows: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ops.bucket import KEYS_HEARD, LEDGER, QUARANTINE, parse
from ops.errors import UsageError
from ops.parameters import did_you_mean
from ops.provision.alarms import METRICS_REGION, composite_name, topic_name
from ops.provision.desired import INDEXES, desired_archives
from ops.provision.table.leaving import check_regions
from ops.stage import Stage

# Of a managed policy, without white space; the policies within one role may have 10,240 together.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MANAGED_POLICY_CHARACTERS = 6144

NO_RESOURCE = "AWS knows no resource for it"
COMPOSITES = "composite alarms are told of only to who may see all alarms"
GENERATED = "AWS chooses the identifier when it is made"

Statement = dict[str, Any]
Document = dict[str, Any]


@dataclass(frozen=True)
class Grant:
    """One statement of a policy.

    Attributes
    ----------
    why
        Why a resource has a wildcard; empty where none has one.
    behind
        The call, as IAM names it, in whose course AWS itself asks for these actions; empty where the toolkit makes the
        calls.
    changes
        Whether it is needed for an apply only.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why: str = ""
    behind: str = ""
    changes: bool = False
    condition: Mapping[str, Mapping[str, list[str]]] | None = None

    def statement(self) -> Statement:
        made = {"Sid": self.sid, "Effect": "Allow", "Action": sorted(self.actions), "Resource": list(self.resources)}
        return made if self.condition is None else made | {"Condition": self.condition}


@dataclass(frozen=True)
class Besides:
    """What is not the stage's and that a replay or a redrive is to work on too: by name, in the stage's regions.

    Attributes
    ----------
    queues
        DLQs, and the queues that their messages go back to.
    keep
        ``s3://bucket/prefix``, where records are kept in the place of the operations buckets.
    """

    buses: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    keep: str = ""

    def check(self) -> None:
        """Raise UsageError for what is no name: a pattern, which would grant more than it seems to, or an ARN."""
        for option, given in (("--bus", self.buses), ("--archive", self.archives), ("--queue", self.queues)):
            for name in given:
                if not _NAME.fullmatch(name):
                    raise UsageError(f"{option}: {name!r} is no name; accepted: letters, digits, '.', '-', '_' and '/'")
        if self.keep:
            parse(self.keep)


# Of a bus, of an archive or of a queue. Only names of partner buses have slashes.
_NAME = re.compile(r"[A-Za-z0-9._/-]{1,256}")
NOTHING_BESIDES = Besides()


@dataclass(frozen=True)
class Names:
    """The ARNs of a stage's resources, where several: of every region; with what a role may use ``besides``.

    ``leaving`` are regions that the stage file no longer names and whose replica a role may remove.
    """

    stage: Stage
    account: str
    leaving: tuple[str, ...] = ()
    besides: Besides = NOTHING_BESIDES

    def at(self, region: str, service: str, *resources: str) -> tuple[str, ...]:
        return tuple(f"arn:aws:{service}:{region}:{self.account}:{resource}" for resource in resources)

    def everywhere(self, service: str, *resources: str) -> tuple[str, ...]:
        return tuple(arn for region in self.stage.regions for arn in self.at(region, service, *resources))

    @property
    def table(self) -> str:
        return f"table/{self.stage.table_name}"

    @property
    def buses(self) -> tuple[str, ...]:
        return self.stage.bus, self.stage.journal_bus, *self.besides.buses

    @property
    def archives(self) -> tuple[str, ...]:
        """Of every region: those that the stage file asks for."""
        return tuple(
            arn
            for region in self.stage.regions
            for name in (*desired_archives(self.stage, self.account, region), *self.besides.archives)
            for arn in self.at(region, "events", f"archive/{name}")
        )

    @property
    def queues(self) -> tuple[str, ...]:
        own = (self.stage.queue(processor) for processor in self.stage.processor_names)
        return self.everywhere("sqs", *own, *self.stage.dlqs, *self.besides.queues)

    def kept(self, *keys: str) -> tuple[str, ...]:
        """The operations buckets, or these keys in them. S3's ARNs have neither region nor account."""
        buckets = [self.stage.operations_bucket(self.account, region) for region in self.stage.regions]
        places = [parse(self.besides.keep)] if self.besides.keep else [(bucket, "") for bucket in buckets]
        if not keys:
            return tuple(f"arn:aws:s3:::{bucket}" for bucket, _ in places)
        below = [
            f"arn:aws:s3:::{bucket}/{prefix}/" if prefix else f"arn:aws:s3:::{bucket}/" for bucket, prefix in places
        ]
        return tuple(f"{start}{key}" for start in below for key in keys)

    @property
    def records(self) -> list[str]:
        """What DNS knows the API by, as Route 53 normalises names."""
        hosts = [self.stage.dns.record, *(self.stage.regional_host(region) for region in self.stage.regions)]
        return [host.lower() for host in hosts if host is not None]


Part = Callable[[Names], Iterator[Grant]]
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
_ZONES, _CHECKS = ("arn:aws:route53:::hostedzone/*",), ("arn:aws:route53:::healthcheck/*",)


# --- parts that several share ------------------------------------------------------------------------------------


def _opening(_: Names) -> Iterator[Grant]:
    """Whose credentials these are: the first call of every command."""
    yield Grant("WhoseCredentials", ("sts:GetCallerIdentity",), ("*",), NO_RESOURCE)


def _stack(names: Names) -> Iterator[Grant]:
    """The regional stack's status and outputs."""
    stacks = names.everywhere("cloudformation", f"stack/{names.stage.stack}/*")
    yield Grant("StackOutputs", ("cloudformation:DescribeStacks",), stacks, f"a stack's id: {GENERATED}")


def _depths(names: Names) -> Iterator[Grant]:
    yield Grant("QueueDepths", ("sqs:GetQueueUrl", "sqs:GetQueueAttributes"), names.queues)


def _archives(names: Names) -> Iterator[Grant]:
    yield Grant("Archives", ("events:DescribeArchive",), names.archives)


def _archives_of_a_bus(_: Names) -> Iterator[Grant]:
    yield Grant("ArchivesOfABus", ("events:ListArchives",), ("*",), NO_RESOURCE)


def _rules(names: Names) -> Iterator[Grant]:
    yield Grant("RulesOfABus", ("events:ListRules",), ("*",), NO_RESOURCE)
    rules = names.everywhere("events", *(f"rule/{bus}/*" for bus in names.buses))
    yield Grant("Targets", ("events:ListTargetsByRule",), rules, "every rule of the stage's buses is looked at")


def _tables(names: Names) -> Iterator[Grant]:
    yield Grant("Replicas", ("dynamodb:DescribeTable",), names.everywhere("dynamodb", names.table))


def _records(_: Names) -> Iterator[Grant]:
    yield Grant("Zones", ("route53:ListHostedZonesByName",), ("*",), NO_RESOURCE)
    yield Grant("Records", ("route53:ListResourceRecordSets",), _ZONES, f"a zone's id: {GENERATED}")


def _secret(names: Names) -> Iterator[Grant]:
    """The client that asks for tokens: in the home region, and in another that has its replica."""
    secrets = names.everywhere("secretsmanager", f"secret:{names.stage.access.client_secret}-??????")
    why = "Secrets Manager ends a secret's ARN in six characters of its own"
    yield Grant("Client", ("secretsmanager:GetSecretValue",), secrets, why)


def _keys(
    names: Names, sid: str, actions: tuple[str, ...], *, behind: str = "", changes: bool = False
) -> Iterator[Grant]:
    """The stage's own keys, a statement a region; where others ask ``behind`` a call, only through their service."""
    if names.stage.key_alias is None:
        return
    own: dict[str, dict[str, list[str]]] = {
        "ForAnyValue:StringEquals": {"kms:ResourceAliases": [names.stage.key_alias]}
    }
    for number, region in enumerate(names.stage.regions, start=1):
        through = {"StringEquals": {"kms:ViaService": [f"{behind.partition(':')[0]}.{region}.amazonaws.com"]}}
        yield Grant(
            f"{sid}{number}",
            actions,
            names.at(region, "kms", "key/*"),
            f"a key's id: {GENERATED}; the condition names the key by its alias",
            behind=behind,
            changes=changes,
            condition=own | (through if behind else {}),
        )


def _alarms(_: Names) -> Iterator[Grant]:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
    yield Grant("Alarms", ("cloudwatch:DescribeAlarms",), ("*",), COMPOSITES)


def _reading_items(names: Names) -> Iterator[Grant]:
    """DynamoDB decrypts on behalf of who reads."""
    yield from _keys(names, "TableKey", ("kms:Decrypt",), behind="dynamodb:Scan")


def _ledger(runbook: str) -> Part:
    """The runbook's own entries in the ledger: read for a plan, written by an apply."""

    def part(names: Names) -> Iterator[Grant]:
        # Without it, an object that is not there is a denial and no absence.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        yield Grant("Ledgers", ("s3:ListBucket",), names.kept())
        entries, why = names.kept(f"{LEDGER}/{runbook}/*"), "an entry's key ends in its plan's token"
        yield Grant("ReadLedger", ("s3:GetObject",), entries, why)
        yield from _keys(names, "ReadLedgerKey", ("kms:Decrypt",), behind="s3:GetObject")
        yield Grant("WriteLedger", ("s3:PutObject",), entries, why, changes=True)
        yield from _keys(names, "WriteLedgerKey", ("kms:GenerateDataKey",), behind="s3:PutObject", changes=True)

    return part


def _quarantine(names: Names) -> Iterator[Grant]:
    """Messages that nothing could take: written by an apply, and never deleted. Beside :func:`_ledger`, which has the
    use of the key."""
    messages = names.kept(f"{QUARANTINE}/*")
    why = "a message's key is its queue, its day and its id"
    yield Grant("Quarantine", ("s3:PutObject",), messages, why, changes=True)


def _for_apply(part: Part) -> Part:
    """A part that a dry run does without."""
    return lambda names: (replace(grant, changes=True) for grant in part(names))


# --- parts of their own ------------------------------------------------------------------------------------------


def _parity(names: Names) -> Iterator[Grant]:
    stage, stacks = names.stage, names.everywhere("cloudformation", f"stack/{names.stage.stack}/*")
    actions = ("cloudformation:ListStackResources", "cloudformation:GetTemplate")
    yield Grant("StackContents", actions, stacks, f"a stack's id: {GENERATED}")
    functions = names.everywhere("lambda", *(f"function:{stage.function(one)}" for one in stage.function_names))
    yield Grant("Functions", ("lambda:GetFunctionConfiguration", "lambda:GetFunctionConcurrency"), functions)
    mappings = names.everywhere("lambda", "event-source-mapping:*")
    yield Grant("Mappings", ("lambda:GetEventSourceMapping",), mappings, f"a mapping's id: {GENERATED}")
    yield Grant("QueueSettings", ("sqs:GetQueueAttributes",), names.queues)
    # The API's routes, integrations and stages are below it. API Gateway's ARNs have no account.
    apis = tuple(f"arn:aws:apigateway:{region}::/apis/*" for region in stage.regions)
    yield Grant("Apis", ("apigateway:GET",), apis, f"an API's id: {GENERATED}")
    # Without it, Lambda answers with an error in the place of the environment, the same in every region.
    yield from _keys(names, "EnvironmentKey", ("kms:Decrypt",), behind="lambda:GetFunctionConfiguration")


def _divergence(names: Names) -> Iterator[Grant]:
    actions = ("dynamodb:Scan", "dynamodb:BatchGetItem", "dynamodb:DescribeTimeToLive")
    yield Grant("Items", actions, names.everywhere("dynamodb", names.table))
    yield from _reading_items(names)


def _metrics(_: Names) -> Iterator[Grant]:
    why = f"{NO_RESOURCE}: a dataset, which it may name, is none of these metrics"
    yield Grant("Metrics", ("cloudwatch:GetMetricData",), ("*",), why)


def _replay(names: Names) -> Iterator[Grant]:
    indexes = names.everywhere("dynamodb", *(f"{names.table}/index/{index}" for index in INDEXES))
    yield Grant("Preview", ("dynamodb:Scan",), indexes)
    yield from _reading_items(names)
    reads = ("events:ListReplays", "events:TestEventPattern", "sqs:ListQueues")
    yield Grant("ReplayPreview", reads, ("*",), NO_RESOURCE)
    # Of a queue that receives, a dry run reads whether a selection's temporary rules may send to it.
    depths = ("sqs:GetQueueUrl", "sqs:GetQueueAttributes")
    receiving = (*map(names.stage.queue, names.stage.processor_names), *names.besides.queues)
    yield Grant("Queues", depths, names.everywhere("sqs", *receiving))
    yield Grant("DlqDepths", depths, names.everywhere("sqs", *names.stage.dlqs), changes=True)
    yield from _replay_changes(names)


def _replay_changes(names: Names) -> Iterator[Grant]:
    stage, own = names.stage, f"{names.stage.prefix}-replay-*"
    replays = names.everywhere("events", f"replay/{stage.prefix}-*")
    why = "a replay's name has its plan's token in it"
    buses = names.everywhere("events", *(f"event-bus/{bus}" for bus in names.buses))
    started = (*names.archives, *buses, *replays)
    yield Grant("StartReplay", ("events:StartReplay",), started, why, changes=True)
    yield Grant("CancelReplay", ("events:CancelReplay",), replays, why, changes=True)
    yield Grant("Proof", ("dynamodb:Scan",), names.everywhere("dynamodb", names.table), changes=True)
    # What is missing afterwards is looked for where messages end that nobody could take.
    dlqs = names.everywhere("sqs", *stage.dlqs, *names.besides.queues)
    yield Grant("DeadKeys", ("sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"), dlqs, changes=True)
    temporary = "what is there for as long as a replay runs has the plan's token in its name"
    rules = names.everywhere("events", *(f"rule/{bus}/{own}" for bus in names.buses))
    actions = ("PutRule", "PutTargets", "RemoveTargets", "DeleteRule")
    yield Grant("TemporaryRules", tuple(f"events:{one}" for one in actions), rules, temporary, changes=True)
    actions = ("CreateQueue", "ReceiveMessage", "DeleteMessage", "DeleteQueue")
    queues = names.everywhere("sqs", own)
    yield Grant("Tap", tuple(f"sqs:{one}" for one in actions), queues, temporary, changes=True)
    heard = names.kept(f"{KEYS_HEARD}/*")
    why = "the keys of a slice are kept under its plan's token"
    yield Grant("KeysHeard", ("s3:GetObject", "s3:PutObject"), heard, why, changes=True)


def _redrive(names: Names) -> Iterator[Grant]:
    """Who feeds the DLQs, what is in them, and whether what failed would take it now."""
    stage = names.stage
    yield Grant("Buses", ("events:DescribeEventBus",), names.everywhere("events", *_of_buses(names)))
    functions = names.everywhere("lambda", *(f"function:{stage.function(one)}" for one in stage.function_names))
    actions = ("lambda:GetFunctionConfiguration", "lambda:ListFunctionEventInvokeConfigs")
    yield Grant("FailureDestinations", actions, functions)
    yield Grant("Mappings", ("lambda:ListEventSourceMappings",), ("*",), NO_RESOURCE)
    yield Grant("Queues", ("sqs:ListQueues",), ("*",), NO_RESOURCE)
    why = "every queue of the stage is asked which DLQ it has"
    asked = ("sqs:GetQueueUrl", "sqs:GetQueueAttributes")
    yield Grant("RedrivePolicies", asked, names.everywhere("sqs", f"{stage.prefix}-*", *names.besides.queues), why)
    dlqs = names.everywhere("sqs", *stage.dlqs, *names.besides.queues)
    yield Grant("LookIntoDlqs", ("sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"), dlqs)
    yield from _keys(names, "MessagesKey", ("kms:Decrypt",), behind="sqs:ReceiveMessage")
    why = "a message's key is its queue, its day and its id"
    yield Grant("Quarantined", ("s3:GetObject",), names.kept(f"{QUARANTINE}/*"), why)
    if names.besides.queues:
        yield from _redrive_discovery(names)
    yield from _redrive_changes(names)


def _redrive_discovery(names: Names) -> Iterator[Grant]:
    """Of a queue that is not the stage's: which bus, rule, function or queue sends its failures there."""
    yield Grant("AnyBusAndFunction", ("events:ListEventBuses", "lambda:ListFunctions"), ("*",), NO_RESOURCE)
    why = "each in the region is asked whether the queue is its DLQ"
    buses = names.everywhere("events", "event-bus/*")
    yield Grant("AnyBus", ("events:DescribeEventBus",), buses, why)
    rules = names.everywhere("events", "rule/*")
    yield Grant("AnyRule", ("events:ListTargetsByRule",), rules, why)
    actions = ("lambda:GetFunctionConfiguration", "lambda:ListFunctionEventInvokeConfigs")
    yield Grant("AnyFunction", actions, names.everywhere("lambda", "function:*"), why)
    queues = names.everywhere("sqs", *names.besides.queues)
    yield Grant("Sources", ("sqs:ListDeadLetterSourceQueues",), queues)


def _redrive_changes(names: Names) -> Iterator[Grant]:
    """Each message to what failed with it, off its DLQ, and the proof."""
    stage = names.stage
    dlqs = names.everywhere("sqs", *stage.dlqs, *names.besides.queues)
    yield Grant("EmptyDlqs", ("sqs:DeleteMessage",), dlqs, changes=True)
    queues = names.everywhere("sqs", *map(stage.queue, stage.processor_names), *names.besides.queues)
    yield Grant("ToQueues", ("sqs:SendMessage",), queues, changes=True)
    using = ("kms:Decrypt", "kms:GenerateDataKey")
    yield from _keys(names, "SendKey", using, behind="sqs:SendMessage", changes=True)
    functions = names.everywhere("lambda", *(f"function:{stage.function(one)}" for one in stage.function_names))
    yield Grant("ToFunctions", ("lambda:InvokeFunction",), functions, changes=True)
    yield Grant("ToBuses", ("events:PutEvents",), names.everywhere("events", *_of_buses(names)), changes=True)
    tasks = ("sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks", "sqs:CancelMessageMoveTask")
    moved = names.everywhere("sqs", *map(stage.dlq, stage.processor_names), *names.besides.queues)
    yield Grant("MoveTasks", tasks, moved, changes=True)
    table = names.everywhere("dynamodb", names.table)
    yield Grant("Proof", ("dynamodb:BatchGetItem", "dynamodb:Query"), table, changes=True)
    yield from _keys(names, "TableKey", ("kms:Decrypt",), behind="dynamodb:BatchGetItem", changes=True)


def _of_buses(names: Names) -> list[str]:
    return [f"event-bus/{bus}" for bus in names.buses]


def _provision(names: Names) -> Iterator[Grant]:
    actions = ("dynamodb:DescribeTimeToLive", "dynamodb:DescribeContinuousBackups")
    yield Grant("TableSettings", actions, names.everywhere("dynamodb", names.table))
    yield Grant("HealthChecks", ("route53:ListHealthChecks",), ("*",), NO_RESOURCE)
    check = f"a health check's id: {GENERATED}"
    yield Grant("HealthCheckNames", ("route53:ListTagsForResource",), _CHECKS, check)
    yield from _keys(names, "Key", ("kms:DescribeKey",))
    yield Grant("OperationsBuckets", ("s3:ListBucket", *(f"s3:Get{one}" for one in _BUCKET_SETTINGS)), names.kept())
    yield from _platform_alarms(names)


def _provision_changes(names: Names) -> Iterator[Grant]:
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
    yield from _keys(names, "TableKey", using, behind="dynamodb:UpdateTable", changes=True)
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
        yield from _keys(names, "ItemsKey", ("kms:Decrypt",), behind="dynamodb:Scan")
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
    yield _records_grant(names, "WriteRecords", "UPSERT")
    changing = ("route53:UpdateHealthCheck", "route53:DeleteHealthCheck", "route53:ChangeTagsForResource")
    yield Grant("ChangeHealthChecks", changing, _CHECKS, f"a health check's id: {GENERATED}", changes=True)
    change = ("arn:aws:route53:::change/*",)
    yield Grant("DnsChanges", ("route53:GetChange",), change, f"a change's id: {GENERATED}", changes=True)


def _records_grant(names: Names, sid: str, action: str) -> Grant:
    """The stage's own CNAMEs, in one way."""
    return Grant(
        sid,
        ("route53:ChangeResourceRecordSets",),
        _ZONES,
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
    yield from _alarms(names)
    yield Grant("Topic", ("sns:GetTopicAttributes",), names.at(METRICS_REGION, "sns", topic_name(names.stage)))


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


def _destroy(names: Names) -> Iterator[Grant]:
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
    yield from _reading_items(names)
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
    yield _records_grant(names, "DeleteRecords", "DELETE")
    zone = f"a zone's id: {GENERATED}"
    yield Grant("DeleteZone", ("route53:DeleteHostedZone",), _ZONES, zone, changes=True)
    check = f"a health check's id: {GENERATED}"
    yield Grant("DeleteHealthChecks", ("route53:DeleteHealthCheck",), _CHECKS, check, changes=True)
    change = ("arn:aws:route53:::change/*",)
    yield Grant("DnsChanges", ("route53:GetChange",), change, f"a change's id: {GENERATED}", changes=True)
    topic = names.at(METRICS_REGION, "sns", topic_name(stage))
    yield Grant("DeleteTopic", ("sns:DeleteTopic",), topic, changes=True)
    alarms = names.at(METRICS_REGION, "cloudwatch", f"alarm:{topic_name(stage)}-*")
    why = "one a region, and those that a region of before has left"
    yield Grant("DeleteAlarms", ("cloudwatch:DeleteAlarms",), alarms, why, changes=True)


def _status(names: Names) -> Iterator[Grant]:
    buses = names.everywhere("events", f"event-bus/{names.stage.bus}")
    yield Grant("Buses", ("events:DescribeEventBus",), buses)
    # The journal's archive is asked for in a stage of one region too, where there is none.
    archives = names.everywhere("events", f"archive/{names.stage.archive_name}", f"archive/{names.stage.journal_bus}")
    yield Grant("Archives", ("events:DescribeArchive",), archives)


def _edge(_: Names) -> Iterator[Grant]:
    yield Grant("Answers", ("route53:TestDNSAnswer",), ("*",), NO_RESOURCE)
    actions = ("route53:GetHealthCheck", "route53:GetHealthCheckStatus")
    yield Grant("Health", actions, _CHECKS, f"a health check's id: {GENERATED}")


def starting_drills(names: Names) -> Iterator[Grant]:
    """What starts a drill, for whoever may also end it (:func:`_experiments`)."""
    templates, running = names.everywhere("fis", "experiment-template/*"), names.everywhere("fis", "experiment/*")
    stage = {"StringEquals": {"aws:RequestTag/atoll:stage": [names.stage.stage]}}
    made = f"an experiment's or template's id: {GENERATED}"
    actions = names.everywhere("fis", "action/*")
    yield Grant(
        "ActionsOfFis", ("fis:CreateExperimentTemplate",), actions, "the role limits what it does", changes=True
    )
    yield Grant("DrillTemplate", ("fis:CreateExperimentTemplate",), templates, made, changes=True, condition=stage)
    yield Grant("StartDrill", ("fis:StartExperiment",), (*templates, *running), made, changes=True)
    yield Grant(
        "TagDrill",
        ("fis:TagResource",),
        (*templates, *running),
        made,
        behind="fis:CreateExperimentTemplate",
        changes=True,
    )
    roles = tuple(f"arn:aws:iam::{names.account}:role/{names.stage.prefix}-drill-{one}" for one in names.stage.regions)
    yield Grant(
        "DrillRole",
        ("iam:PassRole",),
        roles,
        behind="fis:CreateExperimentTemplate",
        changes=True,
        condition={"StringEquals": {"iam:PassedToService": ["fis.amazonaws.com"]}},
    )
    # FIS's own role, which watches the alarms that stop a drill: made with the account's first experiment.
    # https://docs.aws.amazon.com/fis/latest/userguide/using-service-linked-roles.html
    service = "fis.amazonaws.com"
    yield Grant(
        "FirstExperiment",
        ("iam:CreateServiceLinkedRole",),
        (f"arn:aws:iam::{names.account}:role/aws-service-role/{service}/AWSServiceRoleForFIS",),
        behind="fis:StartExperiment",
        changes=True,
        condition={"StringEquals": {"iam:AWSServiceName": [service]}},
    )


def _experiments(names: Names) -> Iterator[Grant]:
    """What drills run, and their end (`ops drill`)."""
    yield Grant("Experiments", ("fis:ListExperiments",), ("*",), NO_RESOURCE)
    running = names.everywhere("fis", "experiment/*")
    ours = {"StringEquals": {"aws:ResourceTag/atoll:stage": [names.stage.stage]}}
    why = f"an experiment's id: {GENERATED}; the condition names the stage by its tag"
    yield Grant("Experiment", ("fis:GetExperiment",), running, why, condition=ours)
    yield Grant("StopExperiment", ("fis:StopExperiment",), running, why, changes=True, condition=ours)
    templates = names.everywhere("fis", "experiment-template/*")
    yield Grant("ForgetTemplate", ("fis:DeleteExperimentTemplate",), templates, why, changes=True, condition=ours)


def _failover(names: Names) -> Iterator[Grant]:
    """What leaves a region, comes back and drills: the flag, what is looked at before, and what proves it after."""
    table = names.everywhere("dynamodb", names.table)
    yield Grant("ReadFlag", ("dynamodb:GetItem",), table)
    yield from _alarms(names)
    yield Grant("WriteFlag", ("dynamodb:PutItem", "dynamodb:DeleteItem"), table, changes=True)
    index = names.everywhere("dynamodb", f"{names.table}/index/by_time")
    yield Grant("FindEvents", ("dynamodb:Query",), index, changes=True)
    yield Grant("FindCounts", ("dynamodb:Query",), table, changes=True)


RUNBOOKS: dict[str, tuple[Part, ...]] = {
    "divergence": (_opening, _tables, _divergence),
    "failover": (
        _opening,
        _stack,
        _tables,
        _depths,
        _status,
        _records,
        _secret,
        _metrics,
        _experiments,
        _failover,
        starting_drills,
        _for_apply(_divergence),
    ),
    "metrics": (_opening, _stack, _metrics),
    "parity": (_opening, _stack, _archives_of_a_bus, _archives, _rules, _parity),
    "provision": (_opening, _stack, _tables, _archives, _records, _provision, _provision_changes),
    "redrive": (_opening, _rules, _metrics, _alarms, _ledger("redrive"), _quarantine, _for_apply(_tables), _redrive),
    "replay": (
        _opening,
        _archives_of_a_bus,
        _archives,
        _rules,
        _metrics,
        _ledger("replay"),
        _for_apply(_tables),
        _replay,
    ),
}
# Of a runbook asked for something that a role for the rest of it should not be able to do.
VARIANTS: dict[str, tuple[Part, ...]] = {
    # ops run provision -p destroy=true
    "provision-destroy": (_opening, _stack, _tables, _archives, _records, _provision, _destroy),
}
# Those that work on any bus and any queue of the account, when they are told which.
_BEYOND_THE_STAGE = ("replay", "redrive")
COMMANDS: dict[str, tuple[Part, ...]] = {
    "drill": (_opening, _experiments),
    "edge": (_opening, _records, _edge),
    "send": (_opening, _stack, _secret),
    "status": (_opening, _stack, _tables, _depths, _status),
    "token": (_opening, _secret),
}


def grants(
    name: str,
    stage: Stage,
    account: str,
    apply: bool = False,
    leaving: Sequence[str] = (),
    *,
    besides: Besides = NOTHING_BESIDES,
) -> list[Grant]:
    """What a runbook or command needs on a stage, each with its reason; with ``apply``, what applying needs besides.

    Args:
        leaving: regions whose replica ``provision`` is to remove.
        besides: what is not the stage's and that ``replay`` or ``redrive`` is to work on.

    Raises:
        UsageError: there is no such runbook or command, it changes nothing and so has nothing to apply, it removes
            no replica of those regions, or works on nothing besides the stage.
    """
    known = RUNBOOKS | VARIANTS | COMMANDS
    if name not in known:
        raise UsageError(
            f"runbook: there is no {name!r} with a policy{did_you_mean(name, list(known))}; accepted: the runbooks "
            f"{', '.join(RUNBOOKS)}, and the commands {', '.join(COMMANDS)}; for `-p destroy=true`, "
            f"{', '.join(VARIANTS)}",
            hint="`ops deploy` has none: what it needs is what CloudFormation makes of the template."
            if name == "deploy"
            else "What each runbook is for: ops list",
        )
    if leaving and (name != "provision" or set(leaving) & set(stage.regions)):
        raise UsageError(
            f"--leaving: {', '.join(leaving)}: for provision, and for regions that stage {stage.stage!r} no longer has"
        )
    if besides != NOTHING_BESIDES and name not in _BEYOND_THE_STAGE:
        raise UsageError(
            f"--bus, --archive, --queue, --keep: {name} works on the stage alone; accepted for "
            f"{' and '.join(_BEYOND_THE_STAGE)}"
        )
    besides.check()
    names = Names(stage, account, tuple(check_regions(leaving)), besides)
    made = [grant for part in known[name] for grant in part(names)]
    if apply and not any(grant.changes for grant in made):
        raise UsageError(f"--apply: {name} changes nothing, so it has no plan to apply")
    return [grant for grant in made if apply or not grant.changes]


def policy(
    name: str,
    stage: Stage,
    account: str,
    apply: bool = False,
    leaving: Sequence[str] = (),
    *,
    besides: Besides = NOTHING_BESIDES,
) -> Document:
    """The same as an IAM policy document."""
    return _document([grant.statement() for grant in grants(name, stage, account, apply, leaving, besides=besides)])


def size(document: Document) -> int:
    """The characters that IAM counts: all but white space."""
    return len(json.dumps(document, separators=(",", ":")))


def parts(document: Document, limit: int = MANAGED_POLICY_CHARACTERS) -> list[Document]:
    """The policy as few policies as it takes, in order, each of at most ``limit`` characters; a role takes them all.

    A statement that is too large by itself is cut by its resources, and its Sid numbered.
    """
    packed: list[list[Statement]] = [[]]
    for statement in document["Statement"]:
        for piece in _pieces(statement, limit):
            if packed[-1] and size(_document([*packed[-1], piece])) > limit:
                packed.append([])
            packed[-1].append(piece)
    return [_document(statements) for statements in packed]


def _pieces(statement: Statement, limit: int) -> list[Statement]:
    resources = statement["Resource"]
    for count in range(1, len(resources) + 1):
        length = -(-len(resources) // count)
        cut = [resources[start : start + length] for start in range(0, len(resources), length)]
        sids = [statement["Sid"] if count == 1 else f"{statement['Sid']}Part{n}" for n in range(1, len(cut) + 1)]
        made = [statement | {"Sid": sid, "Resource": part} for sid, part in zip(sids, cut, strict=True)]
        if all(size(_document([piece])) <= limit for piece in made):
            return made
    raise ValueError(f"{statement['Sid']}: one resource of it is more than a policy of {limit} characters holds")


def _document(statements: list[Statement]) -> Document:
    return {"Version": "2012-10-17", "Statement": statements}

"""What each function's role grants, what its code and the Lambda service need, and where the two differ.

Grants and needs are single permissions: one action on one resource (and, for KMS, through one service). Equality of
the two sets is least privilege: what is missing would fail, what is left over could be abused. What the service needs
follows from the function's own configuration, so a new queue, key, VPC or trace asks for its grants here by itself;
another kind of configuration is one more rule in ``_by_configuration``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tests.template import ACCOUNT, Stack

ANY = "*"
REGION = "us-east-1"  # where the stacks of these tests are deployed

# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
POLLER = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
LOOKS = ("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets")
CONNECTS = (
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
)
# https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
TRACES = ("xray:PutTraceSegments", "xray:PutTelemetryRecords")

# The only permissions that may stand on any resource, and why.
ON_ANY_RESOURCE = dict.fromkeys(TRACES, "X-Ray has no resource for what is put into it") | dict.fromkeys(
    LOOKS, "EC2 has no resource for what only lists"
)
# Whatever Lambda connects in this account and region: the interfaces do not exist when the function is made.
CONNECTED = f"arn:aws:ec2:{REGION}:{ACCOUNT}:*/*"


class Permission(NamedTuple):
    action: str
    resource: str
    through: str = ""  # the only service it holds through (kms:ViaService); or any other condition, as JSON

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}" + (f" through {self.through}" if self.through else "")


def functions(stack: Stack) -> dict[str, dict[str, Any]]:
    """The functions' properties by short name: ``ingest`` for ``atoll-prod-ingest``."""
    return {one["FunctionName"].split("-", 2)[2]: one for one in stack.of_type("AWS::Lambda::Function").values()}


def statements(stack: Stack, function: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements of a function's role. A policy of the stack that is attached to it gives Lambda what the code must
    not do, and denies that to the code: its Deny takes nothing from what is needed."""
    roles = {stack.arn(name): role for name, role in stack.of_type("AWS::IAM::Role").items()}
    role = roles[function["Role"]]
    own = [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
    # A KeyError here is a policy of somebody else's: it would change under the role.
    shared = [stack.of_type("AWS::IAM::ManagedPolicy")[name] for name in role.get("ManagedPolicyArns", [])]
    attached = [one for policy in shared for one in policy["PolicyDocument"]["Statement"]]
    return own + [one for one in attached if one["Effect"] == "Allow"]


def granted(allowed: Iterable[dict[str, Any]]) -> set[Permission]:
    """Each permission that the statements give."""
    found = set()
    for statement in allowed:
        assert statement["Effect"] == "Allow", "a role that needs a Deny grants too much"
        assert {"Action", "Resource"} <= set(statement), "NotAction and NotResource grant what nobody has listed"
        for action in _list(statement["Action"]):
            for resource in _list(statement["Resource"]):
                found |= {Permission(action, resource, through) for through in _through(statement)}
    return found


def needed(stack: Stack, function: dict[str, Any], by_code: set[Permission]) -> set[Permission]:
    """What the code calls, and what the service does in the function's role."""
    direct = by_code | set(_by_configuration(stack, function))
    return direct | set(_by_encryption(stack, function, direct))


def problems(allowed: Iterable[dict[str, Any]], wanted: set[Permission]) -> list[str]:
    """Where a role's statements and the need for them differ, a line each; none when they are the same."""
    given = granted(allowed)
    lines = [f"any action: {one}" for one in given if ANY in one.action]
    lines += [f"any resource: {one}" for one in given if one.resource == ANY and one.action not in ON_ANY_RESOURCE]
    lines += [f"needed and not granted: {one}" for one in wanted - given]
    lines += [f"granted and never used: {one}" for one in given - wanted]
    return sorted(lines)


def _by_configuration(stack: Stack, function: dict[str, Any]) -> Iterator[Permission]:
    """What the Lambda service does in the role, because the function is configured so."""
    name = function["FunctionName"]
    arn = f"arn:aws:lambda:{REGION}:{_account(function['Role'])}:function:{name}"
    for logical_id, group in stack.of_type("AWS::Logs::LogGroup").items():
        if group["LogGroupName"] == function.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}"):
            yield Permission("logs:CreateLogStream", stack.arn(logical_id))
            yield Permission("logs:PutLogEvents", stack.arn(logical_id))
    for mapping in stack.of_type("AWS::Lambda::EventSourceMapping").values():
        if mapping["FunctionName"] in (arn, name) and ":sqs:" in mapping["EventSourceArn"]:
            yield from (Permission(action, mapping["EventSourceArn"]) for action in POLLER)
    given_up = [function.get("DeadLetterConfig", {}).get("TargetArn")]
    given_up += [
        asked.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        for asked in stack.of_type("AWS::Lambda::EventInvokeConfig").values()
        if asked["FunctionName"] in (arn, name)
    ]
    yield from (Permission("sqs:SendMessage", target) for target in given_up if target and ":sqs:" in target)
    if function.get("TracingConfig", {}).get("Mode") == "Active":
        yield from (Permission(action, ANY) for action in TRACES)
    # https://docs.aws.amazon.com/fis/latest/userguide/use-lambda-actions.html
    if faults := function["Environment"]["Variables"].get("AWS_FIS_CONFIGURATION_LOCATION"):
        bucket, _, folder = faults.partition("/")
        yield Permission("s3:GetObject", f"{faults}*")
        yield Permission("s3:ListBucket", bucket, json.dumps({"StringLike": {"s3:prefix": f"{folder}*"}}))
    if function.get("VpcConfig"):
        yield from (Permission(action, ANY) for action in LOOKS)
        yield from (Permission(action, CONNECTED) for action in CONNECTS)


def _by_encryption(stack: Stack, function: dict[str, Any], direct: set[Permission]) -> Iterator[Permission]:
    """What the services that the function uses do with a customer-managed key in its role."""
    if key := function.get("KmsKeyArn"):
        yield Permission("kms:Decrypt", key, "lambda")
    tables = {
        stack.arn(name): own.get("SSESpecification", {}).get("KMSMasterKeyId")
        for name, own in stack.of_type("AWS::DynamoDB::Table").items()
    } | global_table(stack)
    queues = {stack.arn(name): own.get("KmsMasterKeyId") for name, own in stack.of_type("AWS::SQS::Queue").items()}
    keys = {name: stack.arn(name) for name in stack.of_type("AWS::KMS::Key")}
    for one in direct:
        if table_key := tables.get(one.resource.partition("/index/")[0]):
            yield Permission("kms:Decrypt", keys.get(table_key, table_key), "dynamodb")
        for bucket, bucket_key in operations_bucket(stack).items():
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
            if one.resource.startswith(f"{bucket}/"):
                action = "kms:GenerateDataKey" if one.action == "s3:PutObject" else "kms:Decrypt"
                yield Permission(action, keys.get(bucket_key, bucket_key), "s3")
        if queue_key := queues.get(one.resource):
            yield Permission("kms:Decrypt", keys.get(queue_key, queue_key), "sqs")
            if one.action == "sqs:SendMessage":
                yield Permission("kms:GenerateDataKey", keys.get(queue_key, queue_key), "sqs")


def global_table(stack: Stack) -> dict[str, str]:
    """ARN -> key of the one table that is in no template: the ``provision`` runbook makes it, with the name of the
    stack's key (``ops.stage.Stage.key_alias``), and under that key where there is one."""
    return {
        f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{alias['AliasName'].removeprefix('alias/')}": alias["TargetKeyId"]
        for alias in stack.of_type("AWS::KMS::Alias").values()
    }


def operations_bucket(stack: Stack) -> dict[str, str]:
    """The same of the bucket that ``provision`` makes (``ops.stage.Stage.operations_bucket``)."""
    return {
        f"arn:aws:s3:::{alias['AliasName'].removeprefix('alias/')}-ops-{ACCOUNT}-{REGION}": alias["TargetKeyId"]
        for alias in stack.of_type("AWS::KMS::Alias").values()
    }


def _through(statement: dict[str, Any]) -> list[str]:
    condition = statement.get("Condition")
    if condition is None:
        return [""]
    if list(condition) == ["StringEquals"] and list(condition["StringEquals"]) == ["kms:ViaService"]:
        suffix = f".{REGION}.amazonaws.com"
        return [host.removesuffix(suffix) for host in _list(condition["StringEquals"]["kms:ViaService"])]
    return [json.dumps(condition, sort_keys=True)]


def _account(arn: str) -> str:
    return arn.split(":")[4]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

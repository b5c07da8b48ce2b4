"""Calls of AWS's API as IAM sees them: which action each is, on what, and whether a policy's statements allow it.

What a call addresses:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Context = Mapping[str, list[str]]

# Operations that IAM knows by another name than the API's.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_ACTIONS = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "lambda:Invoke": "lambda:InvokeFunction",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:DeleteObjects": "s3:DeleteObjectVersion",  # those of the toolkit name versions
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
}
_PREFIXES = {"monitoring": "cloudwatch"}
NO_RESOURCE = {
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScalingPolicies",
    # "To return information about composite alarms", its page says, the permission has to be for *.
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricData",
    "events:ListArchives",
    "fis:ListExperiments",
    "events:ListReplays",
    "events:ListRules",
    "events:TestEventPattern",
    "lambda:ListEventSourceMappings",
    "logs:DescribeLogGroups",
    "route53:CreateHealthCheck",
    "route53:CreateHostedZone",
    "route53:ListHealthChecks",
    "route53:ListHostedZonesByName",
    "route53:TestDNSAnswer",
    "sqs:ListQueues",
    "sts:GetCallerIdentity",
    "xray:BatchGetTraces",
}


def action_of(model: Any) -> str:
    """The action that IAM asks for when this operation (botocore's model of it) is called."""
    prefix = model.service_model.signing_name
    if prefix == "apigateway":  # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-iam.html
        return f"apigateway:{model.http['method']}"
    action = f"{_PREFIXES.get(prefix, prefix)}:{model.name}"
    return _ACTIONS.get(action, action)


# By service and a parameter that its calls have, the first that fits: what they address.
_RESOURCES = (
    ("apigateway", "ApiId", ""),  # the path itself
    ("application-autoscaling", "ResourceId", "scalable-target/0ec5aa0b"),
    ("cloudwatch", "AlarmName", "alarm:{AlarmName}"),
    ("cloudwatch", "AlarmNamePrefix", "alarm:*"),
    ("cloudformation", "StackName", "stack/{StackName}/00000000-0000-0000-0000-000000000000"),
    ("dynamodb", "IndexName", "table/{TableName}/index/{IndexName}"),
    ("dynamodb", "TableName", "table/{TableName}"),
    ("dynamodb", "ResourceArn", "{ResourceArn}"),
    ("dynamodb", "ExportArn", "{ExportArn}"),
    ("dynamodb", "TableArn", "{TableArn}"),
    ("kms", "KeyId", "key/{KeyId}"),
    ("events", "Rule", "rule/{EventBusName}/{Rule}"),
    ("events", "ArchiveName", "archive/{ArchiveName}"),
    ("events", "ReplayName", "replay/{ReplayName}"),
    ("events", "EventBusName", "rule/{EventBusName}/{Name}"),
    ("events", "Name", "event-bus/{Name}"),
    ("lambda", "FunctionName", "function:{FunctionName}"),
    ("lambda", "UUID", "event-source-mapping:{UUID}"),
    ("logs", "logGroupName", "log-group:{logGroupName}:*"),
    ("route53", "HostedZoneId", "hostedzone/{HostedZoneId}"),
    ("route53", "HealthCheckId", "healthcheck/{HealthCheckId}"),
    ("route53", "ResourceId", "{ResourceType}/{ResourceId}"),
    ("route53", "Id", "change/{Id}"),
    ("s3", "Key", "{Bucket}/{Key}"),
    ("s3", "Bucket", "{Bucket}"),
    ("secretsmanager", "SecretId", "secret:{SecretId}-AbCdEf"),
    ("sns", "TopicArn", "{TopicArn}"),
    ("sns", "Name", "{Name}"),
    ("sqs", "QueueName", "{QueueName}"),
    ("sqs", "QueueUrl", "{QueueUrl}"),
    ("sqs", "SourceArn", "{SourceArn}"),
)
# Its identifiers are all called id. What is made has none before it is.
_FIS = {
    "CreateExperimentTemplate": ("action/any", "experiment-template/made"),
    "DeleteExperimentTemplate": ("experiment-template/{id}",),
    "GetExperiment": ("experiment/{id}",),
    "StartExperiment": ("experiment/made", "experiment-template/{experimentTemplateId}"),
    "StopExperiment": ("experiment/{id}",),
}
_PLACES = {"apigateway": "arn:aws:apigateway:{region}:", "route53": "arn:aws:route53::", "s3": "arn:aws:s3::"}


def addressed(model: Any, parameters: Mapping[str, Any], region: str, account: str) -> list[str]:
    """The ARNs that IAM holds a call against; ``*`` alone where the action knows no resource."""
    action = action_of(model)
    service = action.split(":")[0]
    if action in NO_RESOURCE:
        return ["*"]
    # What names a thing by more than its name: Route 53's "/change/C1", a queue's URL.
    last = {"Id", "HostedZoneId", "QueueUrl"}
    values = {key: value.rpartition("/")[2] if key in last else value for key, value in parameters.items()}
    # What may be named by its ARN.
    for name in values.keys() & {"TopicArn", "FunctionName", "SourceArn", "ResourceArn", "ExportArn", "TableArn"}:
        values[name] = values[name].rpartition(":")[2]
    if "Entries" in values and service == "events":
        resources = [f"event-bus/{entry['EventBusName'].rpartition('/')[2]}" for entry in values["Entries"]]
    elif "TaskHandle" in values:
        resources = [json.loads(base64.b64decode(values["TaskHandle"]))["sourceArn"].rpartition(":")[2]]
    elif service == "states":
        return [
            str(parameters[name]) for name in ("stateMachineArn", "mapRunArn", "executionArn") if name in parameters
        ]
    elif service == "fis":
        resources = [form.format(**values) for form in _FIS[model.name]]
    elif action == "route53:DeleteHostedZone":
        resources = [f"hostedzone/{values['Id']}"]
    elif action == "s3:DeleteObjectVersion":
        resources = [f"{values['Bucket']}/{one['Key']}" for one in values["Delete"]["Objects"]]
    elif "AlarmNames" in values:
        resources = [f"alarm:{name}" for name in values["AlarmNames"]]
    elif "RequestItems" in values:
        resources = [f"table/{table}" for table in values["RequestItems"]]
    else:
        forms = [form for of, parameter, form in _RESOURCES if of == service and parameter in values]
        path = model.http["requestUri"].removeprefix("/v2").replace("{apiId}", "{ApiId}")
        resources = [(form or path).format(**values) for form in forms[:1]]
    if not resources:
        raise ValueError(f"{action}: say in tests/iam.py what it addresses; it has {sorted(parameters)}")
    place = _PLACES.get(service, "arn:aws:{service}:{region}:{account}")
    place = place.format(service=service, region=region, account=account)
    # An archive is made of a bus, and a replay leads from an archive to a bus: these are addressed too.
    others = [values.get("EventSourceArn"), values.get("Destination", {}).get("Arn")] if service == "events" else []
    # DynamoDB takes a table's ARN in the place of its name; then the ARN is what is addressed.
    whole = [one.removeprefix("table/") if one.startswith("table/arn:") else f"{place}:{one}" for one in resources]
    return whole + [arn for arn in others if arn]


def context_of(
    model: Any, parameters: Mapping[str, Any], aliases: Mapping[str, list[str]] | None = None
) -> dict[str, list[str]]:
    """The condition keys that IAM derives from a call's parameters; ``aliases`` are those of a key, by its ARN."""
    if "KeyId" in parameters:
        named = parameters["KeyId"]
        return {"kms:ResourceAliases": [named] if named.startswith("alias/") else (aliases or {}).get(named, [])}
    if model.service_model.service_name == "dynamodb":
        return _leading_keys(parameters)
    if model.service_model.service_name == "fis":
        return {f"aws:RequestTag/{tag}": [value] for tag, value in parameters.get("tags", {}).items()}
    if model.name != "ChangeResourceRecordSets":
        return {}
    changes = parameters["ChangeBatch"]["Changes"]
    prefix = "route53:ChangeResourceRecordSets"
    sets = [change["ResourceRecordSet"] for change in changes]
    return {
        f"{prefix}NormalizedRecordNames": [one["Name"].rstrip(".").lower() for one in sets],
        f"{prefix}RecordTypes": [one["Type"] for one in sets],
        f"{prefix}Actions": [change["Action"] for change in changes],
    }


def _leading_keys(parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    """The partition key of the stage's table that a call on one item names."""
    named = parameters.get("Key") or parameters.get("Item") or {}
    return {"dynamodb:LeadingKeys": [str(value) for value in named["pk"].values()]} if "pk" in named else {}


def matches(pattern: str, value: str) -> bool:
    """Whether a resource of a policy means ``value``."""
    wild = {"*": ".*", "?": "."}
    return re.fullmatch("".join(wild.get(letter, re.escape(letter)) for letter in pattern), value) is not None


def allows(statements: Iterable[Mapping[str, Any]], action: str, resource: str, context: Context) -> bool:
    """Whether one of the statements, all of them Allow, lets a call pass."""
    return any(
        action in statement["Action"]
        and any(matches(pattern, resource) for pattern in statement["Resource"])
        and _holds(statement.get("Condition", {}), context)
        for statement in statements
    )


def _holds(condition: Mapping[str, Mapping[str, list[str]]], context: Context) -> bool:
    if unknown := condition.keys() - _OPERATORS.keys():
        raise ValueError(f"tests/iam.py does not know {', '.join(unknown)}")
    return all(
        _OPERATORS[operator](set(context.get(key, ())), set(accepted))
        for operator, keys in condition.items()
        for key, accepted in keys.items()
    )


_OPERATORS: dict[str, Callable[[set[str], set[str]], bool]] = {
    "ForAllValues:StringEquals": lambda found, accepted: found <= accepted,
    "ForAnyValue:StringEquals": lambda found, accepted: bool(found & accepted),
    "StringEquals": lambda found, accepted: bool(found & accepted),
}

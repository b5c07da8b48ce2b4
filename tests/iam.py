"""Calls of AWS's API as IAM sees them: which action each is, on what, and whether a policy's statements allow it.

What a call addresses:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Context = Mapping[str, list[str]]

# Operations that IAM knows by another name than the API's.
_ACTIONS = {"sqs:SendMessageBatch": "sqs:SendMessage", "sqs:DeleteMessageBatch": "sqs:DeleteMessage"}
_PREFIXES = {"monitoring": "cloudwatch"}
NO_RESOURCE = {
    "cloudwatch:GetMetricData",
    "events:ListArchives",
    "events:ListReplays",
    "events:ListRules",
    "route53:CreateHealthCheck",
    "route53:CreateHostedZone",
    "route53:ListHealthChecks",
    "route53:ListHostedZonesByName",
    "route53:TestDNSAnswer",
    "sts:GetCallerIdentity",
}


def action_of(model: Any) -> str:
    """The action that IAM asks for when this operation (botocore's model of it) is called."""
    prefix = model.service_model.signing_name
    if prefix == "apigateway":  # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-iam.html
        return f"apigateway:{model.http['method']}"
    action = f"{_PREFIXES.get(prefix, prefix)}:{model.name}"
    return _ACTIONS.get(action, action)


def addressed(model: Any, parameters: Mapping[str, Any], region: str, account: str) -> list[str]:
    """The ARNs that IAM holds a call against; ``*`` alone where the action knows no resource."""
    action = action_of(model)
    service = action.split(":")[0]

    def arns(*resources: str) -> list[str]:
        place = {"route53": "arn:aws:route53::", "apigateway": f"arn:aws:apigateway:{region}:"}
        return [f"{place.get(service, f'arn:aws:{service}:{region}:{account}')}:{one}" for one in resources]

    if action in NO_RESOURCE:
        return ["*"]
    match service:
        case "dynamodb" if "IndexName" in parameters:
            return arns(f"table/{parameters['TableName']}/index/{parameters['IndexName']}")
        case "dynamodb" if "TableName" in parameters:
            return arns(f"table/{parameters['TableName']}")
        case "dynamodb" if "RequestItems" in parameters:
            return arns(*(f"table/{table}" for table in parameters["RequestItems"]))
        case "sqs" if "QueueUrl" in parameters:
            return arns(parameters["QueueUrl"].rsplit("/", 1)[1])
        case "sqs" if "QueueName" in parameters:
            return arns(parameters["QueueName"])
        case "lambda" if "FunctionName" in parameters:
            return arns(f"function:{parameters['FunctionName']}")
        case "lambda" if "UUID" in parameters:
            return arns(f"event-source-mapping:{parameters['UUID']}")
        case "cloudformation" if "StackName" in parameters:
            return arns(f"stack/{parameters['StackName']}/00000000-0000-0000-0000-000000000000")
        case "secretsmanager" if "SecretId" in parameters:
            return arns(f"secret:{parameters['SecretId']}-AbCdEf")
        case "apigateway":
            return arns(model.http["requestUri"].removeprefix("/v2").format(**parameters))
        case "route53":
            return arns(*_of_route53(parameters))
        case "events" if model.name == "PutEvents":
            return arns(*(f"event-bus/{entry['EventBusName']}" for entry in parameters["Entries"]))
        case "events" if model.name == "DescribeEventBus":
            return arns(f"event-bus/{parameters['Name']}")
        case "events" if "Rule" in parameters:
            return arns(f"rule/{parameters['EventBusName']}/{parameters['Rule']}")
        case "events" if "ArchiveName" in parameters:
            # Creating one names the bus too.
            return arns(f"archive/{parameters['ArchiveName']}") + [parameters[k] for k in _source(parameters)]
        case "events" if "ReplayName" in parameters:
            destination = [parameters["Destination"]["Arn"]] if "Destination" in parameters else []
            return arns(f"replay/{parameters['ReplayName']}") + [parameters[k] for k in _source(parameters)] + destination
    raise ValueError(f"{action}: say in tests/iam.py what it addresses; it has {sorted(parameters)}")


def _source(parameters: Mapping[str, Any]) -> list[str]:
    return ["EventSourceArn"] if "EventSourceArn" in parameters else []


def _of_route53(parameters: Mapping[str, Any]) -> list[str]:
    match parameters:
        case {"HostedZoneId": zone}:
            return [f"hostedzone/{zone.rpartition('/')[2]}"]
        case {"HealthCheckId": check} | {"ResourceType": "healthcheck", "ResourceId": check}:
            return [f"healthcheck/{check}"]
        case {"Id": change}:
            return [f"change/{change.rpartition('/')[2]}"]
    raise ValueError(f"route53: say in tests/iam.py what this addresses: {sorted(parameters)}")


def context_of(model: Any, parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    """The condition keys that IAM derives from a call's parameters."""
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
    if unknown := condition.keys() - {"ForAllValues:StringEquals"}:
        raise ValueError(f"tests/iam.py does not know {', '.join(unknown)}")
    return all(
        set(context.get(key, ())) <= set(accepted)
        for keys in condition.values()
        for key, accepted in keys.items()
    )

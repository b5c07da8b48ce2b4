"""Whether a target's resource policy admits the temporary rules of a replay, and the statement that would admit them.

Queues and functions are reached by EventBridge under their resource policy, which often names the one rule that may
send. Targets that a role is assumed for need none. Reads only.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code

SERVICE = "events.amazonaws.com"
_ACTIONS = {"sqs": "sqs:SendMessage", "lambda": "lambda:InvokeFunction"}
_SOURCE = "aws:sourcearn"
_NONE = ("ResourceNotFoundException", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")


def refusal(cloud: Cloud, target: Mapping[str, Any], rule_arn: str) -> str:
    """Why a rule with this ARN may not deliver to a target, and what would let it; empty where it may, or where no
    resource policy decides.

    Raises:
        ClientError: the policy cannot be read.
    """
    arn = str(target["Arn"])
    _, _, service, region, _, name = [*arn.split(":", 5), "", "", "", "", ""][:6]
    if service not in _ACTIONS or target.get("RoleArn"):
        return ""
    policy = _queue_policy(cloud, region, name) if service == "sqs" else _function_policy(cloud, region, name)
    if admits(policy, _ACTIONS[service], rule_arn):
        return ""
    pattern = f"{rule_arn.rpartition('/')[0]}/{cloud.stage.prefix}-replay-*"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": SERVICE},
        "Action": _ACTIONS[service],
        "Resource": arn,
        "Condition": {"ArnLike": {"aws:SourceArn": pattern}},
    }
    return f"the resource policy of {arn} does not admit the temporary rules; add {json.dumps(statement)}"


def admits(policy: Mapping[str, Any], action: str, rule_arn: str) -> bool:
    """Whether a resource policy allows EventBridge the action on behalf of a rule.

    What is not known here is taken to be in favour: conditions on other keys let an Allow apply, and a Deny not.
    """
    statements = [one for one in _list(policy.get("Statement", [])) if _concerns(one, action)]
    applying = [one for one in statements if _sourced(one.get("Condition", {}), rule_arn)]
    denied = [one for one in applying if one["Effect"] == "Deny" and _keys(one.get("Condition", {})) <= {_SOURCE}]
    return not denied and any(one["Effect"] == "Allow" for one in applying)


def _concerns(statement: Mapping[str, Any], action: str) -> bool:
    principal = statement.get("Principal", {})
    services = principal if isinstance(principal, str) else [*_list(principal.get("Service", [])), principal.get("AWS")]
    named = "*" in services or SERVICE in services
    actions = [str(one).lower() for one in _list(statement.get("Action", []))]
    return named and any(fnmatch.fnmatchcase(action.lower(), one) for one in actions)


def _sourced(conditions: Mapping[str, Any], rule_arn: str) -> bool:
    """Whether what the conditions say of the rule's ARN holds; nothing said holds."""
    for operator, keys in conditions.items():
        for key, values in keys.items():
            if key.lower() != _SOURCE:
                continue
            exact = operator.lower().startswith("stringequals")
            fits = any(v == rule_arn if exact else fnmatch.fnmatchcase(rule_arn, v) for v in _list(values))
            if fits == ("not" in operator.lower()):
                return False
    return True


def _keys(conditions: Mapping[str, Any]) -> set[str]:
    return {key.lower() for keys in conditions.values() for key in keys}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _queue_policy(cloud: Cloud, region: str, name: str) -> dict[str, Any]:
    sqs = cloud.client("sqs", region)
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {})
    except ClientError as error:
        if error_code(error) not in _NONE:
            raise
        return {}
    return dict(json.loads(attributes.get("Policy") or "{}"))


def _function_policy(cloud: Cloud, region: str, name: str) -> dict[str, Any]:
    try:
        answer = cloud.client("lambda", region).get_policy(FunctionName=name.removeprefix("function:"))
    except ClientError as error:
        if error_code(error) not in _NONE:
            raise
        return {}
    return dict(json.loads(answer["Policy"]))

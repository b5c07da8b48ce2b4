"""Who sends its failures to which dead-letter queue, as rules, functions and buses say. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.fanout import each

MAX_PAGES = 100
# Asking a function for its destination is a call each: of a whole account, that many are asked.
MAX_FUNCTIONS = 500

FeedKind = Literal["queue", "rule", "function", "bus"]


@dataclass(frozen=True)
class Feed:
    """Who sends its failures to a DLQ, and the ARN that a message of it goes back to.

    ``arn`` is the rule's, the queue's, the function's or the bus's; ``target`` is the same but for a rule, whose target
    it is. ``input`` is how that target changes the event (``Input``, ``InputPath`` or ``InputTransformer``).
    ``accepted_in`` is the region whose events a bus of the platform carries, where that is known.
    """

    kind: FeedKind
    arn: str
    target: str
    input: dict[str, Any] = field(default_factory=dict, hash=False)
    accepted_in: str = ""


def all_buses(cloud: Cloud, region: str) -> list[str]:
    events: Any = cloud.client("events", region)
    return [bus["Name"] for bus in pages(events.list_event_buses, "EventBuses")]


def all_functions(cloud: Cloud, region: str) -> list[str]:
    """The names of the account's functions in the region, at most ``MAX_FUNCTIONS``."""
    client: Any = cloud.client("lambda", region)
    listed = pages(client.list_functions, "Functions", token=("NextMarker", "Marker"))
    return [function["FunctionName"] for function, _ in zip(listed, range(MAX_FUNCTIONS), strict=False)]


def of_bus(cloud: Cloud, region: str, bus: str) -> Iterator[tuple[str, Feed]]:
    """``(ARN of the DLQ, who sends to it)`` of a bus and of the targets of its rules; nothing where there is no bus."""
    events: Any = cloud.client("events", region)
    try:
        described = events.describe_event_bus(Name=bus)
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return
        raise
    stage = cloud.stage
    carried = {
        stage.bus: region,
        stage.journal_bus: stage.journaled_region(region) if region in stage.regions else None,
    }
    if arn := (described.get("DeadLetterConfig") or {}).get("Arn"):
        yield arn, Feed("bus", described["Arn"], described["Arn"], accepted_in=carried.get(bus) or "")
    for rule in pages(events.list_rules, "Rules", EventBusName=bus):
        # EventBridge feeds archives by rules of its own.
        if rule.get("ManagedBy"):
            continue
        for target in pages(events.list_targets_by_rule, "Targets", Rule=rule["Name"], EventBusName=bus):
            if arn := (target.get("DeadLetterConfig") or {}).get("Arn"):
                change = {key: target[key] for key in ("Input", "InputPath", "InputTransformer") if target.get(key)}
                yield arn, Feed("rule", rule["Arn"], target["Arn"], change)


def of_functions(cloud: Cloud, region: str, names: Iterable[str]) -> Iterator[tuple[str, Feed]]:
    """The same of functions: where their failed asynchronous invocations go."""
    client: Any = cloud.client("lambda", region)

    def one(name: str) -> list[tuple[str, Feed]]:
        try:
            described = client.get_function_configuration(FunctionName=name)
            asked = client.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return []
            raise
        feed = Feed("function", described["FunctionArn"], described["FunctionArn"])
        found = [
            ((config.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination") for config in asked
        ]
        found.append((described.get("DeadLetterConfig") or {}).get("TargetArn"))
        return [(arn, feed) for arn in dict.fromkeys(found) if arn and ":sqs:" in arn]

    for found in each(names, one).values():
        yield from found


def pages(
    call: Callable[..., Any], part: str, *, token: tuple[str, str] = ("NextToken", "NextToken"), **request: Any
) -> Iterator[Any]:
    """What a list call lists, over at most ``MAX_PAGES`` pages; ``token`` names it in the answer and the request."""
    for _ in range(MAX_PAGES):
        answer = call(**request)
        yield from answer.get(part, ())
        if not answer.get(token[0]):
            return
        request[token[1]] = answer[token[0]]

"""What a replay makes for as long as it runs: a tap that overhears it, and rules that stand in for a selection.

An archive cannot be read and a replay takes no filter, but what it delivers carries ``replay-name``. So a rule on that
name brings a copy of every event to a queue of ours (the tap), and copies of chosen rules, with the selection in their
patterns, stand in for the rules themselves. What always holds: everything here bears the plan's token in its name, so
that what a killed run left is found by name; rules go before the queue they deliver to; making and removing may be
repeated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.errors import OpsError
from ops.replay.slices import name_prefix
from ops.stage import Stage

# SQS refuses to make a queue of a name within a minute of deleting one, and may be as slow to know a new one.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html
QUEUE_NAME_FREE_S = 90.0
RETENTION_S = 86_400
_TAP = "tap"
_GONE = ("ResourceNotFoundException", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")
_TOKEN_LENGTH = 16


def tap_name(stage: Stage, token: str) -> str:
    """Of the queue and of the rule that feeds it."""
    return f"{stage.prefix}-replay-{token}"


def rule_name(stage: Stage, token: str, index: int) -> str:
    """Of the rule that stands in for the chosen rule of this number."""
    return f"{tap_name(stage, token)}-{index}"


@dataclass
class Temporaries:
    """What was made so far, for the filter of a replay and for taking it away again."""

    region: str
    bus: str
    tap_rule: str = ""
    tap_queue: str = ""
    stand_ins: dict[str, str] = field(default_factory=dict)

    @property
    def filter_arns(self) -> list[str]:
        return [*self.stand_ins.values(), *([self.tap_rule] if self.tap_rule else [])]


@dataclass(frozen=True)
class Leftover:
    """Something of another run's that is still there. ``rule`` with its ``bus``, or the ``queue_url``."""

    token: str
    rule: str = ""
    bus: str = ""
    queue_url: str = ""

    @property
    def name(self) -> str:
        return self.rule or self.queue_url.rpartition("/")[2]


def ensure_tap(
    cloud: Cloud,
    made: Temporaries,
    token: str,
    pattern: Mapping[str, Any],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Make the tap's rule and queue, or take up those of an earlier run of the plan."""
    name = tap_name(cloud.stage, token)
    sqs, events = cloud.client("sqs", made.region), cloud.client("events", made.region)
    queue_arn = f"arn:aws:sqs:{made.region}:{cloud.account}:{name}"
    rule_arn = _rule_arn(cloud, made, name)
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
    }
    attributes: Any = {
        "Policy": json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
        "MessageRetentionPeriod": str(RETENTION_S),
        "VisibilityTimeout": "60",
        "SqsManagedSseEnabled": "true",
    }
    made.tap_queue = _once_free(lambda: sqs.create_queue(QueueName=name, Attributes=attributes), sleep, clock)
    made.tap_rule = _put_rule(cloud, made, name, _heard(cloud.stage, token, pattern), "Overhears a replay")
    _put_targets(events, made.bus, name, [{"Id": _TAP, "Arn": queue_arn}])


def ensure_stand_in(cloud: Cloud, made: Temporaries, token: str, wanted: Mapping[str, Any]) -> None:
    """Make the rule that stands in for another: ``wanted`` is ``{"rule", "index", "pattern", "targets"}`` of a plan."""
    name = rule_name(cloud.stage, token, wanted["index"])
    pattern = _heard(cloud.stage, token, wanted["pattern"])
    arn = _put_rule(cloud, made, name, pattern, f"Stands in for {wanted['rule']} while a selection is replayed")
    _put_targets(cloud.client("events", made.region), made.bus, name, list(wanted["targets"]))
    made.stand_ins[wanted["rule"]] = arn


def remove(cloud: Cloud, made: Temporaries) -> None:
    """Take it all away; what is not there is no error."""
    for arn in made.filter_arns:
        remove_rule(cloud, made.region, made.bus, arn.rpartition("/")[2])
    if made.tap_queue:
        remove_queue(cloud, made.region, made.tap_queue)
    made.stand_ins.clear()
    made.tap_rule = made.tap_queue = ""


def remove_rule(cloud: Cloud, region: str, bus: str, name: str) -> None:
    """Delete a rule and its targets."""
    events = cloud.client("events", region)
    try:
        targets = events.list_targets_by_rule(Rule=name, EventBusName=bus)["Targets"]
        if targets:
            ids = [target["Id"] for target in targets]
            answer = events.remove_targets(Rule=name, EventBusName=bus, Ids=ids)
            _require_none_failed(answer, f"rule {name}: removing its targets")
        events.delete_rule(Name=name, EventBusName=bus)
    except ClientError as error:
        if error_code(error) not in _GONE:
            raise


def remove_queue(cloud: Cloud, region: str, url: str) -> None:
    """Delete a queue with what is in it: copies, which nobody else waits for."""
    try:
        cloud.client("sqs", region).delete_queue(QueueUrl=url)
    except ClientError as error:
        if error_code(error) not in _GONE:
            raise


def leftovers(cloud: Cloud, region: str, bus: str) -> list[Leftover]:
    """Rules of this bus and queues of the region that bear the name of a replay's temporaries; reads only."""
    found = [
        Leftover(token, rule=name, bus=bus)
        for name in _rules(cloud, region, bus)
        if (token := token_of(cloud.stage, name))
    ]
    sqs: Any = cloud.client("sqs", region)
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=tap_name(cloud.stage, ""))
    urls = [url for page in pages for url in page.get("QueueUrls", [])]
    return found + [
        Leftover(token, queue_url=url) for url in urls if (token := token_of(cloud.stage, url.rpartition("/")[2]))
    ]


def in_use(cloud: Cloud, region: str, token: str) -> bool:
    """Whether a replay of that plan is under way, so that its temporaries are not left over but at work."""
    events: Any = cloud.client("events", region)
    prefix = name_prefix(cloud.stage, token)
    replays = events.list_replays(NamePrefix=prefix)["Replays"]
    return any(replay["State"] in ("STARTING", "RUNNING", "CANCELLING") for replay in replays)


def token_of(stage: Stage, name: str) -> str:
    """The token in a temporary's name; empty when it is none."""
    begin = tap_name(stage, "")
    token, _, index = name.removeprefix(begin).partition("-")
    known = len(token) == _TOKEN_LENGTH and set(token) <= set("0123456789abcdef") and (not index or index.isdigit())
    return token if name.startswith(begin) and known else ""


def _rules(cloud: Cloud, region: str, bus: str) -> Iterator[str]:
    events: Any = cloud.client("events", region)
    request = {"EventBusName": bus, "NamePrefix": tap_name(cloud.stage, "")}
    for _ in range(100):
        answer = events.list_rules(**request)
        yield from (rule["Name"] for rule in answer["Rules"])
        if not answer.get("NextToken"):
            return
        request["NextToken"] = answer["NextToken"]


def _heard(stage: Stage, token: str, pattern: Mapping[str, Any]) -> str:
    return json.dumps({**pattern, "replay-name": [{"prefix": name_prefix(stage, token)}]}, sort_keys=True)


def _rule_arn(cloud: Cloud, made: Temporaries, name: str) -> str:
    path = name if made.bus == "default" else f"{made.bus}/{name}"
    return f"arn:aws:events:{made.region}:{cloud.account}:rule/{path}"


def _put_rule(cloud: Cloud, made: Temporaries, name: str, pattern: str, what: str) -> str:
    answer = cloud.client("events", made.region).put_rule(
        Name=name, EventBusName=made.bus, EventPattern=pattern, State="ENABLED", Description=f"{what}; temporary"
    )
    return answer["RuleArn"]


def _put_targets(events: Any, bus: str, rule: str, targets: list[Any]) -> None:
    answer = events.put_targets(Rule=rule, EventBusName=bus, Targets=targets)
    _require_none_failed(answer, f"rule {rule}: setting its targets")


def _require_none_failed(answer: Any, doing: str) -> None:
    if answer["FailedEntryCount"]:
        reasons = "; ".join(f"{one['ErrorCode']}: {one['ErrorMessage']}" for one in answer["FailedEntries"])
        raise OpsError(f"{doing}: {reasons}")


def _once_free(make: Callable[[], Any], sleep: Callable[[float], None], clock: Callable[[], float]) -> str:
    """The new queue's URL, once its name is free again."""
    end = clock() + QUEUE_NAME_FREE_S
    while True:
        try:
            return str(make()["QueueUrl"])
        except ClientError as error:
            if "QueueDeletedRecently" not in error_code(error) or clock() >= end:
                raise
        sleep(5)

"""The dead-letter queues of a stage, or any by name, and who sends to each: found from what is deployed.

A rule's target names its DLQ, a queue names its own in its redrive policy, a function in its failure destination (or in
its older DLQ setting), a bus in its own configuration. Only what is found so is a place that a message may go back to.
Reads only; a region that gives no answer is named and left out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import NO_ANSWER, Cloud, error_code, explained
from ops.errors import UsageError
from ops.fanout import each
from ops.redrive import feeds
from ops.redrive.feeds import Feed, FeedKind

__all__ = ["DeadLetterQueue", "Feed", "Found", "discover", "find", "named"]

_COUNTS = [f"ApproximateNumberOfMessages{part}" for part in ("", "NotVisible", "Delayed")]


@dataclass(frozen=True)
class DeadLetterQueue:
    """One DLQ. ``depth`` is SQS's approximation of all messages in it, hidden ones too.

    ``own_dlq`` is the ARN of the queue that SQS moves its messages on to once they were received more than
    ``max_receives`` times; else empty.
    """

    region: str
    name: str
    url: str
    arn: str
    depth: int
    feeds: tuple[Feed, ...]
    own_dlq: str = ""
    max_receives: int = 0
    retention_s: int = 0

    def fed_by(self, kind: FeedKind) -> list[Feed]:
        return [feed for feed in self.feeds if feed.kind == kind]


@dataclass(frozen=True)
class Found:
    """``silent``: regions without an answer. ``remarks``: where what is deployed is not what the stage says."""

    queues: tuple[DeadLetterQueue, ...]
    silent: tuple[str, ...]
    remarks: tuple[str, ...]


def find(cloud: Cloud, regions: Sequence[str] = (), names: Sequence[str] = ()) -> list[DeadLetterQueue]:
    """The stage's DLQs, or those of any name in the account, in every region that answers.

    Raises:
        UsageError: a name is no queue in any of the regions.
        OpsError: a region answered with a failure.
    """
    return list(discover(cloud, regions, names).queues)


def discover(cloud: Cloud, regions: Sequence[str] = (), names: Sequence[str] = ()) -> Found:
    """As :func:`find`, with what was not found as it should be."""
    foreign = bool(set(names) - set(cloud.stage.dlqs))

    def one(region: str) -> tuple[list[DeadLetterQueue], list[str]] | None:
        try:
            if foreign:
                return _named(cloud, region, names), []
            found, remarks = _of_stage(cloud, region)
        except NO_ANSWER:
            return None
        return [queue for queue in found if not names or queue.name in names], remarks

    with explained("looking for dead-letter queues"):
        found = each(regions or cloud.stage.regions, one)
    queues = [queue for seen in found.values() if seen for queue in seen[0]]
    silent = tuple(region for region, seen in found.items() if seen is None)
    missing = sorted(set(names) - {queue.name for queue in queues})
    if missing and len(silent) < len(found):
        raise UsageError(
            f"queues: {', '.join(missing)}: no such queue in {', '.join(region for region in found if found[region])}",
            hint=f"The stage's own are: {', '.join(cloud.stage.dlqs)}",
        )
    return Found(tuple(queues), silent, tuple(remark for seen in found.values() if seen for remark in seen[1]))


def named(cloud: Cloud, region: str, names: Sequence[str]) -> list[DeadLetterQueue]:
    """Those of these queues that a region has, as they are; who sends to them is not looked for.

    Raises:
        OpsError: the region did not answer, or with a failure.
    """
    with explained(f"{region}: looking for dead-letter queues"):
        return [_queue(region, name, seen, {}) for name, seen in _attributes(cloud, region, names).items()]


def _of_stage(cloud: Cloud, region: str) -> tuple[list[DeadLetterQueue], list[str]]:
    """The stage's queues that are somebody's DLQ, and those that the stage names as one."""
    stage, senders = cloud.stage, _senders()
    for bus in (stage.bus, stage.journal_bus):
        _add(senders, feeds.of_bus(cloud, region, bus))
    _add(senders, feeds.of_functions(cloud, region, [stage.function(name) for name in stage.function_names]))
    attributes = _attributes(cloud, region, _queue_names(cloud, region))
    _add(senders, _redrive_policies(attributes))
    named = sorted(_name(arn) for arn in senders if f":{region}:{cloud.account}:" in arn)
    attributes |= _attributes(cloud, region, [name for name in named if name not in attributes])
    deployed = [
        _queue(region, name, seen, senders)
        for name, seen in sorted(attributes.items())
        if seen["QueueArn"] in senders or name in stage.dlqs
    ]
    return deployed, list(_remarks(region, stage.dlqs, deployed, senders))


def _named(cloud: Cloud, region: str, names: Sequence[str]) -> list[DeadLetterQueue]:
    """Queues by name, whoever sends to them: every bus and function of the account is asked."""
    senders = _senders()
    attributes = _attributes(cloud, region, names)
    if not attributes:
        return []
    for bus in feeds.all_buses(cloud, region):
        _add(senders, feeds.of_bus(cloud, region, bus))
    _add(senders, feeds.of_functions(cloud, region, feeds.all_functions(cloud, region)))
    sqs: Any = cloud.client("sqs", region)
    for seen in attributes.values():
        for url in feeds.pages(sqs.list_dead_letter_source_queues, "queueUrls", QueueUrl=seen["url"], MaxResults=1000):
            arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            _add(senders, [(seen["QueueArn"], Feed("queue", arn, arn))])
    return [_queue(region, name, seen, senders) for name, seen in attributes.items()]


def _queue_names(cloud: Cloud, region: str) -> list[str]:
    sqs: Any = cloud.client("sqs", region)
    prefix = f"{cloud.stage.prefix}-"
    return sorted(
        _url_name(url) for url in feeds.pages(sqs.list_queues, "QueueUrls", QueueNamePrefix=prefix, MaxResults=1000)
    )


def _attributes(cloud: Cloud, region: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """All attributes of the queues that there are, and their ``url``."""
    sqs = cloud.client("sqs", region)

    def one(name: str) -> dict[str, Any] | None:
        try:
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            seen: Any = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        except ClientError as error:
            if any(code in error_code(error) for code in ("NonExistentQueue", "QueueDoesNotExist")):
                return None
            raise
        return {**seen, "url": url}

    return {name: seen for name, seen in each(names, one).items() if seen is not None}


def _redrive_policies(attributes: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Feed]]:
    for seen in attributes.values():
        if arn := _policy(seen).get("deadLetterTargetArn"):
            yield str(arn), Feed("queue", seen["QueueArn"], seen["QueueArn"])


def _queue(region: str, name: str, seen: Mapping[str, Any], senders: Mapping[str, list[Feed]]) -> DeadLetterQueue:
    policy = _policy(seen)
    return DeadLetterQueue(
        region=region,
        name=name,
        url=seen["url"],
        arn=seen["QueueArn"],
        depth=sum(int(seen.get(count, 0)) for count in _COUNTS),
        feeds=tuple(senders.get(seen["QueueArn"], ())),
        own_dlq=str(policy.get("deadLetterTargetArn", "")),
        max_receives=int(policy.get("maxReceiveCount", 0)),
        retention_s=int(seen.get("MessageRetentionPeriod", 0)),
    )


def _remarks(
    region: str, wanted: Sequence[str], deployed: Sequence[DeadLetterQueue], senders: Mapping[str, list[Feed]]
) -> Iterator[str]:
    """Where what is deployed differs from what the stage names."""
    found = {queue.name: queue for queue in deployed}
    for name in wanted:
        if name not in found:
            yield f"{region}: {name} is among the stage's names, and is not deployed"
        elif found[name].depth and not found[name].feeds:
            yield f"{region}: nothing that is deployed sends its failures to {name}"
    for name in sorted(set(found) - set(wanted)):
        yield f"{region}: {name} is a dead-letter queue, and the stage does not name it"
    for arn in sorted(set(senders) - {queue.arn for queue in deployed}):
        yield f"{region}: {arn} is named as a dead-letter queue, and does not exist"


def _senders() -> dict[str, list[Feed]]:
    return defaultdict(list)


def _add(senders: dict[str, list[Feed]], found: Iterable[tuple[str, Feed]]) -> None:
    for arn, feed in found:
        senders[arn].append(feed)


def _policy(attributes: Mapping[str, Any]) -> dict[str, Any]:
    try:
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
    except ValueError:
        return {}
    return policy if isinstance(policy, dict) else {}


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _url_name(url: str) -> str:
    return url.rpartition("/")[2]

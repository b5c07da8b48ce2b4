"""What a replay and a redrive need, as AWS does it: archives, replays, dead-letter queues and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from ops.local import cloud as local_cloud
from ops.local.cloud import LocalCloud
from ops.local.processes import choose_port
from tests.local.platform import Aws, stage_on, wait_until

US = "us-east-1"
ARN = f"arn:aws:events:{US}:000000000000"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
START_S = int(START.timestamp())


@dataclass
class Recovery:
    """A running cloud; each test makes a bus and queues of its own."""

    cloud: LocalCloud
    aws: Aws

    @property
    def events(self) -> Any:
        return self.aws("events", US)

    def bus(self, name: str, *rules: str) -> None:
        """A bus with an archive and rules for all events, each with a queue, all named after it."""
        self.events.create_event_bus(Name=name)
        self.events.create_archive(ArchiveName=name, EventSourceArn=f"{ARN}:event-bus/{name}")
        for rule in rules:
            pattern = json.dumps({"source": ["shop"]})
            arn = self.events.put_rule(Name=rule, EventBusName=name, EventPattern=pattern)["RuleArn"]
            queue = self.aws.queue(US, f"{name}-{rule}", arn)
            self.events.put_targets(Rule=rule, EventBusName=name, Targets=[{"Id": "q", "Arn": queue}])

    def put(self, bus: str, count: int, *, spacing_s: int) -> None:
        """``count`` events, ``spacing_s`` apart from ``START`` on."""
        entries = [
            {
                "Source": "shop",
                "DetailType": "order",
                "Detail": json.dumps({"number": number}),
                "EventBusName": bus,
                "Time": datetime.fromtimestamp(START_S + number * spacing_s, UTC),
            }
            for number in range(count)
        ]
        for first in range(0, count, 10):
            answer = self.events.put_events(Entries=entries[first : first + 10])
            assert answer["FailedEntryCount"] == 0

    def start(self, name: str, bus: str, *, end_s: int = 86400, rules: tuple[str, ...] = ()) -> None:
        destination: dict[str, Any] = {"Arn": f"{ARN}:event-bus/{bus}"}
        if rules:
            destination["FilterArns"] = [f"{ARN}:rule/{bus}/{rule}" for rule in rules]
        self.events.start_replay(
            ReplayName=name,
            EventSourceArn=f"{ARN}:archive/{bus}",
            EventStartTime=START,
            EventEndTime=datetime.fromtimestamp(START_S + end_s, UTC),
            Destination=destination,
        )

    def replay(self, name: str, state: str) -> dict[str, Any]:
        """The description of a replay once it is in ``state``."""
        return dict(
            wait_until(
                lambda: next((d for d in [self.events.describe_replay(ReplayName=name)] if d["State"] == state), None),
                f"replay {name} to be {state}",
            )
        )

    def pace(self, events_per_s: float | None) -> None:
        changed = httpx.patch(f"{self.cloud.emulator_url}/_atoll/replays", json={"events_per_s": events_per_s})
        assert changed.json()["events_per_s"] == events_per_s

    def url(self, queue: str) -> str:
        return str(self.aws("sqs", US).get_queue_url(QueueName=queue)["QueueUrl"])

    def taken(self, queue: str) -> list[dict[str, Any]]:
        """All messages of a queue in its order, which are deleted."""
        sqs, url, messages = self.aws("sqs", US), self.url(queue), []
        while batch := sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        ).get("Messages"):
            messages += batch
            for message in batch:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    def numbers(self, queue: str) -> list[int]:
        return [json.loads(message["Body"])["detail"]["number"] for message in self.taken(queue)]


@contextmanager
def running(state_dir: Path, **settings: Any) -> Iterator[Recovery]:
    cloud = local_cloud.up(stage_on(choose_port(0, {0}), **settings), state_dir=state_dir)
    aws = Aws(cloud)
    try:
        yield Recovery(cloud, aws)
    finally:
        aws.close()
        local_cloud.down(state_dir=state_dir)


@pytest.fixture(scope="module")
def recovery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recovery]:
    with running(tmp_path_factory.mktemp("cloud")) as one:
        yield one


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recovery]:
    """A cloud that holds every role to its policy."""
    with running(tmp_path_factory.mktemp("guarded"), enforce_iam=True) as one:
        yield one


@pytest.fixture(autouse=True)
def at_full_pace(recovery: Recovery) -> Iterator[None]:
    yield
    recovery.pace(None)


def test_archive_counts_events_and_bytes_and_its_rule_has_metrics(recovery: Recovery) -> None:
    recovery.bus("counted")
    recovery.put("counted", 12, spacing_s=1)
    archive = recovery.events.describe_archive(ArchiveName="counted")
    assert archive["EventCount"] == 12
    assert archive["SizeBytes"] > 12 * 30
    dimensions = {"EventBusName": "counted", "RuleName": "Events-Archive-counted"}
    for metric in ("Invocations", "MatchedEvents"):
        wait_until(lambda metric=metric: recovery.aws.metric_sum(US, "AWS/Events", metric, dimensions) == 12, metric)


def test_replay_takes_the_window_by_the_time_of_the_events_minute_by_minute(recovery: Recovery) -> None:
    recovery.bus("window", "all")
    recovery.put("window", 60, spacing_s=5)
    assert len(recovery.taken("window-all")) == 60
    recovery.start("window", "window", end_s=240)
    done = recovery.replay("window", "COMPLETED")
    assert done["ReplayEndTime"] >= done["ReplayStartTime"]
    messages = [json.loads(message["Body"]) for message in recovery.taken("window-all")]
    assert {message["replay-name"] for message in messages} == {"window"}
    numbers = [message["detail"]["number"] for message in messages]
    assert sorted(numbers) == list(range(48))
    minutes = [number // 12 for number in numbers]
    assert minutes == sorted(minutes)
    assert numbers != sorted(numbers)
    assert recovery.events.describe_archive(ArchiveName="window")["EventCount"] == 60


def test_replay_reaches_only_the_rules_that_filter_arns_names(recovery: Recovery) -> None:
    recovery.bus("chosen", "one", "other")
    recovery.put("chosen", 5, spacing_s=1)
    for rule in ("one", "other"):
        recovery.taken(f"chosen-{rule}")
    recovery.start("chosen", "chosen", rules=("one",))
    recovery.replay("chosen", "COMPLETED")
    assert len(recovery.taken("chosen-one")) == 5
    assert recovery.taken("chosen-other") == []


def test_replay_shows_its_progress_and_cancelling_it_stops_delivery(recovery: Recovery) -> None:
    recovery.bus("slow", "all")
    recovery.put("slow", 60, spacing_s=60)
    recovery.taken("slow-all")
    recovery.pace(30)
    recovery.start("slow", "slow")

    def reached() -> Any:
        return recovery.events.describe_replay(ReplayName="slow").get("EventLastReplayedTime")

    first = wait_until(reached, "the first event")
    later = wait_until(lambda: (now := reached()) > first and now, "progress")
    assert START <= first < later
    assert recovery.events.cancel_replay(ReplayName="slow")["State"] == "CANCELLING"
    last = recovery.replay("slow", "CANCELLED")["EventLastReplayedTime"]
    assert sorted(recovery.numbers("slow-all")) == list(range((int(last.timestamp()) - START_S) // 60 + 1))
    with pytest.raises(ClientError, match="IllegalStatusException"):
        recovery.events.cancel_replay(ReplayName="slow")


def test_eleventh_replay_under_way_is_refused(recovery: Recovery) -> None:
    recovery.bus("many")
    recovery.put("many", 1, spacing_s=1)
    recovery.pace(0)
    for number in range(10):
        recovery.start(f"many-{number}", "many")
    with pytest.raises(ClientError, match="LimitExceededException"):
        recovery.start("many-10", "many")
    listed = recovery.events.list_replays(NamePrefix="many-", Limit=4)
    assert [one["ReplayName"] for one in listed["Replays"]] == [f"many-{number}" for number in range(4)]
    assert "NextToken" in listed
    recovery.pace(None)
    recovery.replay("many-9", "COMPLETED")
    recovery.start("many-10", "many")
    recovery.replay("many-10", "COMPLETED")


def test_pattern_is_tried_on_an_event_and_a_broken_one_is_refused(recovery: Recovery) -> None:
    event = json.dumps(
        {
            "id": "1",
            "account": "000000000000",
            "source": "shop",
            "time": "2026-03-01T12:00:00Z",
            "region": US,
            "resources": [],
            "detail-type": "order",
            "detail": {"event": {"type": "order.placed"}},
            "replay-name": "atoll-replay-1",
        }
    )

    def matches(pattern: dict[str, Any]) -> bool:
        return bool(recovery.events.test_event_pattern(EventPattern=json.dumps(pattern), Event=event)["Result"])

    assert matches({"detail": {"event": {"type": [{"prefix": "order."}]}}, "replay-name": [{"prefix": "atoll-"}]})
    assert not matches({"replay-name": [{"exists": False}]})
    with pytest.raises(ClientError, match="InvalidEventPatternException"):
        matches({"source": "shop"})


def dead_letters(recovery: Recovery, name: str, count: int) -> str:
    """The ARN of a DLQ with ``count`` messages that were received once from the queue ``name``."""
    sqs = recovery.aws("sqs", US)
    dlq = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dlq, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    attributes = {"RedrivePolicy": policy, "VisibilityTimeout": "0"}
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    for number in range(count):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    while sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        pass
    return str(arn)


def test_move_task_brings_dead_letters_back_to_their_queue_as_new_messages(recovery: Recovery) -> None:
    sqs, arn = recovery.aws("sqs", US), dead_letters(recovery, "work", 12)
    (source,) = sqs.list_dead_letter_source_queues(QueueUrl=recovery.url("work-dead"))["queueUrls"]
    assert source == recovery.url("work")
    seen = sqs.receive_message(
        QueueUrl=recovery.url("work-dead"), VisibilityTimeout=0, MessageSystemAttributeNames=["All"]
    )["Messages"][0]
    assert seen["Attributes"]["DeadLetterQueueSourceArn"].endswith(":work")
    sqs.set_queue_attributes(QueueUrl=source, Attributes={"VisibilityTimeout": "30"})
    sqs.start_message_move_task(SourceArn=arn)
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        sqs.start_message_move_task(SourceArn=arn)
    wait_until(
        lambda: sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["Status"] == "COMPLETED", "the task to end"
    )
    back = recovery.taken("work")
    assert sorted(int(message["Body"]) for message in back) == list(range(12))
    assert {message["Attributes"]["ApproximateReceiveCount"] for message in back} == {"1"}
    assert recovery.taken("work-dead") == []


def test_move_task_that_is_cancelled_leaves_the_rest_in_the_dlq(recovery: Recovery) -> None:
    sqs, arn = recovery.aws("sqs", US), dead_letters(recovery, "slowly", 12)
    handle = sqs.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=2)["TaskHandle"]
    wait_until(
        lambda: sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["ApproximateNumberOfMessagesMoved"], "progress"
    )
    moved = sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    (task,) = sqs.list_message_move_tasks(SourceArn=arn, MaxResults=10)["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("CANCELLED", moved)
    assert len(recovery.taken("slowly-dead")) == 12 - moved > 0


def test_failed_asynchronous_invocation_is_recorded_with_its_request_id(recovery: Recovery) -> None:
    aws = recovery.aws
    aws.function(US, "api")
    queue = aws("sqs", US).create_queue(QueueName="failed")["QueueUrl"]
    arn = aws("sqs", US).get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws("lambda", US).put_function_event_invoke_config(
        FunctionName="api", MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    payload = {"rawPath": "/fail", "rawQueryString": "", "headers": {}}
    asked = aws("lambda", US).invoke(FunctionName="api", InvocationType="Event", Payload=json.dumps(payload))
    assert asked["StatusCode"] == 202
    (message,) = wait_until(lambda: recovery.taken("failed"), "the record", timeout_s=60)
    record = json.loads(message["Body"])
    assert record["version"] == "1.0"
    assert record["requestContext"] == {
        "requestId": asked["ResponseMetadata"]["RequestId"],
        "functionArn": f"arn:aws:lambda:{US}:000000000000:function:api:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 2,
    }
    assert record["requestPayload"] == payload
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert record["responsePayload"]["errorType"] == "RuntimeError"


def session(recovery: Recovery, name: str, grants: dict[str, list[str]]) -> boto3.Session:
    """A session of a role that may do each of ``grants`` (action: resources) and nothing else."""
    iam, account = recovery.aws("iam", US), {"AWS": "arn:aws:iam::000000000000:root"}
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": account, "Action": "sts:*"}]}
    statements = [{"Effect": "Allow", "Action": action, "Resource": arns} for action, arns in grants.items()]
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_role_policy(RoleName=name, PolicyName="only", PolicyDocument=policy)
    keys = recovery.aws("sts", US).assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    return boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], US)


def client(recovery: Recovery, of: boto3.Session, service: str) -> Any:
    return of.client(service, endpoint_url=recovery.cloud.endpoint_url)  # type: ignore[call-overload]


def test_replay_is_refused_without_its_grant_on_archive_bus_and_replay(guarded: Recovery) -> None:
    guarded.bus("held")
    arns = [f"{ARN}:archive/held", f"{ARN}:event-bus/held", f"{ARN}:replay/held-*"]
    request = {
        "EventSourceArn": arns[0],
        "EventStartTime": START,
        "EventEndTime": datetime.fromtimestamp(START_S + 60, UTC),
        "Destination": {"Arn": arns[1]},
    }
    for missing in range(3):
        less = [arn for number, arn in enumerate(arns) if number != missing]
        events = client(guarded, session(guarded, f"replay-{missing}", {"events:StartReplay": less}), "events")
        with pytest.raises(ClientError, match="AccessDenied"):
            events.start_replay(ReplayName=f"held-{missing}", **request)
    grants = {"events:StartReplay": arns, "events:DescribeReplay": arns[2:], "events:TestEventPattern": ["*"]}
    events = client(guarded, session(guarded, "replay", grants), "events")
    events.start_replay(ReplayName="held-all", **request)
    assert events.describe_replay(ReplayName="held-all")["State"] in {"STARTING", "RUNNING", "COMPLETED"}
    with pytest.raises(ClientError, match="AccessDenied"):
        events.cancel_replay(ReplayName="held-all")


def test_move_task_is_refused_without_the_grants_of_what_it_does(guarded: Recovery) -> None:
    arn = dead_letters(guarded, "held", 1)
    source = arn.removesuffix("-dead")
    actions = ("StartMessageMoveTask", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "ListMessageMoveTasks")
    whole = {f"sqs:{action}": [arn] for action in actions} | {"sqs:SendMessage": [source]}
    for missing in ("sqs:DeleteMessage", "sqs:SendMessage", "sqs:StartMessageMoveTask"):
        less = {action: arns for action, arns in whole.items() if action != missing}
        sqs = client(guarded, session(guarded, missing.replace(":", "-"), less), "sqs")
        with pytest.raises(ClientError, match="AccessDenied"):
            sqs.start_message_move_task(SourceArn=arn)
    sqs = client(guarded, session(guarded, "move", whole), "sqs")
    sqs.send_message_batch(QueueUrl=guarded.url("held"), Entries=[{"Id": "1", "MessageBody": "by hand"}])
    sqs.start_message_move_task(SourceArn=arn)
    wait_until(
        lambda: sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["Status"] == "COMPLETED", "the task to end"
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        sqs.list_dead_letter_source_queues(QueueUrl=guarded.url("held-dead"))

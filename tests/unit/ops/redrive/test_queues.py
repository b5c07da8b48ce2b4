"""Which dead-letter queues there are, and who sends to each, from what is deployed."""

from __future__ import annotations

import pytest

from ops.errors import UsageError
from ops.redrive.queues import discover, find
from tests.unit.ops.redrive.platform import Platform


def test_find_when_the_stage_is_deployed_knows_each_queue_and_who_feeds_it(platform: Platform) -> None:
    found = {(queue.region, queue.name): queue for queue in find(platform.cloud)}
    assert {name for _, name in found} == set(platform.cloud.stage.dlqs)
    assert len(found) == 2 * len(platform.cloud.stage.dlqs)
    store = found["ap-south-1", "atoll-unit-store-dlq"]
    assert {(feed.kind, feed.target) for feed in store.feeds} == {
        ("rule", platform.arn("atoll-unit-store", "ap-south-1")),
        ("queue", platform.arn("atoll-unit-store", "ap-south-1")),
    }
    asynchronous = found["us-east-1", "atoll-unit-async-dlq"]
    assert {feed.arn.rpartition(":")[2] for feed in asynchronous.fed_by("function")} == {
        platform.cloud.stage.function(name) for name in platform.cloud.stage.function_names
    }


def test_discover_when_a_rule_names_another_dlq_finds_it_and_remarks_on_it(platform: Platform) -> None:
    platform.cloud.client("sqs", "us-east-1").create_queue(QueueName="forgotten-dlq")
    for name in ("forgotten-dlq", "gone-dlq"):
        platform.cloud.client("events", "us-east-1").put_targets(
            Rule="atoll-unit-store",
            EventBusName="atoll-unit",
            Targets=[{"Id": name, "Arn": platform.arn("x"), "DeadLetterConfig": {"Arn": platform.arn(name)}}],
        )
    found = discover(platform.cloud, ["us-east-1"])
    assert "forgotten-dlq" in {queue.name for queue in found.queues}
    assert "us-east-1: forgotten-dlq is a dead-letter queue, and the stage does not name it" in found.remarks
    assert f"us-east-1: {platform.arn('gone-dlq')} is named as a dead-letter queue, and does not exist" in found.remarks


def test_discover_when_a_dlq_holds_messages_that_nothing_deployed_sends_remarks_on_it(platform: Platform) -> None:
    remark = "us-east-1: nothing that is deployed sends its failures to atoll-unit-journal-dlq"
    assert remark not in discover(platform.cloud, ["us-east-1"]).remarks
    sqs = platform.cloud.client("sqs", "us-east-1")
    sqs.send_message(QueueUrl=platform.url("atoll-unit-journal-dlq"), MessageBody="{}")
    assert remark in discover(platform.cloud, ["us-east-1"]).remarks


def test_discover_when_a_named_dlq_is_missing_remarks_on_it(platform: Platform) -> None:
    platform.cloud.client("sqs", "us-east-1").delete_queue(QueueUrl=platform.url("atoll-unit-bus-dlq"))
    remarks = discover(platform.cloud, ["us-east-1"]).remarks
    assert "us-east-1: atoll-unit-bus-dlq is among the stage's names, and is not deployed" in remarks


def test_find_when_a_foreign_queue_is_named_asks_the_account_who_feeds_it(platform: Platform) -> None:
    sqs = platform.cloud.client("sqs", "us-east-1")
    for name in ("payroll", "payroll-dlq"):
        sqs.create_queue(QueueName=name)
    policy = f'{{"deadLetterTargetArn": "{platform.arn("payroll-dlq")}", "maxReceiveCount": 2}}'
    platform.attribute("payroll", RedrivePolicy=policy)
    platform.answers["ListFunctions"] = {"Functions": []}
    (queue,) = find(platform.cloud, names=["payroll-dlq"])
    assert (queue.region, [feed.arn for feed in queue.feeds]) == ("us-east-1", [platform.arn("payroll")])


def test_find_when_a_name_is_no_queue_says_which_there_are(platform: Platform) -> None:
    with pytest.raises(UsageError, match=r"queues: stoer-dlq: no such queue in us-east-1, ap-south-1"):
        find(platform.cloud, names=["stoer-dlq"])

"""What ended on a dead-letter queue comes back into the table, none twice, and a redrive that dies loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from ops.redrive.orders import WORKERS
from ops.redrive.receiving import BATCH
from ops.stage import ROOT
from tests.local.conftest import Atoll
from tests.local.platform import wait_until
from tests.local.test_enforcement import without

REGION, CITY = "us-east-1", "New York"
# Set them to 2,000 to see more than CI has the time for.
EVENTS = int(os.environ.get("ATOLL_REDRIVE_EVENTS", "40"))
MESSAGES = int(os.environ.get("ATOLL_REDRIVE_MESSAGES", "400"))
KILLS = 3
SENT = 250  # by one command
# Two receives more, each after the queue's visibility timeout, and the work itself.
DEAD_LETTERED_S = 180 + EVENTS / 10


@pytest.fixture(autouse=True)
def place(atoll: Atoll) -> str:
    """The region's bucket for the ledger, which the provision runbook makes."""
    s3, name = atoll.client("s3", REGION), atoll.stage.operations_bucket("000000000000", REGION)
    with suppress(s3.exceptions.BucketAlreadyExists, s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=name)
    return name


def redriver(atoll: Atoll, queue: str, rate_per_s: int, **changes: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.local.redriver", REGION, queue, str(rate_per_s)],
        cwd=ROOT,
        env=atoll.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **changes,
    )


def redrive(atoll: Atoll, queue: str, rate_per_s: int) -> str:
    """Redrive to the end; what it says."""
    with redriver(atoll, queue, rate_per_s) as process:
        said = process.communicate(timeout=240)[0]
    assert process.returncode == 0, said
    return said


def run(atoll: Atoll, queue: str, *given: str) -> dict[str, Any]:
    """The runbook's plan of one queue, and what applying it found."""
    asked = ("run", "redrive", "-p", f"queues={queue}", "-p", f"regions={REGION}", *given)
    token = atoll.ops(*asked, "--json").json["plan"]["token"]
    result: dict[str, Any] = atoll.ops("run", "redrive", "--apply", token, "--json", expect=None).json
    return result


def depth(sqs: Any, url: str) -> int:
    names = [f"ApproximateNumberOfMessages{part}" for part in ("", "NotVisible", "Delayed")]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def send(atoll: Atoll, count: int) -> list[dict[str, Any]]:
    """Send events to the region; what became of each."""
    out = atoll.directory / f"{uuid.uuid4().hex}.jsonl"
    atoll.ops("send", "--count", str(count), "--from", CITY, "--out", str(out))
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.timeout(1500)
def test_events_accepted_while_store_was_broken_come_into_the_table_once_each(atoll: Atoll) -> None:
    sqs, name = atoll.client("sqs", REGION), f"{atoll.stage.prefix}-store-dlq"
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    before = depth(sqs, url)
    with without(atoll, "store", "dynamodb:PutItem"):
        lines = [line for start in range(0, EVENTS, SENT) for line in send(atoll, min(SENT, EVENTS - start))]
        wait_until(lambda: depth(sqs, url) == before + EVENTS, "all events on the DLQ", timeout_s=DEAD_LETTERED_S)
    accepted = {line["event_key"] for line in lines if line["status"] == 202}
    assert len(accepted) == EVENTS
    assert {line["region"] for line in lines} == {REGION}
    assert not accepted & set(atoll.event_keys(REGION))

    result = run(atoll, name)

    assert result["verdict"] == "pass", result["checks"]
    assert result["figures"]["moved"] >= EVENTS
    assert depth(sqs, url) == 0
    for region in atoll.stage.regions:
        stored = Counter(atoll.event_keys(region))
        assert {key: stored[key] for key in accepted} == dict.fromkeys(accepted, 1)


@pytest.mark.timeout(600)
def test_redrive_that_is_killed_three_times_loses_nothing(atoll: Atoll) -> None:
    sqs, name = atoll.client("sqs", REGION), f"killed-{uuid.uuid4().hex[:8]}"
    dlq = sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dlq, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 100})
    queue = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy})["QueueUrl"]
    attributes = {
        key: {"DataType": "String", "StringValue": text}
        for key, text in {"ERROR_CODE": "ThrottlingException", "FUNCTION": "store"}.items()
    }
    for start in range(0, MESSAGES, 10):
        entries = [
            {"Id": str(n), "MessageBody": f"body-{n}", "MessageAttributes": attributes}
            for n in range(start, min(start + 10, MESSAGES))
        ]
        sqs.send_message_batch(QueueUrl=dlq, Entries=entries)

    for _ in range(KILLS):
        moved = depth(sqs, queue)
        with redriver(atoll, f"{name}-dlq", MESSAGES // 8) as process:
            wait_until(
                lambda moved=moved, run=process: depth(sqs, queue) > moved or run.poll() is not None,
                "a message redriven",
                timeout_s=60,
            )
            assert process.poll() is None, process.communicate()[0]
            process.kill()
        assert depth(sqs, dlq) > 0
    said = redrive(atoll, f"{name}-dlq", 500)

    assert "an earlier run of this plan did not end" not in said  # at another rate it is another plan
    assert depth(sqs, dlq) == 0
    found: Counter[str] = Counter()
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        found.update(message["Body"] for message in messages)
    assert set(found) == {f"body-{n}" for n in range(MESSAGES)}
    # What was sent and not deleted yet when it was killed, and no more, was delivered a second time: a batch a worker.
    assert found.total() - MESSAGES <= KILLS * WORKERS * BATCH


@pytest.mark.timeout(600)
def test_what_sqs_itself_brought_goes_back_by_its_own_task_and_is_proved(atoll: Atoll) -> None:
    sqs, name = atoll.client("sqs", REGION), f"{atoll.stage.prefix}-store"
    queue, dlq = (sqs.get_queue_url(QueueName=one)["QueueUrl"] for one in (name, f"{name}-dlq"))
    atoll.ops("fault", "region-down", REGION, "--part", "processing")
    try:
        lines = send(atoll, 20)

        def brought() -> bool:
            # Received and not deleted again and again, as from a function that crashes.
            sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0)
            return depth(sqs, dlq) == len(lines)

        wait_until(brought, "every message on the DLQ", timeout_s=120)
    finally:
        atoll.ops("fault", "heal")

    result = run(atoll, f"{name}-dlq")

    (step,) = (step for step in result["plan"]["steps"] if step["action"] == "run")
    assert step["after"]["engine"] == "move-task"
    assert (result["verdict"], result["figures"]["moved"]) == ("pass", len(lines)), result["checks"]
    (proved,) = (check for check in result["checks"] if check["name"] == "moved events are in every table")
    assert proved["detail"].startswith(f"{len(lines)} events")
    for region in atoll.stage.regions:
        assert {line["event_key"] for line in lines} <= set(atoll.event_keys(region))

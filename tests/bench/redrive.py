"""How fast a redrive is, against the loop that one writes first: receive, send and delete, one message after the other.

Both run against the same server, a process of its own, in turn. ``python -m tests.bench.redrive COUNT`` redrives that
many and prints the memory that it took.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from ops.aws import CONFIG, Cloud
from ops.bucket import Place
from ops.rate import TokenBucket
from ops.redrive.choice import Choice
from ops.redrive.moving import Pass
from ops.redrive.orders import Orders, Tally
from ops.redrive.queues import DeadLetterQueue, Feed
from ops.stage import load_stage

REGION, ACCOUNT = "us-east-1", "000000000000"
ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"


class Bench:
    """A dead-letter queue to fill and to empty, on the server at ``endpoint``."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        made = {"region_name": REGION, "endpoint_url": endpoint, **keys}
        self.sqs: Any = boto3.client("sqs", **made, config=CONFIG)  # type: ignore[call-overload]
        self._plain: Any = boto3.client("sqs", **made)  # type: ignore[call-overload]
        self.cloud = _Cloud(self.sqs)
        self.dlq, self.target = f"{endpoint}/{ACCOUNT}/dlq", f"{endpoint}/{ACCOUNT}/target"

    def fill(self, count: int) -> None:
        """Put in messages like those that a processor gives up on, of about 700 bytes."""
        texts = {"ERROR_CODE": "ThrottlingException", "ERROR_MESSAGE": "PutItem was refused", "FUNCTION": "store"}
        attributes = {name: {"DataType": "String", "StringValue": text} for name, text in texts.items()}
        for start in range(0, count, 10):
            entries = [
                {"Id": str(n), "MessageBody": _body(), "MessageAttributes": attributes}
                for n in range(min(10, count - start))
            ]
            self.sqs.send_message_batch(QueueUrl=self.dlq, Entries=entries)

    def naive(self) -> float:
        """Messages a second of the loop."""
        begun, moved = time.perf_counter(), 0
        while found := self._plain.receive_message(
            QueueUrl=self.dlq, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in found:
                self._plain.send_message(
                    QueueUrl=self.target, MessageBody=message["Body"], MessageAttributes=message["MessageAttributes"]
                )
                self._plain.delete_message(QueueUrl=self.dlq, ReceiptHandle=message["ReceiptHandle"])
                moved += 1
        return moved / (time.perf_counter() - begun)

    def redrive(self) -> float:
        """Messages a second of ours, until the last one was deleted. That there are no more is known a second later."""
        queue = DeadLetterQueue(REGION, "dlq", self.dlq, f"{ARN}dlq", 0, (Feed("queue", f"{ARN}x", f"{ARN}target"),))
        tally, last = Tally(), time.perf_counter()
        begun, seen = last, 0

        def tick() -> None:
            nonlocal last, seen
            if tally.moved > seen:
                last, seen = time.perf_counter(), tally.moved

        orders = Orders(Choice(), "quarantine", Place("none", "", REGION), rate_per_s=100_000)
        tokens = TokenBucket(orders.rate_per_s)
        Pass(self.cloud, queue, orders, rate=tokens, tally=tally, stop=threading.Event(), tick=tick).run()
        if tally.undelivered or tally.undeleted or tally.incomplete:
            raise RuntimeError(f"the redrive did not come to its end: {tally.figures()}")
        return tally.moved / (last - begun)


class _Cloud(Cloud):
    def __init__(self, sqs: Any) -> None:
        super().__init__(load_stage("local"), ACCOUNT, boto3.Session())
        self._clients[("sqs", REGION)] = sqs


@contextmanager
def server(latency_ms: float) -> Iterator[str]:
    """A server that takes so long over each call; its endpoint."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.sqs", str(latency_ms)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def _body() -> str:
    detail = {"event_key": str(uuid.uuid4()), "event": {"type": "order.placed", "data": "x" * 350}, "tenant": "bench"}
    envelope = {"version": "0", "id": str(uuid.uuid4()), "source": "atoll.events", "detail-type": "order.placed"}
    return json.dumps({**envelope, "region": REGION, "resources": [], "detail": detail})


def main() -> None:
    count = int(sys.argv[1])
    with server(0) as endpoint:
        bench = Bench(endpoint)
        bench.fill(count)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        speed = bench.redrive()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(f"{count:,} messages, {speed:,.0f}/s, {peak / 1024:.0f} MB at most ({before / 1024:.0f} before)\n")


if __name__ == "__main__":
    main()

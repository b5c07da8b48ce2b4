"""A stage whose dead-letter queues are fed as the platform's are, in moto's account."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ops.aws import Cloud
from ops.redrive import receiving
from tests.unit.ops.conftest import Calls, Hub

ACCOUNT = "123456789012"
OVER_LAMBDA = {
    "ListFunctionEventInvokeConfigs": {"FunctionEventInvokeConfigs": []},
    "ListEventSourceMappings": {"EventSourceMappings": []},
}


class Platform:
    """What the tests do to it. ``functions``: what Lambda answers with, by call."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.functions: dict[str, Any] = copy.deepcopy(OVER_LAMBDA)

    def arn(self, name: str, region: str = "us-east-1", service: str = "sqs") -> str:
        return f"arn:aws:{service}:{region}:{ACCOUNT}:{name}"

    def url(self, name: str, region: str = "us-east-1") -> str:
        return self.cloud.client("sqs", region).get_queue_url(QueueName=name)["QueueUrl"]

    def send(self, raw: dict[str, Any], queue: str = "atoll-unit-store-dlq", region: str = "us-east-1") -> None:
        self.cloud.client("sqs", region).send_message(
            QueueUrl=self.url(queue, region), MessageBody=raw["Body"], MessageAttributes=raw["MessageAttributes"]
        )

    def depth(self, queue: str = "atoll-unit-store-dlq", region: str = "us-east-1") -> int:
        """Messages that anybody may receive now."""
        asked = self.cloud.client("sqs", region).get_queue_attributes(
            QueueUrl=self.url(queue, region), AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(asked["Attributes"]["ApproximateNumberOfMessages"])

    def attribute(self, queue: str, region: str = "us-east-1", **values: str) -> None:
        self.cloud.client("sqs", region).set_queue_attributes(QueueUrl=self.url(queue, region), Attributes=values)

    def answer(self, model: Any, context: dict[str, Any], params: dict[str, Any], **_: Any) -> Any:
        if model.name == "GetFunctionConfiguration":
            name = params["url_path"].split("/")[3]
            found: Any = {
                "FunctionName": name,
                "FunctionArn": self.arn(f"function:{name}", context["client_region"], "lambda"),
            }
        else:
            found = self.functions.get(model.name)
        return None if found is None else (SimpleNamespace(status_code=200), copy.deepcopy(found))


@pytest.fixture
def platform(deployed: Cloud, hub: Hub, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.setattr(receiving, "LONG_POLL_S", 0)
    made = Platform(deployed)
    stage = deployed.stage
    clients = [deployed.client("lambda", region) for region in stage.regions]
    for client in clients:
        client.meta.events.register("before-call", made.answer, unique_id="redrive")
    for region in stage.regions:
        deployed.client("s3", region).create_bucket(
            Bucket=stage.operations_bucket(ACCOUNT, region),
            **({} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}),  # type: ignore[arg-type]
        )
        for processor in stage.processor_names:
            queue, dlq = stage.queue(processor), made.arn(stage.dlq(processor), region)
            made.cloud.client("sqs", region).create_queue(QueueName=queue)
            policy = json.dumps({"deadLetterTargetArn": dlq, "maxReceiveCount": 3})
            made.attribute(queue, region, RedrivePolicy=policy)
            events: Any = deployed.client("events", region)
            events.put_rule(Name=queue, EventBusName=stage.bus, EventPattern='{"source": ["atoll.events"]}')
            target = {"Id": "q", "Arn": made.arn(queue, region), "DeadLetterConfig": {"Arn": dlq}}
            events.put_targets(Rule=queue, EventBusName=stage.bus, Targets=[target])
    destination = {"DestinationConfig": {"OnFailure": {"Destination": made.arn(stage.dlq("async"))}}}
    made.functions["ListFunctionEventInvokeConfigs"] = {"FunctionEventInvokeConfigs": [destination]}
    calls.clear()
    try:
        yield made
    finally:
        for client in clients:
            client.meta.events.unregister("before-call", unique_id="redrive")

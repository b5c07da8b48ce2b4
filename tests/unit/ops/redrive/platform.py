"""A stage whose dead-letter queues are fed as the platform's are, in moto's account. Lambda, SQS's move tasks and what
a bus does with an event are answered here."""

from __future__ import annotations

import base64
import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from ops import bucket, ledger
from ops.aws import Cloud
from ops.redrive import movetask, receiving
from ops.redrive.queues import find
from tests.unit.ops.redrive.letters import ACCOUNT, EVENT, KEY, RECORD, given_up, message, undelivered
from tests.unit.ops.test_ledger import ENTRY


class Platform:
    """What the tests do to it. ``answers``: by call, of every region, what Lambda and SQS answer with."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.answers: dict[str, Any] = {
            "ListEventSourceMappings": {"EventSourceMappings": []},
            "Invoke": {"StatusCode": 202, "ResponseMetadata": {"RequestId": "r-1"}},
            "ListMessageMoveTasks": {"Results": [{"Status": "COMPLETED"}]},
            "StartMessageMoveTask": {"TaskHandle": ""},
            "CancelMessageMoveTask": {"ApproximateNumberOfMessagesMoved": 0},
        }

    # --- as it is deployed ---------------------------------------------------------------------------------------

    def deploy(self, region: str) -> None:
        """Queues and rules beside the DLQs and buses that there are."""
        stage = self.cloud.stage
        for processor in stage.processor_names:
            queue, dlq = stage.queue(processor), self.arn(stage.dlq(processor), region)
            self.cloud.client("sqs", region).create_queue(QueueName=queue)
            policy = json.dumps({"deadLetterTargetArn": dlq, "maxReceiveCount": 3})
            self.attribute(queue, region, RedrivePolicy=policy)
            for bus in (stage.bus, stage.journal_bus):
                self.rule(region, bus, f"{bus}-{processor}", self.arn(queue, region), dlq)

    def journal(self, region: str) -> None:
        """The rule to the next region's journal bus, and the DLQ of the buses themselves."""
        stage, events = self.cloud.stage, self.cloud.client("events", region)
        for bus in (stage.bus, stage.journal_bus):
            events.delete_event_bus(Name=bus)
            events.create_event_bus(Name=bus, DeadLetterConfig={"Arn": self.arn(stage.dlq("bus"), region)})
        target = self.next_journal(region)
        self.rule(region, stage.bus, "atoll-unit-journal", target, self.arn(stage.dlq("journal"), region))

    def next_journal(self, region: str) -> str:
        return self.arn("event-bus/atoll-unit-journal", str(self.cloud.stage.journal_region(region)), "events")

    def rule(self, region: str, bus: str, name: str, target: str, dlq: str) -> None:
        events: Any = self.cloud.client("events", region)
        events.put_rule(Name=name, EventBusName=bus, EventPattern='{"source": ["atoll.events"]}')
        config = {"Id": "q", "Arn": target, "DeadLetterConfig": {"Arn": dlq}}
        events.put_targets(Rule=name, EventBusName=bus, Targets=[config])

    def arn(self, name: str, region: str = "us-east-1", service: str = "sqs") -> str:
        return f"arn:aws:{service}:{region}:{ACCOUNT}:{name}"

    def url(self, name: str, region: str = "us-east-1") -> str:
        return self.cloud.client("sqs", region).get_queue_url(QueueName=name)["QueueUrl"]

    def attribute(self, queue: str, region: str = "us-east-1", **values: str) -> None:
        self.cloud.client("sqs", region).set_queue_attributes(QueueUrl=self.url(queue, region), Attributes=values)

    def answer(self, model: Any, context: dict[str, Any], params: dict[str, Any], **_: Any) -> Any:
        region, stage = context["client_region"], self.cloud.stage
        if model.name == "GetFunctionConfiguration":
            name = params["url_path"].split("/")[3]
            found: Any = {"FunctionName": name, "FunctionArn": self.arn(f"function:{name}", region, "lambda")}
        elif model.name == "ListFunctionEventInvokeConfigs":
            destination = {"OnFailure": {"Destination": self.arn(stage.dlq("async"), region)}}
            found = {"FunctionEventInvokeConfigs": [{"DestinationConfig": destination}]}
        elif model.name == "PutEvents":
            asked = json.loads(params["body"])["Entries"]
            found = {"FailedEntryCount": 0, "Entries": [{"EventId": str(number)} for number in range(len(asked))]}
        else:
            found = self.answers.get(model.name)
        return None if found is None else (SimpleNamespace(status_code=200), copy.deepcopy(found))

    # --- what is in the DLQs -------------------------------------------------------------------------------------

    def send(self, raw: dict[str, Any], queue: str = "atoll-unit-store-dlq", region: str = "us-east-1") -> None:
        self.cloud.client("sqs", region).send_message(
            QueueUrl=self.url(queue, region), MessageBody=raw["Body"], MessageAttributes=raw["MessageAttributes"]
        )

    def fail_everywhere(self, region: str) -> None:
        """A message of each kind, for each target; one in the store's DLQ was redriven before."""
        stage = self.cloud.stage
        self.send(given_up(REDRIVES="1"), "atoll-unit-store-dlq", region)
        for processor in stage.processor_names:
            self.send(given_up(), stage.dlq(processor), region)
        for name in stage.function_names:
            context = {"functionArn": self.arn(f"function:{stage.function(name)}:$LATEST", region, "lambda")}
            record = RECORD | {"requestContext": context}
            self.send(message(json.dumps(record)), "atoll-unit-async-dlq", region)
        self.send(undelivered(target=self.next_journal(region)), "atoll-unit-journal-dlq", region)
        for accepted_in in (region, stage.journaled_region(region)):
            event = EVENT | {"detail": EVENT["detail"] | {"accepted_region": accepted_in}}  # type: ignore[operator]
            self.send(message(json.dumps(event)), "atoll-unit-bus-dlq", region)

    def keep(self, region: str) -> None:
        """An entry of the ledger and a message in quarantine, from before, and the event in the table."""
        place = bucket.place(self.cloud, region)
        entry = {name: getattr(ENTRY, name) for name in ENTRY.__dataclass_fields__} | {"runbook": "redrive"}
        ledger.write(self.cloud, place, ledger.Entry(**entry))
        bucket.put(self.cloud, place, f"{bucket.QUARANTINE}/atoll-unit-store-dlq/2026-03-01/1.json", b"{}")
        texts = {"pk": f"EVENT#{KEY}", "sk": "EVENT", "event_key": KEY, "tenant": "acme"}
        item: Any = {name: {"S": text} for name, text in texts.items()}
        self.cloud.client("dynamodb", region).put_item(TableName=self.cloud.stage.table_name, Item=item)

    def depth(self, queue: str = "atoll-unit-store-dlq", region: str = "us-east-1") -> int:
        """Messages that anybody may receive now."""
        asked = self.cloud.client("sqs", region).get_queue_attributes(
            QueueUrl=self.url(queue, region), AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(asked["Attributes"]["ApproximateNumberOfMessages"])

    def move_tasks(self, region: str) -> None:
        """Start, watch and cancel a task of SQS's on each DLQ of a processor."""
        stop = threading.Event()
        for queue in find(
            self.cloud, [region], [self.cloud.stage.dlq(one) for one in self.cloud.stage.processor_names]
        ):
            handle = base64.b64encode(json.dumps({"sourceArn": queue.arn}).encode()).decode()
            task = movetask.run(
                self.cloud, queue, rate_per_s=9, resume=False, moved=lambda moved, left: None, stop=stop
            )
            assert task.status == "COMPLETED"
            self.cloud.client("sqs", region).cancel_message_move_task(TaskHandle=handle)


@contextmanager
def answering(cloud: Cloud) -> Iterator[Platform]:
    """The platform, with these answers in the place of moto's."""
    made = Platform(cloud)
    services: tuple[Any, ...] = ("events", "lambda", "sqs")
    clients = [cloud.client(service, region) for service in services for region in cloud.stage.regions]
    for client in clients:
        client.meta.events.register("before-call", made.answer, unique_id="redrive")
    try:
        with patch.object(receiving, "LONG_POLL_S", 0):
            yield made
    finally:
        for client in clients:
            client.meta.events.unregister("before-call", unique_id="redrive")

"""Step Functions as a fleet meets it: its calls are real, its answers are made here, and segments are read by the very
function that the stack has, on the tests' own DynamoDB and S3."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from handlers.core.segment import Order, Reader
from ops.aws import Cloud
from ops.stage import DivergenceSettings
from tests.unit.ops.conftest import Hub

ON = DivergenceSettings(fleet=True, fleet_concurrency=2, fleet_memory_mb=256, fleet_timeout_s=300)


@dataclass
class Execution:
    """``todo``: segments not read yet, the next one last."""

    arn: str
    region: str
    given: dict[str, Any]
    todo: list[int]
    status: str = "RUNNING"
    failed: dict[int, str] = field(default_factory=dict)


class Workflows:
    """``each_look`` is called whenever an execution is looked at, before a segment of it is read; ``broken`` names
    segments whose function fails, with what it says."""

    def __init__(self, hub: Hub, cloud: Cloud) -> None:
        self._hub, self._cloud = hub, cloud
        self.executions: dict[str, Execution] = {}
        self.started: list[str] = []
        self.each_look: Callable[[Execution], None] = lambda one: None
        self.broken: dict[int, str] = {}
        self.broken_in = list(cloud.stage.regions)
        self.read: list[tuple[str, int]] = []
        self.refusal = ""  # the code with which every call is refused
        self.held = False  # whether nothing goes on

    def answer(self, model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any) -> Any:
        asked, region = json.loads(params["body"]), context["client_region"]
        made = self.refusal or getattr(self, f"_{model.name}")(asked, region)
        if isinstance(made, str):
            return SimpleNamespace(status_code=400), {"Error": {"Code": made, "Message": made}, "ResponseMetadata": {}}
        return SimpleNamespace(status_code=200), made

    def machine(self, region: str) -> str:
        return f"arn:aws:states:{region}:123456789012:stateMachine:{self._cloud.stage.fleet}"

    def _StartExecution(self, asked: dict[str, Any], region: str) -> Any:  # noqa: N802
        assert asked["stateMachineArn"] == self.machine(region)
        arn = f"{self.machine(region).replace(':stateMachine:', ':execution:')}:{asked['name']}"
        if arn in self.executions:
            return "ExecutionAlreadyExists"
        given = json.loads(asked["input"])
        self.executions[arn] = Execution(arn, region, given, given["segments"][::-1])
        self.started.append(arn)
        return {"executionArn": arn, "startDate": 0}

    def _DescribeExecution(self, asked: dict[str, Any], region: str) -> Any:  # noqa: N802
        arn = asked["executionArn"]
        if "/Segments:" in arn:
            whole, _, segment = arn.replace("/Segments", "").rpartition("/")
            cause = json.dumps({"errorMessage": self.executions[whole].failed[int(segment)], "trace": []})
            return {"status": "FAILED", "input": json.dumps({"segment": int(segment)}), "error": "E", "cause": cause}
        found = self.executions.get(arn)
        if found is None:
            return "ExecutionDoesNotExist"
        if found.status == "RUNNING" and asked.get("executionArn") in self.started:
            self.each_look(found)
            if not self.held:
                self._go_on(found)
        return {"executionArn": arn, "status": found.status, "startDate": 0}

    def _go_on(self, one: Execution) -> None:
        if one.todo:
            segment = one.todo.pop()
            if segment in self.broken and one.region in self.broken_in:
                one.status, one.failed[segment] = "FAILED", self.broken[segment]
                return
            self._reader(one.region).run(Order.of({"segment": segment, "run": one.given["run"], "lap": 0}))
            self.read.append((one.region, segment))
        elif one.status == "RUNNING":
            one.status = "SUCCEEDED"

    def _reader(self, region: str) -> Reader:
        dynamodb, s3 = (self._hub.unseen(service, region) for service in ("dynamodb", "s3"))
        bucket = self._cloud.stage.operations_bucket(self._cloud.account, region)
        return Reader(dynamodb, s3, self._cloud.stage.table_name, bucket, lambda: 300.0, sleep=lambda seconds: None)

    def _StopExecution(self, asked: dict[str, Any], region: str) -> Any:  # noqa: N802
        found = self.executions[asked["executionArn"]]
        if found.status != "RUNNING":
            return "ValidationException"
        found.status = "ABORTED"
        return {"stopDate": 0}

    def _ListMapRuns(self, asked: dict[str, Any], region: str) -> Any:  # noqa: N802
        arn = asked["executionArn"].replace(":execution:", ":mapRun:")
        name, _, execution = arn.rpartition(":")
        return {"mapRuns": [{"mapRunArn": f"{name}/Segments:{execution}"}]}

    def _of(self, asked: dict[str, Any]) -> Execution:
        return self.executions[asked["mapRunArn"].replace(":mapRun:", ":execution:").replace("/Segments", "")]

    def _DescribeMapRun(self, asked: dict[str, Any], region: str) -> Any:  # noqa: N802
        one = self._of(asked)
        total = len(one.given["segments"])
        done = total - len(one.todo) - len(one.failed)
        return {"itemCounts": {"succeeded": done, "total": total, "running": len(one.todo[:2])}}

    def _ListExecutions(self, asked: dict[str, Any], region: str) -> Any:  # noqa: N802
        one = self._of(asked)
        name, _, execution = one.arn.rpartition(":")
        arns = [f"{name}/Segments:{execution}/{segment}" for segment in one.failed]
        return {"executions": [{"executionArn": arn} for arn in arns]}


@contextmanager
def workflows(hub: Hub, cloud: Cloud) -> Iterator[Workflows]:
    """A stage whose every region has a fleet."""
    cloud.stage = cloud.stage.model_copy(update={"divergence": ON})
    made = Workflows(hub, cloud)
    clients = [hub.client("stepfunctions", region) for region in cloud.stage.regions]
    for region in cloud.stage.regions:
        outputs = {"FleetArn": made.machine(region), "FleetSketch": "native"}
        hub.stacks.outputs[region] = hub.stacks.outputs.get(region, {}) | outputs
    for client in clients:
        client.meta.events.register("before-call.sfn", made.answer, unique_id="workflows")
    try:
        yield made
    finally:
        for client in clients:
            client.meta.events.unregister("before-call.sfn", unique_id="workflows")

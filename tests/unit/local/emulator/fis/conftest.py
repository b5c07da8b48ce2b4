"""A played FIS without a cloud around it, and a real boto3 client in front of it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict

from ops.local.emulator.fis.experiments import Experiments
from ops.local.emulator.fis.resources import FUNCTION, Resource
from ops.local.emulator.fis.service import FaultInjection
from ops.local.emulator.scopes import Scope
from ops.local.record import Fault, Record

ACCOUNT, US, INDIA = "000000000000", "us-east-1", "ap-south-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/drills"
ALARM = f"arn:aws:cloudwatch:{US}:{ACCOUNT}:alarm:errors"


def function_arn(name: str, region: str = US) -> str:
    return f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name}"


TABLE = f"arn:aws:dynamodb:{US}:{ACCOUNT}:table/items"


@dataclass
class There:
    """What is in the cloud: two functions, a table with two peers, an alarm."""

    alarms: dict[str, str] = field(default_factory=lambda: {ALARM: "OK"})

    def of_type(self, scope: Scope, kind: str) -> list[Resource]:
        if scope.region != US:
            return []
        if kind == FUNCTION:
            return [
                Resource(function_arn("query"), "query", {"role": "api"}),
                Resource(function_arn("store"), "store", {"role": "processor"}),
            ]
        return [Resource(TABLE, "items", {}, (INDIA, "eu-west-1"))]

    def alarm_state(self, arn: str) -> str | None:
        return self.alarms.get(arn)


class BodyStream(io.BytesIO):
    """A body as botocore's HTTP client leaves it."""

    def stream(self, **kwargs: Any) -> Any:
        while chunk := self.read(1024):
            yield chunk


@dataclass
class Played:
    """FIS with a clock that stands, and what it broke."""

    record: Record
    there: There = field(default_factory=There)
    now: float = 1_800_000_000.0
    applied: list[list[str]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    held: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # actions and what conditions may ask for

    def __post_init__(self) -> None:
        self.experiments = Experiments(self.record, self._apply, self.there, lambda: self.now)
        self.fis = FaultInjection(self.experiments, self._allows)

    def _allows(self, _: str, action: str, __: str, context: Mapping[str, str]) -> bool:
        self.held.append((action, dict(context)))
        return action not in self.refused

    def _apply(self, faults: Any) -> None:
        assert [one.id for one in faults] == [one.id for one in self.record.read()], "recorded before it is broken"
        self.applied.append([one.id for one in faults])

    def client(self, region: str = US) -> Any:
        client = boto3.client("fis", region_name=region, endpoint_url="http://127.0.0.1:1")
        client.meta.events.register("before-send.fis.*", self._answer)
        return client

    def _answer(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """What the ASGI application answers to what boto3 would have sent."""
        target, body = urlsplit(request.url), request.body or b""
        headers = [(name.lower().encode(), _bytes(value)) for name, value in request.headers.items()]
        scope = {
            "type": "http",
            "method": request.method,
            "path": target.path,
            "raw_path": target.path.encode(),
            "query_string": target.query.encode(),
            "headers": headers,
        }
        assert self.fis.is_asked(scope)
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": _bytes(body), "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self.fis.serve(scope, receive, send))
        names = HeadersDict((name.decode(), value.decode()) for name, value in sent[0]["headers"])
        return AWSResponse(request.url, sent[0]["status"], names, BodyStream(sent[1]["body"]))

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.experiments.advance()

    def faults(self) -> list[Fault]:
        return self.record.read()


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(Record(tmp_path))


def action(kind: str, target: str = "", **parameters: str) -> dict[str, Any]:
    """An action of a template; ``target`` is ``Key=name``."""
    key, _, name = target.partition("=")
    wanted = {"actionId": kind, "parameters": {"duration": "PT1M", **parameters}}
    return wanted | ({"targets": {key: name}} if target else {})


def template(**changes: Any) -> dict[str, Any]:
    """A valid template that breaks everything that can be broken."""
    errors = {"invocationPercentage": "100", "preventExecution": "true"}
    return {
        "description": "a region is lost",
        "roleArn": ROLE,
        "stopConditions": [{"source": "none"}],
        "tags": {"atoll:stage": "local"},
        "targets": {
            "api": {"resourceType": FUNCTION, "resourceArns": [function_arn("query")], "selectionMode": "ALL"},
            "processors": {"resourceType": FUNCTION, "resourceTags": {"role": "processor"}, "selectionMode": "ALL"},
            "table": {"resourceType": "aws:dynamodb:global-table", "resourceArns": [TABLE], "selectionMode": "ALL"},
        },
        "actions": {
            "api": action("aws:lambda:invocation-error", "Functions=api", **errors),
            "processing": action("aws:lambda:invocation-add-delay", "Functions=processors"),
            "replication": action("aws:dynamodb:global-table-pause-replication", "Tables=table"),
            "calls": action("atoll:reset-calls"),
        },
        **changes,
    }


Started = Callable[..., dict[str, Any]]


@pytest.fixture
def started(played: Played) -> Started:
    """Start an experiment of a template with changes, and let it begin."""

    def start(**changes: Any) -> dict[str, Any]:
        client = played.client()
        made = client.create_experiment_template(**template(**changes))["experimentTemplate"]
        experiment = client.start_experiment(experimentTemplateId=made["id"], tags={"atoll:run": "r1"})["experiment"]
        played.passes(0)
        return dict(client.get_experiment(id=experiment["id"])["experiment"])

    return start

"""Runs every path of the handlers on moto and records what they ask of AWS, as IAM would see it.

``PATHS`` drives the functions; a call that no path makes is found by ``call_sites``, which reads the code. A new
function is declared here, by its paths; what a call addresses, in tests/iam.py.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from moto import mock_aws

from handlers import ingest
from handlers.core import aws
from handlers.core.bus import Bus
from ops.stage import ROOT
from tests import iam
from tests.template import ACCOUNT, Stack
from tests.unit.deploy.privileges import REGION, Permission, functions
from tests.unit.handlers import support
from tests.unit.handlers.conftest import forget
from tests.unit.handlers.support import Cloud, Context, cloudevent, envelope, post, request, sqs_event
from tests.unit.handlers.test_processors import accepted
from tests.unit.handlers.test_sketch import begun, order

HANDLERS = ROOT / "handlers"
Handler = Callable[[dict[str, Any], Any], Any]
Site = tuple[str, int]  # file below handlers/, line

# What a key ends in is the run's: a role names the folder.
_FOLDER = re.compile(r"^(arn:aws:s3:::[^/]+/[^/]+)/.+")
# What calls AWS without bearing the name of an operation: Powertools' persistence layer.
LAYER_METHODS = {"save_inprogress", "save_success", "delete_record", "get_record"}

_REFUSED = {"Error": {"Code": "ConditionalCheckFailedException", "Message": "no"}, "ResponseMetadata": {}}
_UNPUBLISHED = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
_DAY = "from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z"
_KEY = "00000000-0000-5000-8000-000000000000"


def _ingest(handler: Handler, cloud: Cloud) -> None:
    handler(post(cloudevent()), Context())
    cloud.answer("dynamodb.PutItem", _REFUSED, times=1)  # claimed before, and the refusal carries no item
    handler(post(cloudevent()), Context())
    cloud.answer("events.PutEvents", _UNPUBLISHED)
    handler(post(cloudevent(id="refused")), Context())


def _query(handler: Handler, cloud: Cloud) -> None:
    handler(request("GET /events/{event_key}", path={"event_key": _KEY}), Context())
    handler(request("GET /events", query=_DAY), Context())
    handler(request("GET /activity", query=_DAY), Context())
    handler(request("GET /activity", query="undated=true"), Context())


def _status(handler: Handler, cloud: Cloud) -> None:
    handler(request("GET /status"), Context())
    handler(request("GET /evacuated/{region}", path={"region": REGION}), Context())


def _store(handler: Handler, cloud: Cloud) -> None:
    handler(sqs_event(envelope(accepted(cloudevent())), "{"), Context())
    handler(sqs_event(envelope(accepted(cloudevent(data="other")))), Context())
    cloud.answer("dynamodb.PutItem", _REFUSED, times=1)  # stored before, and the refusal carries no item
    handler(sqs_event(envelope(accepted(cloudevent()))), Context())


def _activity(handler: Handler, cloud: Cloud) -> None:
    handler(sqs_event(envelope(accepted(cloudevent())), "{"), Context())
    handler(sqs_event(envelope(accepted(cloudevent(id="undated", time=None)))), Context())


def _sketch(handler: Handler, cloud: Cloud) -> None:
    bucket = support.ENVIRONMENT["ATOLL_OPERATIONS_BUCKET"]
    aws.s3().create_bucket(Bucket=bucket)
    handler(order(lap=0), Context(remaining_ms=60_000))
    aws.s3().put_object(Bucket=bucket, Key="fleet/unit/999/000000.part", Body=begun().to_bytes())
    handler(order(lap=1), Context(remaining_ms=60_000))


PATHS: dict[str, Callable[[Handler, Cloud], None]] = {
    "ingest": _ingest,
    "query": _query,
    "status": _status,
    "store": _store,
    "activity": _activity,
    "sketch": _sketch,
}


@dataclass
class Recording:
    """What was asked of AWS, by function, and from where in the code."""

    permissions: dict[str, set[Permission]] = field(default_factory=dict)
    sites: set[Site] = field(default_factory=set)
    function: str = ""

    def note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        here = set(_frames(sys._getframe()))
        if not here:  # a call of the tests themselves
            return
        self.sites |= here
        self.permissions[self.function] |= {
            Permission(iam.action_of(model), _FOLDER.sub(r"\1/*", resource))
            for resource in iam.addressed(model, params, REGION, ACCOUNT)
        }


def record(stack: Stack) -> Recording:
    """Drive every path of every function of the stack, in the environment that the template gives it."""
    recording = Recording()
    for name, function in functions(stack).items():
        module = importlib.import_module(function["Handler"].rpartition(".")[0].replace("/", "."))
        recording.function, recording.permissions[name] = name, set()
        with pytest.MonkeyPatch.context() as patch, mock_aws():
            environment = {**function["Environment"]["Variables"], "AWS_REGION": REGION}
            # It names nothing of AWS, and is a dimension of metrics that live on in this process.
            environment["ATOLL_STAGE"] = support.ENVIRONMENT["ATOLL_STAGE"]
            for variable, value in environment.items():
                patch.setenv(variable, str(value))
                patch.setitem(support.ENVIRONMENT, variable, str(value))
            patch.setattr(ingest, "Bus", partial(Bus, sleep=lambda _: None))
            forget()
            session = aws._session()
            session.register("provide-client-params", recording.note, unique_id="privilege")
            try:
                PATHS[name](module.handler, Cloud())
            finally:
                session.unregister("provide-client-params", unique_id="privilege")
                forget()
    return recording


def call_sites() -> dict[str, range]:
    """Every place of the handlers' code that calls AWS, as ``file:line method``, and the lines it spans."""
    return {
        f"{path.relative_to(HANDLERS)}:{node.lineno} {node.func.attr}": range(node.lineno, (node.end_lineno or 0) + 1)
        for path in sorted(HANDLERS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _methods()
    }


def undriven(seen: set[Site]) -> list[str]:
    """The call sites that none of the recorded calls came from."""
    return [
        site
        for site, lines in call_sites().items()
        if not any(file == site.split(":")[0] and line in lines for file, line in seen)
    ]


def _methods() -> set[str]:
    """The client methods of every service that handlers/core/aws.py makes a client of."""
    if not _known:
        session = botocore.session.get_session()
        code = ast.parse((HANDLERS / "core" / "aws.py").read_text(encoding="utf-8"))
        services = [
            node.args[0].value
            for node in ast.walk(code)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_client"
            if isinstance(node.args[0], ast.Constant)
        ]
        assert {"dynamodb", "events"} <= set(services)
        for service in services:
            _known.update(xform_name(name) for name in session.get_service_model(str(service)).operation_names)
        _known.update(LAYER_METHODS)
    return _known


_known: set[str] = set()


def _frames(frame: Any) -> Iterator[Site]:
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(HANDLERS):
            yield str(path.relative_to(HANDLERS)), frame.f_lineno
        frame = frame.f_back

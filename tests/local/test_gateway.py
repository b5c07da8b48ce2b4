"""The emulator's HTTP side: what the application says reaches the caller unchanged, unless a rule stands before."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import microburst.detection.host
import pytest

from ops.local.emulator.gateway import Gateway, prepare_microburst
from ops.local.processes import call
from tests.local.platform import wait_until
from tests.local.test_lifecycle import free_port

HOST = "127.0.0.1"
SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=test/20261120/us-east-1/dynamodb/aws4_request, Signature=x"}


@dataclass
class Running:
    emulator: int
    endpoint: int
    gateway: Gateway

    def ask(self, port: int, method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
        """One request on a connection of its own, which ends with the answer."""
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request(method, path, body, {"connection": "close", **headers})
            return connection.getresponse()
        finally:
            connection.close()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Echoes what it was asked, in the way that the path names."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    message = await receive()
    headers = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"date", b"then")]
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in (b"one,", b"two"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["method"] == "HEAD":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"17")]})
        await send({"type": "http.response.body", "body": b""})
        return
    told = {name: scope[name] for name in ("method", "path")}
    told |= {"raw_path": scope["raw_path"].decode(), "query": scope["query_string"].decode()}
    told |= {"size": len(message["body"]), "host": dict(scope["headers"])[b"host"].decode()}
    await send({"type": "http.response.start", "status": 207, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    # As the emulator starts it: otherwise the first request that a rule looks at waits for every service model.
    monkeypatch.setattr(microburst.detection.host, "_endpoint_prefix_map", dict)
    prepare_microburst()
    found = Running(free_port(), free_port(), Gateway(application))
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        serving = asyncio.ensure_future(found.gateway.serve(HOST, found.emulator, found.endpoint))
        await stop.wait()
        serving.cancel()
        await asyncio.wait({serving})

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    wait_until(lambda: answers(found.endpoint), "the gateway to answer")
    yield found
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(timeout=5)


def answers(port: int) -> bool:
    try:
        call("GET", f"http://{HOST}:{port}/_microburst/health")
    except OSError:
        return False
    return True


@pytest.mark.parametrize("which", ["emulator", "endpoint"])
def test_request_and_answer_pass_unchanged(running: Running, which: str) -> None:
    answer = running.ask(getattr(running, which), "POST", "/a%2Fb%20c?x=%2B&y", b"z" * 3_000_000, Host="api.example")
    assert answer.status == 207
    assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert answer.headers.get_all("date") == ["then"]
    assert json.loads(answer.read()) == {
        "method": "POST",
        "path": "/a/b c",
        "raw_path": "/a%2Fb%20c",
        "query": "x=%2B&y",
        "size": 3_000_000,
        "host": "api.example",
    }


@pytest.mark.parametrize("which", ["emulator", "endpoint"])
def test_body_that_waits_to_be_asked_for_is_asked_for(running: Running, which: str) -> None:
    connection = http.client.HTTPConnection(HOST, getattr(running, which), timeout=5)
    connection.putrequest("PUT", "/upload")
    connection.putheader("expect", "100-continue")
    connection.putheader("content-length", "4")
    connection.endheaders()
    assert connection.sock is not None
    assert connection.sock.recv(64).startswith(b"HTTP/1.1 100 Continue")
    connection.send(b"body")
    assert json.loads(connection.getresponse().read())["size"] == 4
    connection.close()


@pytest.mark.parametrize("which", ["emulator", "endpoint"])
def test_path_with_a_line_break_reaches_the_application(running: Running, which: str) -> None:
    answer = running.ask(getattr(running, which), "GET", "/events/a%0Ab")
    assert (answer.status, json.loads(answer.read())["raw_path"]) == (207, "/events/a%0Ab")


def test_streamed_answer_arrives_whole(running: Running) -> None:
    assert running.ask(running.emulator, "GET", "/stream").read() == b"one,two"


def test_head_keeps_the_length_of_what_it_stands_for(running: Running) -> None:
    answer = running.ask(running.endpoint, "HEAD", "/key")
    assert (answer.headers["content-length"], answer.read()) == ("17", b"")


def test_rule_answers_at_the_endpoint_and_not_at_the_emulator(running: Running) -> None:
    rules = f"http://{HOST}:{running.endpoint}/_microburst/rules"
    error = {"code": "ThrottlingException", "status": 400, "message": "no"}
    call("POST", rules, [{"service": "dynamodb", "error": error}])
    headers = SIGNED | {"x-amz-target": "DynamoDB_20120810.GetItem", "content-type": "application/x-amz-json-1.0"}
    refused = running.ask(running.endpoint, "POST", "/", b"{}", **headers)
    assert refused.status == 400
    assert b"ThrottlingException" in refused.read()
    assert running.ask(running.emulator, "POST", "/", b"{}", **headers).status == 207
    other = {"authorization": SIGNED["authorization"].replace("dynamodb", "sqs")}
    assert running.ask(running.endpoint, "POST", "/", b"{}", **other).status == 207
    call("POST", rules, [])
    assert running.ask(running.endpoint, "POST", "/", b"{}", **headers).status == 207


def test_rule_that_resets_closes_the_connection(running: Running) -> None:
    call("POST", f"http://{HOST}:{running.endpoint}/_microburst/rules", [{"service": "*", "reset": True}])
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        running.ask(running.endpoint, "POST", "/", b"{}", **SIGNED)


def test_call_that_hangs_ends_with_its_caller_and_leaves_nothing_behind(running: Running) -> None:
    rule = {"service": "*", "region": "us-east-1", "timeout_ms": 65_000}
    call("POST", f"http://{HOST}:{running.endpoint}/_microburst/rules", [rule])
    connection = http.client.HTTPConnection(HOST, running.endpoint, timeout=0.3)
    connection.request("POST", "/", b"{}", SIGNED)
    with pytest.raises(TimeoutError):
        connection.getresponse()
    assert running.gateway.held == 1
    connection.close()
    wait_until(lambda: running.gateway.held == 0, "the call that nobody waits for to end", timeout_s=5)


def test_call_that_hangs_is_answered_in_the_end(running: Running) -> None:
    rule = {"service": "*", "region": "us-east-1", "timeout_ms": 700}
    call("POST", f"http://{HOST}:{running.endpoint}/_microburst/rules", [rule])
    assert running.ask(running.endpoint, "POST", "/", b"{}", **SIGNED).status == 504
    assert running.gateway.held == 0


@pytest.mark.parametrize("effect", [{"reset": True}, {"timeout_ms": 65_000}])
def test_rules_leave_out_what_is_signed_for_fis(running: Running, effect: dict[str, Any]) -> None:
    rule = {"service": "*", "region": "us-east-1", **effect}
    call("POST", f"http://{HOST}:{running.endpoint}/_microburst/rules", [rule])
    signed = {"authorization": SIGNED["authorization"].replace("dynamodb", "fis")}
    assert running.ask(running.endpoint, "GET", "/experiments/EXP1", **signed).status == 207


def test_rule_that_would_change_bodies_is_refused_and_not_ignored(running: Running) -> None:
    with pytest.raises(ValueError, match="accepted: error, latency, reset, timeout"):
        asyncio.run(running.gateway.relay(None, None, mutator=object()))  # type: ignore[arg-type]

"""The HTTP side of the emulated AWS: two ports of one process, both served by aiohttp, whose parser is not Python.

One port is the emulator itself. The other is the AWS endpoint: microburst decides first, and what no rule touches goes
to the emulator in the same process, by a call and not by a second connection. While there is no rule, it decides
nothing and costs nothing.

One internal of microburst is replaced: the table that finds a service by a host name is built on the first request from
all service models of botocore, which takes 5 to 8 seconds. Callers reach the endpoint as 127.0.0.1, so a host name
never tells the service (the signature does), and the table stays empty.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import logging
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from aiohttp import ClientConnectionError, web

MICROBURST_VERSION = "0.10.0"
KEEP_ALIVE_S = 75.0
_MAX_HEADER_BYTES = 65_536
_CONTROL = "/_microburst"
_SHUTDOWN_S = 0.1
_RELAYED = web.RequestKey("atoll.relayed", bool)
_CLIENT_LEFT = 499  # written to nobody
_CREDENTIAL_SCOPE = re.compile(r"Credential=[^/,]+/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
FIS = "fis"
LOOK_S = 0.5

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger("atoll")


class Exchange:
    """One request to an ASGI application, and its answer."""

    def __init__(self, request: web.BaseRequest, body: bytes | None) -> None:
        self.request = request
        self.answer: web.StreamResponse | None = None
        self._body = body
        self._received = False
        self._status = 500
        self._headers: list[tuple[bytes, bytes]] = []

    def scope(self) -> Scope:
        request = self.request
        path, _, query = request.raw_path.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.raw_headers],
            "client": _address(request, "peername"),
            "server": _address(request, "sockname"),
        }

    async def receive(self) -> dict[str, Any]:
        if self._received:  # then only the end of the connection is left to be told
            await asyncio.get_running_loop().create_future()
        self._received = True
        if self._body is None:
            try:
                await self._go_on()
                self._body = await self.request.content.read()
            except (ClientConnectionError, web.RequestPayloadError):
                return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _go_on(self) -> None:
        """Ask for the body of a client that waits for that, as the SDKs do before an upload."""
        if self.request.headers.get("expect", "").lower() == "100-continue":
            writer = self.request.writer
            await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            writer.output_size = 0

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message.get("headers", [])
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self.answer is None and not more:
            self.answer = self._with_headers(web.Response(status=self._status, body=body))
            return
        if self.answer is None:
            self.answer = self._with_headers(web.StreamResponse(status=self._status))
            await self.answer.prepare(self.request)
        await self.answer.write(body)
        if not more:
            await self.answer.write_eof()

    def _with_headers(self, answer: web.StreamResponse) -> web.StreamResponse:
        answer.headers.clear()  # what aiohttp supposes of a body
        for name, value in self._headers:
            text = name.decode("latin-1")
            if text.lower() != "transfer-encoding":
                answer.headers.add(text, value.decode("latin-1"))
        return answer


def signed_for(authorization: str) -> tuple[str, str]:
    """The service and the region for which a request is signed, both empty when it is not.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
    """
    found = _CREDENTIAL_SCOPE.search(authorization)
    return (found["service"], found["region"]) if found else ("", "")


def _has_left(request: web.BaseRequest) -> bool:
    return request.transport is None or request.transport.is_closing()


def _address(request: web.BaseRequest, which: str) -> tuple[str, int] | None:
    found = request.transport.get_extra_info(which) if request.transport else None
    return (found[0], found[1]) if found else None


class Gateway:
    """Serves an ASGI application on a port, and on another through the rules of microburst."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.base_url = ""  # as microburst names what is behind it
        self.resign = False
        self.cassette = None
        core: Any = importlib.import_module("microburst.core.pipeline")
        self._context: Any = importlib.import_module("microburst.core.context").RequestContext
        self.faults: Any = core.Microburst("http://127.0.0.1", resign=False)
        self.faults.upstream = self
        # Calls that a rule was asked about and that are not answered: what hangs on purpose is among them.
        self.held = 0

    async def relay(self, request: web.BaseRequest, body: bytes | None, **changes: Any) -> web.StreamResponse:
        """Have the application answer; stands in for the connection that microburst would make."""
        if any(change is not None for change in changes.values()):
            raise ValueError("rules that change bodies are not played here; accepted: error, latency, reset, timeout")
        request[_RELAYED] = True
        exchange = Exchange(request, body)
        await self.application(exchange.scope(), exchange.receive, exchange.send)
        if exchange.answer is None:
            raise RuntimeError(f"{request.method} {request.path} was not answered")
        return exchange.answer

    def fault(self, service: str, operation: str, region: str) -> str | None:
        """What a call that AWS makes by itself, and that so passes no port, would end with: an error code, or None."""
        if not self.faults.engine.rules:
            return None
        decision = self.faults.engine.decide(self._context(service=service, operation=operation, region=region))
        if decision is None or not (decision.error or decision.reset or decision.timeout_ms):
            return None
        if decision.error:
            return str(decision.error.code)
        return "ConnectionReset" if decision.reset else "ConnectionTimeout"

    async def direct(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self.relay(request, None)

    async def guarded(self, request: web.Request) -> web.StreamResponse:
        # FIS answers while its region is broken: on AWS too the experiment is run by a service of its own.
        if not self.faults.engine.rules or signed_for(request.headers.get("authorization", ""))[0] == FIS:
            return await self.relay(request, None)
        return await self._faulted(request)

    async def _faulted(self, request: web.Request) -> web.StreamResponse:
        """Have microburst decide. A call that it holds back ends with its caller: nothing waits for one that left."""
        self.held += 1
        deciding: asyncio.Task[web.StreamResponse] = asyncio.ensure_future(self.faults.handle_proxy(request))
        try:
            while not (await asyncio.wait({deciding}, timeout=LOOK_S))[0]:
                if _has_left(request) and not request.get(_RELAYED):
                    deciding.cancel()
                    return web.Response(status=_CLIENT_LEFT)
            return deciding.result()
        finally:
            deciding.cancel()
            self.held -= 1

    async def serve(self, host: str, port: int, endpoint_port: int) -> None:
        """Serve until cancelled; the application's lifespan starts before the first request."""
        startup = asyncio.get_running_loop().create_future()
        never = asyncio.get_running_loop().create_future()
        first = iter([{"type": "lifespan.startup"}])

        async def receive() -> dict[str, Any]:
            return next(first, None) or await never

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                startup.set_result(None)
            elif message["type"] == "lifespan.startup.failed":
                startup.set_exception(RuntimeError(message.get("message", "the emulator did not start")))

        lifespan = asyncio.ensure_future(self.application({"type": "lifespan"}, receive, send))
        await asyncio.wait({startup, lifespan}, return_when=asyncio.FIRST_COMPLETED)
        await (startup if startup.done() else lifespan)
        emulator = web.ServerRunner(web.Server(self.direct, **_SERVER), shutdown_timeout=_SHUTDOWN_S)
        runners: list[tuple[Any, int]] = [(emulator, port)]
        if endpoint_port:
            endpoint = web.AppRunner(self._endpoint(), shutdown_timeout=_SHUTDOWN_S, **_SERVER)
            runners.append((endpoint, endpoint_port))
        try:
            for runner, its_port in runners:
                await runner.setup()
                await web.TCPSite(runner, host, its_port).start()
            await lifespan
        finally:
            for runner, _ in runners:
                await runner.cleanup()

    def _endpoint(self) -> web.Application:
        application = web.Application()
        for path in (_CONTROL, f"{_CONTROL}/{{tail:.*}}"):
            application.router.add_route("*", path, self.faults.handle_control)
        # Not `.`: a path may hold a line break (%0A), which the API behind is to answer.
        application.router.add_route("*", r"/{path:[\s\S]*}", self.guarded, expect_handler=_leave_to_exchange)
        return application


_SERVER: dict[str, Any] = {
    "access_log": None,
    "keepalive_timeout": KEEP_ALIVE_S,
    "max_line_size": _MAX_HEADER_BYTES,
    "max_field_size": _MAX_HEADER_BYTES,
}


async def _leave_to_exchange(_: web.Request) -> None:
    """The exchange asks for the body when the application wants it."""


def prepare_microburst() -> None:
    """Leave microburst's table of host prefixes empty.

    Raises:
        SystemExit: the installed microburst is not the one that this was written for.
    """
    version = importlib.metadata.version("microburst")
    module: Any = importlib.import_module("microburst.detection.host")
    if version != MICROBURST_VERSION or not hasattr(module, "_endpoint_prefix_map"):
        sys.exit(
            f"microburst {version} does not fit ops/local/emulator/gateway.py: install microburst=={MICROBURST_VERSION}"
        )
    module._endpoint_prefix_map = dict

"""Probes see an endpoint as Route 53's checkers do, and keep to what is configured now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from ops.local.edge import probing
from ops.local.edge.healthchecks import Health, HealthCheck
from ops.local.edge.probing import SEARCHED_BYTES, Prober

pytestmark = pytest.mark.enable_socket


async def respond(request: web.Request) -> web.StreamResponse:
    if request.path == "/slow":
        await asyncio.sleep(60)
    if request.path == "/late-text":
        return web.Response(text="x" * SEARCHED_BYTES + "needle")
    if request.path == "/text":
        return web.Response(text="a needle in " + "hay" * 5000)
    if request.path == "/host":
        return web.Response(status=200 if request.headers["host"] == "checked.example" else 421)
    status = int(request.path.strip("/"))
    return web.Response(status=status, headers={"location": "/503"} if status == 302 else {})


def probed(check: HealthCheck, listening: bool = True) -> tuple[bool, str]:
    async def run() -> tuple[bool, str]:
        app = web.Application()
        app.router.add_get("/{path:.*}", respond)
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            port = server.port if listening else unused_port()
            prober = Prober(Health(), lambda _: (f"http://127.0.0.1:{port}", "checked.example"))
            prober.http = session
            return await prober.probe(check)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "passed", "detail"),
    [
        ("/200", True, "/200 answered 200"),
        ("/302", True, "/302 answered 302"),
        ("/404", False, "/404 answered 404"),
        ("/503", False, "/503 answered 503"),
        ("/host", True, "/host answered 200"),
    ],
)
def test_http_passes_with_a_status_of_2xx_or_3xx(path: str, passed: bool, detail: str) -> None:
    assert probed(HealthCheck("c", "HTTPS", path=path)) == (passed, detail)


@pytest.mark.parametrize(
    ("path", "passed", "detail"),
    [
        ("/text", True, "/text answered 200"),
        ("/late-text", False, "/late-text answered 200 without 'needle'"),
        ("/503", False, "/503 answered 503"),
    ],
)
def test_string_match_searches_the_first_5120_bytes(path: str, passed: bool, detail: str) -> None:
    assert probed(HealthCheck("c", "HTTP_STR_MATCH", path=path, search="needle")) == (passed, detail)


def test_answer_that_takes_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "CONNECT_TIMEOUT_S", 0.05)
    monkeypatch.setattr(probing, "ANSWER_TIMEOUT_S", 0.05)
    passed, detail = probed(HealthCheck("c", "HTTP", path="/slow"))

    assert not passed
    assert "did not answer" in detail


@pytest.mark.parametrize(("kind", "said"), [("HTTP", "did not answer"), ("TCP", "did not connect")])
def test_endpoint_that_does_not_listen_fails(kind: str, said: str) -> None:
    passed, detail = probed(HealthCheck("c", kind), listening=False)

    assert not passed
    assert said in detail


def test_tcp_passes_when_the_port_connects() -> None:
    assert probed(HealthCheck("c", "TCP", port=443)) == (True, "port 443 connected")


def test_follow_probes_what_is_configured_now_and_nothing_else() -> None:
    seen: list[str] = []

    class Recording(Prober):
        async def probe(self, check: HealthCheck) -> tuple[bool, str]:
            seen.append(f"{check.id}{check.path}")
            return True, "fine"

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    async def run() -> None:
        health = Health()
        prober = Recording(health, lambda _: ("", ""))
        health.update([HealthCheck("a", "HTTPS"), HealthCheck("b", "HTTPS"), HealthCheck("c", "CALCULATED")])
        prober.follow()
        prober.follow()
        await until(lambda: len(seen) == 2)
        health.update([HealthCheck("a", "HTTPS", path="/other"), HealthCheck("b", "HTTPS", disabled=True)])
        prober.follow()
        await until(lambda: len(seen) == 3)
        await prober.stop()

    asyncio.run(run())
    assert sorted(seen) == ["a/", "a/other", "b/"]

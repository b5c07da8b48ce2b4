"""The edge when what is behind it is not there: it says which region, and keeps what it knew."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer, unused_port

from ops.local.edge import Edge, make_app
from ops.local.routing import LatencyRecord

pytestmark = pytest.mark.enable_socket

RECORD = LatencyRecord("us-east-1", "us-east-1", "abc.execute-api.us-east-1.amazonaws.com", 10, None)


def edge_without_emulator(monkeypatch: pytest.MonkeyPatch, records: list[LatencyRecord]) -> Edge:
    edge = Edge(
        endpoint=f"http://127.0.0.1:{unused_port()}",
        zone="atoll.example",
        record="api.atoll.example",
        home_region="us-east-1",
    )
    monkeypatch.setattr(edge, "_read", lambda: (records, []))
    return edge


def answers(edge: Edge, *paths: str) -> list[tuple[int, dict[str, str], Any]]:
    async def ask() -> list[tuple[int, dict[str, str], Any]]:
        found = []
        async with TestServer(make_app(edge)) as server, ClientSession() as session:
            for path in paths:
                async with session.get(server.make_url(path)) as answer:
                    found.append((answer.status, dict(answer.headers), json.loads(await answer.read())))
        return found

    return asyncio.run(ask())


def test_region_that_does_not_answer_is_502_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ((status, headers, body),) = answers(edge_without_emulator(monkeypatch, [RECORD]), "/events")
    assert status == 502
    assert body["type"] == "/problems/region-unreachable"
    assert "us-east-1" in body["detail"]
    assert headers["x-atoll-region"] == "us-east-1"


def test_explain_shows_what_the_callers_resolver_has_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = edge_without_emulator(monkeypatch, [RECORD])
    before, _, after = answers(
        edge, "/_edge/explain?city=London", "/events", f"/_edge/explain?city={edge.default_city}"
    )
    assert before[2]["cached"] is None
    assert after[2]["cached"]["region"] == "us-east-1"
    assert after[2]["candidates"][0]["health"] == "no health check"


def test_records_survive_a_route_53_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = edge_without_emulator(monkeypatch, [RECORD])

    async def read_twice() -> None:
        await edge.refresh()
        monkeypatch.undo()  # from here on the real reading, of an endpoint that nobody listens on
        await edge.refresh()

    asyncio.run(read_twice())
    assert edge.records == [RECORD]
    assert "Could not connect" in edge.read_error

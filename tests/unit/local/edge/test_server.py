"""The edge as a server: it says which region and why, refuses what it does not play, and keeps what it knew."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer, unused_port

from ops.local.cities import CITIES
from ops.local.edge.healthchecks import HealthCheck
from ops.local.edge.records import Record, Zone
from ops.local.edge.server import Edge, make_app
from ops.local.edge.zone import Reading
from tests.unit.local.edge.support import NAME, latency_record, zone_of

pytestmark = pytest.mark.enable_socket

RECORD = Record(NAME, "CNAME", "abc.execute-api.us-east-1.amazonaws.com", "us", "latency", region="us-east-1", ttl_s=10)


def edge_without_emulator(monkeypatch: pytest.MonkeyPatch, zone: Zone, checks: list[HealthCheck] | None = None) -> Edge:
    edge = Edge(
        endpoint=f"http://127.0.0.1:{unused_port()}", zone="atoll.example", record=NAME, home_region="us-east-1"
    )
    monkeypatch.setattr(edge.reader, "read", lambda: Reading(zone, checks or [], {}))
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
    ((status, headers, body),) = answers(edge_without_emulator(monkeypatch, zone_of(RECORD)), "/events")

    assert status == 502
    assert body["type"] == "/problems/region-unreachable"
    assert "us-east-1" in body["detail"]
    assert headers["x-atoll-region"] == "us-east-1"
    assert headers["x-atoll-rtt-ms"] == "9"


def test_name_without_records_is_503_and_says_run_provision(monkeypatch: pytest.MonkeyPatch) -> None:
    ((status, _, body),) = answers(edge_without_emulator(monkeypatch, Zone()), "/events")

    assert status == 503
    assert "ops run provision" in body["detail"]


def test_what_is_not_played_is_501_and_named_on_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(NAME, "CNAME", "x", "in", not_played="geolocation routing is not played")
    edge = edge_without_emulator(monkeypatch, zone_of(record))

    for status, _, body in answers(edge, "/events", "/_edge/explain", "/_edge/explain?city=all"):
        assert status == 501
        assert body["detail"] == "api.atoll.example (in): geolocation routing is not played"


def test_explain_shows_what_the_callers_resolver_has_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = edge_without_emulator(monkeypatch, zone_of(RECORD))
    before, _, after = answers(
        edge, "/_edge/explain?city=London", "/events", f"/_edge/explain?city={edge.default_city}"
    )

    assert before[2]["cached"] is None
    assert after[2]["cached"]["region"] == "us-east-1"
    assert after[2]["cached"]["set_id"] == "us"
    assert 9 < after[2]["cached"]["ttl_left_s"] <= 10
    assert after[2]["candidates"][0]["health"] == "no health check"


def test_explain_of_a_cached_answer_says_what_answers_and_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    regions = ("us-east-1", "ap-south-1")
    zone = zone_of(*(latency_record(region, 60) for region in regions))
    checks = [HealthCheck(region, "CALCULATED", healthy_children=0) for region in regions]
    edge = edge_without_emulator(monkeypatch, zone, checks)

    async def ask() -> dict[str, Any]:
        await edge.refresh()
        assert edge.resolve("New York") is not None
        evacuated = [HealthCheck("us-east-1", "CALCULATED", inverted=True), checks[1]]
        monkeypatch.setattr(edge.reader, "read", lambda: Reading(zone, evacuated, {}))
        await edge.refresh()
        return edge.explain("New York")

    found = asyncio.run(ask())
    assert (found["answers"], found["region"]) == ("us-east-1", "ap-south-1")
    assert found["reason"] == "the nearest healthy region; us-east-1 is unhealthy"
    unhealthy = found["candidates"][0]
    assert (unhealthy["left_out"], unhealthy["check"]["inverted"]) == ("unhealthy", True)
    assert unhealthy["health"] == "inverted: 0 of 0 child checks healthy, 0 needed"


def test_explain_of_every_city_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    ((status, _, body),) = answers(edge_without_emulator(monkeypatch, zone_of(RECORD)), "/_edge/explain?city=all")

    assert status == 200
    assert [one["city"] for one in body] == list(CITIES)


def test_explain_of_an_unknown_city_names_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = edge_without_emulator(monkeypatch, zone_of(RECORD))
    ((status, _, body),) = answers(edge, "/_edge/explain?city=Atlantis")

    assert status == 400
    assert "Mumbai" in body["detail"]


def test_records_survive_a_route_53_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = edge_without_emulator(monkeypatch, zone_of(RECORD))

    async def read_twice() -> None:
        await edge.refresh()
        monkeypatch.undo()  # from here on the real reading, of an endpoint that nobody listens on
        await edge.refresh()

    asyncio.run(read_twice())
    assert edge.zone == zone_of(RECORD)
    assert "Could not connect" in edge.read_error
    assert "Could not connect" in edge.explain("London")["error"]


@pytest.mark.parametrize(
    ("check", "base_url", "host"),
    [
        (HealthCheck("c", "HTTPS", host="abc.execute-api.us-east-1.amazonaws.com"), None, "abc.execute-api.localhost:"),
        (HealthCheck("c", "HTTPS", host="us.atoll.example"), None, "abc.execute-api.localhost:"),
        (HealthCheck("c", "HTTP", host="else.example"), None, "else.example"),
        (HealthCheck("c", "HTTP", host="h.example", address="192.0.2.1", port=81), "http://192.0.2.1:81", "h.example"),
        (HealthCheck("c", "HTTPS", address="2001:db8::1"), "https://[2001:db8::1]:443", "2001:db8::1"),
    ],
)
def test_checked_endpoint_is_reached_where_its_name_leads(
    monkeypatch: pytest.MonkeyPatch, check: HealthCheck, base_url: str | None, host: str
) -> None:
    regional = Record("us.atoll.example", "CNAME", RECORD.target)
    edge = edge_without_emulator(monkeypatch, zone_of(RECORD, regional))
    asyncio.run(edge.refresh())
    reached = edge.reach(check)

    assert reached[0] == (base_url or edge.endpoint)
    assert reached[1].startswith(host)

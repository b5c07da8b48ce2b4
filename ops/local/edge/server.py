"""The edge as a server: forwards a request to the API that the name would resolve to for the caller's city.

The caller's city is in the header ``x-atoll-city``, and one resolver a city keeps its answers. Nothing is configured
but the name: records, health checks and alarms that appear, change or vanish take effect without a restart.
``GET /_edge/explain?city=Mumbai`` says which region answers and why (``city=all``: for every city). The round trip is
reported in ``x-atoll-rtt-ms``, never slept.

A record's target is the API's regional name, ``<apiId>.execute-api.<region>.amazonaws.com``; the edge carries it to the
emulator over plain HTTP, which is the only thing it changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from botocore.exceptions import BotoCoreError, ClientError

from ops.local.cities import CITIES
from ops.local.edge.choosing import API_NAME, Candidate, Choice, Draw, NotPlayedError, Resolver
from ops.local.edge.explaining import explanation
from ops.local.edge.healthchecks import Health, HealthCheck
from ops.local.edge.probing import Prober
from ops.local.edge.publishing import PUBLISH_S, REGION, publish, published
from ops.local.edge.records import Zone, plain
from ops.local.edge.resolvers import ResolverCache
from ops.local.edge.zone import Reader
from ops.local.processes import HOST
from ops.local.roundtrips import nearest_city, round_trip

CITY_HEADER = "x-atoll-city"
EVERY_CITY = "all"
REFRESH_S = 2.0
FORWARD_TIMEOUT_S = 35.0  # an HTTP API integration has at most 30
# RFC 9110 section 7.6.1, and what this end sets anew
_NOT_FORWARDED = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Edge:
    """State of the edge: zone and health as last read, probes, resolver caches."""

    def __init__(self, *, endpoint: str, zone: str, record: str, home_region: str) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.record = plain(record)
        self.default_city = nearest_city(home_region)
        self.reader = Reader(self.endpoint, zone)
        self.zone = Zone()
        self.health = Health()
        self.resolvers = ResolverCache(time.monotonic)
        self.prober = Prober(self.health, self.reach)
        self.read_error = ""
        self._read_at = float("-inf")  # when the last reading began
        self._reading = asyncio.Lock()
        self._port = urlsplit(self.endpoint).port
        self.http: aiohttp.ClientSession

    async def refresh(self) -> None:
        """Read Route 53 and the alarms as they are now; callers that wait together share one reading."""
        wanted_at = time.monotonic()
        async with self._reading:
            if self._read_at >= wanted_at:
                return
            self._read_at = time.monotonic()
            try:
                reading = await asyncio.to_thread(self.reader.read)
            except (BotoCoreError, ClientError) as error:
                self.read_error = str(error)  # what was read last stays in force, as resolvers would have it
            else:
                self.zone, self.read_error = reading.zone, ""
                self.health.update(reading.checks, reading.alarms)
                self.prober.follow()

    # --- answering ---------------------------------------------------------------------------------------------

    def choose(self, city: str, draw: Draw | None = None) -> Choice:
        """What Route 53 would answer now, caches aside. Raises NotPlayedError."""
        latency = lambda region: round_trip(city, region)  # noqa: E731 - a partial application
        return Resolver(self.zone, self.health, latency, draw).choose(self.record)

    def resolve(self, city: str) -> Candidate | None:
        """What the caller's resolver answers: its cached answer, else a fresh one. Raises NotPlayedError."""
        cached = self.resolvers.get(city)
        if cached is not None:
            return cached.choice.chosen
        choice = self.choose(city, random.random)
        if choice.chosen is not None:
            self.resolvers.put(city, choice)
        return choice.chosen

    def reach(self, check: HealthCheck) -> tuple[str, str]:
        """Base URL and Host header of a checked endpoint: an address as it is, any name at the emulator."""
        if check.address:
            address = f"[{check.address}]" if ipaddress.ip_address(check.address).version == 6 else check.address
            scheme = "https" if check.kind.startswith("HTTPS") else "http"
            return f"{scheme}://{address}:{check.port}", check.host or check.address
        return self.endpoint, self._host(self._end_of(check.host))

    def _end_of(self, name: str) -> str:
        """Where a name of the zone leads; a name outside of it is its own end."""
        if not self.zone.group(plain(name)):
            return name
        with contextlib.suppress(NotPlayedError):
            chosen = Resolver(self.zone, self.health, lambda _: None).choose(plain(name)).chosen
            return chosen.target if chosen else name
        return name

    def _host(self, target: str) -> str:
        """The Host header by which the emulator knows ``target``."""
        match = API_NAME.match(target)
        return f"{match['api']}.execute-api.localhost:{self._port}" if match else target

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forward one request, as the name would have carried it."""
        city = request.headers.get(CITY_HEADER, self.default_city)
        if city not in CITIES:
            return problem(400, "unknown-city", f"{CITY_HEADER}: {city!r} is not known; accepted: {', '.join(CITIES)}")
        try:
            answer = self.resolve(city)
            if answer is None:
                await self.refresh()
                answer = self.resolve(city)
        except NotPlayedError as error:
            return problem(501, "not-played", str(error))
        if answer is None:
            why = f" ({self.read_error})" if self.read_error else ""
            return problem(
                503, "no-records", f"{self.record} has no records{why}: run `ops run provision` and apply its plan"
            )
        response = await self._forward(request, answer)
        response.headers["x-atoll-region"] = answer.region
        trip = round_trip(city, answer.region)
        if trip is not None:
            response.headers["x-atoll-rtt-ms"] = f"{trip.ms:.0f}"
        return response

    async def _forward(self, request: web.Request, to: Candidate) -> web.Response:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED]
        headers += [("host", self._host(to.target)), ("x-forwarded-host", self.record)]
        headers += [("x-forwarded-for", request.remote or HOST)]
        try:
            async with self.http.request(
                request.method,
                f"{self.endpoint}{request.raw_path}",
                headers=headers,
                data=await request.read() or None,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
            ) as answer:
                response = web.Response(status=answer.status, body=await answer.read())
                for name, value in answer.headers.items():
                    if name.lower() not in _NOT_FORWARDED:
                        response.headers.add(name, value)
                return response
        except (aiohttp.ClientError, TimeoutError) as error:
            detail = f"{to.region} ({to.target}) did not answer: {type(error).__name__}"
            return problem(502, "region-unreachable", detail)

    async def handle_explain(self, request: web.Request) -> web.Response:
        """``GET /_edge/explain?city=...``: one explanation, or with ``city=all`` a list of them."""
        city = request.query.get("city", self.default_city)
        if city != EVERY_CITY and city not in CITIES:
            known = ", ".join((*CITIES, EVERY_CITY))
            return problem(400, "unknown-city", f"city: {city!r} is not known; accepted: {known}")
        await self.refresh()
        try:
            if city == EVERY_CITY:
                return web.json_response([self.explain(each) for each in CITIES])
            return web.json_response(self.explain(city))
        except NotPlayedError as error:
            return problem(501, "not-played", str(error))

    def explain(self, city: str) -> dict[str, Any]:
        """One city's answer and why, without asking anew or keeping anything. Raises NotPlayedError."""
        return explanation(city, self.record, self.choose(city), self.resolvers.get(city), self.read_error)

    async def handle_ready(self, _: web.Request) -> web.Response:
        records = len(self.zone.group(self.record))
        return web.json_response({"record": self.record, "records": records, "cities": list(CITIES)})

    # --- life --------------------------------------------------------------------------------------------------

    async def run(self, _: web.Application) -> AsyncIterator[None]:
        """Keep records and probes going while the server runs."""
        connector = aiohttp.TCPConnector(limit=256)
        timeout = aiohttp.ClientTimeout(total=FORWARD_TIMEOUT_S)
        self.http = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        self.prober.http = self.http
        tasks = [asyncio.create_task(self._read_for_ever()), asyncio.create_task(self._publish_for_ever())]
        yield
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.prober.stop()
        await self.http.close()

    async def _read_for_ever(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_S)

    async def _publish_for_ever(self) -> None:
        while True:
            await asyncio.sleep(PUBLISH_S)
            # What is not stored is missing, as metrics sometimes are; the emulator may be on its way down.
            with contextlib.suppress(BotoCoreError, ClientError):
                await asyncio.to_thread(publish, self.reader.client("cloudwatch", REGION), published(self.health))


def problem(status: int, slug: str, detail: str) -> web.Response:
    """An RFC 9457 answer of the edge itself."""
    titles = {400: "Bad Request", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable"}
    return web.json_response(
        {"type": f"/problems/{slug}", "title": titles[status], "status": status, "detail": detail},
        status=status,
        content_type="application/problem+json",
    )


def make_app(edge: Edge) -> web.Application:
    """The server: two paths of its own, everything else is forwarded."""
    app = web.Application(client_max_size=12 * 2**20)
    app.cleanup_ctx.append(edge.run)
    app.router.add_get("/_edge/explain", edge.handle_explain)
    app.router.add_get("/_edge/ready", edge.handle_ready)
    app.router.add_route("*", "/{path:.*}", edge.handle)
    return app

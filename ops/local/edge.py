"""The edge of the local cloud: plays Route 53 and the custom domain, from the actual records and health checks.

It reads hosted zone, record sets and health checks from the Route 53 API every two seconds, probes the endpoints with
each check's own interval and threshold, and forwards a request to the API that the name would resolve to for a caller
in the city named by ``x-atoll-city``. Nothing is configured but the name: records that appear, change or vanish take
effect without a restart. A caller's resolver keeps an answer for the record's TTL, as a real one does.
``GET /_edge/explain?city=Mumbai`` says which region answers and why. Latency is reported in ``x-atoll-rtt-ms``,
never slept.

A record's target is the API's regional name, ``<apiId>.execute-api.<region>.amazonaws.com``; the edge carries it to the
emulator over plain HTTP, which is the only thing it changes.

Run as ``python -m ops.local.edge --port N --endpoint URL --zone Z --record NAME --home-region R``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import boto3
from aiohttp import web
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ops.local.cities import CITIES, REGIONS, nearest_city, round_trip_ms
from ops.local.processes import HOST, TEST_CREDENTIALS, hold_lifeline
from ops.local.routing import (
    Choice,
    Health,
    HealthCheck,
    LatencyRecord,
    ResolverCache,
    choose,
    parse_health_checks,
    parse_records,
)

CITY_HEADER = "x-atoll-city"
REFRESH_S = 2.0
PROBE_TIMEOUT_S = 4.0  # Route 53: four seconds to connect
FORWARD_TIMEOUT_S = 35.0  # an HTTP API integration has at most 30
_API_NAME = re.compile(r"^(?P<api>[a-z0-9]+)\.execute-api\.(?P<region>[a-z0-9-]+)\.amazonaws\.com$")
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

logger = logging.getLogger("atoll.edge")


class Edge:
    """State of the edge: records and health as last read, probes, resolver caches."""

    def __init__(self, *, endpoint: str, zone: str, record: str, home_region: str) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.zone, self.record = zone.rstrip("."), record.rstrip(".")
        self.default_city = nearest_city(home_region)
        self.records: list[LatencyRecord] = []
        self.health = Health()
        self.resolvers = ResolverCache(time.monotonic)
        self.read_error = ""
        self._read_at = float("-inf")  # when the last reading began
        self._reading = asyncio.Lock()
        self._probing: dict[str, tuple[HealthCheck, asyncio.Task[None]]] = {}
        self._port = urlsplit(self.endpoint).port
        self._route53 = boto3.client(
            "route53",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=TEST_CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=TEST_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
        )
        self.http: aiohttp.ClientSession

    # --- reading Route 53 --------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Read zone, records and health checks as they are now; callers that wait together share one reading."""
        wanted_at = time.monotonic()
        async with self._reading:
            if self._read_at >= wanted_at:
                return
            self._read_at = time.monotonic()
            try:
                records, checks = await asyncio.to_thread(self._read)
            except (BotoCoreError, ClientError) as error:
                self.read_error = str(error)  # what was read last stays in force, as resolvers would have it
            else:
                self.records, self.read_error = records, ""
                self.health.update(checks)
                self._probe_all()

    def _read(self) -> tuple[list[LatencyRecord], list[HealthCheck]]:
        record_sets: list[Any] = []
        for page in self._route53.get_paginator("list_hosted_zones").paginate():
            for zone in page["HostedZones"]:
                if zone["Name"].rstrip(".") == self.zone:
                    for sets in self._route53.get_paginator("list_resource_record_sets").paginate(
                        HostedZoneId=zone["Id"]
                    ):
                        record_sets += sets["ResourceRecordSets"]
        checks: list[Any] = []
        for listed in self._route53.get_paginator("list_health_checks").paginate():
            checks += listed["HealthChecks"]
        return parse_records(record_sets, self.record), parse_health_checks(checks)

    # --- probing -----------------------------------------------------------------------------------------------

    def _probe_all(self) -> None:
        wanted = {check.id: check for check in self.health.checks.values() if check.probed}
        for check_id, (check, task) in list(self._probing.items()):
            if wanted.get(check_id) != check:
                task.cancel()
                del self._probing[check_id]
        for check_id, check in wanted.items():
            if check_id not in self._probing:
                self._probing[check_id] = (check, asyncio.create_task(self._probe_for_ever(check)))

    async def _probe_for_ever(self, check: HealthCheck) -> None:
        while True:
            ok, detail = await self.probe(check)
            if self.health.probe(check.id).add(ok, check.failure_threshold, detail):
                logger.warning("%s is %s: %s", check.host, "healthy" if ok else "unhealthy", detail)
            await asyncio.sleep(check.interval_s)

    async def probe(self, check: HealthCheck) -> tuple[bool, str]:
        """One probe: healthy is an answer of 2xx or 3xx in time."""
        url, host = self._address(check.host, check.path)
        try:
            timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
            async with self.http.get(url, headers={"host": host}, timeout=timeout, allow_redirects=False) as answer:
                return 200 <= answer.status < 400, f"{check.path} answered {answer.status}"
        except (aiohttp.ClientError, TimeoutError) as error:
            return False, f"{check.path} did not answer: {type(error).__name__}"

    # --- answering ---------------------------------------------------------------------------------------------

    def explain(self, city: str) -> Choice:
        """What Route 53 would answer now, caches aside."""
        return choose(
            self.records, self.health, lambda region: round_trip_ms(city, region) if region in REGIONS else None
        )

    def resolve(self, city: str) -> LatencyRecord | None:
        """What the caller's resolver answers: its cached record, else a fresh choice."""
        cached = self.resolvers.get(city)
        if cached is not None:
            return cached[0]
        chosen = self.explain(city).chosen
        if chosen is None:
            return None
        self.resolvers.put(city, chosen.record)
        return chosen.record

    def _address(self, target: str, path: str) -> tuple[str, str]:
        """URL and Host header that reach ``target`` on this machine."""
        match = _API_NAME.match(target)
        host = f"{match['api']}.execute-api.localhost:{self._port}" if match else target
        return f"{self.endpoint}{path}", host

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forward one request, as the name would have carried it."""
        city = request.headers.get(CITY_HEADER, self.default_city)
        if city not in CITIES:
            return problem(400, "unknown-city", f"{CITY_HEADER}: {city!r} is not known; accepted: {', '.join(CITIES)}")
        record = self.resolve(city)
        if record is None:
            await self.refresh()
            record = self.resolve(city)
        if record is None:
            why = f" ({self.read_error})" if self.read_error else ""
            return problem(
                503,
                "no-records",
                f"{self.record} has no latency records{why}: run `ops run provision` and apply its plan",
            )
        url, host = self._address(record.target, request.raw_path)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED]
        headers += [("host", host), ("x-forwarded-host", self.record), ("x-forwarded-for", request.remote or HOST)]
        try:
            async with self.http.request(
                request.method,
                url,
                headers=headers,
                data=await request.read() or None,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
            ) as answer:
                response = web.Response(status=answer.status, body=await answer.read())
                for name, value in answer.headers.items():
                    if name.lower() not in _NOT_FORWARDED:
                        response.headers.add(name, value)
        except (aiohttp.ClientError, TimeoutError) as error:
            response = problem(
                502, "region-unreachable", f"{record.region} ({record.target}) did not answer: {type(error).__name__}"
            )
        response.headers["x-atoll-region"] = record.region
        response.headers["x-atoll-rtt-ms"] = f"{round_trip_ms(city, record.region):.0f}"
        return response

    async def handle_explain(self, request: web.Request) -> web.Response:
        """``GET /_edge/explain?city=...``."""
        city = request.query.get("city", self.default_city)
        if city not in CITIES:
            return problem(400, "unknown-city", f"city: {city!r} is not known; accepted: {', '.join(CITIES)}")
        await self.refresh()
        choice, cached = self.explain(city), self.resolvers.get(city)
        return web.json_response(
            {
                "city": city,
                "record": self.record,
                "region": choice.chosen.record.region if choice.chosen else None,
                "reason": choice.reason,
                "cached": {"region": cached[0].region, "ttl_left_s": round(cached[1], 1)} if cached else None,
                "candidates": [
                    {
                        "region": one.record.region,
                        "target": one.record.target,
                        "rtt_ms": None if one.rtt_ms is None else round(one.rtt_ms, 1),
                        "healthy": one.healthy,
                        "health": one.why,
                    }
                    for one in choice.candidates
                ],
                "error": self.read_error or None,
            }
        )

    async def handle_ready(self, _: web.Request) -> web.Response:
        return web.json_response({"record": self.record, "records": len(self.records), "cities": list(CITIES)})

    # --- life --------------------------------------------------------------------------------------------------

    async def run(self, _: web.Application) -> AsyncIterator[None]:
        """Keep records and probes going while the server runs."""
        connector = aiohttp.TCPConnector(limit=256)
        timeout = aiohttp.ClientTimeout(total=FORWARD_TIMEOUT_S)
        self.http = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        reading = asyncio.create_task(self._read_for_ever())
        yield
        for task in (reading, *(task for _, task in self._probing.values())):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.http.close()

    async def _read_for_ever(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_S)


def problem(status: int, slug: str, detail: str) -> web.Response:
    """An RFC 9457 answer of the edge itself."""
    titles = {400: "Bad Request", 502: "Bad Gateway", 503: "Service Unavailable"}
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


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="ops.local.edge", description="Plays Route 53 and the custom domain.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--endpoint", required=True, help="the emulator")
    parser.add_argument("--zone", required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--home-region", required=True)
    options = parser.parse_args(arguments)
    hold_lifeline()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    edge = Edge(endpoint=options.endpoint, zone=options.zone, record=options.record, home_region=options.home_region)
    web.run_app(make_app(edge), host=HOST, port=options.port, print=None, access_log=None)


if __name__ == "__main__":
    main()

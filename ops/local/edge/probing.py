"""The probes of the endpoints, one task a health check, each with its own interval.

What holds, as documented for Route 53, and is played here: HTTP and HTTPS connect within four seconds and answer
within two more, with a status of 2xx or 3xx (redirects are not followed, certificates are not verified); a string
match finds its text in the first 5,120 bytes of the body, which arrives within another two; TCP connects within ten.
The next probe is sent ``RequestInterval`` seconds after the answer to the last one. On this machine connecting takes
nothing, and starting a function shares two processors with all else: the time to connect and the time to answer are
therefore one budget.
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html
https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import aiohttp

from ops.local.edge.healthchecks import HTTP_TYPES, Health, HealthCheck

CONNECT_TIMEOUT_S = 4.0
ANSWER_TIMEOUT_S = 2.0
BODY_TIMEOUT_S = 2.0
TCP_TIMEOUT_S = 10.0
SEARCHED_BYTES = 5120

logger = logging.getLogger("atoll.edge")

Reach = Callable[[HealthCheck], tuple[str, str]]
"""From a check to the base URL and the Host header that reach its endpoint on this machine."""


class Prober:
    """Probes every endpoint check of ``health``, and tells it what it saw."""

    def __init__(self, health: Health, reach: Reach) -> None:
        self._health, self._reach = health, reach
        self._tasks: dict[str, tuple[HealthCheck, asyncio.Task[None]]] = {}
        self.http: aiohttp.ClientSession

    def follow(self) -> None:
        """Probe what is to be probed now: start for a new check, start anew for a changed one, stop for the rest."""
        wanted = {check.id: check for check in self._health.checks.values() if check.probed}
        for check_id, (check, task) in list(self._tasks.items()):
            if wanted.get(check_id) != check:
                task.cancel()
                del self._tasks[check_id]
        for check_id, check in wanted.items():
            if check_id not in self._tasks:
                self._tasks[check_id] = (check, asyncio.create_task(self._for_ever(check)))

    async def stop(self) -> None:
        """End all probes."""
        for _, task in self._tasks.values():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    async def _for_ever(self, check: HealthCheck) -> None:
        while True:
            ok, detail = await self.probe(check)
            if self._health.add(check.id, ok, detail):
                logger.warning("%s is %s: %s", check.host or check.address, "healthy" if ok else "unhealthy", detail)
            await asyncio.sleep(check.interval_s)

    async def probe(self, check: HealthCheck) -> tuple[bool, str]:
        """One probe: whether it passed, and what was seen."""
        base_url, host = self._reach(check)
        if check.kind in HTTP_TYPES:
            return await self._http(check, base_url, host)
        return await self._tcp(check, base_url)

    async def _http(self, check: HealthCheck, base_url: str, host: str) -> tuple[bool, str]:
        searched = check.kind.endswith("_STR_MATCH")
        total_s = CONNECT_TIMEOUT_S + ANSWER_TIMEOUT_S + (BODY_TIMEOUT_S if searched else 0)
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_TIMEOUT_S)
        try:
            async with self.http.get(
                f"{base_url}{check.path}", headers={"host": host}, timeout=timeout, allow_redirects=False, ssl=False
            ) as answer:
                detail = f"{check.path} answered {answer.status}"
                ok = 200 <= answer.status < 400
                if ok and searched:
                    ok = check.search.encode() in await _first_bytes(answer)
                    detail += "" if ok else f" without {check.search!r}"
                return ok, detail
        except (aiohttp.ClientError, TimeoutError) as error:
            return False, f"{check.path} did not answer: {type(error).__name__}"

    async def _tcp(self, check: HealthCheck, base_url: str) -> tuple[bool, str]:
        address, _, port = base_url.rpartition("://")[2].rpartition(":")
        try:
            async with asyncio.timeout(TCP_TIMEOUT_S):
                _, writer = await asyncio.open_connection(address.strip("[]"), int(port))
        except (OSError, TimeoutError) as error:
            return False, f"port {check.port} did not connect: {type(error).__name__}"
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True, f"port {check.port} connected"


async def _first_bytes(answer: aiohttp.ClientResponse) -> bytes:
    """What Route 53 searches of a body."""
    body = b""
    while len(body) < SEARCHED_BYTES:
        chunk = await answer.content.read(SEARCHED_BYTES - len(body))
        if not chunk:
            break
        body += chunk
    return body

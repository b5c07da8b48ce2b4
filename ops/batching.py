"""Aggregation on the client's side: events that wait a moment for others and go out together, as one request.

What always holds: an event waits for ``linger_ms`` at most, a request has at most ``size`` events of one caller's city,
and each event gets the platform's own word on it, so that it is retried alone whatever became of its neighbours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ops.errors import UsageError
from ops.post import Answer

# With events of 300 bytes, a hundredth of what a request may hold; the function has 29 s for all of them.
MAX_SIZE = 500
MAX_LINGER_MS = 10_000
CONTENT_TYPE = "application/cloudevents-batch+json"

Ask = Callable[[str, bytes], Awaitable[Answer]]


@dataclass
class Aggregation:
    """How events are put together, and how many ``requests`` that made."""

    size: int
    linger_ms: float = 20.0
    requests: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIZE:
            raise UsageError(f"batch: {self.size} events a request; accepted: 1 to {MAX_SIZE}")
        if not 0 <= self.linger_ms <= MAX_LINGER_MS:
            raise UsageError(f"linger: {self.linger_ms} ms; accepted: 0 to {MAX_LINGER_MS}")


@dataclass
class _Waiting:
    bodies: list[bytes] = field(default_factory=list)
    answers: list[asyncio.Future[Answer]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class Aggregator:
    """Collects events by city and sends them with ``post``, a request's bodies at a time."""

    def __init__(self, aggregation: Aggregation, post: Callable[[str, list[bytes]], Awaitable[list[Answer]]]) -> None:
        self._aggregation = aggregation
        self._post = post
        self._waiting: dict[str, _Waiting] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    async def ask(self, city: str, body: bytes) -> Answer:
        """The answer about one event, which goes out with the next request of its city."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(city, _Waiting())
        answer: asyncio.Future[Answer] = loop.create_future()
        waiting.bodies.append(body)
        waiting.answers.append(answer)
        if len(waiting.bodies) >= self._aggregation.size:
            self._send(city)
        elif waiting.timer is None:
            waiting.timer = loop.call_later(self._aggregation.linger_ms / 1000, self._send, city)
        return await answer

    def _send(self, city: str) -> None:
        waiting = self._waiting.pop(city)
        if waiting.timer is not None:
            waiting.timer.cancel()
        self._aggregation.requests += 1
        # The loop itself holds tasks weakly.
        task = asyncio.get_running_loop().create_task(self._deliver(city, waiting))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _deliver(self, city: str, waiting: _Waiting) -> None:
        try:
            answers = await self._post(city, waiting.bodies)
        except Exception as error:  # noqa: BLE001 - raised where the events wait
            for one in waiting.answers:
                if not one.done():
                    one.set_exception(error)
            return
        for one, answer in zip(waiting.answers, answers, strict=True):
            if not one.done():
                one.set_result(answer)


async def attempt_together(
    client: httpx.AsyncClient, url: str, headers: Mapping[str, str], bodies: list[bytes]
) -> list[Answer]:
    """Send events once, as one batch; an answer each. What is said of the request as a whole is said of each event."""
    headers = {**headers, "content-type": CONTENT_TYPE}
    try:
        answer = await client.post(url, content=b"[" + b",".join(bodies) + b"]", headers=headers)
    except httpx.HTTPError:
        return [Answer(0)] * len(bodies)
    region, retry_after = answer.headers.get("x-atoll-region"), answer.headers.get("retry-after", "")
    try:
        content: Any = answer.json()
    except ValueError:
        content = {}
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, list) or len(results) != len(bodies):
        # Accepted, and nobody said what: asked again, the platform answers with what it remembers.
        status = 0 if answer.status_code < 300 else answer.status_code
        return [Answer(status, region=region, retry_after=retry_after)] * len(bodies)
    found = {int(one["index"]): one for one in results}
    region = content.get("region") or region
    return [_answer(found.get(index, {}), region, retry_after) for index in range(len(bodies))]


def _answer(result: Mapping[str, Any], region: str | None, retry_after: str) -> Answer:
    return Answer(
        status=int(result.get("status", 0)),
        event_key=result.get("event_key"),
        region=result.get("region") or region,
        duplicate=bool(result.get("duplicate")),
        retry_after=retry_after,
    )

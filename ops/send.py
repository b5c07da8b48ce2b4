"""Traffic: real CloudEvents through the edge, as a client far from us would send them, and a line about each.

An event is a function of its ``source`` and ``id`` (ops/post.py), which is how a record of what was sent is enough to
send it a second time (``again``). Sends are retried with a bounded backoff on
what a client may retry (no answer, 409 in progress, 429, 5xx), always with the same event, so nothing doubles.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from ops.batching import Aggregation, Aggregator, Ask, attempt_together
from ops.errors import OpsError, UsageError
from ops.post import Answer, attempt, final, request_for, slug
from ops.token import Tokens

CITIES = ("Mumbai", "New York", "London", "Singapore", "Sao Paulo", "Sydney")
NOT_LET_IN = frozenset({401, 403})
# Longer than a health check and a record's time to live take to lead away from a region that is down.
RETRY_FOR_S = 60.0
TIMEOUT_S = 30.0
SINGLE = "application/cloudevents+json"


class Request(NamedTuple):
    """One request to make; a request that is not ``valid`` lacks a required attribute on purpose."""

    source: str
    id: str
    city: str
    valid: bool


@dataclass(frozen=True)
class Sent:
    """One event and what became of it; a line of ``ops send --out``.

    ``status`` is the HTTP status of the last attempt, 0 when there was no answer. ``duplicate`` is the platform's own
    word: it had accepted this event before.
    """

    event_key: str | None
    source: str
    id: str
    city: str
    region: str | None
    status: int
    latency_ms: float
    duplicate: bool
    attempts: int

    @property
    def accepted(self) -> bool:
        return self.status == 202


@dataclass(frozen=True)
class Traffic:
    """What to send: ``count`` requests, of which a share are repeats of an earlier event and a share are invalid."""

    count: int
    duplicates: float = 0.0
    invalid: float = 0.0
    cities: tuple[str, ...] = CITIES
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"count: {self.count} is too few; accepted: 1 or more")
        for name, share in (("duplicates", self.duplicates), ("invalid", self.invalid)):
            if not 0 <= share < 1:
                raise UsageError(f"{name}: {share} is not a share; accepted: 0 up to, not including, 1")
        if self.duplicates + self.invalid >= 1:
            raise UsageError("duplicates and invalid: together they leave no new event to send")

    def plan(self) -> list[Request]:
        """The requests in sending order; repeats come after their original."""
        rng = random.Random(self.seed)  # noqa: S311 - traffic, not cryptography
        run = f"{int(time.time() * 1000):x}"
        repeats, broken = round(self.count * self.duplicates), round(self.count * self.invalid)
        fresh = self.count - repeats - broken
        kinds = ["fresh"] * (fresh - 1) + ["repeat"] * repeats + ["broken"] * broken
        rng.shuffle(kinds)
        planned: list[Request] = []
        originals: list[Request] = []
        for number, kind in enumerate(["fresh", *kinds]):
            city = rng.choice(self.cities)
            if kind == "repeat":
                source, event_id, _, _ = rng.choice(originals)
                planned.append(Request(source, event_id, city, True))
                continue
            source = f"/shops/{slug(city)}"
            request = Request(source, f"{run}-{rng.getrandbits(32):08x}-{number}", city, kind == "fresh")
            planned.append(request)
            if kind == "fresh":
                originals.append(request)
        return planned


class _Patience:
    """How long a failing event is retried. When one was given up, the next are tried once, until one gets through."""

    def __init__(self) -> None:
        self.given_up = False

    def spent(self, started: float) -> bool:
        if self.given_up or time.perf_counter() - started >= RETRY_FOR_S:
            self.given_up = True
            return True
        return False


def _asking(
    client: httpx.AsyncClient, url: str, tokens: Tokens, concurrency: int, aggregation: Aggregation | None
) -> Ask:
    """How one event is sent once: alone, or with others of its city."""

    async def headers_for(city: str) -> dict[str, str]:
        token = tokens.fresh or await asyncio.to_thread(tokens.get)
        return {"x-atoll-city": city, "authorization": f"Bearer {token}", "content-type": SINGLE}

    async def alone(city: str, body: bytes) -> Answer:
        return await attempt(client, url, await headers_for(city), body)

    if aggregation is None:
        return alone
    places = asyncio.Semaphore(concurrency)

    async def together(city: str, bodies: list[bytes]) -> list[Answer]:
        async with places:
            return await attempt_together(client, url, await headers_for(city), bodies)

    return Aggregator(aggregation, together).ask


async def _send_one(ask: Ask, request: Request, patience: _Patience) -> Sent:
    source, event_id, city, valid = request
    _, body = request_for(source, event_id, valid)
    started = time.perf_counter()
    attempts = 0
    while True:
        attempts += 1
        answer = await ask(city, body)
        if final(answer.status):
            patience.given_up = False
            break
        if patience.spent(started):
            break
        await asyncio.sleep(answer.pause_s(attempts))
    return Sent(
        event_key=answer.event_key,
        source=source,
        id=event_id,
        city=city,
        region=answer.region,
        status=answer.status,
        latency_ms=round((time.perf_counter() - started) * 1000, 2),
        duplicate=answer.duplicate,
        attempts=attempts,
    )


async def _send_all(
    url: str,
    requests: Sequence[Request],
    concurrency: int,
    progress: Callable[[Sent], None],
    tokens: Tokens,
    *,
    aggregation: Aggregation | None,
) -> list[Sent]:
    pending: Iterator[tuple[int, Request]] = iter(enumerate(requests))
    results: dict[int, Sent] = {}
    patience = _Patience()
    # A repeat must not overtake its original by more than the concurrency allows: one shared iterator keeps the order.
    async with httpx.AsyncClient(timeout=TIMEOUT_S, limits=httpx.Limits(max_connections=concurrency)) as client:
        ask = _asking(client, url, tokens, concurrency, aggregation)

        async def worker() -> None:
            for index, request in pending:
                results[index] = await _send_one(ask, request, patience)
                progress(results[index])

        async with asyncio.TaskGroup() as group:
            # Enough events under way to fill every request that may be.
            for _ in range(concurrency * (aggregation.size if aggregation else 1)):
                group.create_task(worker())
    return [results[index] for index in sorted(results)]


def send(
    base_url: str,
    requests: Sequence[Request],
    tokens: Tokens,
    *,
    concurrency: int = 16,
    aggregation: Aggregation | None = None,
    out: Path | None = None,
    progress: Callable[[Sent], None] = lambda _: None,
) -> list[Sent]:
    """Send every request to ``<base_url>/events`` and return a line for each, in sending order.

    With an ``aggregation``, events go out together, and it counts the requests. Each line is also written to ``out``
    as it is known, so that an interrupted run leaves the lines it has.

    Raises:
        UsageError: there is no token to send with, or the API lets none of the events in.
        OpsError: nothing answered at all.
    """
    tokens.get()  # before anything is sent: without one, nothing is
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    with (out or Path("/dev/null")).open("w", encoding="utf-8") as lines:

        def record(sent: Sent) -> None:
            lines.write(json.dumps(asdict(sent)) + "\n")
            progress(sent)

        results = asyncio.run(
            _send_all(f"{base_url}/events", requests, concurrency, record, tokens, aggregation=aggregation)
        )
    if results and all(sent.status == 0 for sent in results):
        raise OpsError(f"{base_url} gave no answer to any of {len(results)} events", hint="Run: ops status")
    if results and all(sent.status in NOT_LET_IN for sent in results):
        raise UsageError(
            f"{base_url} answers {results[0].status} to each of {len(results)} events: it does not take the token",
            hint="Do access.issuer, access.audience and access.scopes fit the client? Deploy again if they changed.",
        )
    return results


def again(path: Path) -> list[Request]:
    """The valid events of an earlier ``--out`` file, accepted or failed, once each, to be sent once more.

    Raises:
        UsageError: the file is missing or a line is not one of ours.
    """
    requests: dict[tuple[str, str], Request] = {}
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                sent = Sent(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise UsageError(f"again: {path}:{number} is not a line of ops send --out: {error}") from error
            if sent.accepted or not final(sent.status):
                requests.setdefault((sent.source, sent.id), Request(sent.source, sent.id, sent.city, True))
    except OSError as error:
        raise UsageError(f"again: {path} cannot be read: {error.strerror}") from error
    return list(requests.values())


def summary(results: Sequence[Sent], aggregation: Aggregation | None = None) -> dict[str, Any]:
    """Counts and latencies (ms) of a run. ``requests`` are those that were made, repetitions included."""
    requests = aggregation.requests if aggregation else sum(sent.attempts for sent in results)
    latencies = sorted(sent.latency_ms for sent in results)
    accepted = [sent for sent in results if sent.accepted]
    return {
        "sent": len(results),
        "requests": requests,
        "accepted": len(accepted),
        "distinct": len({sent.event_key for sent in accepted}),
        "duplicates": sum(sent.duplicate for sent in accepted),
        "rejected": sum(final(sent.status) and not sent.accepted for sent in results),
        "failed": sum(not final(sent.status) for sent in results),
        "retried": sum(sent.attempts > 1 for sent in results),
        "by_region": dict(sorted(Counter(sent.region or "none" for sent in accepted).items())),
        "p50_ms": latencies[len(latencies) // 2] if latencies else None,
        "p99_ms": latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))] if latencies else None,
    }

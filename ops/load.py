"""Load for a drill: events from four cities at a steady rate, each sent until a region has the last word on it.

What always holds:

- *Open loop.* Event n is due at n / rate, whatever became of the others. One that is begun late bears the time it was
  due, and one that is not begun at all, because too many are under way, is listed in ``unsent``.
- *The same event every time.* A repetition has the same bytes, so that two regions that take it hold the same event.
- *Across regions.* The odd attempts go through the edge, the even ones straight to a region's own API, another one each
  time: a client gets through as soon as any region answers, and every event asks the name first.
- *A fresh connection for each attempt*, as so many clients would have: a kept connection would go on to a region that
  the name has long led away from.
- *No event waits for a token*: one is there before the first event, and it is renewed on the side.

The city decides the answer where the edge plays the callers' resolvers. Route 53 knows this machine's resolver only.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import NamedTuple, Self

import httpx
import pandas as pd

from ops.errors import OpsError, UsageError
from ops.post import Answer, attempt, final, request_for, slug
from ops.token import Tokens

# Far apart, so that the nearest of any set of regions differs among them: Asia twice, Europe, America.
FOUR_CITIES = ("Mumbai", "New York", "London", "Singapore")
EDGE = "edge"
# A region that hangs costs an event this long, not a client's usual half a minute.
ATTEMPT_TIMEOUT_S = 5.0
# Many outages of minutes fit in; an event without a last word after that is in doubt.
GIVE_UP_AFTER_S = 300.0
MAX_UNDER_WAY = 2000
TOKEN_LOOK_S = 5.0
STOP_WITHIN_S = 2 * ATTEMPT_TIMEOUT_S


@dataclass(frozen=True)
class Attempt:
    """One request. Times are Unix seconds; ``via`` is ``edge`` or the region that was asked directly.

    ``number`` counts an event's attempts from 1, ``due`` is when its first one should have begun, ``status`` 0 says
    that no answer came and ``region`` is the one that answered, as far as the answer tells.
    """

    source: str
    id: str
    event_key: str | None
    city: str
    number: int
    via: str
    region: str | None
    status: int
    started: float
    ended: float
    due: float = 0.0

    @property
    def ok(self) -> bool:
        return self.status == 202

    @property
    def failed(self) -> bool:
        """Whether it has to be repeated: no answer, or one that is not the last word, or names no event."""
        return not final(self.status) or (self.ok and not self.event_key)


@dataclass(frozen=True)
class Accepted:
    """An event that was answered 202: by which region, when, and how long the client had waited for it by then."""

    event_key: str
    source: str
    id: str
    city: str
    region: str
    at: float
    began: float
    attempts: int

    @property
    def waited_s(self) -> float:
        return self.at - self.began


class EventId(NamedTuple):
    """What makes an event unique to a client."""

    source: str
    id: str


@dataclass(frozen=True)
class LoadRecord:
    """Every attempt of a run, in the order in which they ended; whatever else it says follows from these.

    ``unsent``: when each event was due that was not begun, because too many were under way.
    """

    run: str
    attempts: tuple[Attempt, ...]
    unsent: tuple[float, ...] = ()

    @cached_property
    def by_event(self) -> dict[EventId, list[Attempt]]:
        """Each event's attempts, in order."""
        found: dict[EventId, list[Attempt]] = {}
        for one in self.attempts:
            found.setdefault(EventId(one.source, one.id), []).append(one)
        for attempts in found.values():
            attempts.sort(key=lambda one: one.number)
        return found

    @cached_property
    def accepted(self) -> dict[str, Accepted]:
        """The events that were answered 202, by event key."""
        found: dict[str, Accepted] = {}
        for attempts in self.by_event.values():
            last = attempts[-1]
            if last.ok and last.event_key:
                found[last.event_key] = Accepted(
                    event_key=last.event_key,
                    source=last.source,
                    id=last.id,
                    city=last.city,
                    region=last.region or "",
                    at=last.ended,
                    began=attempts[0].started,
                    attempts=len(attempts),
                )
        return found

    @cached_property
    def in_doubt(self) -> tuple[EventId, ...]:
        """The events whose outcome the client never learned; of a snapshot, also those that are being repeated."""
        return tuple(event for event, attempts in self.by_event.items() if attempts[-1].failed)

    @cached_property
    def rejected(self) -> tuple[EventId, ...]:
        """The events that a region refused for good."""
        return tuple(
            event for event, attempts in self.by_event.items() if not attempts[-1].failed and not attempts[-1].ok
        )

    @property
    def late_s(self) -> float:
        """How far the load was behind its own timetable at worst; 0 when it never was."""
        return max((one.started - one.due for one in self.attempts if one.number == 1 and one.due), default=0.0)

    def frame(self) -> pd.DataFrame:
        """A row an attempt; times in UTC."""
        names = [field.name for field in fields(Attempt)]
        frame = pd.DataFrame([asdict(one) for one in self.attempts], columns=names)
        for name in ("started", "ended", "due"):
            frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
        frame["latency_ms"] = (frame["ended"] - frame["started"]).dt.total_seconds() * 1000
        return frame


def source_of(run: str, city: str) -> str:
    """The source of a run's events from a city."""
    return f"{sources_of(run)}{slug(city)}"


def sources_of(run: str) -> str:
    """What the sources of all of a run's events begin with."""
    return f"/drills/{run}/"


class Load:
    """New events at ``rate_per_s``, the cities in turn, in a thread of its own: ``start()``, later ``finish()``.

    As a context manager it begins at once, and leaves nothing running behind however the block ends.

    Args:
        regional_urls: region -> the base URL of its own API.
        run: what tells this run's events from all others; part of their source.

    Raises:
        UsageError: a rate, city or run that makes no load.
    """

    def __init__(
        self,
        edge_url: str,
        regional_urls: Mapping[str, str],
        tokens: Tokens,
        *,
        cities: Sequence[str] = FOUR_CITIES,
        rate_per_s: float = 5.0,
        run: str,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not 0 < rate_per_s <= 1000:
            raise UsageError(f"rate_per_s: {rate_per_s} is not a rate; accepted: above 0, up to 1000")
        if not cities:
            raise UsageError("cities: there is none; name one or more")
        if not run or "/" in run:
            raise UsageError(f"run: {run!r} cannot be part of a source; accepted: a text without /")
        self.run = run
        self._edge_url = edge_url.rstrip("/")
        self._regional_urls = {region: url.rstrip("/") for region, url in regional_urls.items()}
        self._tokens = tokens
        self._cities = tuple(cities)
        self._rate_per_s = rate_per_s
        self._transport = transport
        self._attempts: list[Attempt] = []
        self._unsent: list[float] = []
        self._lock = threading.Lock()
        self._token = ""
        self._drain_s = 0.0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish(drain_s=0)

    def start(self) -> None:
        """Begin.

        Raises:
            UsageError, OpsError: there is no token to send with; nothing was sent.
        """
        if self._thread is not None:
            raise UsageError("load: it was started before; make another one")
        self._token = self._tokens.get()
        self._thread = threading.Thread(target=self._main, name="atoll-load", daemon=True)
        self._thread.start()
        self._ready.wait()

    def record(self) -> LoadRecord:
        """What is known so far."""
        with self._lock:
            return LoadRecord(self.run, tuple(self._attempts), tuple(self._unsent))

    def finish(self, drain_s: float = 60.0) -> LoadRecord:
        """Begin no new event, wait up to ``drain_s`` for those under way, and stop. A second call changes nothing.

        Raises:
            OpsError: the load broke off by itself; the message says why.
        """
        if self._thread is None:
            raise UsageError("load: it was never started")
        if self._loop is not None and self._thread.is_alive():
            self._drain_s = drain_s
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(drain_s + STOP_WITHIN_S)
        if self._thread.is_alive():
            raise OpsError(f"load: it does not stop within {drain_s + STOP_WITHIN_S:.0f} s")
        if self._failure is not None:
            raise OpsError(f"load: it broke off: {self._failure!r}") from self._failure
        return self.record()

    # --- in the thread -----------------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:  # noqa: BLE001 - kept, and raised by finish()
            self._failure = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._ready.set()
        limits = httpx.Limits(max_connections=MAX_UNDER_WAY, max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=ATTEMPT_TIMEOUT_S, limits=limits, transport=self._transport) as client:
            renewal = asyncio.create_task(self._keep_token())
            under_way: set[asyncio.Task[None]] = set()
            try:
                await self._begin_events(client, under_way)
                if under_way and self._drain_s > 0:
                    await asyncio.wait(under_way, timeout=self._drain_s)
            finally:
                renewal.cancel()
                for task in under_way:
                    task.cancel()
                await asyncio.gather(renewal, *under_way, return_exceptions=True)

    async def _begin_events(self, client: httpx.AsyncClient, under_way: set[asyncio.Task[None]]) -> None:
        zero, zero_unix = time.monotonic(), time.time()
        number = 0
        while not self._stopping.is_set():
            wait_s = zero + number / self._rate_per_s - time.monotonic()
            if wait_s > 0:
                try:
                    await asyncio.wait_for(self._stopping.wait(), wait_s)
                except TimeoutError:
                    pass
                else:
                    return
            due = zero_unix + number / self._rate_per_s
            if len(under_way) >= MAX_UNDER_WAY:
                with self._lock:
                    self._unsent.append(due)
            else:
                task = asyncio.create_task(self._send(client, number, due))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            number += 1
            if wait_s <= 0:
                await asyncio.sleep(0)  # behind: what is under way goes on all the same

    async def _keep_token(self) -> None:
        # A pool of its own: the loop's would be waited for at the end, also for an issuer that hangs.
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="atoll-token")
        try:
            while True:
                await asyncio.sleep(TOKEN_LOOK_S)
                # Without a new one, the one that is there goes on as long as the regions take it.
                with contextlib.suppress(OpsError):
                    self._token = await asyncio.get_running_loop().run_in_executor(pool, self._tokens.get)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    async def _send(self, client: httpx.AsyncClient, number: int, due: float) -> None:
        """Send one event until a region has the last word on it."""
        city = self._cities[number % len(self._cities)]
        source, event_id = source_of(self.run, city), f"{int(due * 1000):x}-{number}"
        headers, body = request_for(source, event_id, valid=True)
        headers["x-atoll-city"] = city
        jitter = random.Random()  # noqa: S311 - pauses, not cryptography
        failed_in: str | None = None
        attempts = 0
        started = time.monotonic()
        while True:
            attempts += 1
            via = self._via(number, attempts, failed_in)
            url = self._edge_url if via == EDGE else self._regional_urls[via]
            headers["authorization"] = f"Bearer {self._token}"
            began, answer = time.time(), Answer(0)
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                        answer = await attempt(client, f"{url}/events", headers, body)
            finally:  # also when the load is stopped in the middle of it: the event may have got through
                region = answer.region or (via if via != EDGE and answer.status else None)
                one = Attempt(
                    source=source,
                    id=event_id,
                    event_key=answer.event_key,
                    city=city,
                    number=attempts,
                    via=via,
                    region=region,
                    status=answer.status,
                    started=began,
                    ended=time.time(),
                    due=due,
                )
                with self._lock:
                    self._attempts.append(one)
            if not one.failed or time.monotonic() - started > GIVE_UP_AFTER_S:
                return
            failed_in = region or (via if via != EDGE else failed_in)
            pause_s = answer.pause_s(attempts)
            # At least what was asked for; of our own pauses, anything from half of it on, so that clients spread out.
            spread = 1 + jitter.random() / 2 if answer.retry_after else 0.5 + jitter.random() / 2
            await asyncio.sleep(pause_s * spread)

    def _via(self, number: int, attempts: int, failed_in: str | None) -> str:
        """The name, and every other time a region's own API: another each time, not the one that failed just now."""
        others = [region for region in self._regional_urls if region != failed_in] or list(self._regional_urls)
        if attempts % 2 or not others:
            return EDGE
        return others[(number + attempts // 2) % len(others)]

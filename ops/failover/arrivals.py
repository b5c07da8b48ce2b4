"""When did each accepted event appear in each region's replica? Watched from outside, from the tables alone.

A thread asks every region for the keys it has not seen there yet, at most every ``poll_s``, and notes when an answer
first had them: the lag of one event is that less the time of its 202, and is too long by up to ``poll_s`` plus the time
of the read. A region that does not answer is a span in ``unreachable``, not an error, and its keys are asked for again
when it is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import pandas as pd

from ops import arrival
from ops.aws import Cloud
from ops.errors import OpsError, UsageError
from ops.load import Accepted, LoadRecord

# Two BatchGetItem calls.
ASKED_AT_ONCE = 2 * arrival.BATCH_GET_LIMIT
STOP_WITHIN_S = 10.0


@dataclass(frozen=True)
class Span:
    """A stretch in which a region's table could not be read; ``ended`` None: it still cannot."""

    region: str
    started: float
    ended: float | None
    reason: str


@dataclass(frozen=True)
class Rpo:
    """What leaving a region at that moment would have left behind: ``seconds`` is the age of the oldest such event."""

    events: int
    seconds: float
    keys: tuple[str, ...]


@dataclass
class _Watched:
    """One region as far as it is known."""

    open: dict[str, Accepted]
    out_since: float | None = None
    reason: str = ""
    pending: Future[None] | None = None


class Arrivals:
    """Watches the replicas of ``regions`` for what ``record()`` says was accepted: ``start()``, later ``finish()``.

    ``seen``: (event key, region) -> Unix seconds of the first sight. As a context manager it begins at once.
    """

    def __init__(
        self, cloud: Cloud, record: Callable[[], LoadRecord], regions: Sequence[str], poll_s: float = 0.5
    ) -> None:
        if poll_s <= 0:
            raise UsageError(f"poll_s: {poll_s} is not a pause; accepted: above 0")
        self.seen: dict[tuple[str, str], float] = {}
        self.regions = tuple(dict.fromkeys(regions))
        self._cloud = cloud
        self._record = record
        self._poll_s = poll_s
        self._accepted: dict[str, Accepted] = {}
        self._watched = {region: _Watched({}) for region in self.regions}
        self._spans: list[Span] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish(0)

    def start(self) -> None:
        """Begin to watch."""
        if self._thread is not None:
            raise UsageError("arrivals: they are watched already")
        self._thread = threading.Thread(target=self._main, name="atoll-arrivals", daemon=True)
        self._thread.start()

    def finish(self, deadline_s: float) -> bool:
        """Watch until everything has been seen everywhere, at most ``deadline_s`` more; whether it was.

        Raises:
            OpsError: watching broke off by itself; the message says why.
        """
        if self._thread is None:
            raise UsageError("arrivals: they were never watched")
        self._deadline = time.monotonic() + deadline_s
        self._stopping.set()
        self._thread.join(deadline_s + STOP_WITHIN_S)
        if self._failure is not None:
            raise OpsError(f"arrivals: watching broke off: {self._failure}") from self._failure
        return not self._thread.is_alive() and not any(self.missing().values())

    def missing(self) -> dict[str, list[str]]:
        """Region -> the accepted events that have not been seen there, the oldest first, as of the last look."""
        with self._lock:
            return {region: list(watched.open) for region, watched in self._watched.items()}

    @property
    def unreachable(self) -> tuple[Span, ...]:
        """The stretches in which a region's table could not be read, in the order in which they began."""
        with self._lock:
            spans = list(self._spans)
            for region, watched in self._watched.items():
                if watched.out_since is not None:
                    spans.append(Span(region, watched.out_since, None, watched.reason))
        return tuple(sorted(spans, key=lambda span: span.started))

    def behind(self, at: float, left: str) -> Rpo:
        """Events that region ``left`` had accepted by ``at`` and that no survivor's replica was seen to hold by then.

        What is in one survivor's replica outlives the region. An event may be counted that arrived in the last poll,
        and none is left out.
        """
        survivors = [region for region in self.regions if region != left]
        with self._lock:
            lost = sorted(
                (
                    event
                    for event in self._accepted.values()
                    if event.region == left
                    and event.at <= at
                    and not any(self.seen.get((event.event_key, region), at + 1) <= at for region in survivors)
                ),
                key=lambda event: event.at,
            )
        return Rpo(len(lost), at - lost[0].at if lost else 0.0, tuple(event.event_key for event in lost))

    def frame(self) -> pd.DataFrame:
        """A row an accepted event and region: from where to where, when it was seen, and its lag (none: not seen)."""
        columns = ["event_key", "accepted_region", "region", "accepted", "seen", "lag_ms"]
        with self._lock:
            rows = [
                (key, event.region, region, event.at, at, None if at is None else max(0.0, (at - event.at) * 1000))
                for key, event in self._accepted.items()
                for region in self.regions
                for at in (self.seen.get((key, region)),)
            ]
        frame = pd.DataFrame(rows, columns=columns)
        for name in ("accepted", "seen"):
            frame[name] = pd.to_datetime(frame[name].astype(float), unit="s", utc=True)
        frame["lag_ms"] = frame["lag_ms"].astype(float)
        return frame

    # --- in the thread -----------------------------------------------------------------------------------------

    def _main(self) -> None:
        # One worker a region: a region that hangs holds up nobody else.
        pool = ThreadPoolExecutor(max_workers=len(self.regions) or 1, thread_name_prefix="atoll-arrivals")
        try:
            while True:
                # Asked before the look: what was accepted until then is looked for once at least.
                over = self._stopping.is_set()
                self.look(pool)
                if over and (time.monotonic() >= self._deadline or not any(self.missing().values())):
                    return
                if over:
                    time.sleep(min(self._poll_s, max(0.0, self._deadline - time.monotonic())))
                else:
                    self._stopping.wait(self._poll_s)
        except Exception as error:  # noqa: BLE001 - kept, and raised by finish()
            self._failure = error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def look(self, pool: ThreadPoolExecutor) -> None:
        """One round: take in what was accepted meanwhile, and ask each region that is not still being asked."""
        self._take_in(self._record().accepted)
        for region, watched in self._watched.items():
            if watched.pending is not None:
                if not watched.pending.done():
                    continue
                watched.pending.result()  # what is no failure of the region ends the watching
            with self._lock:
                keys = list(watched.open)
            # The oldest and the newest: the lag of now is measured while a backlog is worked off.
            half = ASKED_AT_ONCE // 2
            asked = keys if len(keys) <= ASKED_AT_ONCE else [*keys[:half], *keys[-half:]]
            watched.pending = pool.submit(self._ask, region, asked) if asked else None

    def _take_in(self, accepted: dict[str, Accepted]) -> None:
        with self._lock:
            for key, event in accepted.items():
                if key not in self._accepted:
                    self._accepted[key] = event
                    for watched in self._watched.values():
                        watched.open[key] = event

    def _ask(self, region: str, keys: list[str]) -> None:
        watched, asked_at = self._watched[region], time.time()
        found: set[str] = set()
        failure = ""
        try:
            found = arrival.present(self._cloud, region, keys)
        except OpsError as error:
            failure = str(error)
        now = time.time()
        with self._lock:
            for key in found:
                self.seen[key, region] = now
                del watched.open[key]
            if failure and watched.out_since is None:
                watched.out_since, watched.reason = asked_at, failure
            elif not failure and watched.out_since is not None:
                self._spans.append(Span(region, watched.out_since, now, watched.reason))
                watched.out_since = None

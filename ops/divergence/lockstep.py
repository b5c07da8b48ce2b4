"""Reading the same segments of all replicas in step, with a few threads that share nothing on the way.

A worker takes a segment, reads a page of it in each replica in turn, and enters each page into its own sketch of that
replica; so an item is read everywhere within moments, and few are suspected only because a write was under way. When
the segment is read in all replicas its sketches are handed over and dropped. What always holds: a segment is done and
handed over in one step, or it is in progress and kept as it was between two pages.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from ops.divergence.budget import Budget
from ops.divergence.checkpoint import Half, State, Tally
from ops.divergence.sources import Source
from ops.divergence.subtracting import Differences
from ops.divergence.wire import Buffer, Pages
from ops.errors import OpsError
from sketch import Layout, Sketch
from sketch.canonical import MalformedItemError

# Of one segment in one replica: 1 MB each.
MAX_PAGES = 1_000_000
# How old the kept copy of a segment in progress may get.
KEEP_S = 5.0
TICK_S = 0.25


class _StoppedError(Exception):
    """The run is to end: what is in progress is kept, and the worker goes."""


class _Open:
    """A segment in progress in one replica."""

    def __init__(self, layout: Layout, half: Half | None) -> None:
        self.sketch = Sketch.from_bytes(half.sketch) if half else Sketch(layout)
        self.after = half.after if half else None
        self.finished = half.finished if half else False
        self.tally = Tally(half.tally.pages, half.tally.size_bytes, half.tally.read_units) if half else Tally()

    def half(self) -> Half:
        return Half(self.sketch.to_bytes(), self.after, self.finished, Tally(**vars(self.tally)))


class Lockstep:
    """One round of reading: the segments that ``state`` wants and has not done, into ``differences``.

    Args:
        state: brought up to date on the way; segments in progress are taken up first.
        keep: whether copies of the segments in progress are wanted.
        sleep: waits for the budget, and between attempts.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        budgets: Sequence[Budget],
        state: State,
        differences: Differences,
        *,
        workers: int,
        keep: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sources, self._budgets, self._state, self._differences = sources, budgets, state, differences
        self._keep = keep
        self._layout, self._clock, self._sleep = differences.layout, clock, sleep
        wanted = range(state.segments) if state.wanted is None else state.wanted
        begun = list(state.opened)
        self._waiting = deque([*begun, *(one for one in wanted if one not in state.done and one not in state.opened)])
        self._workers = max(1, min(workers, len(self._waiting)))
        self._counts = [0] * self._workers
        self._stop = threading.Event()
        self.lock = threading.Lock()

    @property
    def read(self) -> int:
        """Items entered by this round so far, over all replicas."""
        return sum(self._counts)

    @property
    def left(self) -> int:
        """Segments that nobody has begun."""
        return len(self._waiting)

    def run(self, tick: Callable[[int], None]) -> None:
        """Read all; ``tick`` is told the items read a few times a second, by the caller's thread.

        Raises:
            OpsError: a replica could not be read. What was read so far is in the state.
            KeyboardInterrupt: as it came, after the workers have gone.
        """
        with ThreadPoolExecutor(max_workers=self._workers, thread_name_prefix="atoll-scan") as pool:
            futures = [pool.submit(self._work, number) for number in range(self._workers)]
            try:
                waiting: set[Future[None]] = set(futures)
                # Ends with the workers, whose loops, attempts and waits are bounded.
                while waiting:
                    finished, waiting = wait(waiting, timeout=TICK_S, return_when=FIRST_EXCEPTION)
                    if any(one.exception() is not None for one in finished):
                        break
                    tick(self.read)
            finally:
                self._stop.set()
        for one in futures:
            one.result()

    # --- one worker --------------------------------------------------------------------------------------------

    def _work(self, number: int) -> None:
        buffer = Buffer()
        readers = [
            Pages(source, budget, buffer, sleep=self._pause, clock=self._clock)
            for source, budget in zip(self._sources, self._budgets, strict=True)
        ]
        try:
            while True:
                try:
                    segment = self._waiting.popleft()
                except IndexError:
                    return
                self._segment(number, segment, readers)
        except _StoppedError:
            return
        finally:
            for reader in readers:
                reader.close()

    def _segment(self, number: int, segment: int, readers: Sequence[Pages]) -> None:
        halves = self._state.opened.get(segment)
        parts = [_Open(self._layout, halves[index] if halves else None) for index in range(len(readers))]
        kept = self._clock()
        try:
            for _ in range(MAX_PAGES):
                for reader, part in zip(readers, parts, strict=True):
                    if not part.finished:
                        self._counts[number] += self._page(reader, segment, part)
                if all(part.finished for part in parts):
                    break
                if self._clock() - kept >= KEEP_S:
                    self._note(segment, parts)
                    kept = self._clock()
            else:
                raise OpsError(
                    f"segment {segment} of {self._state.segments} has more than {MAX_PAGES:,} pages",
                    hint="Use more segments.",
                )
        except BaseException:
            # Between two pages whatever happened: a page is entered whole or not at all.
            self._note(segment, parts)
            raise
        with self.lock:
            self._differences.take(segment, [part.sketch for part in parts])
            for tally, part in zip(self._state.tallies, parts, strict=True):
                tally.add(part.tally)
            self._state.done.add(segment)
            self._state.opened.pop(segment, None)

    def _note(self, segment: int, parts: Sequence[_Open]) -> None:
        if self._keep:
            self._state.opened[segment] = tuple(part.half() for part in parts)

    def _page(self, reader: Pages, segment: int, part: _Open) -> int:
        if self._stop.is_set():
            raise _StoppedError
        body = reader.read(segment, self._state.segments, part.after)
        try:
            page = part.sketch.add_page(body)
        except MalformedItemError as error:
            raise OpsError(
                f"{reader.source.label}: a page of segment {segment} of {reader.source.table} is not what Scan "
                f"answers: {error}"
            ) from error
        reader.used(page.read_units)
        part.after, part.finished = page.last_key, page.last_key is None
        part.tally.pages += 1
        part.tally.size_bytes += len(body)
        part.tally.read_units += page.read_units
        return page.items

    def _pause(self, seconds: float) -> None:
        """Sleep in parts, so that the run can end."""
        left = seconds
        while left > 0 and not self._stop.is_set():
            self._sleep(min(left, TICK_S))
            left -= TICK_S
        if self._stop.is_set():
            raise _StoppedError

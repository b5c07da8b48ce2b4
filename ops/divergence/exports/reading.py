"""All data files of several exports, in threads.

What always holds: a file counts only when its MD5 and its number of items are what the manifest says, and then as a
whole; the first failure stops all, and is told.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ops.divergence.exports.manifests import AGAIN, DataFile, Manifest
from ops.divergence.exports.streaming import DamagedError, Stream
from ops.errors import OpsError
from sketch import MalformedItemError, Sketch

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

Progress = Callable[[str], None]
# What to do with a piece of a file: returns how many items it completed.
Take = Callable[[bytes, bool], int]
# What takes the pieces of a file, and what is told its size once it is known to be whole.
Begin = Callable[[int, DataFile], tuple[Take, Callable[[int], None]]]
EVERY_S = 2.0
LOOK_S = 0.2


@dataclass
class Tally:
    """What was read of one export."""

    items: int = 0
    size_bytes: int = 0
    files: int = 0


@dataclass
class Source:
    """One export, and the client that reads its bucket."""

    label: str
    s3: S3Client
    manifest: Manifest
    tally: Tally = field(default_factory=Tally)


def taker(sketch: Sketch, manifest: Manifest) -> Take:
    """How a sketch takes the pieces of this export's files."""
    if manifest.incremental:
        return lambda piece, last: sketch.add_changes(piece, last=last)
    if manifest.form == "ION":
        return lambda piece, last: sketch.add_ion(piece, last=last)
    return lambda piece, last: sketch.add_lines(piece, last=last)


def through(
    sources: Sequence[Source],
    begin: Begin,
    *,
    done: Collection[tuple[int, str]] = (),
    workers: int,
    progress: Progress,
    tick: Callable[[], None] = lambda: None,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Go through all files once, but for those ``done`` already; what was read of these is in the tallies.

    Args:
        begin: called for each file, by the number of its source, in the thread that reads it.
        done: number of the source, and key.
        tick: called by this thread all the while.

    Raises:
        OpsError: a file is missing, damaged, or not what the manifest says.
    """
    # Files of the exports in turn, so that none is read last.
    waiting: queue.SimpleQueue[tuple[int, DataFile]] = queue.SimpleQueue()
    for turn in range(max((len(one.manifest.files) for one in sources), default=0)):
        for number, one in enumerate(sources):
            if turn < len(one.manifest.files) and (number, one.manifest.files[turn].key) not in done:
                waiting.put((number, one.manifest.files[turn]))
    count, stop, lock = waiting.qsize(), threading.Event(), threading.Lock()

    def work() -> None:
        while not stop.is_set():
            try:
                number, file = waiting.get_nowait()
            except queue.Empty:
                break
            take, whole = begin(number, file)
            size_bytes = _file(sources[number], file, take, lock=lock, stop=stop, sleep=sleep)
            if size_bytes is not None:
                whole(size_bytes)

    teller = _Teller(sources, progress, clock)
    with ThreadPoolExecutor(max_workers=max(1, min(workers, count)), thread_name_prefix="atoll-export") as pool:
        running = {pool.submit(work) for _ in range(min(workers, count))}
        try:
            _follow(running, teller, tick)
        finally:
            stop.set()
    teller.tell()


def _follow(running: set[Future[None]], teller: _Teller, tick: Callable[[], None]) -> None:
    while running:
        over, running = wait(running, timeout=LOOK_S, return_when=FIRST_EXCEPTION)
        for one in over:
            one.result()
        teller.tick()
        tick()


def _file(
    source: Source,
    file: DataFile,
    take: Take,
    *,
    lock: threading.Lock,
    stop: threading.Event,
    sleep: Callable[[float], None],
) -> int | None:
    """Its size in bytes; None when all was to stop before it was through."""
    stream = Stream(source.s3, source.manifest.bucket, file, sleep=sleep)
    items, problem = 0, ""
    try:
        for piece in stream.pieces():
            if stop.is_set():
                return None
            added = take(piece, False)
            items += added
            with lock:
                source.tally.items += added
        added = take(b"", True)
        items += added
    except (DamagedError, MalformedItemError) as error:
        added, problem = 0, f"holds what is no item: {error}" if isinstance(error, MalformedItemError) else str(error)
    stream.verdict(problem)
    if items != file.items:
        raise OpsError(
            f"{source.manifest.name(file)} has {items:,} items, and the manifest says {file.items:,}", hint=AGAIN
        )
    with lock:
        source.tally.items += added
        source.tally.size_bytes += stream.size_bytes
        source.tally.files += 1
    return stream.size_bytes


class _Teller:
    """How far it is, in a line every two seconds."""

    def __init__(self, sources: Sequence[Source], progress: Progress, clock: Callable[[], float]) -> None:
        self._sources, self._progress, self._clock = sources, progress, clock
        self._begun = self._told = clock()
        self._before = sum(one.tally.items for one in sources)

    def tick(self) -> None:
        if self._clock() - self._told >= EVERY_S:
            self.tell()

    def tell(self) -> None:
        self._told = self._clock()
        spent_s = self._told - self._begun
        read, all_items = (
            sum(one.tally.items for one in self._sources),
            sum(one.manifest.items for one in self._sources),
        )
        files, all_files = (
            sum(one.tally.files for one in self._sources),
            sum(len(one.manifest.files) for one in self._sources),
        )
        rate = (read - self._before) / spent_s if spent_s > 0 else 0.0
        left = f"; {(all_items - read) / rate:,.0f} s left" if rate and read < all_items else ""
        self._progress(f"{read:,} of {all_items:,} items, {files:,} of {all_files:,} files, {rate:,.0f} items/s{left}")

"""All data files of several exports to one sketch an export, in threads.

What always holds: a worker has sketches of its own, which are added up at the end; a file counts only when its MD5 and
its number of items are what the manifest says; the first failure stops all, and is told.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ops.divergence.exports.manifests import AGAIN, DataFile, Manifest
from ops.divergence.exports.streaming import DamagedError, Stream
from ops.errors import OpsError
from sketch import Layout, MalformedItemError, Sketch

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

Progress = Callable[[str], None]
# What to do with a piece of a file: returns how many items it completed.
Take = Callable[[bytes, bool], int]
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


def sketched(
    sources: Sequence[Source],
    layout: Layout,
    *,
    workers: int,
    progress: Progress = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Sketch]:
    """The sketch of each export, in order.

    Raises:
        OpsError: a file is missing, damaged, or not what the manifest says.
    """
    totals = [Sketch(layout) for _ in sources]
    lock = threading.Lock()

    def start() -> tuple[Callable[[int], Take], Callable[[], None]]:
        own: dict[int, Sketch] = {}

        def taking(number: int) -> Take:
            sketch = own.setdefault(number, Sketch(layout))
            return taker(sketch, sources[number].manifest)

        def done() -> None:
            for number, sketch in own.items():
                with lock:
                    totals[number] += sketch
            own.clear()

        return taking, done

    through(sources, start, workers=workers, progress=progress, clock=clock, sleep=sleep)
    return totals


def taker(sketch: Sketch, manifest: Manifest) -> Take:
    """How a sketch takes the pieces of this export's files."""
    if manifest.incremental:
        return lambda piece, last: sketch.add_changes(piece, last=last)
    if manifest.form == "ION":
        return lambda piece, last: sketch.add_ion(piece, last=last)
    return lambda piece, last: sketch.add_lines(piece, last=last)


def through(
    sources: Sequence[Source],
    start: Callable[[], tuple[Callable[[int], Take], Callable[[], None]]],
    *,
    workers: int,
    progress: Progress,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Go through all files once.

    Args:
        start: called by each worker; makes what takes the files of a source, by its number, and what ends its work.
    """
    # Files of the exports in turn, so that none is read last.
    waiting: queue.SimpleQueue[tuple[int, DataFile]] = queue.SimpleQueue()
    for turn in range(max((len(one.manifest.files) for one in sources), default=0)):
        for number, one in enumerate(sources):
            if turn < len(one.manifest.files):
                waiting.put((number, one.manifest.files[turn]))
    for one in sources:
        one.tally = Tally()
    stop, lock = threading.Event(), threading.Lock()

    def work() -> None:
        taking, done = start()
        while not stop.is_set():
            try:
                number, file = waiting.get_nowait()
            except queue.Empty:
                break
            _file(sources[number], file, taking(number), lock=lock, stop=stop, sleep=sleep)
        if not stop.is_set():
            done()

    count = sum(len(one.manifest.files) for one in sources)
    teller = _Teller(sources, progress, clock)
    with ThreadPoolExecutor(max_workers=max(1, min(workers, count)), thread_name_prefix="atoll-export") as pool:
        running = {pool.submit(work) for _ in range(max(1, min(workers, count)))}
        try:
            _follow(running, teller)
        finally:
            stop.set()
    teller.tell()


def _follow(running: set[Future[None]], teller: _Teller) -> None:
    while running:
        over, running = wait(running, timeout=LOOK_S, return_when=FIRST_EXCEPTION)
        for one in over:
            one.result()
        teller.tick()


def _file(
    source: Source,
    file: DataFile,
    take: Take,
    *,
    lock: threading.Lock,
    stop: threading.Event,
    sleep: Callable[[float], None],
) -> None:
    stream = Stream(source.s3, source.manifest.bucket, file, sleep=sleep)
    items, problem = 0, ""
    try:
        for piece in stream.pieces():
            if stop.is_set():
                return
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


class _Teller:
    """How far it is, in a line every two seconds."""

    def __init__(self, sources: Sequence[Source], progress: Progress, clock: Callable[[], float]) -> None:
        self._sources, self._progress, self._clock = sources, progress, clock
        self._begun = self._told = clock()

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
        rate = read / spent_s if spent_s > 0 else 0.0
        left = f"; {(all_items - read) / rate:,.0f} s left" if rate and read < all_items else ""
        self._progress(f"{read:,} of {all_items:,} items, {files:,} of {all_files:,} files, {rate:,.0f} items/s{left}")

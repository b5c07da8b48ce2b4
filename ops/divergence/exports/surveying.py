"""Mode ``export``: the exports of all replicas, read once, and the keys on which they did not agree.

1. Manifests are verified, and every replica's files are reduced to one sketch (``reading``): files of two replicas do
   not correspond, so there are no segments.
2. The sketches are subtracted and peeled (``subtracting``). More differences than they hold: the files are read again
   into sketches of the size that is needed, within a bound on memory.
3. Keys too long for a cell are looked for in the files, by their digest.

What always holds: tables are not touched; memory follows the differences; and where not every difference can be named,
the survey says so (figures ``complete`` and ``differ_about``).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from ops.aws import Cloud
from ops.divergence.exports.locating import locate
from ops.divergence.exports.manifests import Manifest
from ops.divergence.exports.reading import Progress, Source, Take, sketched, through
from ops.divergence.replicas import Described, Replica, Schema
from ops.divergence.subtracting import Differences, Outcome
from ops.divergence.survey import Side, Survey
from ops.errors import InterruptedRunError, OpsError
from sketch import Layout, MalformedItemError, Sketch, implementation
from sketch.reference import Kind, records
from sketch.table import KEY_FITS

# Enough for some 6,000 changed items.
CELLS = 16_383
ROUNDS = 3
WORKERS = 8
CELL_BYTES = 144
# Of all sketches at once: those of the workers, the totals and what is subtracted.
MEMORY_BYTES = 160 << 20
# A key is too long for a cell when one of its two parts has at least as many characters.
LONG_CHARS = KEY_FITS // 2 - 8


def survey(
    cloud: Cloud,
    replicas: Sequence[Replica],
    schema: Schema,
    described: Mapping[Replica, Described | None],
    exports: Sequence[str],
    *,
    ignore: Sequence[str] = (),
    only: Sequence[str] | None = None,
    workers: int = WORKERS,
    cells: int = CELLS,
    progress: Progress = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Survey:
    """Compare exports, one of each replica; nothing is written and no table is read.

    Raises:
        UsageError, RefusedError: the exports do not belong to these replicas, or cannot be compared.
        OpsError: a file or a manifest is missing or damaged.
        InterruptedRunError: the operator stopped it.
    """
    begun = clock()
    sources = locate(cloud, replicas, described, exports)
    layout = Layout(schema.names, tuple(ignore), None if only is None else tuple(only), cells)
    told = ", ".join(f"{len(one.manifest.files):,} files of {one.label}" for one in sources)
    progress(f"reading {told}; {sources[0].manifest.form}")
    try:
        outcome, differences, rounds = _compared(
            sources, layout, workers=workers, progress=progress, clock=clock, sleep=sleep
        )
    except KeyboardInterrupt as stop:
        raise InterruptedRunError(
            "stopped while exports were read; they are as they were",
            hint=f"Read them again: -p mode=export -p exports={','.join(exports)}",
        ) from stop
    duration_s = clock() - begun
    manifest = sources[0].manifest
    return Survey(
        mode="export",
        sides=tuple(
            Side(one.label, total.count, one.tally.size_bytes, one.tally.files, 0.0, str(total), duration_s)
            for one, total in zip(sources, differences.totals, strict=True)
        ),
        suspects=outcome.suspects,
        settled_at=manifest.at,
        duration_s=duration_s,
        implementation=implementation(),
        figures={
            "complete": outcome.complete and not outcome.unlocated,
            "differ_about": outcome.about,
            "files": {one.label: one.tally.files for one in sources},
            "times_read": rounds,
            "exports": [one.manifest.uri for one in sources],
            "incremental": manifest.incremental,
        },
    )


def _compared(
    sources: Sequence[Source],
    layout: Layout,
    *,
    workers: int,
    progress: Progress,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> tuple[Outcome, Differences, int]:
    differences = Differences([one.label for one in sources], layout)
    number = 0
    while True:
        number += 1
        sketches = sketched(
            sources,
            layout,
            workers=min(workers, max(1, _workers(layout.cells, len(sources)))),
            progress=progress,
            clock=clock,
            sleep=sleep,
        )
        _whole(sources, sketches)
        differences.take(0, sketches)
        outcome = differences.close()
        larger = _larger(layout, outcome, differences, len(sources))
        if number == ROUNDS or larger is None:
            break
        progress(
            f"about {outcome.remaining:,} elements differ, more than the sketches hold: read again into larger ones"
        )
        differences.again(larger)
        layout = larger
    if outcome.unlocated:
        progress(f"looking for {len(outcome.unlocated):,} long keys")
        found = _long_keys(sources, layout, outcome.unlocated, workers=workers, clock=clock, sleep=sleep)
        differences.located(found)
        outcome = differences.close()
    return outcome, differences, number


def _whole(sources: Sequence[Source], sketches: Sequence[Sketch]) -> None:
    for one, sketch in zip(sources, sketches, strict=True):
        if sketch.items != one.manifest.items:
            raise OpsError(f"{one.manifest.uri}: {sketch.items:,} items were read, and it says {one.manifest.items:,}")


def _workers(cells: int, replicas: int) -> int:
    """How many workers have room for a sketch a replica, beside the totals and two more for each."""
    sketches = MEMORY_BYTES // (cells * CELL_BYTES)
    return int(sketches // replicas) - 3


def _larger(layout: Layout, outcome: Outcome, differences: Differences, replicas: int) -> Layout | None:
    """A layout that holds what did not peel; None when all did, or when it is more than can be named."""
    if not outcome.unpeeled or differences.size + outcome.remaining > differences.limit:
        return None
    cells = max(4 * layout.cells, 2 * max(outcome.unpeeled.values()))
    return replace(layout, cells=cells) if _workers(cells, replicas) >= 1 else None


def _long_keys(
    sources: Sequence[Source],
    layout: Layout,
    digests: Collection[bytes],
    *,
    workers: int,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> dict[bytes, bytes]:
    """The packed keys of those digests, by digest; only lines whose key may be that long are taken apart."""
    wanted, found = frozenset(digests), dict[bytes, bytes]()
    names = b"|".join(re.escape(name.encode()) for name in layout.names)
    start = rb"[\"']?(?:" + names + rb")[\"']?\s*:\s*(?:\{\s*\"[SNB]\"\s*:\s*)?[\"{]"
    candidate = re.compile(start + rb"(?:[^\"\\]|\\.){" + str(LONG_CHARS).encode() + rb"}")

    def begin() -> tuple[Callable[[int], Take], Callable[[], None]]:
        return (lambda number: _looker(sources[number].manifest, layout, candidate, wanted, found)), lambda: None

    through(sources, begin, workers=workers, progress=lambda line: None, clock=clock, sleep=sleep)
    return found


def _looker(
    manifest: Manifest,
    layout: Layout,
    candidate: re.Pattern[bytes],
    wanted: Collection[bytes],
    found: dict[bytes, bytes],
) -> Take:
    part = b""
    ion = manifest.form == "ION"
    kind = (Kind.ION_CHANGES if ion else Kind.CHANGES) if manifest.incremental else (Kind.ION if ion else Kind.LINES)

    def take(piece: bytes, last: bool) -> int:
        nonlocal part
        *lines, part = (part + piece).split(b"\n")
        if last:
            lines, part = [*lines, part], b""
        count = 0
        for line in lines:
            count += bool(line.strip())
            if not candidate.search(line):
                continue
            try:
                (record,) = records(kind, line, layout)
            except (MalformedItemError, ValueError):  # it was read before, so it was replaced meanwhile
                continue
            if record.key_digest in wanted and record.key is not None:
                found[record.key_digest] = record.key
        return count

    return take

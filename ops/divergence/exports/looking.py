"""Keys that are too long for a cell of a sketch, looked for in the files by their digest."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from ops.divergence.exports.manifests import DataFile, Manifest
from ops.divergence.exports.reading import Source, Take, Tally, through
from sketch import Layout, MalformedItemError
from sketch.reference import Kind, records
from sketch.table import KEY_FITS

# A key is too long for a cell when one of its two parts has at least as many characters.
LONG_CHARS = KEY_FITS // 2 - 8


def find(
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
    tallies = [one.tally for one in sources]
    for one in sources:
        one.tally = Tally()

    def begin(number: int, file: DataFile) -> tuple[Take, Callable[[int], None]]:
        return _looker(sources[number].manifest, layout, candidate, wanted, found), lambda size_bytes: None

    through(sources, begin, workers=workers, progress=lambda line: None, clock=clock, sleep=sleep)
    for one, tally in zip(sources, tallies, strict=True):
        one.tally = tally
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

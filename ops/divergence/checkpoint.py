"""What a comparison has read so far, in a file: after a kill it goes on from there, with the same answer.

One header in JSON (what is compared, the segments that are done, the differences found in them), then the sketches of
the segments in progress as raw bytes. A segment in progress is kept as it was between two pages, beside the
LastEvaluatedKey that follows, so that no page is entered twice or left out. What always holds: the file is replaced
whole or not at all; one that is damaged or belongs to another comparison is refused; it holds keys and digests of
items that differ and keys where reading stopped, never contents.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ops.errors import OpsError, RefusedError, UsageError

MAGIC = b"atoll scan checkpoint 1\n"
_DIGEST = 16


@dataclass
class Tally:
    """What reading a replica took."""

    pages: int = 0
    size_bytes: int = 0
    read_units: float = 0.0

    def add(self, other: Tally) -> None:
        self.pages += other.pages
        self.size_bytes += other.size_bytes
        self.read_units += other.read_units


@dataclass(frozen=True)
class Half:
    """One replica's part of a segment in progress, between two pages. ``after``: the LastEvaluatedKey."""

    sketch: bytes
    after: bytes | None
    finished: bool
    tally: Tally


@dataclass
class State:
    """All that a scan knows.

    Attributes
    ----------
    subject
        What is compared, by name: with another one the state is worth nothing.
    wanted
        The segments that this round reads; None: all.
    """

    subject: dict[str, Any]
    differences: dict[str, Any]
    segments: int
    round: int = 0
    wanted: list[int] | None = None
    done: set[int] = field(default_factory=set)
    opened: dict[int, tuple[Half, ...]] = field(default_factory=dict)
    tallies: list[Tally] = field(default_factory=list)
    started: float = 0.0
    spent_s: float = 0.0


def save(path: Path, state: State) -> None:
    """Replace the file by this state.

    Raises:
        UsageError: the place cannot be written to.
    """
    halves = [half for opened in state.opened.values() for half in opened]
    header = orjson.dumps(
        {
            "subject": state.subject,
            "differences": state.differences,
            "segments": state.segments,
            "round": state.round,
            "wanted": state.wanted,
            "done": list(_ranges(state.done)),
            "opened": {
                str(segment): [
                    [len(half.sketch), _text(half.after), half.finished, _numbers(half.tally)] for half in opened
                ]
                for segment, opened in state.opened.items()
            },
            "tallies": [_numbers(tally) for tally in state.tallies],
            "started": state.started,
            "spent_s": state.spent_s,
        }
    )
    digest = hashlib.blake2b(digest_size=_DIGEST)
    temporary = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            for part in (MAGIC, len(header).to_bytes(8, "big"), header, *(half.sketch for half in halves)):
                digest.update(part)
                file.write(part)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"checkpoint: {path} cannot be written: {error.strerror or error}") from error


def load(path: Path, subject: Mapping[str, Any]) -> State | None:
    """The state in the file, or None when there is no file.

    Raises:
        UsageError: it is damaged, or no checkpoint.
        RefusedError: it is the checkpoint of another comparison.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"resume: {path} cannot be read: {error.strerror or error}") from error
    whole = raw[:-_DIGEST]
    if not raw.startswith(MAGIC):
        raise UsageError(f"resume: {path} is no checkpoint of a comparison")
    if hashlib.blake2b(whole, digest_size=_DIGEST).digest() != raw[-_DIGEST:]:
        raise UsageError(
            f"resume: {path} is damaged: its digest is not that of its content",
            hint="Read from the start.",
        )
    start = len(MAGIC) + 8
    end = start + int.from_bytes(whole[len(MAGIC) : start], "big")
    header = orjson.loads(whole[start:end])
    _same(path, header["subject"], subject)
    opened: dict[int, tuple[Half, ...]] = {}
    for segment, halves in header["opened"].items():
        made = []
        for length, after, finished, numbers in halves:
            key = None if after is None else base64.b64decode(after)
            made.append(Half(whole[end : end + length], key, finished, Tally(*numbers)))
            end += length
        opened[int(segment)] = tuple(made)
    return State(
        subject=header["subject"],
        differences=header["differences"],
        segments=header["segments"],
        round=header["round"],
        wanted=header["wanted"],
        done={number for first, last in header["done"] for number in range(first, last + 1)},
        opened=opened,
        tallies=[Tally(*numbers) for numbers in header["tallies"]],
        started=header["started"],
        spent_s=header["spent_s"],
    )


@contextmanager
def until_judged(path: Path | None, again: str) -> Iterator[None]:
    """For as long as what was read is judged: the file goes when that is done, and is named when it fails.

    Args:
        again: the parameters with which a run takes up what was read.
    """
    try:
        yield
    except OpsError as error:
        if path:
            error.hint = " ".join(part for part in (error.hint, f"What was read is kept: {again}") if part)
        raise
    if path:
        path.unlink(missing_ok=True)


def _same(path: Path, found: Mapping[str, Any], subject: Mapping[str, Any]) -> None:
    differing = [name for name in sorted({*found, *subject}) if found.get(name) != subject.get(name)]
    if differing:
        told = "; ".join(f"{name} was {found.get(name)!r} and is {subject.get(name)!r}" for name in differing)
        raise RefusedError(
            f"resume: {path} is the checkpoint of another comparison: {told}",
            hint="Ask for the same as then, or read from the start.",
        )


def _numbers(tally: Tally) -> list[float]:
    return [tally.pages, tally.size_bytes, tally.read_units]


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode("ascii")


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of numbers without a gap."""
    first = last = -1
    for number in sorted(numbers):
        if number != last + 1 or last < 0:
            if last >= 0:
                yield first, last
            first = number
        last = number
    if last >= 0:
        yield first, last

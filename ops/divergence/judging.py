"""From suspects to a verdict: every suspect is read again, strongly, in every replica, until it heals or stands still.

1. Suspects are read in batches, all replicas at once, some time apart: longer than replication was measured to take.
2. One that all replicas agree on was *in flight* (or is *excluded*, if only what does not count differs, or a
   heartbeat, which is not read again). One that is
   read ``STEADY_READS`` times in a row with the same images had its time to heal, and is a difference.
3. What still changes at the last read is a difference if one replica stood still all the time: nothing is replicated
   there. If all changed, it is *unsettled*, and not judged: a busy item is no difference.

What always holds: nothing is written; an item that replication brings in line while it is watched is never called a
difference. Memory is a few hundred bytes a suspect, and the images of the differences (of ``IMAGES_KEPT`` at the most).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ops.aws import Cloud, explained
from ops.divergence.classes import CONFIRMED, Kind
from ops.divergence.diffs import AttributeDiff, attribute_diffs
from ops.divergence.explaining import Image, Stamp, explain, stamp
from ops.divergence.replicas import Described, Replica, Schema
from ops.divergence.rereading import strongly
from ops.divergence.reserved import is_heartbeat
from ops.divergence.survey import Suspicion
from ops.errors import UsageError
from sketch import keys
from sketch.canonical import item_digest

Progress = Callable[[str], None]
Digests = tuple[bytes | None, ...]

# Read equal and unchanged this often, a difference has had its time to heal.
STEADY_READS = 3
IMAGES_KEPT = 1000
# Between two reads: at least, at most, and as a multiple of the longest latency measured.
SPACING_S, MAX_SPACING_S, LATENCIES = 1.0, 60.0, 3.0


@dataclass(frozen=True)
class Difference:
    """One item that the replicas do not agree on.

    Attributes
    ----------
    key, text
        Packed by ``sketch.keys``, and for people.
    digests
        Of what was compared, by replica's label; None: not there.
    images
        By label; empty beyond the first ``IMAGES_KEPT`` differences.
    missing_in
        Empty when all have it.
    newest
        The labels that hold the newest write; empty when the stamps do not tell.
    lost
        The write that some replica lacks; None when the stamps do not tell, and where it is a deletion.
    deleted_in
        The labels where it must have been deleted, because the region that wrote it has it no longer.
    written
        Each image's stamp, by label; None where there is none.
    """

    key: bytes
    text: str
    kind: Kind
    digests: Mapping[str, bytes | None]
    images: Mapping[str, Image | None]
    missing_in: tuple[str, ...]
    attributes: tuple[AttributeDiff, ...]
    newest: tuple[str, ...]
    lost: Stamp | None
    written: Mapping[str, Stamp | None]
    explanation: str
    deleted_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """What became of the suspects. ``differences`` has the expired ones too; ``confirmed`` has what counts."""

    suspects: int
    counts: Mapping[Kind, int]
    differences: tuple[Difference, ...]
    unsettled: tuple[str, ...]
    spacing_s: float
    reads: int

    @property
    def confirmed(self) -> tuple[Difference, ...]:
        return tuple(one for one in self.differences if one.kind in CONFIRMED)


@dataclass(slots=True)
class _History:
    """What was read of one suspect so far."""

    first: Digests
    last: Digests
    steady: int = 1
    still: list[bool] = field(default_factory=list)

    def add(self, now: Digests) -> None:
        self.steady = self.steady + 1 if now == self.last else 1
        self.still = [still and one == begun for still, one, begun in zip(self.still, now, self.first, strict=True)]
        self.last = now


def spacing(settle_s: float, latency_ms: Mapping[tuple[str, str], float] | None) -> float:
    """Seconds between two reads: ``settle_s``, or if that is 0 what the measured latency asks for."""
    if settle_s > 0:
        return settle_s
    longest = max((latency_ms or {}).values(), default=0.0) / 1000
    return min(max(SPACING_S, LATENCIES * longest), MAX_SPACING_S)


def check_attempts(attempts: int) -> None:
    """Refuse fewer reads than it takes to confirm a difference.

    Raises:
        UsageError: there are fewer.
    """
    if attempts < STEADY_READS:
        raise UsageError(f"attempts: at least {STEADY_READS}, is {attempts}")


def judge(
    cloud: Cloud,
    replicas: Sequence[Replica],
    schema: Schema,
    suspects: Sequence[Suspicion],
    *,
    described: Mapping[Replica, Described | None],
    ignore: Collection[str] = (),
    only: Collection[str] | None = None,
    attempts: int = 6,
    settle_s: float = 0.0,
    latency_ms: Mapping[tuple[str, str], float] | None = None,
    progress: Progress = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> Judged:
    """Read the suspects until each has healed, stood still, or was read ``attempts`` times; reads only.

    Args:
        ignore, only: top-level attributes that do not count, or that alone count besides the key.
        settle_s: seconds between two reads; 0: from ``latency_ms``, the measured replication latency by pair of
            regions, else a second.
        clock: epoch seconds; what a time to live is held against.

    Raises:
        UsageError: fewer ``attempts`` than it takes to confirm a difference.
        OpsError: a replica cannot be read.
    """
    check_attempts(attempts)
    count = None if only is None else frozenset(only) | frozenset(schema.names)
    run = _Run(cloud, replicas, schema, frozenset(ignore) - frozenset(schema.names), count, described, clock)
    run.sleep = sleep
    with explained(f"reading suspects of {', '.join(one.label for one in replicas)} again"):
        return run.judge(suspects, attempts, spacing(settle_s, latency_ms), progress)


@dataclass
class _Run:
    cloud: Cloud
    replicas: Sequence[Replica]
    schema: Schema
    ignore: frozenset[str]
    only: frozenset[str] | None
    described: Mapping[Replica, Described | None]
    clock: Callable[[], float]
    sleep: Callable[[float], None] = time.sleep
    counts: Counter[Kind] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def judge(self, suspects: Sequence[Suspicion], attempts: int, spacing_s: float, progress: Progress) -> Judged:
        known = {one.key: bool(one.digests) for one in suspects}
        # Written and deleted by a probe that ran meanwhile.
        beating = [key for key in known if is_heartbeat(keys.unpack(key, self.schema.names), self.schema.names)]
        self.counts["excluded"] += len(beating)
        for key in beating:
            del known[key]
        pending: dict[bytes, _History | None] = dict.fromkeys(known)
        unsettled: list[bytes] = []
        reads = 0
        for attempt in range(1, attempts + 1):
            if not pending:
                break
            if attempt > 1:
                self.sleep(spacing_s)
            reads = attempt
            for key, images in strongly(self.cloud, self.replicas, self.schema, list(pending), sleep=self.sleep):
                history = self._add(pending, key, images)
                if len(set(history.last)) == 1:
                    self.counts[self._healed(history, images, known[key])] += 1
                elif history.steady >= STEADY_READS or (attempt == attempts and any(history.still)):
                    self._confirm(key, images, history.last)
                elif attempt == attempts:
                    unsettled.append(key)
                else:
                    continue
                del pending[key]
            progress(
                f"re-read {attempt}: {self.counts['in flight']:,} healed, {len(self.differences):,} stand still, "
                f"{len(pending):,} undecided"
            )
        self.counts["unsettled"] = len(unsettled)
        found = tuple(sorted(self.differences, key=lambda one: one.key))
        texts = tuple(keys.text(key, self.schema.names) for key in sorted(unsettled))
        return Judged(len(known) + len(beating), dict(self.counts), found, texts, spacing_s, reads)

    def _add(self, pending: dict[bytes, _History | None], key: bytes, images: Sequence[Image | None]) -> _History:
        now = tuple(None if one is None else self._digest(one) for one in images)
        history = pending[key]
        if history is None:
            pending[key] = history = _History(now, now, still=[True] * len(now))
        else:
            history.add(now)
        return history

    def _digest(self, image: Image) -> bytes:
        return item_digest(image, ignore=self.ignore, only=self.only)

    def _healed(self, history: _History, images: Sequence[Image | None], known: bool) -> Kind:
        """Of one that all agree on: it did so from the first, and the mode did not know what counts, or it healed."""
        whole = {None if one is None else item_digest(one) for one in images}
        return "excluded" if not known and history.first == history.last and len(whole) > 1 else "in flight"

    def _confirm(self, key: bytes, images: Sequence[Image | None], digests: Digests) -> None:
        labels = [one.label for one in self.replicas]
        by_label = dict(zip(labels, images, strict=True))
        groups = [
            [label for label, other in zip(labels, digests, strict=True) if other == digest]
            for digest in dict.fromkeys(digests)
            if digest is not None
        ]
        told = explain(
            by_label,
            groups,
            regions={one.label: one.region for one in self.replicas},
            expiry={one.ttl_attribute for one in self.described.values() if one is not None} - {""},
            now=self.clock(),
        )
        present = {label: self._counted(image) for label, image in by_label.items() if image is not None}
        self.counts[told.kind] += 1
        self.differences.append(
            Difference(
                key=key,
                text=keys.text(key, self.schema.names),
                kind=told.kind,
                digests=dict(zip(labels, digests, strict=True)),
                images=by_label if len(self.differences) < IMAGES_KEPT else {},
                missing_in=tuple(label for label in labels if by_label[label] is None),
                attributes=attribute_diffs(present, self.ignore) if len(present) > 1 else (),
                newest=told.newest,
                lost=told.lost,
                written={label: stamp(image) for label, image in by_label.items()},
                explanation=told.text,
                deleted_in=told.deleted_in,
            )
        )

    def _counted(self, image: Image) -> Image:
        return image if self.only is None else {name: image[name] for name in image if name in self.only}

"""From the sketches of replicas to the keys on which they differ, segment after segment.

1. The sketches of one segment are subtracted, the first replica's minus each other's, and peeled: what is equal
   cancels, what is left are *elements* (the digest of an item, its key, and a sign that says which side holds it).
2. Elements are collected over segments. Opposite ones cancel, so it does no harm when two replicas cut a segment
   differently. A difference that does not peel (too much differs for the size of the sketch) is a *residue*: residues
   add up, and their sum is tried at the end.
3. ``close`` gathers the elements by key into suspects, or says which segments are to be read again, with larger
   sketches.

What always holds: nothing is called complete unless, for each pair, the elements add up to exactly the difference of
the checksums, which are computed independently of the cells; and memory follows the differences, within ``limit``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ops.divergence.elements import UNKNOWN, Pair, Residue, checksum
from ops.divergence.survey import Suspicion
from ops.errors import OpsError
from sketch import Layout, Sketch
from sketch.canonical import Checksum

# Elements kept at the most: a changed item is two, of some 500 bytes each.
LIMIT = 200_000


@dataclass(frozen=True)
class Outcome:
    """What a comparison came to.

    Attributes
    ----------
    unpeeled
        Segments to be read again with larger sketches, and about how many elements each holds.
    unlocated
        Digests of keys that did not fit a cell: their items differ, and have to be looked for (``located``).
    remaining
        About how many elements all of these hold together: fewer than they add up to where replicas cut their segments
        differently.
    about
        How many keys differ: exact when complete.
    complete
        Whether every key that differs is a suspect or unlocated. Without it the suspects are a part at the most.
    """

    suspects: tuple[Suspicion, ...]
    unpeeled: dict[int, int]
    remaining: int
    unlocated: tuple[bytes, ...]
    about: int
    complete: bool


class Differences:
    """Collects over segments; threads may hand in theirs at the same time."""

    def __init__(self, labels: Sequence[str], layout: Layout, *, limit: int = LIMIT) -> None:
        self.labels, self.layout, self.limit = tuple(labels), layout, limit
        self.checksums = [Checksum()] * len(self.labels)
        self.residues: dict[int, Residue] = {}
        self._pairs = [Pair() for _ in self.labels[1:]]
        self._residual: tuple[int, ...] = ()  # what is behind the elements of segment UNKNOWN
        self._dropped = 0
        self._lock = threading.Lock()

    def take(self, segment: int, sketches: Sequence[Sketch]) -> None:
        """Enter a segment that was read in every replica; ``sketches`` are in the labels' order and stay as they are.

        Raises:
            ValueError: a sketch has another layout than this.
        """
        differences = [sketches[0] - other for other in sketches[1:]]
        peeled = [one.peel() for one in differences]
        checksums = [one.checksum for one in sketches]
        with self._lock:
            if all(one.complete for one in peeled):
                self._add(checksums)
                for pair, one in zip(self._pairs, peeled, strict=True):
                    if self.size + len(one.elements) > self.limit:
                        self._dropped += len(one.elements)
                    else:
                        pair.enter(one.elements, segment)
                return
            self.residues[segment] = Residue(sum(one.estimate() for one in differences), checksums)
            for pair, left in zip(self._pairs, differences, strict=True):
                pair.residue = left if pair.residue is None else pair.residue + left

    @property
    def size(self) -> int:
        """How many elements are known."""
        return sum(len(pair.elements) for pair in self._pairs)

    @property
    def about(self) -> int:
        """About how many elements were found so far, named or not."""
        return self.size + self._dropped + sum(residue.estimate for residue in tuple(self.residues.values()))

    @property
    def totals(self) -> list[Checksum]:
        """The checksum of each replica, over all segments entered."""
        totals = list(self.checksums)
        for residue in self.residues.values():
            totals = [total + more for total, more in zip(totals, residue.checksums, strict=True)]
        return totals

    def close(self) -> Outcome:
        """Try the residues together, hold the elements against the checksums, and gather them by key.

        Raises:
            OpsError: elements and checksums contradict each other, so neither can be trusted.
        """
        with self._lock:
            self._settle_residues()
            complete = not self.residues and not self._dropped
            if complete:
                self._verify()
            known = self._by_key()
            suspects = tuple(
                Suspicion(key, digests) for key, digests in sorted(known.values(), key=lambda one: one[0] or b"") if key
            )
            remaining = sum(pair.residue.estimate() for pair in self._pairs if pair.residue is not None)
            # A changed item is two elements of a pair, a missing one is one.
            about = len(known) + (self._dropped + remaining + 1) // 2
            unpeeled = {segment: residue.estimate for segment, residue in sorted(self.residues.items())}
            unlocated = tuple(sorted(digest for digest, (key, _) in known.items() if key is None))
            return Outcome(suspects, unpeeled, remaining, unlocated, about, complete)

    def whereabouts(self, key_digests: Iterable[bytes]) -> set[int]:
        """The segments in which the items of these keys were."""
        wanted = set(key_digests)
        found = {one.segment for pair in self._pairs for one in pair.elements.values() if one.key_digest in wanted}
        return (found - {UNKNOWN}) | (set(self._residual) if UNKNOWN in found else set())

    def located(self, keys: Mapping[bytes, bytes]) -> None:
        """Enter the packed keys that were found, by key digest."""
        with self._lock:
            for pair in self._pairs:
                for one in pair.elements.values():
                    one.key = one.key if one.key is not None else keys.get(one.key_digest)

    def again(self, layout: Layout) -> None:
        """Forget the residues: their segments are read once more, with sketches of this layout."""
        with self._lock:
            self.layout = layout
            self.residues.clear()
            for pair in self._pairs:
                pair.residue = None

    # --- within the lock ---------------------------------------------------------------------------------------

    def _add(self, checksums: Sequence[Checksum]) -> None:
        self.checksums = [total + more for total, more in zip(self.checksums, checksums, strict=True)]

    def _settle_residues(self) -> None:
        sums = [pair.residue.peel() for pair in self._pairs if pair.residue is not None]
        if not self.residues or not all(one.complete for one in sums):
            return
        if self.size + sum(len(one.elements) for one in sums) > self.limit:
            return
        self._residual += tuple(self.residues)
        for pair, one in zip(self._pairs, sums, strict=True):
            pair.enter(one.elements, UNKNOWN)
            pair.residue = None
        for residue in self.residues.values():
            self._add(residue.checksums)
        self.residues.clear()

    def _verify(self) -> None:
        for label, pair, other in zip(self.labels[1:], self._pairs, self.checksums[1:], strict=True):
            explained, actual = pair.checksum, self.checksums[0] - other
            if explained != actual:
                raise OpsError(
                    f"{self.labels[0]} and {label}: the {len(pair.elements):,} items found to differ add up to "
                    f"{explained}, and the checksums of the tables differ by {actual}: what was read "
                    "contradicts itself",
                    hint="Read again from the start, without resume; if it comes back, compare a narrower part.",
                )

    def _by_key(self) -> dict[bytes, tuple[bytes | None, tuple[bytes | None, ...]]]:
        """Key digest -> packed key, and the item's digest in each replica."""
        bases: dict[bytes, bytes | None] = {}
        keys: dict[bytes, bytes | None] = {}
        others: dict[bytes, dict[int, bytes | None]] = {}
        for index, pair in enumerate(self._pairs, start=1):
            for digest, one in pair.elements.items():
                keys[one.key_digest] = keys.get(one.key_digest) or one.key
                bases.setdefault(one.key_digest, None)
                differing = others.setdefault(one.key_digest, {})
                differing.setdefault(index, None)
                if one.count > 0:
                    bases[one.key_digest] = digest
                else:
                    differing[index] = digest
        # A replica without an element of this key agrees with the first.
        return {
            key_digest: (
                keys[key_digest],
                (base, *(others[key_digest].get(index, base) for index in range(1, len(self.labels)))),
            )
            for key_digest, base in bases.items()
        }

    # --- for a checkpoint --------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        with self._lock:
            return {
                "labels": list(self.labels),
                "layout": asdict(self.layout),
                "limit": self.limit,
                "dropped": self._dropped,
                "residual": list(self._residual),
                "checksums": [str(one) for one in self.checksums],
                "residues": {str(segment): residue.to_json() for segment, residue in self.residues.items()},
                "pairs": [pair.to_json() for pair in self._pairs],
            }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Differences:
        """What ``to_json`` gave.

        Raises:
            ValueError, KeyError, TypeError: it is not that.
        """
        asked = found["layout"]
        only = None if asked["only"] is None else tuple(asked["only"])
        layout = Layout(tuple(asked["names"]), tuple(asked["ignore"]), only, asked["cells"])
        made = cls(found["labels"], layout, limit=found["limit"])
        made._dropped, made._residual = found["dropped"], tuple(found["residual"])
        made.checksums = [checksum(text) for text in found["checksums"]]
        made.residues = {int(segment): Residue.from_json(one) for segment, one in found["residues"].items()}
        made._pairs = [Pair.from_json(one) for one in found["pairs"]]
        return made

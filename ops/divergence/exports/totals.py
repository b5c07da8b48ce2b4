"""A sketch an export, of the files of it that are whole; and the same as a checkpoint keeps it.

What always holds: a file is in a total entirely or not at all, and never twice, so that whoever goes on from what was
kept gets the answer of one who was not disturbed. Only the totals and one sketch a file being read take memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from ops.divergence import checkpoint as checkpoints
from ops.divergence.checkpoint import Half, State
from ops.divergence.exports.manifests import DataFile, Manifest
from ops.divergence.exports.reading import Source, Take, Tally, taker
from sketch import Layout, Sketch


class Totals:
    """Threads may finish their files at the same time."""

    def __init__(self, sources: Sequence[Source], layout: Layout) -> None:
        self.layout = layout
        self.sketches = [Sketch(layout) for _ in sources]
        self.done: set[tuple[int, str]] = set()
        self._sources = sources
        self._sizes = [0] * len(sources)
        self._lock = threading.Lock()
        for one in sources:
            one.tally = Tally()

    def begin(self, number: int, file: DataFile) -> tuple[Take, Callable[[int], None]]:
        """What takes the pieces of a file, and what enters it when it is whole."""
        sketch = Sketch(self.layout)

        def whole(size_bytes: int) -> None:
            with self._lock:
                if sketch.items:
                    self.sketches[number] += sketch
                self._sizes[number] += size_bytes
                self.done.add((number, file.key))

        return taker(sketch, self._sources[number].manifest), whole

    @property
    def count(self) -> int:
        """Of all files."""
        return sum(len(one.manifest.files) for one in self._sources)

    # --- for a checkpoint --------------------------------------------------------------------------------------

    def state(self, begun: State) -> State:
        """What ``begun`` says, with the files that are done now."""
        with self._lock:
            halves = tuple(
                Half(sketch.to_bytes(), None, False, checkpoints.Tally(size_bytes=size))
                for sketch, size in zip(self.sketches, self._sizes, strict=True)
            )
            done = {place for place, file in enumerate(self._places()) if file in self.done}
        return State(
            subject=begun.subject,
            differences=begun.differences,
            segments=self.count,
            round=begun.round,
            done=done,
            opened={0: halves} if done else {},
            started=begun.started,
            spent_s=begun.spent_s,
        )

    def restore(self, state: State) -> None:
        """Go on from a state of the same exports and the same layout."""
        if not state.done:
            return
        places = self._places()
        self.done = {places[place] for place in state.done}
        for number, (source, half) in enumerate(zip(self._sources, state.opened[0], strict=True)):
            self.sketches[number] = sketch = Sketch.from_bytes(half.sketch)
            self._sizes[number] = half.tally.size_bytes
            files = sum(1 for owner, _ in self.done if owner == number)
            source.tally = Tally(sketch.items, half.tally.size_bytes, files)

    def _places(self) -> list[tuple[int, str]]:
        """All files, in the order that their numbers in a checkpoint go by."""
        return [(number, file.key) for number, one in enumerate(self._sources) for file in one.manifest.files]


def identity(manifest: Manifest) -> str:
    """What tells this export from every other one, in a checkpoint: where it is, and what is in its files."""
    return f"{manifest.uri}, {manifest.items:,} items, files {manifest.digest}"

"""What differs between two replicas, element by element, and as JSON for a checkpoint."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sketch import Element, Sketch
from sketch.canonical import MODULUS, Checksum

# The segment of an element that only the sum of several segments' residues showed.
UNKNOWN = -1


@dataclass
class Found:
    """An element: ``count`` is positive where the first replica holds it, negative where the other does."""

    count: int
    key_digest: bytes
    key: bytes | None
    segment: int


@dataclass
class Residue:
    """A segment that did not peel: about how many elements it holds, and what it adds to each replica's checksum."""

    estimate: int
    checksums: list[Checksum]

    def to_json(self) -> list[Any]:
        return [self.estimate, [str(one) for one in self.checksums]]

    @classmethod
    def from_json(cls, found: Sequence[Any]) -> Residue:
        estimate, checksums = found
        return cls(estimate, [checksum(text) for text in checksums])


@dataclass
class Pair:
    """The first replica and another: their elements by item digest, and the sum of their residues."""

    elements: dict[bytes, Found] = field(default_factory=dict)
    residue: Sketch | None = None

    def enter(self, elements: Iterable[Element], segment: int) -> None:
        """Add elements; with their opposites they vanish."""
        for one in elements:
            known = self.elements.get(one.item_digest)
            if known is None:
                self.elements[one.item_digest] = Found(one.count, one.key_digest, one.key, segment)
                continue
            known.count += one.count
            if known.count == 0:
                del self.elements[one.item_digest]

    @property
    def checksum(self) -> Checksum:
        """By how much the checksums of the two differ, if these elements are all."""
        count = sum(one.count for one in self.elements.values())
        total = sum(one.count * int.from_bytes(digest, "big") for digest, one in self.elements.items())
        return Checksum(count, total % MODULUS)

    def to_json(self) -> dict[str, Any]:
        return {
            "residue": None if self.residue is None else _text(self.residue.to_bytes()),
            "elements": [
                [digest.hex(), one.count, one.key_digest.hex(), _text(one.key), one.segment]
                for digest, one in self.elements.items()
            ],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Pair:
        return cls(
            {
                bytes.fromhex(digest): Found(count, bytes.fromhex(key_digest), _bytes(key), segment)
                for digest, count, key_digest, key, segment in found["elements"]
            },
            None if (raw := _bytes(found["residue"])) is None else Sketch.from_bytes(raw),
        )


def checksum(text: str) -> Checksum:
    """A checksum from its text."""
    count, _, total = text.partition(":")
    return Checksum(int(count), int(total, 16))


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode("ascii")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)

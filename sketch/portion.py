"""What was read of one segment of a replica, as bytes that travel: a sketch, how far the reading came, what it took.

Sketch and position are one object, so that it is whole or not there: whoever continues from it counts no item twice and
misses none, however often it is continued from. Nothing here knows AWS, Atoll or a network.

**Format** (version 1). The line ``atoll.portion.v1``, one line of JSON (the fields of :class:`Portion` but the sketch;
``position`` as text), the sketch's own bytes, and the BLAKE2b digest, 16 bytes, of all before it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any

from sketch import Sketch

_MAGIC = b"atoll.portion.v1\n"
_DIGEST_BYTES = 16
_WHOLE = ("segment", "segments", "pages", "size_bytes", "throttles", "laps")


@dataclass(frozen=True)
class Portion:
    """A segment, read from its beginning up to ``position``, or to its end when ``done``.

    Attributes
    ----------
    position
        DynamoDB's LastEvaluatedKey as the JSON that came off the wire; None at the end.
    size_bytes
        Of the pages, as they came off the wire.
    laps
        How often somebody began or continued.
    started
        Epoch seconds at which the reading began.
    duration_s
        What the reading took, summed over the laps.
    implementation
        Of the sketch: ``native`` or ``reference``, the slower of those that took part.
    """

    segment: int
    segments: int
    done: bool
    position: bytes | None
    pages: int
    size_bytes: int
    read_units: float
    throttles: int
    laps: int
    started: float
    duration_s: float
    implementation: str
    sketch: Sketch

    def to_bytes(self) -> bytes:
        about = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "sketch"}
        about["position"] = None if self.position is None else self.position.decode("utf-8")
        body = _MAGIC + json.dumps(about, separators=(",", ":")).encode("ascii") + b"\n" + self.sketch.to_bytes()
        return body + blake2b(body, digest_size=_DIGEST_BYTES).digest()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Portion:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            ValueError: it is something else, was cut off or changed; the message says which.
        """
        if not raw.startswith(_MAGIC):
            raise ValueError("portion: not one, or of another version")
        body, digest = raw[:-_DIGEST_BYTES], raw[-_DIGEST_BYTES:]
        if blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
            raise ValueError("portion: its digest does not fit: it was cut off or changed")
        line, _, sketch = body[len(_MAGIC) :].partition(b"\n")
        about = _about(line)
        position = about.pop("position")
        return cls(
            **about, position=None if position is None else position.encode("utf-8"), sketch=Sketch.from_bytes(sketch)
        )


def _about(line: bytes) -> dict[str, Any]:
    try:
        about = json.loads(line)
    except ValueError as error:
        raise ValueError(f"portion: its description is no JSON: {error}") from error
    names = {field.name for field in fields(Portion)} - {"sketch"}
    if not isinstance(about, dict) or set(about) != names:
        raise ValueError(f"portion: its description has {sorted(about)}, should have {sorted(names)}")
    whole = all(type(about[name]) is int and about[name] >= 0 for name in _WHOLE)
    if not whole or not 0 <= about["segment"] < about["segments"]:
        raise ValueError(f"portion: its counts make no sense: { {name: about[name] for name in _WHOLE} }")
    if not isinstance(about["position"], str | None) or (about["position"] is not None and about["done"]):
        raise ValueError("portion: its position makes no sense")
    return about

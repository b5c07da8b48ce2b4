"""What a replica holds, in a few megabytes: canonical digests, packed keys, and sketches that subtract.

A small library of its own: the standard library and a native core, nothing else. Specified in docs/canonical-digest.md
and docs/sketch.md.
"""

from __future__ import annotations

from sketch.backend import implementation, reason
from sketch.canonical import Checksum, MalformedItemError
from sketch.layout import Element, Layout, Page, Peeled
from sketch.sketch import Sketch

__all__ = [
    "Checksum",
    "Element",
    "Layout",
    "MalformedItemError",
    "Page",
    "Peeled",
    "Sketch",
    "implementation",
    "reason",
]

"""What a mode hands over: what it read of each replica, and the keys on which the replicas did not agree then.

A suspect is no difference yet: replication may have been in flight, or the item changed between two reads. The verdict
is made by reading the suspects again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Side:
    """What was read of one replica.

    Attributes
    ----------
    checksum
        Of the canonical digests of all items (``docs/canonical-digest.md``): equal for equal replicas.
    read_units
        The capacity that it took, as DynamoDB reported it; 0 where none was used.
    """

    label: str
    items: int
    size_bytes: int
    pages: int
    read_units: float
    checksum: str
    duration_s: float


@dataclass(frozen=True)
class Suspicion:
    """One key on which replicas did not agree.

    Attributes
    ----------
    key
        Packed by ``sketch.keys``.
    digests
        The item's canonical digest in each replica, in the order compared; None: not there. Empty where the mode does
        not know.
    """

    key: bytes
    digests: tuple[bytes | None, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What a mode found in one table.

    Attributes
    ----------
    settled_at
        Epoch seconds that the data describes: a point in time of an export, else when the reading began.
    figures
        What the mode has to say beyond this, by name with unit.
    """

    mode: str
    sides: tuple[Side, ...]
    suspects: tuple[Suspicion, ...]
    settled_at: float
    duration_s: float
    implementation: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """A row a replica: what was read there."""
        import pandas as pd

        rows = [
            (one.label, one.items, one.size_bytes, one.pages, one.read_units, one.duration_s, one.checksum)
            for one in self.sides
        ]
        columns = ["replica", "items", "size_bytes", "pages", "read units", "duration_s", "checksum"]
        return pd.DataFrame(rows, columns=columns)

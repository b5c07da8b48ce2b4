"""What the functions left in a region's operations bucket: found, fetched, checked and, in the end, deleted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ops import bucket
from ops.aws import Cloud
from ops.bucket import Place
from ops.divergence.fleet.planning import MAX_SEGMENTS
from ops.divergence.survey import Side
from ops.errors import OpsError
from ops.fanout import each
from sketch import Layout
from sketch.canonical import Checksum
from sketch.portion import Portion

# What an earlier apply of the same plan read is taken up for this long; older than that, it is read again.
FRESH = timedelta(hours=6)


@dataclass
class Tally:
    """What was read of one replica, summed over its segments, those included that were read again."""

    size_bytes: int = 0
    pages: int = 0
    read_units: float = 0.0
    throttles: int = 0
    laps: int = 0
    busy_s: float = 0.0
    started: float = float("inf")
    implementations: set[str] = field(default_factory=set)

    def add(self, portion: Portion) -> None:
        self.size_bytes += portion.size_bytes
        self.pages += portion.pages
        self.read_units += portion.read_units
        self.throttles += portion.throttles
        self.laps += portion.laps
        self.busy_s += portion.duration_s
        self.started = min(self.started, portion.started)
        self.implementations.add(portion.implementation)

    def side(self, label: str, total: Checksum) -> Side:
        """What the survey says of the replica; ``total`` is of its items."""
        return Side(
            label=label,
            items=total.count,
            size_bytes=self.size_bytes,
            pages=self.pages,
            read_units=round(self.read_units, 1),
            checksum=str(total),
            duration_s=round(self.busy_s, 3),
        )


def prefix(token: str, cells: int) -> str:
    """Where the portions of one plan and size of sketch are, in each region's bucket."""
    return f"{bucket.FLEET}/{token}/{cells}"


def finished(cloud: Cloud, region: str, folder: str, now: datetime) -> set[int]:
    """The segments that were read to their end not long ago."""
    found = bucket.keys(cloud, bucket.place(cloud, region), f"{folder}/", limit=2 * MAX_SEGMENTS)
    names = [key.removeprefix(f"{folder}/") for key, changed, _ in found if now - changed.astimezone(UTC) < FRESH]
    return {int(name.removesuffix(".done")) for name in names if name.endswith(".done")}


def fetch(cloud: Cloud, region: str, folder: str, *, segment: int, segments: int, layout: Layout) -> Portion:
    """The finished portion of a segment.

    Raises:
        OpsError: it is not there, is damaged, or is not what was asked for.
    """
    place, key = bucket.place(cloud, region), f"{folder}/{segment:06d}.done"
    raw = bucket.get(cloud, place, key)
    if raw is None:
        raise OpsError(
            f"{region}: segment {segment}: {place.uri(key)} is not there", hint="Apply the same token again."
        )
    try:
        portion = Portion.from_bytes(raw)
    except ValueError as error:
        raise OpsError(f"{region}: segment {segment}: {place.uri(key)}: {error}", hint=_anew(place, key)) from error
    seen = (portion.segment, portion.segments, portion.done, portion.sketch.layout)
    if seen != (segment, segments, True, layout):
        raise OpsError(f"{region}: segment {segment}: {place.uri(key)} is of another run", hint=_anew(place, key))
    return portion


def forget(cloud: Cloud, regions: Iterable[str], token: str) -> None:
    """Delete all that is kept of a plan."""

    def one(region: str) -> None:
        place = bucket.place(cloud, region)
        for key, _, _ in list(bucket.keys(cloud, place, f"{bucket.FLEET}/{token}/", limit=100_000)):
            bucket.delete(cloud, place, key)

    each(regions, one)


def _anew(place: Place, key: str) -> str:
    return f"Delete it and apply the same token again: aws s3 rm {place.uri(key)} --region {place.region}"

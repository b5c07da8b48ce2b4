"""Why the images of one item differ, from the stamps that Atoll's writes leave: ``version``, ``written_region`` and
``written_at``.

One region's writes of an item follow one another, so of two images that one region wrote the later one was made from
the earlier one. A write in another region was made on top of the image that it counts up from, unless both regions made
the same version: then neither saw the other's. Where version and time contradict each other, nothing is concluded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops.divergence.classes import Kind
from sketch.canonical import MalformedItemError, canonical_number

Image = Mapping[str, Any]


@dataclass(frozen=True)
class Stamp:
    """Which write an image is: where and when it was made, and its number; ``version`` 0 where it has none."""

    region: str
    at: datetime
    version: int

    def __str__(self) -> str:
        number = f"version {self.version}, " if self.version else ""
        return f"{number}written in {self.region} at {_time(self.at)}"


@dataclass(frozen=True)
class Explained:
    """What the images of one item tell.

    Attributes
    ----------
    newest
        The labels that hold the newest write; empty when the stamps do not tell.
    lost
        The write that some replica lacks; None when the stamps do not tell, and where it is a deletion.
    deleted_in
        The labels where it must have been deleted: the region that wrote it has it no longer.
    """

    kind: Kind
    newest: tuple[str, ...]
    lost: Stamp | None
    text: str
    deleted_in: tuple[str, ...] = ()


def stamp(image: Image | None) -> Stamp | None:
    """The stamp of an image; None when it has none that can be read."""
    if image is None:
        return None
    region, at = (image.get(name, {}).get("S", "") for name in ("written_region", "written_at"))
    try:
        written = datetime.fromisoformat(at)
        version = int(float(canonical_number(image["version"]["N"]))) if "version" in image else 0
    except (ValueError, KeyError, OverflowError, MalformedItemError):
        return None
    if not region or written.tzinfo is None:
        return None
    return Stamp(region, written.astimezone(UTC), version)


def older(one: Stamp, other: Stamp) -> bool:
    """Whether ``other`` was written on top of ``one``, or of a later write than it."""
    if one.region == other.region:
        return (one.version, one.at) != (other.version, other.at) and (
            one.version <= other.version and one.at <= other.at
        )
    return one.version < other.version and one.at < other.at


def expires_at(image: Image, attributes: Collection[str]) -> float | None:
    """When the time to live of an image passes, in epoch seconds; None when it has none.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html: a number, in seconds.
    """
    times = [float(image[name]["N"]) for name in attributes if "N" in image.get(name, {})]
    return min(times, default=None)


def explain(
    images: Mapping[str, Image | None],
    groups: Collection[Collection[str]],
    *,
    regions: Mapping[str, str],
    expiry: Collection[str] = (),
    now: float,
) -> Explained:
    """Class and explain one item that truly differs. Pure.

    Args:
        images: by replica's label, None where it is not there; at least two of them differ.
        groups: the labels that hold equal images, a group an image.
        regions: each label's region.
        expiry: the time-to-live attributes of the tables.
        now: epoch seconds.
    """
    present = {label: image for label, image in images.items() if image is not None}
    missing = [label for label in images if label not in present]
    ends = [expires_at(image, expiry) for image in present.values()]
    if all(end is not None and end < now for end in ends):
        last = datetime.fromtimestamp(max(0.0, *(end for end in ends if end is not None)), UTC)
        text = f"its time to live passed at {_time(last)}, and the deletion has not reached every replica"
        return Explained("expired", (), None, text)
    stamps = {label: stamp(image) for label, image in present.items()}
    newest = _newest(stamps, groups)
    if missing:
        return _missing(stamps, missing, newest, regions)
    return _differing(stamps, newest)


def _newest(stamps: Mapping[str, Stamp | None], groups: Collection[Collection[str]]) -> tuple[str, ...]:
    """The labels of the one image that all others are older writes of."""
    known = {label: one for label, one in stamps.items() if one is not None}
    if len(known) < len(stamps):
        return ()
    held = [[label for label in group if label in known] for group in groups]
    held = [group for group in held if group]
    for group in held:
        if all(other is group or older(known[other[0]], known[group[0]]) for other in held):
            return tuple(group)
    return ()


def _missing(
    stamps: Mapping[str, Stamp | None], missing: list[str], newest: tuple[str, ...], regions: Mapping[str, str]
) -> Explained:
    where, holders = ", ".join(missing), ", ".join(stamps)
    best = stamps[newest[0]] if newest else None
    holds = _holdings(stamps)
    if best is None:
        return Explained("missing", newest, None, f"{holds}; it is not in {where}, and no stamp tells why")
    own = [label for label in missing if regions[label] == best.region]
    if own:
        # The region that wrote it cannot have missed the write.
        reason = f"{', '.join(own)} wrote it, so it was deleted there, and the deletion never reached {holders}"
        rest = [label for label in missing if label not in own]
        if rest:
            reason += f"; {', '.join(rest)} has not got the write or has got the deletion"
        return Explained("missing", newest, None, f"{holds}: {reason}", tuple(own))
    reason = f"that write never reached {where}, or a deletion there never reached {holders}"
    return Explained("missing", newest, best, f"{holds}: {reason}")


def _differing(stamps: Mapping[str, Stamp | None], newest: tuple[str, ...]) -> Explained:
    if newest:
        best = stamps[newest[0]]
        behind = {label: one for label, one in stamps.items() if label not in newest}
        text = f"{', '.join(behind)} never got the write of {_short(best)}; {_holdings(behind, 'still ')}"
        return Explained("stale", newest, best, text)
    known = [one for one in stamps.values() if one is not None]
    if len(known) < len(stamps):
        return Explained("conflicting", (), None, f"{_holdings(stamps)}: no stamp tells which is newer")
    if len(set(known)) == 1:
        text = f"all bear the same stamp ({known[0]}) and differ: one was changed without a new stamp"
        return Explained("conflicting", (), known[0], text)
    latest = max(known, key=lambda one: one.at)
    if len({one.region for one in known}) > 1 and len({one.version for one in known}) == 1:
        reason = f"neither saw the other's write; by time, that of {_short(latest)} is the last"
    else:
        reason = "version and time do not tell one order, so that no write can be called the newest"
    return Explained("conflicting", (), latest, f"{_holdings(stamps)}: {reason}")


def _holdings(stamps: Mapping[str, Stamp | None], still: str = "") -> str:
    return "; ".join(
        f"{label} {still}holds {one if one is not None else 'an item without stamps'}" for label, one in stamps.items()
    )


def _short(one: Stamp | None) -> str:
    if one is None:
        return "an item without stamps"
    number = f"version {one.version} " if one.version else ""
    return f"{number}in {one.region} at {_time(one.at)}"


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

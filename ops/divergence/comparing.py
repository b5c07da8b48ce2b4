"""Do the replicas of a table hold the same items? Works on any DynamoDB table that has the same keys in each region.

1. Each region is scanned in parallel segments, all regions in step; an item is reduced to its canonical digest, and
   an entry is dropped as soon as every region agreed on it, so that memory follows the differences.
2. What is left are *suspects*: replication may be in flight. They are re-read, strongly, in every region, some seconds
   apart, until they agree (``in flight``) or stay as they are (a confirmed difference).
3. Confirmed differences are explained from both images: where the item is missing, or which attributes differ, and
   which region wrote what when, if the items carry ``written_region`` and ``written_at``.

What always holds: nothing is written; an item that a working replication brings in line during the check is never
called a difference; an item that still changes everywhere at the last read is called ``unsettled`` and not judged.

A notebook calls ``compare(cloud, table)`` and shows ``.regions_frame()``, ``.frame()``, ``.attributes_frame()``.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import pandas as pd
from botocore.exceptions import ClientError

from ops.aws import Cloud, explained
from ops.errors import OpsError, RefusedError, UsageError
from ops.fanout import each
from ops.record import Check, now_text
from ops.tablescan import key_names, scan_segment
from sketch import keys as packed_keys
from sketch.canonical import Checksum, encode, item_digest

Kind = Literal["missing", "differing", "expired"]
Progress = Callable[[str], None]
Image = Mapping[str, Any]

SECRET = re.compile(r"secret|passw|token|credential|api_?key|authorization", re.IGNORECASE)
BATCH = 100
SHOWN = 100
# Read equal and unchanged this often, a difference has had its time to heal.
STEADY_READS = 3


@dataclass(frozen=True)
class AttributeDiff:
    """One attribute that differs: its path and what each region holds, as text; ``(absent)`` where it is not there."""

    path: str
    values: dict[str, str]


@dataclass(frozen=True)
class Difference:
    """One item that the replicas do not agree on. ``missing_in`` is empty when all have it."""

    key: str
    kind: Kind
    missing_in: tuple[str, ...]
    attributes: tuple[AttributeDiff, ...]
    newest: str
    explanation: str


@dataclass(frozen=True)
class RegionScan:
    """What the scan read in one region. ``read_units`` is the capacity it consumed, as DynamoDB reported it."""

    region: str
    items: int
    pages: int
    read_units: float
    checksum: str


@dataclass(frozen=True)
class Comparison:
    """The verdict on one table. Only ``differences`` of another kind than ``expired`` count against it."""

    table: str
    regions: tuple[RegionScan, ...]
    suspects: int
    in_flight: int
    unsettled: tuple[str, ...]
    differences: tuple[Difference, ...]
    started: str
    duration_s: float

    @property
    def confirmed(self) -> tuple[Difference, ...]:
        return tuple(d for d in self.differences if d.kind != "expired")

    @property
    def equal(self) -> bool:
        return not self.confirmed

    def frame(self) -> pd.DataFrame:
        """A row a difference."""
        rows = [
            (d.key, d.kind, ", ".join(d.missing_in), ", ".join(a.path for a in d.attributes), d.newest, d.explanation)
            for d in self.differences
        ]
        return pd.DataFrame(rows, columns=["key", "kind", "missing in", "attributes", "newest in", "explanation"])

    def attributes_frame(self) -> pd.DataFrame:
        """A row an attribute that differs, a column a region."""
        rows = [{"key": d.key, "attribute": a.path} | a.values for d in self.differences for a in d.attributes]
        return pd.DataFrame(rows, columns=["key", "attribute", *(r.region for r in self.regions)])

    def regions_frame(self) -> pd.DataFrame:
        """A row a region: what was read there."""
        rows = [(r.region, r.items, r.pages, r.read_units, r.checksum) for r in self.regions]
        return pd.DataFrame(rows, columns=["region", "items", "pages", "read units", "checksum"])

    def figures(self) -> dict[str, Any]:
        return {
            "items": {r.region: r.items for r in self.regions},
            "suspects": self.suspects,
            "in_flight": self.in_flight,
            "unsettled": len(self.unsettled),
            "differences": len(self.confirmed),
            "keys": [d.key for d in self.confirmed[:SHOWN]],
            "duration_s": round(self.duration_s, 2),
        }

    def checks(self) -> list[Check]:
        """The verdict as one check, with the keys an operator looks at first."""
        where = " and ".join(r.region for r in self.regions)
        counts = ", ".join(f"{r.items:,} in {r.region}" for r in self.regions)
        healed = f"; {self.in_flight} were in flight and healed" if self.in_flight else ""
        moving = f"; {len(self.unsettled)} kept changing and were not judged" if self.unsettled else ""
        if self.equal:
            detail = f"every item is the same in {where} ({counts}){healed}{moving}"
        else:
            keys = "; ".join(f"{d.key} ({d.kind})" for d in self.confirmed[:10])
            more = f"; and {len(self.confirmed) - 10} more" if len(self.confirmed) > 10 else ""
            detail = f"{len(self.confirmed)} items differ: {keys}{more}{healed}{moving}"
        return [Check(f"replicas of {self.table} agree", self.equal, detail)]


def estimate(cloud: Cloud, table: str = "", regions: Sequence[str] = ()) -> pd.DataFrame:
    """What a comparison will read, from the table descriptions (which DynamoDB refreshes every six hours)."""
    name, regions = table or cloud.stage.table_name, list(regions) or cloud.stage.regions

    def describe(region: str) -> tuple[str, str, int, int, int]:
        try:
            found = cloud.client("dynamodb", region).describe_table(TableName=name)["Table"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return region, "MISSING", 0, 0, 0
        size = found.get("TableSizeBytes", 0)
        # An eventually consistent read takes half a unit for 4 KB.
        return region, found["TableStatus"], found.get("ItemCount", 0), size, -(-size // 8192)

    with explained(f"reading the description of {name}"):
        rows = each(regions, describe).values()
    return pd.DataFrame(rows, columns=["region", "status", "items", "size_bytes", "read units"])


def compare(
    cloud: Cloud,
    table: str = "",
    regions: Sequence[str] = (),
    *,
    attempts: int = 6,
    settle_s: float = 1.0,
    segments: int = 4,
    ignore: Sequence[str] = (),
    progress: Progress = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> Comparison:
    """Compare the replicas of ``table`` (default: the stage's) in ``regions`` (default: the stage's); reads only.

    Args:
        attempts: strong reads of each suspect, at most.
        settle_s: seconds between them; more than replication usually takes.
        ignore: top-level attributes that do not count.

    Raises:
        UsageError: fewer than two regions, or a number out of range.
        RefusedError: a replica is missing, or its key schema is another.
    """
    name, where = table or cloud.stage.table_name, list(dict.fromkeys(regions or cloud.stage.regions))
    if len(where) < 2:
        raise UsageError(f"regions: a comparison needs two or more, got {where}")
    if attempts < STEADY_READS or not 1 <= segments <= 1000:
        raise UsageError(f"attempts: at least {STEADY_READS}, is {attempts}; segments: 1 to 1000, is {segments}")
    started, begun = now_text(), clock()
    run = _Run(cloud, name, where, frozenset(ignore))
    with explained(f"comparing table {name}"):
        run.find_keys()
        pending, scans = run.scan(segments, progress)
        progress(f"scan done: {len(pending):,} suspects in {', '.join(where)}")
        judged = run.settle(list(pending), attempts, settle_s, progress, sleep)
        pending.clear()
        differences, late = run.explain(judged.confirmed, clock())
    return Comparison(
        table=name,
        regions=scans,
        suspects=judged.suspects,
        in_flight=judged.healed + late,
        unsettled=tuple(packed_keys.text(key, run.names) for key in judged.unsettled),
        differences=tuple(differences),
        started=started,
        duration_s=clock() - begun,
    )


@dataclass(frozen=True)
class _Judged:
    suspects: int
    healed: int
    confirmed: list[bytes]
    unsettled: list[bytes]


@dataclass
class _Tally:
    """What one worker counted in one region."""

    checksum: Checksum = field(default_factory=Checksum)
    pages: int = 0
    read_units: float = 0.0

    def add(self, digests: list[bytes], read_units: float) -> None:
        self.checksum += Checksum.of(digests)
        self.pages += 1
        self.read_units += read_units

    def merge(self, other: _Tally) -> None:
        self.checksum += other.checksum
        self.pages += other.pages
        self.read_units += other.read_units


class _Run:
    """One comparison: the table, its keys and its regions."""

    def __init__(self, cloud: Cloud, table: str, regions: list[str], ignore: frozenset[str]) -> None:
        self.cloud = cloud
        self.table = table
        self.regions = regions
        self.ignore = ignore
        self.names: list[str] = []

    def find_keys(self) -> None:
        def names(region: str) -> list[str] | None:
            try:
                return key_names(self.cloud.client("dynamodb", region), self.table)
            except ClientError as error:
                if error.response["Error"]["Code"] == "ResourceNotFoundException":
                    return None
                raise

        found = each(self.regions, names)
        absent = [region for region, keys in found.items() if keys is None]
        if absent:
            raise RefusedError(
                f"table {self.table}: there is none in {', '.join(absent)}",
                hint=f"Name the regions that have it, or run: ops run provision --stage {self.cloud.stage.stage}",
            )
        if len({tuple(keys or ()) for keys in found.values()}) > 1:
            seen = "; ".join(f"{region}: {', '.join(keys or ())}" for region, keys in found.items())
            raise RefusedError(f"table {self.table}: the regions have different key schemas: {seen}")
        self.names = found[self.regions[0]] or []

    # --- 1: scan -----------------------------------------------------------------------------------------------

    def scan(self, segments: int, progress: Progress) -> tuple[dict[bytes, list[bytes | None]], tuple[RegionScan, ...]]:
        """The suspects (packed key -> digest a region), and what was read."""
        tallies = [_Tally() for _ in self.regions]
        pending: dict[bytes, list[bytes | None]] = {}
        with ThreadPoolExecutor(max_workers=min(segments, 16), thread_name_prefix="atoll-scan") as pool:
            parts = pool.map(lambda segment: self._scan_part(segment, segments), range(segments))
            for number, (rest, counted) in enumerate(parts, start=1):
                for tally, part in zip(tallies, counted, strict=True):
                    tally.merge(part)
                # Replicas may cut their segments differently: what one segment left over, another may complete.
                for key, digests in rest.items():
                    for index, digest in enumerate(digests):
                        if digest is not None:
                            self._note(pending, key, index, digest)
                items = ", ".join(f"{t.checksum.count:,} in {r}" for r, t in zip(self.regions, tallies, strict=True))
                progress(f"segment {number} of {segments}: {items}")
        scans = tuple(
            RegionScan(region, tally.checksum.count, tally.pages, tally.read_units, str(tally.checksum))
            for region, tally in zip(self.regions, tallies, strict=True)
        )
        return pending, scans

    def _scan_part(self, segment: int, segments: int) -> tuple[dict[bytes, list[bytes | None]], list[_Tally]]:
        pending: dict[bytes, list[bytes | None]] = {}
        tallies = [_Tally() for _ in self.regions]
        scans = [
            scan_segment(self.cloud.client("dynamodb", region), self.table, segment, segments)
            for region in self.regions
        ]
        for pages in itertools.zip_longest(*scans):
            for index, page in enumerate(pages):
                if page is None:
                    continue
                digests = [item_digest(item, ignore=self.ignore) for item in page.items]
                tallies[index].add(digests, page.read_units)
                for item, digest in zip(page.items, digests, strict=True):
                    self._note(pending, packed_keys.pack(item, self.names), index, digest)
        return pending, tallies

    def _note(self, pending: dict[bytes, list[bytes | None]], key: bytes, index: int, digest: bytes) -> None:
        """Enter one region's digest; an entry that all regions agree on is dropped at once."""
        seen = pending.setdefault(key, [None] * len(self.regions))
        seen[index] = digest
        if all(other == digest for other in seen):
            del pending[key]

    # --- 2: re-read --------------------------------------------------------------------------------------------

    def settle(
        self, keys: list[bytes], attempts: int, settle_s: float, progress: Progress, sleep: Callable[[float], None]
    ) -> _Judged:
        """Re-read the suspects strongly until each has healed or stood still."""
        suspects, healed = len(keys), 0
        histories: dict[bytes, list[tuple[bytes | None, ...]]] = {key: [] for key in keys}
        confirmed: list[bytes] = []
        for attempt in range(1, attempts + 1):
            if not histories:
                break
            if attempt > 1:
                sleep(settle_s)
            for key, now in self._digests(list(histories)):
                history = histories[key]
                history.append(now)
                if len(set(now)) == 1:
                    healed += 1
                    del histories[key]
                elif len(history) >= STEADY_READS and len(set(history[-STEADY_READS:])) == 1:
                    confirmed.append(key)
                    del histories[key]
            progress(f"re-read {attempt}: {healed} healed, {len(confirmed)} confirmed, {len(histories)} undecided")
        # An item that changes in one region while another stands still is not being replicated.
        unsettled = [key for key, history in histories.items() if not _one_stands_still(history)]
        confirmed += [key for key, history in histories.items() if _one_stands_still(history)]
        return _Judged(suspects, healed, sorted(confirmed), sorted(unsettled))

    def _digests(self, keys: list[bytes]) -> Iterator[tuple[bytes, tuple[bytes | None, ...]]]:
        for key, images in self._images(keys):
            yield (
                key,
                tuple(None if image is None else item_digest(image, ignore=self.ignore) for image in images),
            )

    def _images(self, keys: list[bytes]) -> Iterator[tuple[bytes, list[Image | None]]]:
        """Each key with its item in every region, strongly read."""
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            found = each(self.regions, partial(self._read, keys=batch))
            for key in batch:
                yield key, [found[region].get(key) for region in self.regions]

    def _read(self, region: str, keys: list[bytes]) -> dict[bytes, Image]:
        client: Any = self.cloud.client("dynamodb", region)
        found: dict[bytes, Image] = {}
        wanted: dict[str, Any] = {
            self.table: {"Keys": [packed_keys.unpack(key, self.names) for key in keys], "ConsistentRead": True}
        }
        # Each call answers at least one key (up to 16 MB), so this many are enough.
        for _ in range(len(keys) + 5):
            answer = client.batch_get_item(RequestItems=wanted)
            found.update({packed_keys.pack(item, self.names): item for item in answer["Responses"].get(self.table, [])})
            wanted = answer.get("UnprocessedKeys") or {}
            if not wanted:
                return found
        raise OpsError(f"table {self.table} in {region}: keys stayed unread; it is throttled", hint="Try again later.")

    # --- 3: explain --------------------------------------------------------------------------------------------

    def explain(self, keys: list[bytes], now: float) -> tuple[list[Difference], int]:
        """The differences, and how many of them healed before they could be looked at."""
        expiry = self._ttl_attribute() if keys else None
        differences, healed = [], 0
        for key, images in self._images(keys):
            by_region = dict(zip(self.regions, images, strict=True))
            digests = {None if image is None else item_digest(image, ignore=self.ignore) for image in images}
            if len(digests) == 1:
                healed += 1
            else:
                differences.append(difference(packed_keys.text(key, self.names), by_region, self.ignore, expiry, now))
        return differences, healed

    def _ttl_attribute(self) -> str | None:
        client = self.cloud.client("dynamodb", self.regions[0])
        found = client.describe_time_to_live(TableName=self.table)["TimeToLiveDescription"]
        return found.get("AttributeName") if found.get("TimeToLiveStatus") == "ENABLED" else None


def _one_stands_still(history: list[tuple[bytes | None, ...]]) -> bool:
    return any(len(set(reads)) == 1 for reads in zip(*history, strict=True))


# --- what differs, in words --------------------------------------------------------------------------------------


def difference(
    key: str, images: Mapping[str, Image | None], ignore: frozenset[str], expiry: str | None, now: float
) -> Difference:
    """Explain one item from its image in each region (None: not there). Pure."""
    missing = tuple(region for region, image in images.items() if image is None)
    present = {region: image for region, image in images.items() if image is not None}
    newest = _newest(present)
    kind: Kind = "missing" if missing else "differing"
    if missing and expiry and all(_expired(image, expiry, now) for image in present.values()):
        kind = "expired"
    attributes = tuple(attribute_diffs(present, ignore)) if len(present) > 1 else ()
    stamps = "; ".join(f"{region} holds {_stamp(image)}" for region, image in present.items())
    if kind == "expired":
        reason = "its time to live has passed, and the deletion has not reached every region"
    elif missing:
        reason = f"its write never reached {', '.join(missing)}, or a deletion there never reached the others"
    elif newest:
        stale = [r for r, image in present.items() if r != newest and _written(image) != _written(present[newest])]
        reason = f"the write in {newest} never reached {', '.join(stale)}" if stale else "both bear the same stamp"
    else:
        reason = "the items carry no stamp that tells which is newer"
    return Difference(key, kind, missing, attributes, newest, f"{stamps}: {reason}")


def _written(image: Image) -> str:
    return str(image.get("written_at", {}).get("S", ""))


def _newest(present: Mapping[str, Image]) -> str:
    """The region whose image was written last by its own stamp; empty when stamps do not tell."""
    stamps = {region: _written(image) for region, image in present.items()}
    if len(stamps) < 2 or not all(stamps.values()) or len(set(stamps.values())) < 2:
        return ""
    return max(stamps, key=lambda region: stamps[region])


def _stamp(image: Image) -> str:
    version = image.get("version", {}).get("N")
    parts = [f"version {version}"] if version else []
    if "written_region" in image and _written(image):
        parts.append(f"written in {image['written_region'].get('S', '?')} at {_written(image)}")
    return ", ".join(parts) or "an item without stamps"


def _expired(image: Image, attribute: str, now: float) -> bool:
    text = image.get(attribute, {}).get("N")
    return text is not None and float(text) < now


def attribute_diffs(images: Mapping[str, Image], ignore: frozenset[str] = frozenset()) -> Iterator[AttributeDiff]:
    """The attributes in which the images differ, maps and JSON texts taken apart; secrets are masked by name."""
    trimmed = {r: {"M": {n: v for n, v in image.items() if n not in ignore}} for r, image in images.items()}
    yield from _diffs("", trimmed)


def _diffs(path: str, values: Mapping[str, Image | None]) -> Iterator[AttributeDiff]:
    if len({None if value is None else encode(value) for value in values.values()}) == 1:
        return
    opened = {region: _opened(value) for region, value in values.items()}
    maps = {region: value["M"] for region, value in opened.items() if value is not None and "M" in value}
    if len(maps) == len(values):
        before = len(path)
        inner_found = False
        for name in sorted({name for content in maps.values() for name in content}):
            inner = f"{path}.{name}" if before else name
            for found in _diffs(inner, {region: content.get(name) for region, content in maps.items()}):
                inner_found = True
                yield found
        if inner_found:
            return
    secret = SECRET.search(path) is not None
    yield AttributeDiff(path, {region: _mask(value) if secret else shown(value) for region, value in opened.items()})


def _opened(value: Image | None) -> Image | None:
    """A text that holds a JSON object, as the map it means; anything else as it is."""
    if value is None or "S" not in value or not value["S"].startswith("{"):
        return value
    try:
        parsed = json.loads(value["S"], parse_float=str, parse_int=str)
    except ValueError:
        return value
    return _typed(parsed) if isinstance(parsed, dict) else value


def _typed(value: Any) -> Image:
    if isinstance(value, dict):
        return {"M": {name: _typed(content) for name, content in value.items()}}
    if isinstance(value, list):
        return {"L": [_typed(member) for member in value]}
    if isinstance(value, bool):
        return {"BOOL": value}
    return {"NULL": True} if value is None else {"S": str(value)}


def _mask(value: Image | None) -> str:
    # Not even a digest: it would confirm a guess.
    return "(absent)" if value is None else "•••"


def shown(value: Image | None) -> str:
    """A DynamoDB value as short text, with what its name calls a secret masked inside."""
    if value is None:
        return "(absent)"
    text = json.dumps(_plain(value), ensure_ascii=False, sort_keys=True)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _plain(value: Image) -> Any:
    ((kind, content),) = value.items()
    if kind == "M":
        return {name: _mask(inner) if SECRET.search(name) else _plain(inner) for name, inner in content.items()}
    if kind == "L":
        return [_plain(member) for member in content]
    if kind == "B":
        return bytes(content).hex()
    if kind == "BS":
        return sorted(bytes(member).hex() for member in content)
    if kind in ("SS", "NS"):
        return sorted(content)
    return None if kind == "NULL" else content

"""Looking for keys that a sketch knows by their digest only, since they are too long for its cells.

Their segments are read once more, the key attributes alone (which takes the same capacity and far fewer bytes). A key
that is found in no replica any more was deleted everywhere, and is no difference.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from ops.divergence.lockstep import MAX_PAGES
from ops.divergence.wire import Pages
from sketch import keys
from sketch.canonical import key_digest
from sketch.table import KEY_FITS

# What packing an attribute adds at the most: its type and length, and an exponent such as E-130.
PACKING_BYTES = 3 + 5


def find(
    readers: Callable[[], Sequence[Pages]],
    names: tuple[str, ...],
    segments: int,
    wanted: Iterable[int],
    digests: Collection[bytes],
    *,
    workers: int,
) -> dict[bytes, bytes]:
    """The packed keys of those digests that are in these segments of any replica, by digest.

    Args:
        readers: makes the readers of all replicas, for one worker.

    Raises:
        OpsError: a replica could not be read.
    """
    looked_for, found = frozenset(digests), dict[bytes, bytes]()

    def look(segment: int) -> None:
        made = readers()
        try:
            for reader in made:
                _through(reader, segment)
        finally:
            for reader in made:
                reader.close()

    def _through(reader: Pages, segment: int) -> None:
        after: bytes | None = None
        for _ in range(MAX_PAGES):
            if len(found) == len(looked_for):
                return
            page = orjson.loads(reader.read(segment, segments, after, names))
            reader.used(float(page.get("ConsumedCapacity", {}).get("CapacityUnits", 0)))
            for item in page["Items"]:
                if may_be_long(item) and (digest := key_digest(item, names)) in looked_for:
                    found[digest] = keys.pack(_with_bytes(item), names)
            last = page.get("LastEvaluatedKey")
            if not last:
                return
            after = orjson.dumps(last)

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="atoll-look") as pool:
        list(pool.map(look, sorted(wanted)))
    return found


def may_be_long(key: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a key may be too long for a cell, told by its characters: most are not, and need no digest."""
    most = 0
    for value in key.values():
        (content,) = value.values()
        most += PACKING_BYTES + len(content) * (1 if content.isascii() else 4)
    return most > KEY_FITS


def _with_bytes(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {"B": base64.b64decode(value["B"])} if isinstance(value.get("B"), str) else value
        for name, value in item.items()
    }

"""Strong reads of single items, by key, in every replica at once.

A batch of up to 100 keys is in memory at a time, with its images of up to 16 MB a replica.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ops.aws import Cloud
from ops.divergence.replicas import Replica, Schema, client
from ops.errors import OpsError
from ops.fanout import each
from sketch import keys

Image = Mapping[str, Any]

BATCH = 100
# Of keys that a throttled table left unread: asked for again so often without one answer, with pauses up to so long.
UNANSWERED, MAX_PAUSE_S = 8, 2.0


def strongly(
    cloud: Cloud,
    replicas: Sequence[Replica],
    schema: Schema,
    wanted: Sequence[bytes],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[bytes, list[Image | None]]]:
    """Each key (packed, each once) with its item in every replica, in the order of ``replicas``; None: not there.

    Raises:
        OpsError: a table is throttled for good.
    """
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        found = each(replicas, partial(_read, cloud, schema, batch, sleep))
        for key in batch:
            yield key, [found[replica].get(key) for replica in replicas]


def _read(
    cloud: Cloud, schema: Schema, batch: Sequence[bytes], sleep: Callable[[float], None], replica: Replica
) -> dict[bytes, Image]:
    names = schema.names
    asked: Any = client(cloud, replica)
    found: dict[bytes, Image] = {}
    wanted: dict[str, Any] = {
        replica.table: {"Keys": [keys.unpack(key, names) for key in batch], "ConsistentRead": True}
    }
    unanswered = 0
    # Each answer but the empty ones has a key or more (up to 16 MB), so this many are enough.
    for _ in range(len(batch) + UNANSWERED):
        answer = asked.batch_get_item(RequestItems=wanted)
        read = [item for items in answer["Responses"].values() for item in items]
        found.update({keys.pack(item, names): item for item in read})
        wanted = answer.get("UnprocessedKeys") or {}
        if not wanted:
            return found
        unanswered = 0 if read else unanswered + 1
        if unanswered == UNANSWERED:
            break
        if unanswered:
            sleep(min(0.05 * 2**unanswered, MAX_PAUSE_S))
    unread = sum(len(one["Keys"]) for one in wanted.values())
    raise OpsError(
        f"{replica.label}: {unread} keys of {replica.table} stayed unread: the table is throttled",
        hint="Go on when less is read of it, or give it more read capacity.",
    )

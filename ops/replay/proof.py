"""Did every archived event come to be in the tables, and was nothing harmed that was right already?

What the tap overheard is held, by key, against the replicas of all living regions as they were before and as they are
after, and what is in none of them is looked for in the DLQs. What always holds: only digests and keys of 16 bytes are
kept, in arrays; items that expired meanwhile are not missed; DLQs are read only for keys that are missing, and what
was looked at is given back at once.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson

from ops import queues
from ops.aws import Cloud
from ops.divergence.reserved import is_heartbeat
from ops.fanout import each
from ops.provision.desired import TTL_ATTRIBUTE
from ops.replay.waits import Waits
from ops.tablescan import (
    Difference,
    Digests,
    Fingerprint,
    Item,
    difference,
    digests_of,
    find_keys,
    fingerprint,
    key_names,
    split,
)
from sketch import keys as packed_keys

KEY_BYTES = 16
SHOWN_KEYS = 20
_EVENT, _SORT_KEY, _ACTIVITY = "EVENT#", "EVENT", "ACTIVITY#"
# Enough receives to see every message of a DLQ that a proof can name keys of; beyond, it says that it stopped.
MAX_RECEIVES = 10_000
HIDDEN_S = 30


@dataclass(frozen=True)
class Look:
    """The replicas and the DLQs at one time."""

    prints: dict[str, Fingerprint]
    dlqs: dict[str, int]


@dataclass(frozen=True)
class Found:
    """What the proof found, by key, of the events that the archive holds.

    Counts are of the region that replayed: ``before`` and ``restored`` of the archived events; ``missing`` are in no
    item of it afterwards, of which ``in_dlqs`` says where some are. ``counted`` have their place in the activity.
    ``behind``: how many of the archived events another region lacks. ``harm`` is of all items, archived or not.
    """

    archived: int
    before: int
    restored: int
    missing: int
    counted: int
    in_dlqs: dict[str, int]
    behind: dict[str, int]
    follow: dict[str, bool]
    harm: Difference
    added_events: int
    changed_events: int
    touched: tuple[str, ...] = ()
    missing_keys: tuple[str, ...] = field(default=())

    @property
    def harmless(self) -> bool:
        """Counters may grow with the events that came back, and must not without."""
        grew = not len(self.harm.changed) or len(self.harm.added) > 0
        return not len(self.harm.removed) and not self.changed_events and grew


def look(cloud: Cloud, regions: Sequence[str]) -> Look:
    """Read the replicas and the DLQs of these regions."""
    prints = {region: _fingerprint(cloud, region) for region in regions}
    return Look(prints, queues.dlq_depths(queues.depths(cloud, regions)))


def after(cloud: Cloud, region: str, before: Look, waits: Waits) -> tuple[Look, dict[str, bool]]:
    """The same regions once more, and whether each other replica has followed the region's.

    One that was equal must become equal again; one that was not is the divergence runbook's business.
    """
    others = [other for other in before.prints if other != region]
    now = look(cloud, list(before.prints))
    for attempt in range(waits.settle_attempts):
        own = now.prints[region].checksum
        same = {
            other: before.prints[other].checksum != before.prints[region].checksum or now.prints[other].checksum == own
            for other in others
        }
        late = [other for other, is_same in same.items() if not is_same]
        if not late or attempt == waits.settle_attempts - 1:
            break
        waits.sleep(waits.settle_s)
        now.prints.update({other: _fingerprint(cloud, other) for other in late})
    return now, same


def hold(cloud: Cloud, region: str, archived: Digests, *, before: Look, after: Look, follow: dict[str, bool]) -> Found:
    """Hold what was archived against what was and what is."""
    old, new = before.prints[region], after.prints[region]
    was, is_ = (np.intersect1d(archived, one.named, assume_unique=True) for one in (old, new))
    missing = np.setdiff1d(archived, new.named, assume_unique=True)
    harm = difference(old, new)
    found = Found(
        archived=len(archived),
        before=len(was),
        restored=len(np.setdiff1d(is_, was, assume_unique=True)),
        missing=len(missing),
        counted=len(np.intersect1d(archived, new.members, assume_unique=True)),
        in_dlqs=in_dlqs(cloud, list(after.prints), missing) if len(missing) else {},
        behind={
            other: len(np.setdiff1d(is_, one.named, assume_unique=True))
            for other, one in after.prints.items()
            if other != region
        },
        follow=follow,
        harm=harm,
        added_events=len(np.intersect1d(harm.added, new.named, assume_unique=True)),
        changed_events=len(np.intersect1d(harm.changed, new.named, assume_unique=True)),
        missing_keys=tuple(str(uuid.UUID(bytes=key)) for key in split(missing[:SHOWN_KEYS])),
    )
    return found if found.harmless else _with_names(cloud, region, found, old)


def _with_names(cloud: Cloud, region: str, found: Found, old: Fingerprint) -> Found:
    """With the keys of what was harmed, for people: of a removed item at least what is known of it."""
    client, table = cloud.client("dynamodb", region), cloud.stage.table_name
    names = key_names(client, table)
    changed = find_keys(client, table, names, found.harm.changed, limit=SHOWN_KEYS, name=event_of)
    events = np.isin(found.harm.removed, old.named)
    gone = [f"event {uuid.UUID(bytes=key)}" for key in split(found.harm.removed[events][:SHOWN_KEYS])]
    gone += [f"{len(found.harm.removed) - int(events.sum())} items that are no events"] if not events.all() else []
    shown = [*(packed_keys.text(key, names) for key in sorted(changed)), *gone][:SHOWN_KEYS]
    return Found(**{**vars(found), "touched": tuple(shown)})


# --- keys --------------------------------------------------------------------------------------------------------


def event_of(item: Item) -> bytes | None:
    """The key of the event that an item is, as 16 bytes; None when it is no event's."""
    partition = item["pk"].get("S", "")
    if not partition.startswith(_EVENT) or item["sk"].get("S") != _SORT_KEY:
        return None
    return key_of(partition.removeprefix(_EVENT))


def key_of(text: str) -> bytes:
    """An event key as 16 bytes: those of the UUID, or a digest of what is none."""
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def counted_in(item: Item) -> Iterable[bytes]:
    """The keys of the events that an activity item has counted."""
    if not item["pk"].get("S", "").startswith(_ACTIVITY):
        return ()
    return (key for raw in item.get("seen", {}).get("BS", ()) if len(key := bytes(raw)) == KEY_BYTES)


def _fingerprint(cloud: Cloud, region: str) -> Fingerprint:
    client, table = cloud.client("dynamodb", region), cloud.stage.table_name
    names = key_names(client, table)
    return fingerprint(
        client,
        table,
        names,
        expiry=TTL_ATTRIBUTE,
        # What expires within the hour may be deleted while the replay runs.
        expired_before=time.time() + 3600,
        name=event_of,
        members=counted_in,
        # A probe of replication that runs meanwhile neither adds nor takes away.
        passing=lambda item: is_heartbeat(item, names),
        # A page in hand is most of what a scan takes: 1 MB, and many times that as Python's objects.
        segments=2,
    )


# --- DLQs --------------------------------------------------------------------------------------------------------


def in_dlqs(cloud: Cloud, regions: Sequence[str], wanted: Digests) -> dict[str, int]:
    """How many of these events each DLQ holds. Messages are hidden for moments, and given back."""
    keys = set(split(wanted))
    filled = [one for one in queues.depths(cloud, regions) if one.dlq and one.total]
    found = each([(one.region, one.queue) for one in filled], lambda one: len(_held(cloud, *one) & keys))
    return {f"{region} {queue}": count for (region, queue), count in found.items() if count}


def _held(cloud: Cloud, region: str, queue: str) -> set[bytes]:
    sqs: Any = cloud.client("sqs", region)
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    keys: set[bytes] = set()
    receipts: list[str] = []
    try:
        for _ in range(MAX_RECEIVES):
            answer = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=HIDDEN_S,
                MessageAttributeNames=["EVENT_KEY"],
            )
            messages = answer.get("Messages", [])
            if not messages:
                break
            receipts += [message["ReceiptHandle"] for message in messages]
            keys.update(key for message in messages if (key := _dead_key(message)) is not None)
    finally:
        for start in range(0, len(receipts), 10):
            entries = [
                {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for index, receipt in enumerate(receipts[start : start + 10])
            ]
            sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
    return keys


def _dead_key(message: Any) -> bytes | None:
    """The event's key in a message of a DLQ, where the function or the rule left it."""
    told = message.get("MessageAttributes", {}).get("EVENT_KEY", {}).get("StringValue")
    if told:
        return key_of(told)
    try:
        return key_of(str(orjson.loads(message["Body"])["detail"]["event_key"]))
    except (ValueError, KeyError, TypeError):
        return None


def none_archived() -> Digests:
    return digests_of(b"")

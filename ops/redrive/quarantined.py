"""What is in quarantine: messages that failed again after a redrive, in every region. Reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice

import pandas as pd

from ops import bucket
from ops.aws import Cloud
from ops.bucket import QUARANTINE, Place
from ops.errors import OpsError
from ops.fanout import each

LISTED = 10_000
SHOWN = 100
COLUMNS = ["kept", "region", "queue", "error_code", "handler", "event_type", "event_key", "redrives", "object"]


def frame(cloud: Cloud, regions: Sequence[str] = (), keep: str = "", limit: int = SHOWN) -> pd.DataFrame:
    """The newest messages that were kept, with their last reason; bodies stay in S3.

    Raises:
        UsageError: ``keep`` is no place in S3.
    """
    places = dict.fromkeys(bucket.place(cloud, region, keep) for region in regions or cloud.stage.regions)

    def listed(place: Place) -> list[tuple[str, str]]:
        """Objects with the time of their last change; none where the place does not answer: the ledger's loss."""
        try:
            found = bucket.keys(cloud, place, f"{QUARANTINE}/", LISTED)
            return [(changed.isoformat(timespec="seconds"), key) for key, changed, _ in found]
        except OpsError:
            return []

    found = [(*one, place) for place, ones in each(places, listed).items() for one in ones]
    newest = list(islice(sorted(found, key=lambda one: one[:2], reverse=True), limit))
    read = each(newest, lambda one: _row(cloud, *one))
    return pd.DataFrame([row for row in read.values() if row], columns=COLUMNS)


def _row(cloud: Cloud, kept: str, key: str, place: Place) -> list[object]:
    body = bucket.get(cloud, place, key)
    try:
        one = json.loads(body or b"")
        reason, event, history = one["reason"], one["event"], one["history"]
        told = [reason["code"], reason["handler"], event["type"], event["key"], history["redrives"]]
        return [kept, one["region"], one["queue"], *told, place.uri(key)]
    except (ValueError, KeyError, TypeError):
        return [kept, place.region, "", "unreadable", "", "", "", None, place.uri(key)]

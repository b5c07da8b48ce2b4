"""The classes that a suspect falls into once it was read again, and what each one means.

Three count as differences: ``missing``, ``stale`` and ``conflicting``. The others are told, and stand in no verdict.
"""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["missing", "stale", "conflicting", "expired", "in flight", "excluded", "unsettled"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CONFIRMED: tuple[Kind, ...] = ("missing", "stale", "conflicting")

MEANINGS: dict[Kind, str] = {
    "missing": "a replica has no such item, the others have",
    "stale": "one image is the newer one by the region stamps, and a replica still has an older write",
    "conflicting": "each side has a write that the other never saw, or no stamp tells which is newer",
    "expired": "its time to live has passed, and the deletion has not reached every replica yet",
    "in flight": "the replicas came to agree while they were watched: replication was under way",
    "excluded": "it differs in attributes only that do not count",
    "unsettled": "it changed in every replica as long as it was watched, and is not judged",
}

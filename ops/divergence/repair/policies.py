"""What each replica is to hold of one item, by the policy of a repair. Pure; decides nothing that is not plain.

``newest``: the image that all others are older writes of, by the region stamps. ``region:LABEL``: what that replica
holds, deletions included. ``counters``: the union of what the regions counted. ``decisions``: a table, key by key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ops.divergence.classes import Kind
from ops.divergence.explaining import Explained, explain
from ops.divergence.repair.merging import NotMergeableError, union
from ops.divergence.repair.orders import Image
from ops.divergence.replicas import Replica
from ops.errors import UsageError

REGION = "region:"
DELETE, KEEP = "delete", "keep"
ACCEPTED = "newest, region:LABEL, counters or decisions"


@dataclass(frozen=True)
class Decision:
    """What all replicas are to hold; ``decided`` False: nothing is done, and ``why`` says what stands against it."""

    kind: Kind
    decided: bool
    why: str
    image: Image | None = None


def check(policy: str, replicas: Sequence[Replica], decisions: str) -> None:
    """Refuse what is no policy of these replicas.

    Raises:
        UsageError: with what is accepted.
    """
    labels = [one.label for one in replicas]
    if policy.startswith(REGION):
        named = policy.removeprefix(REGION)
        if named not in labels:
            raise UsageError(f"policy: {named!r} is none of the replicas compared: {', '.join(labels)}")
    elif policy not in ("newest", "counters", "decisions"):
        raise UsageError(f"policy: {policy!r} is none; accepted: {ACCEPTED}")
    if (policy == "decisions") != bool(decisions):
        raise UsageError("decisions: goes with policy=decisions, and it with a file or an s3:// URI of decisions")


def decide(
    policy: str,
    images: Mapping[str, Image | None],
    groups: Collection[Collection[str]],
    *,
    regions: Mapping[str, str],
    expiry: Collection[str],
    now: float,
    chosen: str | None = None,
) -> Decision:
    """Decide one item that was confirmed to differ.

    Args:
        images: by replica's label, None where it is not there.
        groups: the labels that hold equal images, as they were compared.
        regions: each label's region.
        expiry: the time-to-live attributes of the tables.
        now: epoch seconds.
        chosen: of policy ``decisions``, what the table says of this key; None: nothing.
    """
    told = explain(images, groups, regions=regions, expiry=expiry, now=now)
    if told.kind == "expired":
        return Decision(told.kind, False, told.text)
    if policy == "decisions":
        return _as_chosen(told.kind, images, chosen)
    if policy.startswith(REGION):
        label = policy.removeprefix(REGION)
        return Decision(told.kind, True, f"as in {label}", images[label])
    if policy == "counters":
        return _united(told.kind, images, expiry, now)
    return _newest(told, images, regions)


def _united(kind: Kind, images: Mapping[str, Image | None], expiry: Collection[str], now: float) -> Decision:
    present = {label: image for label, image in images.items() if image is not None}
    try:
        merged = union(list(present.values()), expiry, now)
    except NotMergeableError as error:
        return Decision(kind, False, str(error))
    return Decision(kind, True, f"the union of {', '.join(present)}", merged)


def _newest(told: Explained, images: Mapping[str, Image | None], regions: Mapping[str, str]) -> Decision:
    writer = told.lost.region if told.lost is not None else ""
    deleted = [label for label, image in images.items() if image is None and regions[label] == writer]
    if not told.newest or deleted:
        # A deletion leaves no stamp: where it was the later write, the newest image must not come back.
        return Decision(told.kind, False, told.text)
    return Decision(told.kind, True, f"the newest, as in {told.newest[0]}: {told.text}", images[told.newest[0]])


def _as_chosen(kind: Kind, images: Mapping[str, Image | None], chosen: str | None) -> Decision:
    if chosen is None:
        return Decision(kind, False, "the table of decisions has no row for it")
    if chosen == KEEP:
        return Decision(kind, False, "keep, by the table of decisions")
    image = None if chosen == DELETE else images[chosen]
    return Decision(kind, True, f"{chosen}, by the table of decisions", image)

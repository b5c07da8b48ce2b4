"""One order carried out: every replica read strongly, and what is not as wanted written, one replica at a time.

What always holds: where any replica holds anything but what was seen or what is wanted, somebody else has written, and
nothing is done about the key. Read and written at once, the time in which a writer of another region could be missed is
that of one request; a writer of the same region never is, by the condition of the write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ops.aws import Cloud
from ops.divergence.repair import writing
from ops.divergence.repair.merging import NotMergeableError, union
from ops.divergence.repair.orders import Image, Order, Work, digest
from ops.divergence.replicas import client
from ops.divergence.rereading import strongly
from ops.errors import OpsError

ALREADY, ARRIVED = "already so", "arrived"
# What replication brings by itself needs no write: looked for so often before it is written.
LOOKS, PAUSE_S = 5, 0.2
_WRITES = (writing.WRITTEN, writing.DELETED)

Held = Mapping[str, Image | None]


def carry_out(
    cloud: Cloud,
    work: Work,
    order: Order,
    before: Held,
    *,
    earlier: Held | None = None,
    resumed: bool = False,
    take: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Mend one key; what became of each replica that was to change, by label.

    Args:
        before: what every replica held when the run began.
        earlier: of an undo, what every replica held before the run that it undoes.
        resumed: whether an earlier run may have written it.
        take: waits for the turn of a write.
    """
    done: dict[str, str] = {}
    for label in order.touched:
        wanted = order.wanted[label]
        on_its_way = any((one, label) in work.linked and said in _WRITES for one, said in done.items())
        for look in range(LOOKS if on_its_way else 1):
            if look:
                sleep(PAUSE_S)
            else:
                take()
            held = _read(cloud, work, order)
            if digest(held[label]) == wanted:
                break
        if digest(held[label]) == wanted:
            by_earlier = resumed and digest(before[label]) != wanted
            done[label] = ARRIVED if done and not by_earlier else writing.WRITTEN if by_earlier else ALREADY
            continue
        other = _changed(order, held)
        if other:
            done[label] = f"{writing.CHANGED}: in {', '.join(other)}"
            continue
        image = _image(order, label, before, earlier, work)
        replica = next(one for one in work.replicas if one.label == label)
        said = writing.write(client(cloud, replica), replica.table, work.schema.names, held[label], image)
        if said == writing.CHANGED and digest(_read(cloud, work, order)[label]) == wanted:
            # An answer that was lost, of a write that was not; or replication was faster.
            said = writing.WRITTEN
        done[label] = said
    return done


def _read(cloud: Cloud, work: Work, order: Order) -> dict[str, Image | None]:
    ((_, images),) = strongly(cloud, work.replicas, work.schema, [order.packed])
    return dict(zip([one.label for one in work.replicas], images, strict=True))


def _changed(order: Order, held: Held) -> list[str]:
    """The replicas that hold something that is neither what was seen nor what is wanted, there or of another."""
    brought = set(order.wanted.values())
    return [label for label, image in held.items() if digest(image) not in {order.seen[label], *brought}]


def _image(order: Order, label: str, before: Held, earlier: Held | None, work: Work) -> Image | None:
    """The item that is wanted, by its digest."""
    wanted = order.wanted[label]
    if wanted is None:
        return None
    # Its own first: equal numbers may be spelled in two ways.
    known = [*([earlier.get(label), *earlier.values()] if earlier else []), *before.values()]
    found = next((one for one in known if one is not None and digest(one) == wanted), None)
    if found is None and work.merged:
        try:
            found = union([one for one in before.values() if one is not None], work.expiry, work.at)
        except NotMergeableError:
            found = None
        found = found if digest(found) == wanted else None
    if found is None:
        raise OpsError(f"{label}: the image that is wanted of key {order.key} is not among those kept")
    return found

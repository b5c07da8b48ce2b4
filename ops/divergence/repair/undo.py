"""The way back from a repair: every item that still is what the repair made of it becomes what it was before.

Planned and applied like a repair, with its own token, its own images and its own undo. What always holds: an item that
anybody has written since stays. Replicas of one global table cannot be brought apart again while they replicate: what
is written in one arrives in the others. There, the undo takes ``region:LABEL``, which makes all of them what that
replica held before the repair; byte for byte as before comes back only where replication does not run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ops import bucket, ledger
from ops.aws import Cloud
from ops.divergence.naming import shown
from ops.divergence.repair import mending, standing, writing
from ops.divergence.repair.images import Store
from ops.divergence.repair.orders import CHUNK, Order, RepairPlan, Row, Work, digest
from ops.divergence.repair.planning import RUNBOOK, assemble, check_pace, tables, unfinished
from ops.divergence.repair.policies import REGION
from ops.divergence.rereading import strongly
from ops.errors import UsageError
from ops.plan import Step

_TOUCHED = (writing.WRITTEN, writing.DELETED)
_APART = (
    "the replicas replicate to each other, and their images of before differ: what is written in one arrives in the "
    "others. Choose which image all are to have again: -p policy=region:LABEL; or, while replication is cut: "
    f"-p force={standing.FORCE}"
)


def plan_undo(
    cloud: Cloud,
    token: str,
    *,
    policy: str = "",
    force: str = "",
    rate_per_s: float = 0.0,
    keep: str = "",
    progress: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
) -> RepairPlan:
    """What undoing an applied repair (or undo) would write; reads only.

    Args:
        token: of the plan that was applied.
        policy: ``region:LABEL``: all replicas are to have what this one held before; empty: each its own.
        force, rate_per_s, keep: as :func:`ops.divergence.repair.planning.plan` has them.

    Raises:
        UsageError: nothing was applied by this token, or a parameter is out of its range.
        OpsError: a table, or what was kept, cannot be read.
    """
    rate = check_pace(force, rate_per_s)
    place = bucket.place(cloud, cloud.stage.home_region, keep)
    entry = ledger.read(cloud, place, RUNBOOK, token)
    store = Store(cloud, place, token)
    applied = store.plan() if entry is not None else None
    if applied is None:
        raise UsageError(
            f"undo: no repair was applied by token {token!r} that {place.uri()} knows of",
            hint="The token of the plan that was applied; where it was kept elsewhere: -p keep=s3://bucket/prefix",
        )
    work = applied.work
    label = policy.removeprefix(REGION)
    if policy and (not policy.startswith(REGION) or label not in {one.label for one in work.replicas}):
        named = " or ".join(REGION + one.label for one in work.replicas)
        raise UsageError(f"policy: {policy!r} undoes nothing; accepted: {named}, or nothing")
    parameters = {
        "mode": "undo",
        "undo": token,
        "policy": policy,
        "force": force,
        "rate_per_s": rate,
        "keep": keep,
    }
    earlier = unfinished(cloud, parameters, keep)
    if earlier is not None:
        return earlier
    described = tables(cloud, work)
    orders, rows = [], []
    for order, row in _orders(cloud, store, work, label, sleep):
        rows.append(row)
        orders += [order] if order is not None else []
    progress(f"{len(orders):,} of {len(work.orders):,} items are as the repair left them")
    made = Work(work.table, work.replicas, work.schema, tuple(orders), work.linked, undoes=token)
    plan = assemble(cloud, made, rows, described, parameters=parameters, sizes={})
    if not force and any(one.wanted[a] != one.wanted[b] for one in orders for a, b in work.linked):
        refusal = Step(action="refuse", resource=f"undo of {token}", detail=_APART)
        plan = plan.model_copy(update={"steps": [*plan.steps, refusal]})
    if entry is not None and entry.state != "done":
        note = "that run did not come to its end: what it wrote last is known by being as it was to be"
        plan = plan.model_copy(update={"warnings": [note, *plan.warnings]})
    return RepairPlan.of(plan, made, rows)


def _orders(
    cloud: Cloud, store: Store, work: Work, label: str, sleep: Callable[[float], None]
) -> Iterator[tuple[Order | None, Row]]:
    for number, start in enumerate(range(0, len(work.orders), CHUNK)):
        kept, outcomes = store.images(number), store.outcomes(number)
        if kept is None:
            return  # the run ended before this chunk
        chunk = {one.packed: one for one in work.orders[start : start + CHUNK]}
        labels = [one.label for one in work.replicas]
        for key, images in strongly(cloud, work.replicas, work.schema, list(chunk), sleep=sleep):
            order = chunk[key]
            now = {one: digest(image) for one, image in zip(labels, images, strict=True)}
            before = {one: digest(image) for one, image in kept[order.key].items()}
            # Without outcomes, the run was killed in this chunk: what is as wanted may be its work.
            said = outcomes.get(order.key, {}) if outcomes is not None else dict.fromkeys(order.touched, _TOUCHED[0])
            yield _undone(order, now, before, said, label=label, chunk=number, text=shown(key, work.schema.names))


def _undone(
    order: Order,
    now: dict[str, str | None],
    before: dict[str, str | None],
    said: dict[str, str],
    *,
    label: str,
    chunk: int,
    text: str,
) -> tuple[Order | None, Row]:
    def left(why: str) -> tuple[None, Row]:
        return None, Row(order.packed, text, "left", "nothing", why, decided=False)

    if not any(word in _TOUCHED for word in said.values()):
        return left("the run did not write it")
    touched = [one for one, word in said.items() if word in (*_TOUCHED, mending.ARRIVED)]
    # Each its own again, or all what one had.
    wanted: dict[str, str | None] = {one: before[label or one] if label or one in touched else now[one] for one in now}
    if any(now[one] != order.wanted[one] for one in now):
        return left("it was written since" if wanted != now else "it is as it was before")
    made = Order(order.key, now, wanted, chunk)
    if not made.touched:
        return left("it is as it was before")
    return made, Row(order.packed, text, "repaired", f"restore in {', '.join(made.touched)}", "", decided=True)

"""The plan of a repair: which of the found items still differ, what each replica is to hold, how long and how much.

What always holds: nothing is written; an item that has healed, has expired, or is changing while it is read is in no
order; the token is bound to what every replica holds of every item and is to hold. A run that ended early has kept its
plan, and who plans the same again gets that one, with its token, so that it goes on where it ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ops import bucket, ledger
from ops.aws import Cloud
from ops.divergence.explaining import Image
from ops.divergence.findings import Findings
from ops.divergence.groups import pairs
from ops.divergence.naming import shown
from ops.divergence.repair import decisions as table_of_decisions
from ops.divergence.repair import policies, standing
from ops.divergence.repair.estimates import estimates
from ops.divergence.repair.images import Store
from ops.divergence.repair.looking import Look
from ops.divergence.repair.orders import Order, RepairPlan, Row, Work, bound
from ops.divergence.replicas import Described, Replica, agree, describe
from ops.errors import RefusedError, UsageError
from ops.plan import Plan, Step

RUNBOOK = "divergence"
WRITES_PER_S = 50.0
MAX_WRITES_PER_S = 10_000.0
NAMED = 5  # keys in one line of a plan
# Entries of the ledger in which a run that ended early is looked for.
EARLIER = 100

Progress = Callable[[str], None]


def plan(
    cloud: Cloud,
    findings: Findings,
    policy: str,
    *,
    decisions: str = "",
    force: str = "",
    rate_per_s: float = 0.0,
    keep: str = "",
    attempts: int = 3,
    settle_s: float = 0.0,
    reference: str = "",
    progress: Progress = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> RepairPlan:
    """What a repair would write; reads only.

    Args:
        policy: ``newest``, ``region:LABEL``, ``counters`` or ``decisions``.
        decisions: of the last one, a file or an s3:// URI.
        force: ``replication`` writes although replication stands.
        rate_per_s: writes a second, over all replicas; 0 is :data:`WRITES_PER_S`.
        keep: where orders, images and ledger are, ``s3://bucket/prefix``; empty is the stage's operations bucket.
        attempts, settle_s: of the reads, as :func:`ops.divergence.judging.judge` has them.
        reference: what the findings were loaded by; empty: the run that made them.

    Raises:
        UsageError: a parameter is out of its range, or a row of decisions is wrong.
        RefusedError: a table is missing or has another key schema than it had.
        OpsError: a table cannot be read.
    """
    policies.check(policy, findings.replicas, decisions)
    rate = check_pace(force, rate_per_s)
    parameters = {
        "mode": "repair",
        "findings": reference or findings.run,
        "policy": policy,
        "decisions": decisions,
        "force": force,
        "rate_per_s": rate,
        "keep": keep,
    }
    earlier = unfinished(cloud, parameters, keep)
    if earlier is not None:
        return earlier
    labels = [one.label for one in findings.replicas]
    chosen = table_of_decisions.load(cloud, decisions, findings.schema, labels) if decisions else {}
    described = tables(cloud, findings)
    found = Look(cloud, findings, described, policy=policy, chosen=chosen, clock=clock)
    found.read(attempts, settle_s, progress, sleep)
    work = Work(
        table=findings.table,
        replicas=findings.replicas,
        schema=findings.schema,
        orders=tuple(found.orders),
        linked=tuple((one.label, other.label) for one, other in pairs(described)[0]),
        merged=policy == "counters",
        expiry=tuple(found.expiry),
        at=found.at,
    )
    made = assemble(cloud, work, found.rows, described, parameters=parameters, sizes=found.sizes)
    return RepairPlan.of(made, work, found.rows)


def assemble(
    cloud: Cloud,
    work: Work,
    rows: Sequence[Row],
    described: Mapping[Replica, Described],
    *,
    parameters: Mapping[str, Any],
    sizes: Mapping[str, int],
) -> Plan:
    """The plan of these orders, with what is in the way of them."""
    steps = []
    for replica in work.replicas:
        label = replica.label
        own = [one for one in work.orders if label in one.touched]
        gone = sum(1 for one in own if one.wanted[label] is None)
        if own:
            after = {"written": len(own) - gone, "deleted": gone, "orders": bound(work.orders, label)}
            detail = f"{len(own) - gone:,} items written, {gone:,} deleted: {_listed(work, own)}"
            resource = f"items of {work.table} in {label}"
            steps.append(Step(action="run", resource=resource, region=replica.region, detail=detail, after=after))
    if steps:
        steps += _without_place(cloud, str(parameters["keep"]))
        steps += [] if parameters["force"] == standing.FORCE else standing.refusals(cloud, described)
    aside = [row for row in rows if not row.decided]
    warnings = [f"{row.text}: left alone ({row.kind}): {row.why}" for row in aside[:NAMED]]
    warnings += [f"{len(aside) - NAMED:,} more are left alone"] if len(aside) > NAMED else []
    if work.linked and steps:
        warnings.append(
            "the replicas are one global table: a condition holds in the region that is written; a write in another "
            "region within the moment that replication takes is settled by DynamoDB, for the last writer"
        )
    return Plan(
        journaled=True,
        runbook=RUNBOOK,
        stage=cloud.stage.stage,
        account=cloud.account,
        regions=list(dict.fromkeys(one.region for one in work.replicas)),
        parameters=dict(parameters),
        steps=steps,
        estimates=estimates(work, sizes, float(parameters["rate_per_s"]), aside=len(aside)),
        warnings=warnings,
    )


def unfinished(cloud: Cloud, parameters: Mapping[str, Any], keep: str) -> RepairPlan | None:
    """The plan of the newest run of these parameters, if it did not come to its end."""
    place = bucket.place(cloud, cloud.stage.home_region, keep)
    entries = ledger.entries(cloud, [place], RUNBOOK, EARLIER, unread=lambda where, error: None)
    entry = next((one for one in entries if one.parameters == parameters), None)
    found = Store(cloud, place, entry.token).plan() if entry is not None and entry.state != "done" else None
    if found is None:
        return None
    if parameters["force"] != standing.FORCE and (steps := standing.refusals(cloud, tables(cloud, found.work))):
        return RepairPlan.of(found.model_copy(update={"steps": [*found.steps, *steps]}), found.work)
    warning = "an earlier run of this plan did not end: applied, it goes on where that one ended"
    return RepairPlan.of(found.model_copy(update={"warnings": [warning, *found.warnings]}), found.work)


def tables(cloud: Cloud, found: Findings | Work) -> dict[Replica, Described]:
    """The tables as they are now.

    Raises:
        RefusedError: one is missing, or its key schema is another than it was.
    """
    described = describe(cloud, found.replicas)
    schema, _ = agree(described)
    if schema != found.schema:
        raise RefusedError(f"findings: the key was {found.schema}, and is {schema} now", hint="Compare again.")
    return {replica: one for replica, one in described.items() if one is not None}


def check_pace(force: str, rate_per_s: float) -> float:
    """Writes a second.

    Raises:
        UsageError: a parameter is out of its range.
    """
    if force not in ("", standing.FORCE):
        raise UsageError(f"force: {force!r} is none; accepted: {standing.FORCE}, or nothing")
    if not 0 <= rate_per_s <= MAX_WRITES_PER_S:
        raise UsageError(f"rate_per_s: 0 to {MAX_WRITES_PER_S:,.0f}, is {rate_per_s:g}")
    return float(rate_per_s or WRITES_PER_S)


def _without_place(cloud: Cloud, keep: str) -> list[Step]:
    place = bucket.place(cloud, cloud.stage.home_region, keep)
    if bucket.exists(cloud, place):
        return []
    why = f"{place.uri()} does not exist: without it nothing could be undone"
    fix = f"run: ops run provision --stage {cloud.stage.stage}, or name another place: -p keep=s3://..."
    return [Step(action="refuse", resource="ledger and images", region=place.region, detail=f"{why}; {fix}")]


def _listed(work: Work, orders: Sequence[Order]) -> str:
    named = "; ".join(shown(one.packed, work.schema.names) for one in orders[:NAMED])
    return named + (f"; and {len(orders) - NAMED:,} more" if len(orders) > NAMED else "")


def _size(image: Image | None) -> int:
    """About what DynamoDB counts: names and contents."""
    return 0 if image is None else sum(len(name) + len(str(value)) for name, value in image.items())

"""The plan of a redrive: what would go where, how much, how long, what it costs, and what speaks against it.

What always holds: only read, which for a DLQ means that its messages are hidden for the length of the look; the token
is bound to the parameters and to which queues hold messages and how they are emptied, not to how many messages there
are: those are estimates, and so the same plan can be applied again after a run that died.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ops import bucket, ledger
from ops.aws import Cloud
from ops.errors import OpsError, UsageError
from ops.plan import Plan, Step
from ops.redrive import engine as engines
from ops.redrive import health
from ops.redrive.choice import Choice, age_s
from ops.redrive.estimates import of_survey
from ops.redrive.queues import Found, discover
from ops.redrive.survey import HIDDEN_S, Seen, Survey, survey

RUNBOOK = "redrive"
ENGINES = ("auto", "client", "move-task")
SECOND = ("quarantine", "leave", "redrive")
# SQS deletes a message when its retention is over, counted from when it was first sent.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
MAX_RETENTION, EXPIRES_SOON = timedelta(days=14), timedelta(days=1)
# Entries of the ledger in which earlier invocations are looked for.
EARLIER = 100

Progress = Callable[[str], None]


def look(
    cloud: Cloud,
    queues: Sequence[str] = (),
    regions: Sequence[str] = (),
    *,
    error_codes: Sequence[str] = (),
    handlers: Sequence[str] = (),
    types: Sequence[str] = (),
    keys: Sequence[str] = (),
    older_than: str = "",
    younger_than: str = "",
    keep: str = "",
    progress: Progress = lambda line: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[Found, Survey]:
    """Find the DLQs and look into them: what :func:`plan` decides by.

    Raises:
        UsageError: a filter is none, or a queue or a region does not exist.
        OpsError: a queue could not be read.
    """
    chosen = Choice(
        tuple(queues),
        tuple(error_codes),
        tuple(handlers),
        tuple(types),
        tuple(keys),
        age_s("older_than", older_than),
        age_s("younger_than", younger_than),
    )
    found = discover(cloud, [cloud.stage.require_region(region) for region in regions], queues)
    at = now()
    return found, survey(
        cloud, found.queues, chosen, ours=_invoked(cloud, found, keep), progress=progress, now=lambda: at
    )


def plan(
    cloud: Cloud,
    queues: Sequence[str] = (),
    regions: Sequence[str] = (),
    *,
    error_codes: Sequence[str] = (),
    handlers: Sequence[str] = (),
    types: Sequence[str] = (),
    keys: Sequence[str] = (),
    older_than: str = "",
    younger_than: str = "",
    rate_per_s: int = 0,
    limit: int = 0,
    engine: str = "auto",
    on_second_failure: str = "quarantine",
    keep: str = "",
    looked: tuple[Found, Survey] | None = None,
    progress: Progress = lambda line: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Plan:
    """What a redrive would do; read-only.

    Args:
        looked: what :func:`look` found with the same filters; None looks now.
        rate_per_s: messages a second over all queues; 0 is the stage's ``recovery.redrive_per_s``.
        limit: messages to move at most; 0 is all.
        engine: ``client`` moves message by message, ``move-task`` leaves it to SQS, ``auto`` decides by queue.
        on_second_failure: what becomes of a message that was redriven before and is back.
        keep: where ledger and quarantine are, ``s3://bucket/prefix``; empty is the stage's bucket of each region.

    Raises:
        UsageError: a parameter is out of its range, or names nothing that there is.
        OpsError: a queue could not be read.
    """
    _one_of("engine", engine, ENGINES)
    _one_of("on_second_failure", on_second_failure, SECOND)
    for name, value in (("rate_per_s", rate_per_s), ("limit", limit)):
        if value < 0:
            raise UsageError(f"{name}: {value} is below 0")
    asked: dict[str, Any] = {
        "queues": sorted(queues),
        "regions": sorted(regions),
        "error_codes": sorted(error_codes),
        "handlers": sorted(handlers),
        "types": sorted(types),
        "keys": sorted(keys),
        "older_than": older_than.strip(),
        "younger_than": younger_than.strip(),
    }
    found, surveyed = looked or look(cloud, **asked, keep=keep, progress=progress, now=now)
    answered = tuple(region for region in regions or cloud.stage.regions if region not in found.silent)
    if not answered:
        raise OpsError(f"redrive: no answer from {', '.join(found.silent)}", hint="Run: ops status")
    rate = rate_per_s or cloud.stage.recovery.redrive_per_s
    everything = not limit and not any(asked[name] for name in asked if name not in ("queues", "regions"))
    steps, warnings = [], [*found.remarks]
    for seen in surveyed.queues:
        # What somebody else has in hand now may be there when the plan is applied.
        if not seen.chosen and not (everything and seen.queue.depth > seen.messages):
            continue
        way = engines.choose(seen, engine, everything=everything, rate_per_s=rate, second=on_second_failure)
        steps.append(_step(seen, way))
        warnings += [*_of_queue(seen, now()), *filter(None, [way.warning])]
    if steps:
        steps += _without_place(cloud, sorted({str(step.region) for step in steps}), keep)
        warnings += [*health.warnings(cloud, _targets(surveyed)), _LOOKING]
    warnings += [f"no answer from {region}: its queues were not looked at" for region in found.silent]
    return Plan(
        journaled=True,
        runbook=RUNBOOK,
        stage=cloud.stage.stage,
        account=cloud.account,
        regions=list(answered),
        parameters={
            **asked,
            "rate_per_s": rate,
            "limit": limit,
            "engine": engine,
            "on_second_failure": on_second_failure,
            "keep": keep,
        },
        steps=steps,
        estimates=of_survey(surveyed, rate, limit, on_second_failure, cloud.stage.processors.batch_size),
        warnings=warnings,
    )


def _one_of(field: str, value: str, accepted: Sequence[str]) -> None:
    if value not in accepted:
        raise UsageError(f"{field}: {value!r} is none; accepted: {', '.join(accepted)}")


def _step(seen: Seen, way: engines.Engine) -> Step:
    """Without any count: the token stands for the step, and a run that goes on finds fewer messages."""
    queue, name = seen.queue, f"redrive of {seen.queue.name}"
    if way.refused:
        return Step(action="refuse", resource=name, region=queue.region, detail=way.why)
    after = {"region": queue.region, "queue": queue.name, "url": queue.url, "engine": way.name}
    return Step(action="run", resource=name, region=queue.region, detail=way.why, after=after)


def _of_queue(seen: Seen, at: datetime) -> Iterator[str]:
    queue, name = seen.queue, f"{seen.queue.name} in {seen.queue.region}"
    if seen.partial:
        yield f"{name}: {seen.messages:,} of about {queue.depth:,} messages were looked at: counts are partial"
    kept = timedelta(seconds=queue.retention_s or MAX_RETENTION.total_seconds())
    if seen.oldest is not None and at - seen.oldest > kept - EXPIRES_SOON:
        gone = max(timedelta(), seen.oldest + kept - at)
        yield f"{name}: SQS deletes its oldest message in {gone.total_seconds() / 3600:.0f} h, for ever"
    if queue.own_dlq:
        onto = queue.own_dlq.rpartition(":")[2]
        yield (
            f"{name}: it has a DLQ itself: what is received more than {queue.max_receives} times, looks included, goes"
            f" to {onto}"
        )
    if seen.stuck:
        yield f"{name}: {seen.stuck:,} messages have no target to go back to and stay; the table of groups says why"


def _targets(surveyed: Survey) -> dict[str, str]:
    """ARN -> what failed there, of everything that would be sent to."""
    return {reason.target: reason.handler for seen in surveyed.queues for reason in seen.groups if reason.target}


def _without_place(cloud: Cloud, regions: Sequence[str], keep: str) -> list[Step]:
    """A refusal for each region whose ledger and quarantine have no place."""
    found = []
    for region in regions:
        place = bucket.place(cloud, region, keep)
        if not bucket.exists(cloud, place):
            why = f"{place.uri()} does not exist: without it nothing is recorded, and nothing can be quarantined"
            fix = f"run: ops run provision --stage {cloud.stage.stage}, or name another place: -p keep=s3://..."
            found.append(Step(action="refuse", resource="ledger and quarantine", region=region, detail=f"{why}; {fix}"))
    return found


def _invoked(cloud: Cloud, found: Found, keep: str) -> frozenset[str]:
    """Request ids of the invocations that earlier redrives made, as far as their ledgers can be read."""
    regions = {queue.region for queue in found.queues if queue.fed_by("function")}
    places = [bucket.place(cloud, region, keep) for region in sorted(regions)]
    kept = ledger.entries(cloud, list(dict.fromkeys(places)), RUNBOOK, EARLIER, unread=lambda place, error: None)
    return frozenset(one for entry in kept for one in entry.request_ids)


_LOOKING = (
    f"looking hid each message for up to {HIDDEN_S} s, and counts as one receive of it; what somebody else had in hand"
    " meanwhile was not seen"
)

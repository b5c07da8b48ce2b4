"""Carry a replay out: start it or take it up, wait for its end, and hold the table against what it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from botocore.exceptions import ClientError

from ops import queues
from ops.aws import NO_ANSWER, Cloud, explained
from ops.errors import InterruptedRunError, OpsError
from ops.fanout import each
from ops.plan import Outcome, Plan, Report, authorize
from ops.provision.desired import TTL_ATTRIBUTE
from ops.record import Check
from ops.stage import Stage
from ops.tablescan import Fingerprint, fingerprint, key_names, key_text
from ops.window import text_of
from sketch.canonical import Checksum

RUNNING = ("STARTING", "RUNNING", "CANCELLING")
SHOWN_KEYS = 20

Progress = Callable[[str], None]


def replay_name(stage: Stage, token: str) -> str:
    """The one replay that a plan's token stands for (EventBridge allows 64 characters)."""
    return f"{stage.prefix}-{token}"


@dataclass(frozen=True)
class Replayed:
    """What a replay did, and what the table looked like before and after it.

    ``added``, ``changed`` and ``removed`` count items of the region's replica; ``restored`` are the events among the
    added. ``others`` says of each other replica whether it is equal to the region's, if it was so before, and
    ``silent`` are the regions that gave no answer, whose replicas were not looked at.
    """

    name: str
    region: str
    state: str
    started_now: bool
    drained: bool
    items_before: int
    items_after: int
    checksum_before: str
    checksum_after: str
    added: int
    restored: int
    changed: int
    changed_events: int
    removed: int
    touched: tuple[str, ...]
    others: dict[str, bool]
    silent: tuple[str, ...]
    dlqs_before: dict[str, int]
    dlqs_after: dict[str, int]
    duration_s: float

    @property
    def identical(self) -> bool:
        return self.checksum_before == self.checksum_after

    def frame(self) -> pd.DataFrame:
        """Before and after, a row a measure."""
        rows = [
            ("items", self.items_before, self.items_after),
            ("checksum", self.checksum_before, self.checksum_after),
            *((f"DLQ {name}", depth, self.dlqs_after.get(name)) for name, depth in self.dlqs_before.items()),
        ]
        return pd.DataFrame([[str(cell) for cell in row] for row in rows], columns=["measure", "before", "after"])

    def figures(self) -> dict[str, Any]:
        return {
            "items": self.items_after,
            "restored": self.restored,
            "changed": self.changed,
            "removed": self.removed,
            "duration_s": round(self.duration_s, 2),
            "replay": self.name,
            "checksum_before": self.checksum_before,
            "checksum_after": self.checksum_after,
        }

    def checks(self) -> list[Check]:
        """The proof."""
        # Counters may grow with the events that came back, and must not without.
        harmless = not self.removed and not self.changed_events and (not self.changed or self.added > 0)
        keys = f" ({'; '.join(self.touched)})" if self.touched else ""
        if self.identical:
            seen = f"{self.items_after:,} items with the same canonical checksum {self.checksum_after}"
        else:
            seen = (
                f"{self.added} items more, {self.restored} of them events that were missing or arrived meanwhile; "
                f"{self.changed} changed, {self.changed_events} of them events; {self.removed} gone{keys}"
            )
        differing = [region for region, same in self.others.items() if not same]
        others = f"not so: {', '.join(differing)}" if differing else ", ".join(self.others) or "there is no other"
        if self.silent:
            others += f"; no answer, so not looked at: {', '.join(self.silent)}"
        grown = [
            f"{name}: {depth} to {self.dlqs_after.get(name, 0)}"
            for name, depth in self.dlqs_before.items()
            if self.dlqs_after.get(name, 0) > depth
        ]
        return [
            Check("replay ended", self.state == "COMPLETED", f"{self.name} in {self.region} is {self.state}"),
            Check("queues drained", self.drained, "empty" if self.drained else "still busy when the deadline passed"),
            Check("table unharmed by the replay", harmless, seen),
            Check("other replicas follow", not differing, others),
            Check("nothing new in the DLQs", not grown, "; ".join(grown) or "as before"),
        ]


@dataclass(frozen=True)
class Waits:
    """Deadlines and how time passes."""

    quiet_s: float = 120
    replay_s: float = 3600
    drain_s: float = 1800
    poll_s: float = 0.5
    settle_s: float = 1.0
    settle_attempts: int = 5
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def apply(
    cloud: Cloud,
    plan: Plan,
    token: str,
    progress: Progress = lambda line: None,
    report: Report = lambda outcome: None,
    *,
    waits: Waits | None = None,
) -> Replayed:
    """Start the plan's replay, or take up the one that it started before; wait for its end; prove what it did.

    Raises:
        RefusedError: the token is not the plan's.
        OpsError: the replay failed, or did not end in time.
        InterruptedRunError: Ctrl-C; the replay goes on without us.
    """
    authorize(plan, token)
    waits = waits or Waits()
    region, name = plan.parameters["region"], replay_name(cloud.stage, token)
    begun = waits.clock()
    silent = [r for r in cloud.stage.regions if r != region and not _answers(cloud, r)]
    others = [r for r in cloud.stage.regions if r != region and r not in silent]
    living = [region, *others]
    with explained(f"replay {name} in {region}"):
        keys = key_names(cloud.client("dynamodb", region), cloud.stage.table_name)
        progress("waiting for the queues to be empty")
        if silent:
            progress(f"no answer from {', '.join(silent)}: going on without")
        if not _drain(cloud, living, waits.quiet_s, waits, progress):
            progress("the queues are not empty: traffic goes on, and the proof will show what it brought")
        before = _fingerprint(cloud, region, keys)
        others_before = each(others, lambda other: _fingerprint(cloud, other, keys).checksum)
        dlqs_before = queues.dlq_depths(queues.depths(cloud, living))
        progress(f"before: {before.checksum.count:,} items, checksum {before.checksum}")
        started_now = _start(cloud, plan, name)
        done = "started" if started_now else "was started before; taken up"
        report(Outcome(plan.steps[0], done, waits.clock() - begun))
        progress(f"replay {name}: {done}")
        state = _await_end(cloud, plan, name, progress, waits)
        drained = _drain(cloud, living, waits.drain_s, waits, progress)
        after = _fingerprint(cloud, region, keys)
        wanted = {
            # A replica that was equal must become equal again; one that was not is the divergence runbook's business.
            other: {after.checksum} if checksum == before.checksum else {after.checksum, checksum}
            for other, checksum in others_before.items()
        }
        follow = _follow(cloud, wanted, keys, waits)
        dlqs_after = queues.dlq_depths(queues.depths(cloud, living))
    progress(f"after: {after.checksum.count:,} items, checksum {after.checksum}")
    added = after.digests.keys() - before.digests.keys()
    removed = before.digests.keys() - after.digests.keys() - before.expired
    changed = [k for k, d in after.digests.items() if before.digests.get(k, d) != d]
    return Replayed(
        name=name,
        region=region,
        state=state,
        started_now=started_now,
        drained=drained,
        items_before=before.checksum.count,
        items_after=after.checksum.count,
        checksum_before=str(before.checksum),
        checksum_after=str(after.checksum),
        added=len(added),
        restored=sum(map(_is_event, added)),
        changed=len(changed),
        changed_events=sum(map(_is_event, changed)),
        removed=len(removed),
        touched=tuple(key_text(key, keys) for key in sorted([*changed, *removed])[:SHOWN_KEYS]),
        others=follow,
        silent=tuple(silent),
        dlqs_before=dlqs_before,
        dlqs_after=dlqs_after,
        duration_s=waits.clock() - begun,
    )


def _is_event(key: bytes) -> bool:
    return b'"EVENT#' in key


def _fingerprint(cloud: Cloud, region: str, keys: list[str]) -> Fingerprint:
    client = cloud.client("dynamodb", region)
    # What expires within the hour may be deleted while the replay runs.
    soon = time.time() + 3600
    return fingerprint(client, cloud.stage.table_name, keys, expiry=TTL_ATTRIBUTE, expired_before=soon)


def _answers(cloud: Cloud, region: str) -> bool:
    """Whether a region can be read; one that is down must not keep another from replaying its events."""
    try:
        cloud.client("dynamodb", region).describe_table(TableName=cloud.stage.table_name)
    except NO_ANSWER:
        return False
    return True


def _drain(cloud: Cloud, regions: Sequence[str], deadline_s: float, waits: Waits, progress: Progress) -> bool:
    return queues.drain(
        cloud,
        regions,
        deadline_s=deadline_s,
        poll_s=waits.poll_s,
        progress=progress,
        sleep=waits.sleep,
        clock=waits.clock,
    )


def _follow(cloud: Cloud, wanted: dict[str, set[Checksum]], keys: list[str], waits: Waits) -> dict[str, bool]:
    """Whether each other replica has, or comes to have, one of the checksums wanted of it."""
    same = dict.fromkeys(wanted, False)
    for attempt in range(waits.settle_attempts):
        if attempt:
            waits.sleep(waits.settle_s)
        open_ = [region for region, ok in same.items() if not ok]
        found = each(open_, lambda region: _fingerprint(cloud, region, keys).checksum)
        same |= {region: checksum in wanted[region] for region, checksum in found.items()}
        if all(same.values()):
            break
    return same


def _start(cloud: Cloud, plan: Plan, name: str) -> bool:
    """Start the replay unless it exists; tells whether it was started now."""
    region = plan.parameters["region"]
    if describe_replay(cloud, region, name) is not None:
        return False
    after = plan.steps[0].after
    end = min(datetime.fromisoformat(after["to"]), datetime.now(UTC))
    destination: dict[str, Any] = {"Arn": after["destination"]}
    if plan.parameters["rules"]:
        prefix = f"{after['destination'].replace(':event-bus/', ':rule/')}/"
        destination["FilterArns"] = [prefix + rule for rule in plan.parameters["rules"]]
    try:
        cloud.client("events", region).start_replay(
            ReplayName=name,
            Description=f"Atoll {plan.stage}, plan {plan.token}",
            EventSourceArn=after["archive"],
            EventStartTime=datetime.fromisoformat(after["from"]),
            EventEndTime=end,
            Destination=destination,  # type: ignore[arg-type]
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceAlreadyExistsException":
            return False
        raise
    return True


def describe_replay(cloud: Cloud, region: str, name: str) -> dict[str, Any] | None:
    try:
        return dict(cloud.client("events", region).describe_replay(ReplayName=name))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise


def _await_end(cloud: Cloud, plan: Plan, name: str, progress: Progress, waits: Waits) -> str:
    region, end, shown = plan.parameters["region"], waits.clock() + waits.replay_s, ""
    cancel = f"aws events cancel-replay --replay-name {name} --region {region}"
    try:
        while True:
            replay = describe_replay(cloud, region, name) or {"State": "ABSENT"}
            state, last = replay["State"], replay.get("EventLastReplayedTime")
            line = f"replay {name} is {state}{f', at events of {text_of(last)}' if last else ''}"
            if line != shown:
                progress(line)
                shown = line
            if state not in RUNNING:
                break
            if waits.clock() >= end:
                raise OpsError(
                    f"replay {name}: still {state} after {waits.replay_s:.0f} s",
                    hint=f"Apply the same token to watch on, or stop it: {cancel}",
                )
            waits.sleep(waits.poll_s)
    except KeyboardInterrupt as stop:
        raise InterruptedRunError(
            f"replay {name}: it goes on without this run; what it delivers is processed as usual",
            hint=f"Apply the same token to watch on, or stop it: {cancel}",
        ) from stop
    if state != "COMPLETED":
        raise OpsError(
            f"replay {name}: ended as {state}: {replay.get('StateReason', 'no reason given')}",
            hint="Raise `repeat` to replay the window once more.",
        )
    return str(state)

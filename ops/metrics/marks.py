"""What happened while metrics were measured: deployments, failovers and drills, replays; for every axis of time.

Read from the services themselves, so that nothing is missed that another machine or person did: CloudFormation's events
of the stack, FIS's experiments and the evacuation flags, EventBridge's replays. What cannot be read is named: a page
without marks is no proof that nothing happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from ops import stack
from ops.aws import Cloud, explained
from ops.charts.marks import Mark as Drawn
from ops.errors import OpsError
from ops.failover import experiments, flag
from ops.fanout import each
from ops.replay.listing import replays

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["deployment", "failover", "replay"]
# Of a stack's events, newest first; a deployment of Atoll's stack has some 300 of them, a page is about 100.
EVENT_PAGES = 50
LETTERS: dict[Kind, str] = {"deployment": "D", "failover": "F", "replay": "R"}


@dataclass(frozen=True)
class Mark:
    """Something that happened in a region, from ``time`` (UTC) to ``ended``; None: it goes on, or has no length."""

    time: datetime
    kind: Kind
    region: str
    text: str
    ended: datetime | None = None


@dataclass(frozen=True)
class Marks:
    """What happened, the first first; ``unread`` says what could not be looked at, and why."""

    marks: tuple[Mark, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)

    def named(self) -> list[tuple[str, Mark]]:
        """Each with its name on an axis: ``D1``, ``F1``, ``R1`` and so on."""
        counts = dict.fromkeys(LETTERS, 0)
        found = []
        for mark in self.marks:
            counts[mark.kind] += 1
            found.append((f"{LETTERS[mark.kind]}{counts[mark.kind]}", mark))
        return found

    def drawn(self) -> list[Drawn]:
        """As charts take them."""
        return [Drawn(mark.time, name) for name, mark in self.named()]

    def frame(self) -> pd.DataFrame:
        """A row a mark: ``mark``, ``time``, ``took_s``, ``region``, ``kind``, ``what``."""
        import pandas as pd

        rows = [
            (
                name,
                one.time,
                round((one.ended - one.time).total_seconds(), 1) if one.ended else None,
                one.region,
                one.kind,
                one.text,
            )
            for name, one in self.named()
        ]
        return pd.DataFrame(rows, columns=["mark", "time", "took_s", "region", "kind", "what"])


def collect(cloud: Cloud, start: datetime, end: datetime) -> Marks:
    """What happened in any region from ``start`` to ``end``; reads only."""
    looks: list[tuple[str, Callable[[Cloud, str, datetime], Iterator[Mark]]]] = [
        ("deployments", _deployments),
        ("replays", _replays),
        ("evacuations", _evacuations),
    ]
    wanted = [(what, region) for what, _ in looks for region in cloud.stage.regions]
    by = dict(looks)

    def read(place: tuple[str, str]) -> list[Mark] | str:
        what, region = place
        try:
            with explained(f"{region}: looking for {what}"):
                return list(by[what](cloud, region, start))
        except OpsError as error:
            return str(error)

    found = each(wanted, read)
    drills = experiments.look(cloud)
    marks = [mark for answer in found.values() if isinstance(answer, list) for mark in answer]
    marks += [mark for one in drills.experiments if (mark := _drill(one)) is not None]
    unread = {f"{what} in {region}": why for (what, region), why in found.items() if isinstance(why, str)}
    unread |= {f"drills in {region}": why for region, why in drills.unanswered.items()}
    inside = [one for one in marks if one.time < end and (one.ended or end) > start]
    return Marks(tuple(sorted(inside, key=lambda one: (one.time, one.region, one.text))), unread)


def _deployments(cloud: Cloud, region: str, start: datetime) -> Iterator[Mark]:
    """A mark for each time that the stack was changed; the newest events come first."""
    client: Any = cloud.client("cloudformation", region)
    asked: dict[str, str] = {"StackName": cloud.stage.stack}
    ended: datetime | None = None
    outcome = "under way"
    for _ in range(EVENT_PAGES):
        try:
            answer = client.describe_stack_events(**asked)
        except ClientError as error:
            if stack.is_missing(error):
                return
            raise
        for event in answer["StackEvents"]:
            if event["PhysicalResourceId"] != event["StackId"]:
                continue
            at, status = event["Timestamp"].astimezone(UTC), str(event["ResourceStatus"])
            if status.endswith("_IN_PROGRESS"):
                # Rolling back and cleaning up are parts of a deployment, not others.
                if "ROLLBACK" in status or "CLEANUP" in status or "REVIEW" in status:
                    continue
                yield Mark(at, "deployment", region, f"{status.removesuffix('_IN_PROGRESS').lower()}: {outcome}", ended)
                ended, outcome = None, "under way"
                if at < start:
                    return
            elif status.endswith(("_COMPLETE", "_FAILED")):
                if at < start and ended is None:
                    return
                ended, outcome = at, _words(status)
        if not answer.get("NextToken"):
            return
        asked["NextToken"] = answer["NextToken"]


def _words(status: str) -> str:
    if "ROLLBACK" in status:
        return "rolled back" if status.endswith("_COMPLETE") else "rollback failed"
    return "done" if status.endswith("_COMPLETE") else "failed"


def _replays(cloud: Cloud, region: str, start: datetime) -> Iterator[Mark]:
    ours = (f"archive/{cloud.stage.archive_name}", f"archive/{cloud.stage.journal_bus}")
    for one in replays(cloud, region):
        if not str(one.get("EventSourceArn", "")).endswith(ours) or "ReplayStartTime" not in one:
            continue
        begun, over = one["ReplayStartTime"].astimezone(UTC), one.get("ReplayEndTime")
        stretch = (
            f"{one['EventStartTime'].astimezone(UTC):%Y-%m-%d %H:%M} to {one['EventEndTime'].astimezone(UTC):%H:%M}"
        )
        yield Mark(begun, "replay", region, f"{stretch}: {one['State'].lower()}", over and over.astimezone(UTC))


def _evacuations(cloud: Cloud, region: str, start: datetime) -> Iterator[Mark]:
    reading = flag.read(cloud, region)
    if reading.flag is not None:
        why = f"evacuated by {reading.flag.by}: {reading.flag.reason}"
        yield Mark(datetime.fromisoformat(reading.flag.since), "failover", region, why)
    elif not reading.flags:
        raise OpsError("; ".join(f"{replica}: {why}" for replica, why in reading.silent.items()))


def _drill(one: experiments.Experiment) -> Mark | None:
    """An experiment that began; what only waited to begin broke nothing."""
    if one.started is None:
        return None
    ended = one.ended.astimezone(UTC) if one.ended else None
    parts: Sequence[str] = one.parts or ("something",)
    return Mark(one.started.astimezone(UTC), "failover", one.region, f"drill of {', '.join(parts)}: {one.state}", ended)

"""The proof after a drill: was an accepted event lost, doubled or changed, and is anything there that was not accepted?

It is judged from the tables of every region, item by item, against what the clients were told; no counter is trusted.

- Every event answered 202 is in every replica, under its one key, with the same item in all.
- Its effect happened exactly once: in every replica, exactly one bucket of the activity holds its key. A key in two
  buckets would be counted twice, one in none not at all.
- No item of the run's sources is there that was not accepted. What the client never learned the outcome of may be there
  or not, and is reported apart: it is neither lost nor foreign.

What always holds: nothing is written, every wait is bounded, and a region that cannot be read is no proof.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from ops import arrival
from ops.aws import Cloud
from ops.errors import OpsError, UsageError
from ops.failover import replica
from ops.failover.replica import Replica
from ops.fanout import each
from ops.load import Accepted, EventId, LoadRecord
from ops.record import Check
from ops.stage import Stage

PAUSE_S = 1.0
SHOWN = 10
KEPT = 1000


@dataclass(frozen=True)
class WayBack:
    """How events that ``region`` lacks are got back there."""

    region: str
    keys: tuple[str, ...]
    how: str


@dataclass(frozen=True)
class Proof:
    """The verdict and its reasons. Keys are event keys.

    ``missing`` and ``uncounted``: region -> accepted events whose item, or whose effect, its replica lacks.
    ``differing``: events whose item is not the same everywhere. ``doubled``: events with more than one effect, or
    stored under more than one key. ``foreign``: items of the run that nobody was told of. ``in_doubt``: event -> the
    regions that hold it. ``unread``: region -> why its table could not be read.
    """

    run: str
    regions: tuple[str, ...]
    events: Mapping[str, Accepted]
    missing: dict[str, list[str]]
    uncounted: dict[str, list[str]]
    differing: list[str]
    doubled: list[str]
    foreign: list[str]
    in_doubt: dict[EventId, tuple[str, ...]]
    rejected: int = 0
    unread: dict[str, str] = field(default_factory=dict)
    waited_s: float = 0.0
    ways_back: tuple[WayBack, ...] = ()

    @property
    def accepted(self) -> int:
        return len(self.events)

    @property
    def lost(self) -> list[str]:
        """The accepted events that a replica lacks."""
        return sorted({key for keys in self.missing.values() for key in keys})

    @property
    def whole(self) -> bool:
        return all(check.ok for check in self.checks())

    @property
    def may_heal(self) -> bool:
        """Whether something is not as it should be that time may mend."""
        return bool(self.lost or self.differing or self.unread or any(self.uncounted.values()))

    def checks(self) -> list[Check]:
        """One check an aspect; what is wrong is named by key and region."""
        where, count = " and ".join(self.regions), f"{self.accepted:,} accepted events"
        unread = "; ".join(f"{region} could not be read: {why}" for region, why in self.unread.items())
        uncounted = {region: keys for region, keys in self.uncounted.items() if keys}
        back = "; ".join(f"to get back what {one.region} lacks: {one.how}" for one in self.ways_back)
        return [
            Check("the load got through", self.accepted > 0, f"{count}, {self.rejected:,} rejected"),
            _check(
                "no accepted event is lost",
                [text for text in (_by_region(self.missing, "lacks"), unread, back) if text],
                f"each of {count} is in {where}",
            ),
            _check(
                "the replicas hold the same items",
                [f"{len(self.differing)} differ: {_named(self.differing)}"] if self.differing else [],
                f"the items of {count} are equal in {where}",
            ),
            _check(
                "every accepted event counts exactly once",
                [
                    *([f"{len(self.doubled)} count more than once: {_named(self.doubled)}"] if self.doubled else []),
                    *([_by_region(uncounted, "does not count")] if uncounted else []),
                ],
                f"one bucket of the activity holds each of {count}, in {where}",
            ),
            _check(
                "nothing is there that was not accepted",
                [f"{len(self.foreign)} items were not accepted: {_named(self.foreign)}"] if self.foreign else [],
                f"no other item bears a source of run {self.run}" + self._doubts(),
            ),
        ]

    def _doubts(self) -> str:
        if not self.in_doubt:
            return ""
        there = sum(bool(regions) for regions in self.in_doubt.values())
        return f"; of {len(self.in_doubt)} events whose outcome no client learned, {there} are there"

    def figures(self) -> dict[str, Any]:
        """For result.json; lists of keys are cut at :data:`KEPT`."""
        return {
            "accepted": self.accepted,
            "lost": len(self.lost),
            "duplicated": len(self.doubled),
            "differing": len(self.differing),
            "uncounted": {region: len(keys) for region, keys in self.uncounted.items()},
            "foreign": len(self.foreign),
            "in_doubt": len(self.in_doubt),
            "in_doubt_stored": sum(bool(regions) for regions in self.in_doubt.values()),
            "rejected": self.rejected,
            "missing": {region: keys[:KEPT] for region, keys in self.missing.items() if keys},
            "proof_waited_s": round(self.waited_s, 2),
        }

    def frame(self) -> pd.DataFrame:
        """A row an event that is not as it should be, with what each region says of it."""
        wrong: dict[str, str] = {}
        for key in self.foreign:
            wrong[key] = "not accepted"
        for key in [key for keys in self.uncounted.values() for key in keys]:
            wrong[key] = "not counted"
        for keys, word in ((self.differing, "differs"), (self.doubled, "counts twice"), (self.lost, "missing")):
            wrong |= dict.fromkeys(keys, word)
        rows = []
        for key, word in wrong.items():
            event = self.events.get(key)
            row: dict[str, Any] = {
                "event_key": key,
                "problem": word,
                "source": event.source if event else None,
                "id": event.id if event else None,
                "accepted in": event.region if event else None,
                "accepted": pd.Timestamp(event.at, unit="s", tz="UTC") if event else None,
            }
            for region in self.regions:
                lacks = key in self.missing.get(region, ()), key in self.uncounted.get(region, ())
                row[region] = "not read" if region in self.unread else _state(*lacks)
            rows.append(row)
        columns = ["event_key", "problem", "source", "id", "accepted in", "accepted", *self.regions]
        return pd.DataFrame(rows, columns=columns).sort_values(["accepted", "event_key"], ignore_index=True)


def prove(
    cloud: Cloud,
    record: LoadRecord,
    regions: Sequence[str],
    *,
    deadline_s: float,
    progress: Callable[[str], None] = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Proof:
    """Wait until all is there, at most ``deadline_s``, and judge from the tables.

    Raises:
        UsageError: there is no region.
    """
    if not regions:
        raise UsageError("regions: there is none; name one or more")
    began = clock()
    missing = {region: set(record.accepted) for region in regions}
    while True:
        missing, unread = _still_missing(cloud, missing)
        lacking = {region: len(keys) for region, keys in missing.items() if keys}
        over = clock() - began >= deadline_s
        if lacking and not over:
            progress("waiting: " + ", ".join(f"{region} lacks {count:,}" for region, count in lacking.items()))
            sleep(PAUSE_S)
            continue
        proof = judge(cloud.stage, record, _replicas(cloud, record, list(regions), unread), unread, clock() - began)
        if not proof.may_heal or over or clock() - began >= deadline_s:
            progress(f"judged {proof.accepted:,} accepted events in {', '.join(regions)}")
            return proof
        progress("all items are there; waiting for their effect" if not proof.lost else "reading again")
        sleep(PAUSE_S)


def _still_missing(cloud: Cloud, missing: Mapping[str, set[str]]) -> tuple[dict[str, set[str]], dict[str, str]]:
    """What each region still lacks, and the regions that could not be asked."""

    def ask(region: str) -> set[str] | str:
        try:
            return arrival.present(cloud, region, missing[region])
        except OpsError as error:
            return str(error)

    answers = each(missing, ask)
    unread = {region: answer for region, answer in answers.items() if isinstance(answer, str)}
    left = {
        region: keys if isinstance(answer := answers[region], str) else keys - answer
        for region, keys in missing.items()
    }
    return left, unread


def _replicas(cloud: Cloud, record: LoadRecord, regions: list[str], unread: dict[str, str]) -> list[Replica]:
    """What could be read; what could not is entered in ``unread``."""

    def ask(region: str) -> Replica | str:
        try:
            return replica.read(cloud, region, record)
        except OpsError as error:
            return str(error)

    found = each(regions, ask)
    unread.clear()
    unread.update({region: answer for region, answer in found.items() if isinstance(answer, str)})
    return [one if isinstance(one, Replica) else Replica(region) for region, one in found.items()]


def judge(
    stage: Stage, record: LoadRecord, replicas: Sequence[Replica], unread: Mapping[str, str], waited_s: float = 0.0
) -> Proof:
    """The verdict on what the regions hold. Pure."""
    accepted, doubtful, readable = (
        record.accepted,
        set(record.in_doubt),
        [r for r in replicas if r.region not in unread],
    )
    missing = {one.region: [key for key in accepted if key not in one.digests] for one in readable}
    uncounted = {one.region: [key for key in accepted if not one.buckets.get(key)] for one in readable}
    differing = [key for key in accepted if len({one.digests[key] for one in readable if key in one.digests}) > 1]
    of_run = {key: event for one in readable for key, event in one.of_run.items()}
    keys_of = Counter(of_run.values())
    twice = {key for one in readable for key, buckets in one.buckets.items() if len(buckets) > 1}
    # A key that is in another bucket in another replica would count twice as soon as they agree.
    for key in accepted:
        if len(frozenset[str]().union(*(one.buckets.get(key, frozenset()) for one in readable))) > 1:
            twice.add(key)
    twice |= {key for key, event in of_run.items() if keys_of[event] > 1}
    foreign = [
        key for key, event in of_run.items() if key not in accepted and event not in doubtful and key not in twice
    ]
    return Proof(
        run=record.run,
        regions=tuple(one.region for one in replicas),
        events=accepted,
        missing=missing,
        uncounted=uncounted,
        differing=differing,
        doubled=sorted(twice),
        foreign=sorted(foreign),
        in_doubt={
            event: tuple(one.region for one in readable if event in set(one.of_run.values()))
            for event in record.in_doubt
        },
        rejected=len(record.rejected),
        unread=dict(unread),
        waited_s=waited_s,
        ways_back=tuple(_ways_back(stage, accepted, missing)),
    )


def _ways_back(stage: Stage, accepted: Mapping[str, Accepted], missing: Mapping[str, list[str]]) -> list[WayBack]:
    """A way for each region that lacks events and each region that accepted them.

    A replay writes in the region whose archive it reads, and only what is not there: so the archive has to be one of
    the region that lacks the event. That is its own for what it accepted itself, and its journal's for what the region
    before it accepted. For another one there is the client's way: the same event, sent again to that region's API.
    """
    ways = []
    for region, lacking in missing.items():
        by_origin: dict[str, list[str]] = {}
        for key in lacking:
            by_origin.setdefault(accepted[key].region, []).append(key)
        for origin, keys in sorted(by_origin.items()):
            times = [accepted[key].at for key in keys]
            window = f"-p window_start={_text(min(times), -60)} -p window_end={_text(max(times), 60)}"
            replay = f"ops run replay --stage {stage.stage} -p region={region}"
            if origin == region:
                how = f"{replay} {window}"
            elif origin in stage.regions and stage.journal_region(origin) == region:
                how = f"{replay} -p archive={stage.journal_bus} {window}"
            else:
                how = f"send the same events again to the API of {region}; no archive there has what {origin} accepted"
            ways.append(WayBack(region, tuple(keys), how))
    return ways


def _text(unix_s: float, more_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC) + timedelta(seconds=more_s):%Y-%m-%dT%H:%M:%SZ}"


def _check(name: str, wrong: Sequence[str], right: str) -> Check:
    return Check(name, not wrong, "; ".join(wrong) or right)


def _by_region(keys: Mapping[str, list[str]], verb: str) -> str:
    return "; ".join(f"{region} {verb} {len(some)}: {_named(some)}" for region, some in keys.items() if some)


def _named(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more


def _state(missing: bool, uncounted: bool) -> str:
    return "missing" if missing else "not counted" if uncounted else "there"

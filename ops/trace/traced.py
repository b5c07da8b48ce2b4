"""What is known of the subject of a trace, and how it is shown: a chart, tables, figures, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import pandas as pd

from ops.charts import PALETTE
from ops.charts.lanes import BAR, Happened, Style, lanes
from ops.charts.timeline import Timeline
from ops.record import Check
from ops.stage import Stage
from ops.trace import judging
from ops.trace.kept import Kept
from ops.trace.letters import Letters
from ops.trace.logs import Search
from ops.trace.sightings import BUS, COMPONENTS, REPLICA, Sighting
from ops.trace.state import State
from ops.trace.subject import Subject
from ops.trace.xray import Segments

_BLUE, _VERMILION, _GREEN, _PURPLE, _SKY, _ORANGE, _GREY = PALETTE
# What went wrong is in the warm colours; shapes tell apart what shares one.
STYLES = {
    "answered": Style(_GREY, "square"),
    "accepted": Style(_BLUE, "circle"),
    "waiting": Style(_GREY, BAR, faint=True),
    "processed": Style(_GREEN, "circle"),
    "replicated": Style(_GREEN, "triangle-right"),
    "repeated": Style(_SKY, "diamond"),
    "replayed": Style(_PURPLE, "triangle-down"),
    "traced": Style(_GREY, BAR, faint=True),
    "retried": Style(_ORANGE, "triangle-up"),
    "failed": Style(_VERMILION, "square"),
    "dead-lettered": Style(_VERMILION, "cross"),
}


@dataclass(frozen=True)
class Trace:
    """``logged`` is from lines of logs, ``looked`` when the tables were read; ``notes`` say what was not searched."""

    subject: Subject
    stage: Stage
    start: datetime
    end: datetime
    looked: datetime
    events: tuple[str, ...]
    logged: tuple[Sighting, ...]
    state: State
    letters: Letters
    searches: tuple[Search, ...]
    notes: tuple[str, ...] = ()
    kept: Kept = field(default_factory=Kept)
    segments: Segments = field(default_factory=Segments)

    @property
    def regions(self) -> list[str]:
        return self.stage.regions

    @property
    def retention_days(self) -> int:
        return self.stage.table.event_retention_days

    @property
    def known(self) -> bool:
        """Whether any table knows one of the events."""
        return any(self.state.held.values()) or any(self.state.accepted.values())

    @property
    def unread(self) -> tuple[str, ...]:
        """What could not be looked at."""
        parts = (self.notes, self.state.unread, self.letters.unread, self.kept.unread, self.segments.unread)
        return tuple(dict.fromkeys(one for part in parts for one in part))

    @cached_property
    def sightings(self) -> tuple[Sighting, ...]:
        """All that happened, in the order of time; at one time, from the client to the replicas."""
        found = {*self.logged, *self.kept.replays, *self.segments.sightings, *self._from_tables()}
        found |= {one.sighting for one in self.letters.buried}
        found |= set(self._waits())
        return tuple(sorted(found, key=lambda one: (one.time, _place(one.component), one.region, one.what)))

    def frame(self) -> pd.DataFrame:
        """A row a thing that happened, numbered as in the chart; ``after_ms`` counts from the first."""
        seen = self.sightings
        first = seen[0].time if seen else self.start
        rows = [
            (
                number,
                f"{one.time:%Y-%m-%d %H:%M:%S}.{one.time.microsecond // 1000:03d}",
                round((one.time - first).total_seconds() * 1000),
                round((one.until - one.time).total_seconds() * 1000, 1) if one.until else None,
                one.region,
                one.component,
                one.kind,
                one.what,
                one.event_key,
                one.source,
            )
            for number, one in enumerate(seen, 1)
        ]
        columns = ["number", "time_utc", "after_ms", "took_ms", "region", "where", "kind", "what", "event_key", "from"]
        return self._shown(pd.DataFrame(rows, columns=columns))

    def chart(self) -> Timeline:
        """The same on lanes: a region's components under each other, from the client to its replica."""
        things = [
            Happened(number, one.time, one.lane, one.kind, one.what, one.until)
            for number, one in enumerate(self.sightings, 1)
        ]
        used = sorted({one.component for one in self.sightings}, key=_place)
        order = [f"{region} {component}" for region in self.regions for component in used]
        return lanes(things, order, STYLES, title="What happened", empty="nothing is known of when anything happened")

    def replicas(self) -> pd.DataFrame:
        """A row an event and region: what its replica holds."""
        rows = []
        for key in self.events:
            for region in self.regions:
                held = self.state.held.get(key, {}).get(region)
                counted = self.state.counted.get(key, {}).get(region)
                record = self.state.accepted.get(key, {}).get(region)
                rows.append(
                    {
                        "event_key": key,
                        "region": region,
                        "holds_it": held is not None,
                        "version": held.version if held else None,
                        "written_region": held.written_region if held else "",
                        "written_at": _text(held.written_at) if held else "",
                        "accepted_at": _text(held.accepted_at) if held else "",
                        "payload_digest": held.payload_digest[:12] if held else "",
                        "buckets_of_counts": len(counted or ()),
                        "record_of_acceptance": record.status.lower() if record else "none",
                    }
                )
        return self._shown(pd.DataFrame(rows))

    def places(self) -> pd.DataFrame:
        """Where the events are besides: dead-letter queues, and the archives that should have them."""
        dead = [
            (one.event_key or one.correlation_id, one.region, one.queue, f"dead letter: {one.code} {one.why}".strip())
            for one in self.letters.buried
        ]
        until = {copy: f"until {_text(copy.until)}" if copy.until else "for good" for copy in self.kept.copies}
        archived = [
            (
                copy.event_key,
                copy.region,
                f"archive {copy.archive}",
                f"{copy.state.lower()}; keeps what it got then {until[copy]}",
            )
            for copy in self.kept.copies
        ]
        return self._shown(pd.DataFrame([*dead, *archived], columns=["event_key", "region", "place", "what"]))

    def searched(self) -> pd.DataFrame:
        """A row a log: what was looked for in it, and what was found."""
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for one in self.searches:
            row = rows.setdefault(
                (one.region, one.group), {"region": one.region, "log": one.group, "ids": 0, "lines": 0, "remark": ""}
            )
            row["ids"] += 1
            row["lines"] += len(one.lines)
            row["remark"] = one.unread or ("there is no such log" if one.absent else row["remark"])
        return pd.DataFrame(list(rows.values()), columns=["region", "log", "ids", "lines", "remark"])

    def checks(self) -> list[Check]:
        """The verdict: each event in every replica, as accepted, once, and in no dead-letter queue."""
        return judging.checks(self)

    def figures(self) -> dict[str, Any]:
        """Counts, and how long it took from acceptance to storage; units in the names."""
        held = [one for key in self.events for one in self.state.held.get(key, {}).values()]
        stored = [(one.written_at - one.accepted_at).total_seconds() * 1000 for one in held]
        missing = sum(len(self.regions) - len(self.state.held.get(key, {})) for key in self.events)
        kinds = [one.kind for one in self.sightings]
        return {
            "events": len(self.events),
            "accepted_to_stored_ms": round(max(stored)) if stored else None,
            "missing_in_replicas": missing,
            "dead_letters": len(self.letters.buried),
            "retries": kinds.count("retried"),
            "harmless_repeats": kinds.count("repeated"),
            "replays": len({one.what for one in self.kept.replays}),
            "sightings": len(kinds),
        }

    def _shown(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Without the event's key where there is one event only."""
        return frame.drop(columns="event_key") if len(self.events) == 1 and "event_key" in frame else frame

    def _from_tables(self) -> list[Sighting]:
        """Published when it was accepted; written where the item says, and there in the other replicas by now."""
        made = []
        for key in self.events:
            made += [
                Sighting(at, region, BUS, "accepted", "put on the bus, and accepted", key, "table")
                for region, at in judging.accepted_in(self, key)
            ]
            for region, held in self.state.held.get(key, {}).items():
                own = region == held.written_region
                words = (
                    f"version {held.version} written here"
                    if own
                    else f"has version {held.version} of {held.written_region}; when it arrived is not recorded"
                )
                kind: Any = "processed" if own else "replicated"
                made.append(Sighting(held.written_at, region, REPLICA, kind, words, key, "table"))
        return made

    def _waits(self) -> list[Sighting]:
        """From the bus to a processor's first line: the way through its queue, and its function up to there."""
        made = []
        for key in self.events:
            for region, at in judging.accepted_in(self, key):
                for processor in self.stage.processor_names:
                    lines = [
                        one.time
                        for one in self.logged
                        if (one.event_key, one.region, one.component) == (key, region, processor) and one.time > at
                    ]
                    if lines:
                        words = f"on its way to {processor}"
                        made.append(
                            Sighting(at, region, f"queue {processor}", "waiting", words, key, "derived", min(lines))
                        )
        return made


def _place(component: str) -> tuple[int, int, str]:
    """From the client to the replicas; queues in the order of their processors."""
    name, _, of = component.partition(" ")
    return _index(name), _index(of), component


def _index(name: str) -> int:
    return COMPONENTS.index(name) if name in COMPONENTS else len(COMPONENTS)


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"

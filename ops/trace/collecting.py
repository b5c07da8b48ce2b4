"""From an id to all that is known of it, by looking where it can stand and then for what was found there.

1. The tables, for an event key: they tell its correlation id and its trace id. 2. The logs, for every id that is known,
until they tell no new one (``ROUNDS`` at most). 3. Tables, dead-letter queues, archives, replays and X-Ray, for the
events found. What is still on its way is waited for, ``settle_s`` at most. Reads only, but for how long a dead letter
is hidden; what does not answer is named, and never taken for an absence.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ops.aws import Cloud
from ops.errors import OpsError, UsageError
from ops.trace import judging, kept, letters, logs, state, tracks, xray
from ops.trace.subject import Subject
from ops.trace.traced import Trace
from ops.window import text_of

ROUNDS = 4
# Events whose own ids are looked for in the logs: of the others, what the subject's lines say is shown.
NAMED = 20
# Events that the tables are asked about.
EVENTS = 1_000
POLL_S = 0.5
# What was accepted longer ago than this is not on its way any more.
RECENT = timedelta(minutes=2)


@dataclass(frozen=True)
class Clock:
    """Time, as it passes here."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


def collect(
    cloud: Cloud,
    subject: Subject,
    start: datetime,
    end: datetime,
    *,
    settle_s: float = 10.0,
    progress: Callable[[str], None] = lambda line: None,
    clock: Clock = Clock(),
) -> Trace:
    """Everything that is known of the subject; lines of logs and segments from ``start`` to ``end`` only.

    Raises:
        UsageError: nothing is known of the id; the message has the window that was searched and how to widen it.
        OpsError: nothing was found, and not everything answered.
    """
    found, searches, unread = _follow(cloud, subject, (start, end), clock, progress)
    left_out = [f"{len(found.events) - EVENTS:,} more events: only {EVENTS:,} were looked at"]
    unread += left_out if len(found.events) > EVENTS else []
    keys = found.events[:EVENTS]
    buried = letters.look(cloud, frozenset(keys), subject.value if subject.kind == "correlation_id" else "")
    keys = list(dict.fromkeys([*keys, *(one.event_key for one in buried.buried if one.event_key)]))[:EVENTS]
    progress(f"{len(keys)} events, {len(found.sightings)} lines, {len(buried.buried)} dead letters")
    trace = Trace(
        subject=subject,
        stage=cloud.stage,
        start=start,
        end=end,
        looked=clock.now(),
        events=tuple(keys),
        logged=tuple(found.sightings),
        state=_settled(cloud, keys, settle_s, clock),
        letters=buried,
        searches=tuple(searches),
        notes=tuple(unread),
    )
    if not (trace.known or found.sightings or buried.buried):
        raise _unknown(trace)
    accepted = {key: judging.accepted_in(trace, key) for key in keys}
    traces = {one: key for key in keys for one in found.ids.get(key, ()) if one.startswith("1-")}
    traces |= {subject.value: keys[0] if len(keys) == 1 else ""} if subject.kind == "trace_id" else {}
    return replace(
        trace,
        looked=clock.now(),
        kept=kept.look(cloud, accepted, clock.now()),
        segments=xray.look(cloud, {one: key for one, key in traces.items() if len(one) == 35}),
    )


def _follow(
    cloud: Cloud,
    subject: Subject,
    window: tuple[datetime, datetime],
    clock: Clock,
    progress: Callable[[str], None],
) -> tuple[tracks.Tracks, list[logs.Search], list[str]]:
    """Look for the subject, then for what its lines name, until nothing new comes up."""
    known: dict[str, set[str]] = {}
    if subject.kind == "event_key":
        seen = state.read(cloud, [subject.value], clock.now, counts=False).held[subject.value]
        known[subject.value] = {one for held in seen.values() for one in (held.correlation_id, held.trace_id)} - {""}
    searches: list[logs.Search] = []
    found = tracks.Tracks(ids=known)
    searched: set[str] = set()
    terms, left = sorted({subject.value}.union(*known.values())), 0
    for _ in range(ROUNDS):
        progress(f"reading the logs of {', '.join(cloud.stage.regions)} for {len(terms)} ids")
        searches += logs.search(cloud, terms, *window)
        searched.update(terms)
        found = tracks.follow(logs.lines(searches), subject, known)
        terms, left = tracks.next_terms(found, searched, NAMED)
        if not terms:
            break
    notes = [f"{one.region}: {one.group}: {one.unread}" for one in searches if one.unread]
    notes += [f"{left:,} of the events: lines of other requests with them were not looked for"] if left else []
    notes += [f"after {ROUNDS} rounds the logs still named new ids"] if terms else []
    return found, searches, list(dict.fromkeys(notes))


def _settled(cloud: Cloud, keys: list[str], settle_s: float, clock: Clock) -> state.State:
    """The tables' state, read again while something that was accepted just now is not everywhere."""
    until = clock.now() + timedelta(seconds=settle_s)
    while True:
        found = state.read(cloud, keys, clock.now)
        if clock.now() >= until or not any(_on_its_way(cloud, found, key, clock.now()) for key in keys):
            return found
        clock.sleep(POLL_S)


def _on_its_way(cloud: Cloud, found: state.State, key: str, now: datetime) -> bool:
    held = found.held[key]
    counted = any(found.counted[key].values())
    if len(held) == len(cloud.stage.regions) and counted:
        return False
    moments = [one.accepted_at for one in held.values()]
    moments += [one.accepted_at for one in found.accepted[key].values() if one.accepted_at is not None]
    return bool(moments) and now - max(moments) < RECENT


def _unknown(trace: Trace) -> OpsError:
    window = f"{text_of(trace.start)} to {text_of(trace.end)}"
    regions = ", ".join(trace.regions)
    if trace.unread:
        return OpsError(
            f"{trace.subject}: nothing found in the logs of {window}, and not everything answered: "
            f"{'; '.join(trace.unread)}",
            hint="Run: ops status",
        )
    days = trace.stage.lambda_.log_retention_days
    where = (
        "tables, dead-letter queues and logs" if trace.subject.kind == "event_key" else "logs and dead-letter queues"
    )
    return UsageError(
        f"{trace.subject.kind}: nothing is known of {trace.subject.value!r}: {where} of {regions} were searched, logs "
        f"from {window}",
        hint=f"Widen the window, for example -p window_start={days}d: logs are kept for {days} days.",
    )

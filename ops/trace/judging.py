"""The verdict on what was traced: each event in every replica, exactly as accepted, once, and in no DLQ.

It rests on the tables and the queues, which have what is; lines of logs only say how it came about. What could not be
read is a check of its own that fails: a verdict over less than everything would be none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ops.record import Check
from ops.trace.state import COMPLETED, Accepted, Held
from ops.window import text_of

if TYPE_CHECKING:
    from ops.trace.traced import Trace

# So many events are named in a check; the tables have all of them.
NAMED = 5


def checks(trace: Trace) -> list[Check]:
    """One verdict a question, over all events of the subject."""
    if not trace.events:
        said = f"{trace.subject}: requests were seen, and no event that was accepted"
        return [Check("accepted", False, said), _complete(trace)]
    return [
        _over(trace, "accepted", _accepted),
        _over(trace, "in every replica", _everywhere),
        _over(trace, "exactly as accepted", _as_accepted),
        _over(trace, "once in effect", _once),
        _dead(trace),
        _complete(trace),
    ]


Answer = tuple[bool, str]


def _over(trace: Trace, name: str, ask: Callable[[Trace, str], Answer]) -> Check:
    answers = {key: ask(trace, key) for key in trace.events}
    bad = [f"{key}: {said}" for key, (ok, said) in answers.items() if not ok]
    if bad:
        return Check(name, False, _some(bad))
    if len(answers) == 1:
        return Check(name, True, next(iter(answers.values()))[1])
    good = list(dict.fromkeys(said for _, said in answers.values()))
    return Check(name, True, f"all {len(answers)} events: {_some(good)}")


def _some(said: Sequence[str]) -> str:
    more = len(said) - NAMED
    return "; ".join(said[:NAMED]) + (f"; and {more:,} more" if more > 0 else "")


def _held(trace: Trace, key: str) -> dict[str, Held]:
    return trace.state.held.get(key, {})


def _records(trace: Trace, key: str) -> dict[str, Accepted]:
    return {region: one for region, one in trace.state.accepted.get(key, {}).items() if one.status == COMPLETED}


def accepted_in(trace: Trace, key: str) -> set[tuple[str, datetime]]:
    """Where and when an event was accepted, as far as items and records say."""
    found = {(one.accepted_region, one.accepted_at) for one in _held(trace, key).values()}
    return found | {(r, one.accepted_at) for r, one in _records(trace, key).items() if one.accepted_at is not None}


def _accepted(trace: Trace, key: str) -> Answer:
    moments = sorted(accepted_in(trace, key), key=lambda one: one[1])
    if moments:
        said = ", and ".join(f"in {region} at {_clock(at)}" for region, at in moments)
        return True, said + _outside(trace, moments[0][1])
    claims = [f"{region}: {one.status}" for region, one in trace.state.accepted.get(key, {}).items()]
    if claims:
        return False, f"claimed and never answered as accepted ({', '.join(claims)}): whoever sent it should again"
    if any(one.event_key == key and one.kind in ("accepted", "processed") for one in trace.sightings):
        return True, "by its lines in the logs; its record has expired"
    return False, "nothing says that it was"


def _outside(trace: Trace, at: datetime) -> str:
    if trace.start <= at < trace.end:
        return ""
    return f", outside the window that was searched for lines: -p window_start={text_of(at)}"


def _everywhere(trace: Trace, key: str) -> Answer:
    held, regions = _held(trace, key), trace.regions
    missing = [region for region in regions if region not in held]
    if not missing:
        return True, f"in {', '.join(regions)}"
    if (over := expiry(trace, key)) is not None and over <= trace.looked:
        return True, f"expired at {_clock(over)}, as it should"
    where = f"in {', '.join(held)} only" if held else "in no replica"
    since = max((at for _, at in accepted_in(trace, key)), default=None)
    age = f", {(trace.looked - since).total_seconds():,.0f} s after it was accepted" if since else ""
    unread = f"; not read: {'; '.join(trace.state.unread)}" if trace.state.unread else ""
    return False, f"{where}{age}{unread}"


def _as_accepted(trace: Trace, key: str) -> Answer:
    held, records = _held(trace, key), _records(trace, key)
    if not held:
        over = expiry(trace, key)
        return (True, "expired") if over is not None and over <= trace.looked else (False, "in no replica")
    versions = {one.same for one in held.values()}
    if len(versions) > 1:
        each = (
            f"{r} has version {one.version} of {one.written_region}, {_clock(one.written_at)}"
            for r, one in held.items()
        )
        return False, f"the replicas differ: {', '.join(each)}"
    one = next(iter(held.values()))
    wrong = [region for region, record in records.items() if not record.agrees(one)]
    if wrong:
        return False, f"the payload is another than the one that {', '.join(wrong)} accepted"
    said = f"version {one.version}, written by {one.written_region} at {_clock(one.written_at)}"
    return True, f"{said}, payload as recorded in {', '.join(records)}" if records else f"{said}, alike in all replicas"


def _once(trace: Trace, key: str) -> Answer:
    """One item by its key; counted in one bucket. More deliveries than that are no harm."""
    buckets = {bucket for held in trace.state.counted.get(key, {}).values() for bucket in held}
    again = sum(one.event_key == key and one.kind == "repeated" for one in trace.sightings)
    times = "once" if again == 1 else f"{again} times"
    harmless = f", and delivered or sent again {times} without effect" if again else ""
    if not _held(trace, key):
        return True, "no replica holds it, so its counts were not looked for"
    if len(buckets) > 1:
        return False, f"counted in {len(buckets)} buckets: {', '.join(sorted(buckets))}"
    versions = {one.version for one in _held(trace, key).values()}
    if versions - {1}:
        return False, f"written again after it was stored: version {max(versions)}"
    if not buckets:
        return False, "stored, and in no region among the counts"
    return True, f"counted once{harmless}"


def expiry(trace: Trace, key: str) -> datetime | None:
    """When the event expires, by when it was accepted last; None where nobody knows."""
    moments = [at for _, at in accepted_in(trace, key)]
    return max(moments) + timedelta(days=trace.retention_days) if moments else None


def _dead(trace: Trace) -> Check:
    found = [
        f"{one.event_key or one.correlation_id} in {one.region} {one.queue}: {one.code}" for one in trace.letters.buried
    ]
    looked_at = sum(trace.letters.looked_at.values())
    queues = len(trace.letters.looked_at)
    if found:
        keys = list(dict.fromkeys(one.event_key for one in trace.letters.buried if one.event_key))
        back = f"; back with: ops run redrive -p keys={','.join(keys[:NAMED])}" if keys else ""
        return Check("in no dead-letter queue", False, f"{_some(found)}{back}")
    return Check("in no dead-letter queue", True, f"{looked_at:,} messages of {queues} queues looked at")


def _complete(trace: Trace) -> Check:
    if trace.unread:
        return Check("everything was looked at", False, _some(list(trace.unread)))
    groups = len({(one.region, one.group) for one in trace.searches if not one.absent})
    window = f"{text_of(trace.start)} to {text_of(trace.end)}"
    return Check("everything was looked at", True, f"{groups} logs of {len(trace.regions)} regions, {window}")


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"

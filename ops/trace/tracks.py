"""From lines to events: which event each line is about, and which ids are still to be looked for.

A processor's line names its event. A request's lines belong together by the id of the invocation; which events came
with it says its ``ingested`` line, for the first ten of a batch. For the others the correlation id and the trace id
together tell: a client may use one correlation id for many requests, but each request has a trace id of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ops.trace.logs import API, Line
from ops.trace.sightings import Sighting, of_line
from ops.trace.subject import EVENT_KEY, Subject

# An `ingested` line names so many of its events.
NAMED = 10
REQUESTS = ("ingest", "query")


@dataclass
class Tracks:
    """What the lines tell. ``ids`` are, by event key, the correlation ids and trace ids that it came with."""

    events: list[str] = field(default_factory=list)
    ids: dict[str, set[str]] = field(default_factory=dict)
    sightings: list[Sighting] = field(default_factory=list)
    request_ids: set[str] = field(default_factory=set)


def follow(lines: Sequence[Line], subject: Subject, known: dict[str, set[str]]) -> Tracks:
    """Sort the lines by event; those that only look like being about the subject are left out.

    Args:
        known: event key -> correlation and trace ids, as the replicas have them.
    """
    made = Tracks(ids={key: set(ids) for key, ids in known.items()})
    requests = _requests(lines)
    _find_events(lines, requests, subject, made)
    wanted = set(made.events)
    for line in lines:
        if line.component not in REQUESTS and line.component != API and (key := line.text("event_key")) in wanted:
            made.sightings.append(of_line(line, key))
    for group in requests:
        keys = [key for key in made.events if _brought(group, key, made.ids[key])]
        if keys or _is_about(group, subject):
            about = keys[0] if len(keys) == 1 else ""
            made.sightings += [of_line(line, line.text("event_key") or about) for line in group]
            made.request_ids |= _api_ids(group)
    for line in lines:
        if line.component == API and (request_id := line.text("requestId")) in made.request_ids:
            keys = [key for key in made.events if request_id in made.ids[key]]
            made.sightings.append(of_line(line, keys[0] if len(keys) == 1 else ""))
    return made


def _find_events(lines: Sequence[Line], requests: list[list[Line]], subject: Subject, made: Tracks) -> None:
    found = dict.fromkeys(made.ids)
    if subject.kind == "event_key":
        found[subject.value] = None
    else:
        about = [line for line in lines if _names(line, subject)]
        found |= dict.fromkeys(key for line in about if (key := line.text("event_key")))
        for group in requests:
            if _is_about(group, subject):
                found |= dict.fromkeys(_named(group))
    made.events = [key for key in found if EVENT_KEY.fullmatch(key)]
    for key in made.events:
        made.ids.setdefault(key, set())
    for line in lines:
        if (key := line.text("event_key")) in found:
            made.ids[key] |= _ids(line)
    for group in requests:
        for key in _named(group):
            if key in found:
                made.ids[key].update(*(_ids(line) for line in group))


def _requests(lines: Iterable[Line]) -> list[list[Line]]:
    """The lines of each invocation that answered a request, in the order of time."""
    groups: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        if line.component in REQUESTS:
            groups.setdefault((line.region, line.component, line.text("function_request_id")), []).append(line)
    return list(groups.values())


def _named(group: Iterable[Line]) -> list[str]:
    """The events that a request's lines name."""
    keys: list[str] = []
    for line in group:
        listed = line.fields.get("first_event_keys")
        keys += [str(key) for key in listed] if isinstance(listed, list) else []
        keys += [line.text("event_key")] if line.text("event_key") else []
    return list(dict.fromkeys(keys))


def _brought(group: Sequence[Line], key: str, ids: set[str]) -> bool:
    """Whether this is a request that an event came with."""
    named = _named(group)
    if key in named:
        return True
    # It is not among those that were named: then only a batch of more can have brought it, or a line is missing.
    if 0 < len(named) < NAMED:
        return False
    return any({line.text("correlation_id"), line.text("trace_id")} <= ids for line in group)


def _is_about(group: Sequence[Line], subject: Subject) -> bool:
    return subject.kind != "event_key" and any(_names(line, subject) for line in group)


def _names(line: Line, subject: Subject) -> bool:
    """Whether the id stands in the field where such an id stands, and not in any other text."""
    if subject.kind == "trace_id":
        return subject.value in (line.text("trace_id"), line.text("caller_trace_id"))
    return line.text(subject.kind) == subject.value


def _ids(line: Line) -> set[str]:
    return {line.text("correlation_id"), line.text("trace_id")} - {""}


def _api_ids(group: Iterable[Line]) -> set[str]:
    """How the access log knows a request: by the API's own id, the correlation id unless another was given."""
    return {line.text("api_request_id") or line.text("correlation_id") for line in group} - {""}


def next_terms(tracks: Tracks, searched: set[str], named: int) -> tuple[list[str], int]:
    """What is to be looked for next, and how many events are left out of it because there are more than ``named``."""
    keys = tracks.events[:named]
    ids = {one for key in keys for one in (key, *tracks.ids[key])} | tracks.request_ids
    return sorted(ids - searched), len(tracks.events) - len(keys)

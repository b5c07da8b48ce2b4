"""One thing that is known to have happened to an event: when, where, and on what that rests.

What a line of a log means is told here, in one table; a line that is not in it is shown as it is. Nothing of an event's
data is in any line (handlers/core/observability.py), and of those of the access log only what became of the request is
shown, not who sent it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from ops.trace.logs import API, Line

Kind = Literal[
    "accepted",
    "answered",
    "processed",
    "repeated",
    "waiting",
    "replicated",
    "replayed",
    "retried",
    "dead-lettered",
    "failed",
    "traced",
]
BUS, REPLICA, REPLAY = "bus", "replica", "replay"
# From a client to the replicas: the order of lanes. What is in none of them stands at the end.
COMPONENTS = (API, "ingest", BUS, REPLAY, "queue", "store", "activity", REPLICA, "dlq", "query")


@dataclass(frozen=True)
class Sighting:
    """``event_key`` is empty where it is about a request and not about one event. ``until``: it took so long.

    ``source`` is on what it rests: ``log``, ``table``, ``record``, ``queue``, ``replays``, ``X-Ray`` or ``derived``.
    """

    time: datetime
    region: str
    component: str
    kind: Kind
    what: str
    event_key: str = ""
    source: str = "log"
    until: datetime | None = None

    @property
    def lane(self) -> str:
        return f"{self.region} {self.component}"


def of_line(line: Line, event_key: str) -> Sighting:
    """What a line says."""
    if line.component == API:
        return Sighting(line.time, line.region, API, *_access(line.fields), event_key=event_key)
    kind, words = _MEANING.get(line.text("message"), _as_it_is)(line.fields)
    took = line.fields.get("elapsed_ms")
    begun = line.time - timedelta(milliseconds=took) if isinstance(took, (int, float)) else line.time
    until = line.time if begun != line.time else None
    return Sighting(begun, line.region, line.component, kind, words + _came(line.fields), event_key, until=until)


def _came(fields: Mapping[str, Any]) -> str:
    """How a message came to the processor, where that is not the usual way."""
    said = []
    if fields.get("replay_name"):
        said.append(f"by replay {fields['replay_name']}")
    if fields.get("redrives"):
        said.append(f"redriven {fields['redrives']} times" if str(fields["redrives"]) != "1" else "redriven once")
    if str(fields.get("receive_count") or "1") != "1":
        said.append(f"received for the {_ordinal(fields['receive_count'])} time")
    return f" ({', '.join(said)})" if said else ""


def _ordinal(count: Any) -> str:
    text = str(count)
    ending = {"1": "st", "2": "nd", "3": "rd"}.get(text[-1:], "th")
    return text + ("th" if text[-2:] in ("11", "12", "13") else ending)


def _access(fields: Mapping[str, Any]) -> tuple[Kind, str]:
    status = str(fields.get("status") or "?")
    words = f"{fields.get('route') or 'no route'}: {status}, {fields.get('latencyMs') or '?'} ms"
    trouble = next((str(fields[name]) for name in ("error", "integrationError") if fields.get(name, "-") != "-"), "")
    return "failed" if status[:1] == "5" else "answered", words + (f", {trouble}" if trouble else "")


def _ingested(fields: Mapping[str, Any]) -> tuple[Kind, str]:
    names = ("accepted", "duplicates", "rejected", "failed")
    counts = {name: int(fields.get(name) or 0) for name in names}
    total = sum(counts.values())
    shown = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing"
    kind: Kind = "accepted"
    if not counts["accepted"]:
        kind = "repeated" if counts["duplicates"] else "failed"
    if total == 1:
        words = {"accepted": "accepted", "repeated": "known already: the first answer again", "failed": "not accepted"}
        problems = ", ".join(fields.get("problems") or ())
        return kind, words[kind] + (f": {problems}" if problems else "")
    return kind, f"batch of {total:,}: {shown}"


def _answered(fields: Mapping[str, Any]) -> tuple[Kind, str]:
    status, problem = fields.get("status"), fields.get("problem")
    words = f"{fields.get('route') or 'no route'}: {status} in {fields.get('elapsed_ms')} ms"
    return "failed" if str(status)[:1] == "5" else "answered", words + (f", {problem}" if problem else "")


def _with_error(kind: Kind, words: str) -> Callable[[Mapping[str, Any]], tuple[Kind, str]]:
    def say(fields: Mapping[str, Any]) -> tuple[Kind, str]:
        why = ": ".join(str(fields[name]) for name in ("error", "reason") if fields.get(name))
        return kind, f"{words}: {why}" if why else words

    return say


def _plain(kind: Kind, words: str) -> Callable[[Mapping[str, Any]], tuple[Kind, str]]:
    return lambda fields: (kind, words)


def _as_it_is(fields: Mapping[str, Any]) -> tuple[Kind, str]:
    return "failed" if fields.get("level") == "ERROR" else "answered", str(fields.get("message") or "a line")[:200]


# By the message of the line: handlers/ and handlers/core/.
_MEANING: dict[str, Callable[[Mapping[str, Any]], tuple[Kind, str]]] = {
    "ingested": _ingested,
    "answered": _answered,
    "not published": _with_error("failed", "the bus refused it"),
    "claim failed": _with_error("failed", "the record of accepted events did not answer"),
    "accepted, but the answer was not recorded": _with_error("retried", "accepted, and the answer not recorded"),
    "claim not released, it will expire": _with_error("retried", "claim not released, it expires by itself"),
    "stored": _plain("processed", "stored"),
    "already stored": _plain("repeated", "stored already: changes nothing"),
    "accepted twice": _plain("repeated", "stored already, accepted elsewhere too: changes nothing"),
    "counted": _plain("processed", "in the counts"),
    "expired": _plain("repeated", "expired: left alone"),
    "message failed": _with_error("retried", "failed, back to the queue"),
    "message refused": _with_error("failed", "refused for good"),
    "message moved to the DLQ": _with_error("dead-lettered", "moved to the DLQ"),
    "message not moved to the DLQ": _with_error("failed", "not moved to the DLQ, left to SQS"),
    "unexpected error": _with_error("failed", "unexpected error"),
}

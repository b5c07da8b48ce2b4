"""Segments of X-Ray, where the stage has it: what Lambda recorded of the invocations of a trace, in every region.

X-Ray keeps a trace for 30 days and gives five of them at a time; it is asked in every region, because a segment is kept
where it was recorded. Where Transaction Search is on, a trace that is not indexed is not found here.
https://docs.aws.amazon.com/xray/latest/api/API_BatchGetTraces.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops.aws import Cloud, explained
from ops.errors import OpsError
from ops.fanout import each
from ops.stage import Stage
from ops.trace.sightings import Sighting

BATCH = 5
PAGES = 20
# Traces of an event that are asked for: one a request that brought it.
TRACES = 100


@dataclass(frozen=True)
class Segments:
    """What was found. ``asked``: whether the stage has X-Ray at all."""

    sightings: tuple[Sighting, ...] = ()
    asked: bool = False
    unread: tuple[str, ...] = ()


def look(cloud: Cloud, traces: Mapping[str, str]) -> Segments:
    """The segments of these traces; ``traces`` are trace ids, each with the one event it is about, or none."""
    if not cloud.stage.tracing.enabled or not traces:
        return Segments()
    ids = sorted(traces)[:TRACES]
    places = [(region, start) for region in cloud.stage.regions for start in range(0, len(ids), BATCH)]

    def read(place: tuple[str, int]) -> list[Sighting] | str:
        region, start = place
        try:
            with explained(f"{region}: reading traces of X-Ray"):
                documents = _documents(cloud, region, ids[start : start + BATCH])
        except OpsError as error:
            return str(error)
        return [
            one for trace_id, text in documents if (one := _seen(cloud.stage, region, text, traces.get(trace_id, "")))
        ]

    found = each(places, read).values()
    seen = {one for answer in found if not isinstance(answer, str) for one in answer}
    unread = [answer for answer in found if isinstance(answer, str)]
    unread += [f"only {TRACES} of {len(traces):,} traces were asked for"] if len(traces) > TRACES else []
    ordered = sorted(seen, key=lambda one: (one.time, one.region, one.component, one.what))
    return Segments(tuple(ordered), True, tuple(dict.fromkeys(unread)))


def _documents(cloud: Cloud, region: str, ids: Sequence[str]) -> list[tuple[str, str]]:
    client = cloud.client("xray", region)
    asked: dict[str, Any] = {"TraceIds": list(ids)}
    found: list[tuple[str, str]] = []
    for _ in range(PAGES):
        answer = client.batch_get_traces(**asked)
        for trace in answer.get("Traces", []):
            found += [(trace["Id"], segment["Document"]) for segment in trace.get("Segments", [])]
        if not answer.get("NextToken"):
            return found
        asked["NextToken"] = answer["NextToken"]
    raise OpsError(f"{region}: X-Ray has more than {PAGES} pages of {len(ids)} traces")


def _seen(stage: Stage, region: str, text: str, event_key: str) -> Sighting | None:
    """A segment, under the function whose it is; None where it has no time, or is none."""
    try:
        segment = json.loads(text)
        begun = datetime.fromtimestamp(float(segment["start_time"]), UTC)
        ended = segment.get("end_time")
        until = datetime.fromtimestamp(float(ended), UTC) if ended is not None else None
    except (ValueError, KeyError, TypeError):
        return None
    name, origin = str(segment.get("name", "?")), str(segment.get("origin", ""))
    component = next((one for one in stage.function_names if name == stage.function(one)), name)
    wrong = ", ".join(_wrong(segment))
    words = f"{origin or 'segment'}{'' if until else ', not ended'}{f': {wrong}' if wrong else ''}"
    return Sighting(begun, region, component, "failed" if wrong else "traced", words, event_key, "X-Ray", until)


def _wrong(segment: Mapping[str, Any]) -> Iterable[str]:
    return (name for name in ("fault", "error", "throttle") if segment.get(name))

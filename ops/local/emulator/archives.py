"""Events that are put on a bus, and the archives that keep them: their time, what of them is archived, and counts.

What always holds: an event is kept once in each archive of its bus whose pattern it matches, and a replayed one never
(the rule that EventBridge manages for an archive, ``Events-Archive-<name>``, takes only events without `replay-name`).
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-archive.html

``EventCount`` and ``SizeBytes`` are exact at once; AWS reconciles them within 24 hours.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ops.local.emulator.scopes import Scope, here

MAX_ENTRIES = 10
KEPT = "Events"  # where the emulator keeps an archive's events: in its record, with the rest of the state

Count = Callable[[Scope, str, str, str], None]


class Archives:
    """The archives of every account and region."""

    def __init__(self, count: Count) -> None:
        """``count(scope, metric, rule, bus)`` publishes one."""
        self._count = count
        self._events = importlib.import_module("ministack.services.eventbridge")
        self._describe = self._events._describe_archive

    def put_events(self, data: Any, allow_aws_source: bool = False) -> Any:
        """Stands in for ``_put_events``: an event has the time that its entry gives, in whole seconds.

        https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html
        """
        entries = data.get("Entries", [])
        if len(entries) > MAX_ENTRIES:
            return self._events.error_response_json(
                "ValidationException",
                f"1 validation error detected: Value '{len(entries)}' at 'entries' failed to satisfy constraint: "
                f"Member must have length less than or equal to {MAX_ENTRIES}",
                400,
            )
        answers = [self._put(entry, allow_aws_source) for entry in entries]
        failed = sum("ErrorCode" in answer for answer in answers)
        return self._events.json_response({"FailedEntryCount": failed, "Entries": answers})

    def _put(self, entry: Mapping[str, Any], allow_aws_source: bool) -> dict[str, str]:
        bus, error = self._events._event_bus_name_from_ref(entry.get("EventBusName", "default"))
        if error:
            return {"ErrorCode": error[0], "ErrorMessage": error[1]}
        if not allow_aws_source and str(entry.get("Source")).startswith("aws."):
            message = "Not authorized for the source."
            return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": message}
        scope = here()
        event = {
            "EventId": self._events.new_uuid(),
            "Source": entry.get("Source", ""),
            "DetailType": entry.get("DetailType", ""),
            "Detail": entry.get("Detail", "{}"),
            "EventBusName": bus,
            "Time": event_time_s(entry.get("Time"), self._events._now_ts()),
            "Resources": entry.get("Resources", []),
            "Account": scope.account,
            "Region": scope.region,
        }
        view = self._events._pattern_event_view(event)
        self._events._dispatch_event(event, view)
        self.keep(event, view)
        return {"EventId": event["EventId"]}

    def keep(self, event: Any, view: Any = None) -> None:
        """Stands in for ``_archive_event``."""
        if event.get("ReplayName") is not None:
            return
        scope, bus = here(), event.get("EventBusName", "default")
        bus_arn = f"arn:aws:events:{scope.region}:{scope.account}:event-bus/{bus}"
        for archive in self._events._archives.values():
            if archive.get("EventSourceArn") != bus_arn:
                continue
            name, pattern = archive["ArchiveName"], archive.get("EventPattern")
            view = view or self._events._pattern_event_view(event)
            if pattern and not self._events._matches_pattern_view(pattern, view, f"archive {name}"):
                continue
            archive.setdefault(KEPT, []).append(event)
            archive["EventCount"] += 1
            archive["SizeBytes"] += size_bytes(event)
            for metric in ("MatchedEvents", "Invocations"):
                self._count(scope, metric, f"Events-Archive-{name}", bus)

    def describe(self, data: Any) -> Any:
        """Stands in for ``_describe_archive``: without the events themselves, which no API shows."""
        archive = self._events._archives.get(data.get("ArchiveName"))
        if archive is None:
            return self._describe(data)
        return self._events.json_response({name: value for name, value in archive.items() if name != KEPT})


def event_time_s(given: Any, now_s: float) -> int:
    """The time of an event, in whole seconds: as its entry gives it, else now."""
    if isinstance(given, str):
        given = datetime.fromisoformat(given).timestamp()
    return int(now_s if given is None else given)


def size_bytes(event: Mapping[str, Any]) -> int:
    """What EventBridge counts of an event.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html ("Calculating event entry size")
    """
    texts = [event["Source"], event["DetailType"], event["Detail"], *event["Resources"]]
    return 14 + sum(len(str(text).encode()) for text in texts)

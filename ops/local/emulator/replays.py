"""Replays as EventBridge plays them: minute by minute, in any order inside a minute, and cancelled when asked.

What always holds: of the archive's events with ``EventStartTime`` <= time < ``EventEndTime``, each reaches the rules
once, unless the replay is cancelled; after ``CANCELLED`` none does. A replay is STARTING, RUNNING, then COMPLETED, or
CANCELLING and CANCELLED, or FAILED with the reason. Ten at most are under way in an account and region.
https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_StartReplay.html
https://docs.aws.amazon.com/general/latest/gr/ev.html (concurrent replays)
"""

from __future__ import annotations

import importlib
import logging
import random
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ops.local.emulator.archives import KEPT
from ops.local.emulator.scopes import Scope, entered, here

MAX_CONCURRENT = 10
UNDER_WAY = ("STARTING", "RUNNING", "CANCELLING")
MINUTE_S = 60
LOOK_AGAIN_S = 0.1
BREATHE_EVERY = 50
BREATH_S = 0.001
LISTED = (
    "ReplayName",
    "EventSourceArn",
    "State",
    "StateReason",
    "EventStartTime",
    "EventEndTime",
    "EventLastReplayedTime",
    "ReplayStartTime",
    "ReplayEndTime",
)

logger = logging.getLogger("atoll")


class RefusedError(Exception):
    """A request that EventBridge answers with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Replays:
    """The replays of every account and region. Their records are in the emulator's state, with the rest."""

    def __init__(self, shuffle: random.Random | None = None) -> None:
        self._events = importlib.import_module("ministack.services.eventbridge")
        self._shuffle = shuffle or random.Random()  # noqa: S311 (an order, not a secret)
        self._lock = threading.Lock()
        self._stops: dict[tuple[Scope, str], threading.Event] = {}
        self.events_per_s: float | None = None

    def start(self, data: Any) -> Any:
        """Stands in for ``_start_replay``."""
        try:
            with self._lock:
                archive, rules = self._checked(data)
                start_s, end_s = self._window(data)
                replay = {
                    "ReplayName": data["ReplayName"],
                    "ReplayArn": f"arn:aws:events:{here().region}:{here().account}:replay/{data['ReplayName']}",
                    "Description": data.get("Description", ""),
                    "EventSourceArn": data["EventSourceArn"],
                    "EventStartTime": start_s,
                    "EventEndTime": end_s,
                    "Destination": data["Destination"],
                    "State": "STARTING",
                    "ReplayStartTime": time.time(),
                }
                self._events._replays[data["ReplayName"]] = replay
                stop = self._stops[here(), data["ReplayName"]] = threading.Event()
        except RefusedError as refused:
            return self._events.error_response_json(refused.code, str(refused), 400)
        events = list(archive.get(KEPT, []))
        arguments = (here(), replay, events, rules, stop)
        answer = {name: replay[name] for name in ("ReplayArn", "State", "ReplayStartTime")}
        threading.Thread(target=self._run, args=arguments, name="replay", daemon=True).start()
        return self._events.json_response(answer)

    def describe(self, data: Any) -> Any:
        """Stands in for ``_describe_replay``."""
        replay = self._events._replays.get(data.get("ReplayName"))
        if replay is None:
            return self._missing(data)
        return self._events.json_response(dict(replay))

    def list_replays(self, data: Any) -> Any:
        """Stands in for ``_list_replays``."""
        found = [replay for _, replay in sorted(self._events._replays.items())]
        for asked, field in (("State", "State"), ("EventSourceArn", "EventSourceArn")):
            if data.get(asked):
                found = [replay for replay in found if replay[field] == data[asked]]
        found = [replay for replay in found if replay["ReplayName"].startswith(data.get("NamePrefix", ""))]
        after = data.get("NextToken", "")
        page = [replay for replay in found if replay["ReplayName"] > after][: int(data.get("Limit", 100))]
        answer: dict[str, Any] = {"Replays": [{n: one[n] for n in LISTED if n in one} for one in page]}
        if page and page[-1] is not found[-1]:
            answer["NextToken"] = page[-1]["ReplayName"]
        return self._events.json_response(answer)

    def cancel(self, data: Any) -> Any:
        """Stands in for ``_cancel_replay``."""
        replay = self._events._replays.get(data.get("ReplayName"))
        if replay is None:
            return self._missing(data)
        with self._lock:
            if replay["State"] not in {"STARTING", "RUNNING"}:
                message = f"Replay {replay['ReplayName']} is not in a valid state for this operation."
                return self._events.error_response_json("IllegalStatusException", message, 400)
            replay["State"] = "CANCELLING"
            self._stops[here(), replay["ReplayName"]].set()
        return self._events.json_response({"ReplayArn": replay["ReplayArn"], "State": "CANCELLING"})

    def state(self) -> dict[str, Any]:
        """What ``GET /_atoll/replays`` answers: the pace, and how many replays are under way anywhere."""
        under_way = [one for one in self._events._replays.all_values() if one["State"] in UNDER_WAY]
        return {"events_per_s": self.events_per_s, "under_way": len(under_way)}

    def _missing(self, data: Mapping[str, Any]) -> Any:
        message = f"Replay {data.get('ReplayName')} does not exist."
        return self._events.error_response_json("ResourceNotFoundException", message, 400)

    def _checked(self, data: Mapping[str, Any]) -> tuple[Mapping[str, Any], frozenset[str] | None]:
        """The archive, and the ARNs of the rules that it is replayed to (None: all).

        Raises:
            RefusedError: as AWS refuses.
        """
        name, destination = str(data.get("ReplayName", "")), data.get("Destination") or {}
        if not re.fullmatch(r"[.\-_A-Za-z0-9]{1,64}", name):
            raise RefusedError("ValidationException", f"Value '{name}' at 'replayName' failed to satisfy constraint")
        if name in self._events._replays:
            raise RefusedError("ResourceAlreadyExistsException", f"Replay {name} already exists.")
        archive_name, error = self._events._archive_name_from_ref(data.get("EventSourceArn", ""))
        if error:
            raise RefusedError(*error)
        archive: Mapping[str, Any] | None = self._events._archives.get(archive_name)
        if archive is None:
            raise RefusedError("ResourceNotFoundException", f"Archive {archive_name} does not exist.")
        if destination.get("Arn") != archive["EventSourceArn"]:
            message = "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted."
            raise RefusedError("ValidationException", message)
        under_way = [one for one in self._events._replays.values() if one["State"] in UNDER_WAY]
        if len(under_way) >= MAX_CONCURRENT:
            raise RefusedError(
                "LimitExceededException", f"The limit of {MAX_CONCURRENT} concurrent replays is reached."
            )
        rules = destination.get("FilterArns") or None
        known = {rule["Arn"] for rule in self._events._rules.values()}
        if rules and (unknown := sorted(set(rules) - known)):
            raise RefusedError("ResourceNotFoundException", f"Rule {unknown[0]} does not exist.")
        return archive, frozenset(rules) if rules else None

    def _window(self, data: Mapping[str, Any]) -> tuple[float, float]:
        given = [self._events._coerce_timestamp(data.get(name)) for name in ("EventStartTime", "EventEndTime")]
        if not all(isinstance(one, (int, float)) for one in given):
            raise RefusedError("ValidationException", "EventStartTime and EventEndTime are required.")
        start_s, end_s = given
        if not start_s < end_s:
            message = "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime."
            raise RefusedError("ValidationException", message)
        return start_s, end_s

    def _run(
        self,
        scope: Scope,
        replay: dict[str, Any],
        events: list[dict[str, Any]],
        rules: frozenset[str] | None,
        stop: threading.Event,
    ) -> None:
        outcome, reason = "COMPLETED", ""
        bus = replay["Destination"]["Arn"].rpartition("/")[2]
        with self._lock:
            if not stop.is_set():
                replay["State"] = "RUNNING"
        with entered(scope):
            try:
                ordered = in_order(events, replay["EventStartTime"], replay["EventEndTime"], self._shuffle)
                for event in self._paced(ordered, stop):
                    self._deliver({**event, "EventBusName": bus, "ReplayName": replay["ReplayName"]}, rules)
                    replay["EventLastReplayedTime"] = event["Time"]
            except Exception as error:  # the state must say that it ended, whatever it was
                logger.exception("replay %s failed", replay["ReplayName"])
                outcome, reason = "FAILED", str(error)
        with self._lock:
            replay["ReplayEndTime"] = time.time()
            if reason:
                replay["StateReason"] = reason
            replay["State"] = "CANCELLED" if stop.is_set() and outcome == "COMPLETED" else outcome
            self._stops.pop((scope, replay["ReplayName"]), None)

    def _paced(self, events: Iterable[dict[str, Any]], stop: threading.Event) -> Iterator[dict[str, Any]]:
        """The events, ``events_per_s`` of them at most (None: no limit; 0: none), until ``stop`` is set."""
        last_s = time.monotonic()
        for number, event in enumerate(events):
            while not stop.is_set() and (pace := self.events_per_s) is not None:
                missing_s = (last_s + 1 / pace if pace else float("inf")) - time.monotonic()
                if missing_s <= 0:
                    break
                stop.wait(min(missing_s, LOOK_AGAIN_S))
            if stop.is_set():
                return
            last_s = time.monotonic()
            yield event
            if number % BREATHE_EVERY == 0:
                stop.wait(BREATH_S)  # one process serves all requests: they must not wait for the whole replay

    def _deliver(self, event: dict[str, Any], rules: frozenset[str] | None) -> None:
        view = self._events._pattern_event_view(event)
        for key, rule in self._events._rules.items():
            if (
                rule.get("EventBusName", "default") == event["EventBusName"]
                and rule.get("State") == "ENABLED"
                and rule.get("EventPattern")
                and (rules is None or rule["Arn"] in rules)
                and self._events._matches_pattern_view(rule["EventPattern"], view, f"rule {key}")
            ):
                for target in self._events._targets.get(key, []):
                    self._events._invoke_target(target, event, rule, view)


def in_order(
    events: Iterable[dict[str, Any]], start_s: float, end_s: float, shuffle: random.Random
) -> Iterator[dict[str, Any]]:
    """Those of the window, minute by minute of their own time; the order inside a minute is nobody's promise."""
    minutes: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        if start_s <= event["Time"] < end_s:
            minutes.setdefault(int(event["Time"] // MINUTE_S), []).append(event)
    for minute in sorted(minutes):
        bucket = minutes.pop(minute)
        shuffle.shuffle(bucket)
        yield from bucket

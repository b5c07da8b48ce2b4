"""``/_atoll/...`` on the emulator's port: what no API of AWS tells or changes, for ``ops fault`` and for tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ops.local.emulator.gateway import Receive, Send
from ops.local.emulator.metrics import Metrics
from ops.local.emulator.outages import Outages
from ops.local.emulator.replacements import MINISTACK_VERSION, REPLACEMENTS
from ops.local.emulator.replays import Replays
from ops.local.emulator.replication import ReplicationLog
from ops.local.emulator.rules import RuleTargets
from ops.local.emulator.tables import GlobalTables
from ops.local.record import Fault

PREFIX = "/_atoll/"


class ControlError(Exception):
    """A request to the control endpoint that cannot be served."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """Shows the state of the emulator's parts, and changes what is broken and how the tables replicate."""

    def __init__(
        self,
        *,
        cloud_id: str,
        outages: Outages,
        metrics: Metrics,
        tables: GlobalTables,
        rules: RuleTargets,
        replays: Replays,
        faults_changed: Callable[[], None],
    ) -> None:
        self._cloud_id = cloud_id
        self._outages = outages
        self._faults_changed = faults_changed
        self._metrics = metrics
        self._tables = tables
        self._replays = replays
        self._views: dict[str, Callable[[], dict[str, Any]]] = {
            "/_atoll/status": self._status,
            "/_atoll/replication": tables.state,
            "/_atoll/replication/idle": self._idle,
            "/_atoll/deliveries": rules.state,
            "/_atoll/replays": replays.state,
            "/_atoll/faults": outages.state,
        }

    async def serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, as an ASGI application."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        try:
            fields = json.loads(body or b"{}")
            if not isinstance(fields, dict):
                raise ControlError(400, f"body: expected an object, not {type(fields).__name__}")
            status, answer = 200, self.answer(scope["method"], scope["path"], fields)
        except ControlError as error:
            status, answer = error.status, {"error": str(error)}
        except ValueError as error:
            status, answer = 400, {"error": f"body is not valid JSON: {error}"}
        payload = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    def answer(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer one request to ``/_atoll/...``.

        Raises:
            ControlError: unknown path, or a field that is missing or wrong.
        """
        match method, path:
            case "GET", path if path in self._views:
                return self._views[path]()
            case "PATCH", "/_atoll/replication":
                self._change_links(body)
                return self._tables.state()
            case "PATCH", "/_atoll/replays":
                self._replays.events_per_s = _pace(body)
                return self._replays.state()
            case "PUT", "/_atoll/faults":
                self._break(_field(body, "faults", list))
                return self._outages.state()
        raise ControlError(404, f"{method} {path} is not part of the control endpoint")

    def _status(self) -> dict[str, Any]:
        return {
            "cloud_id": self._cloud_id,
            "ministack": MINISTACK_VERSION,
            "replacements": [asdict(one) for one in REPLACEMENTS],
            "rejected_metric_lines": self._metrics.rejected_lines,
        }

    def _idle(self) -> dict[str, Any]:
        state = self._tables.state()
        return {name: state[name] for name in ("idle", "pending", "held")}

    def _break(self, faults: list[Any]) -> None:
        try:
            record = [Fault.from_json(one) for one in faults]
        except (TypeError, AttributeError) as error:
            raise ControlError(400, f"faults: {error}") from error
        self._outages.apply(record)
        self._faults_changed()

    def _change_links(self, body: dict[str, Any]) -> None:
        unknown = set(body) - {"source", "destination", "both", "lag_ms", "cut", "lose"}
        if unknown:
            raise ControlError(
                400, f"{sorted(unknown)[0]}: unknown; accepted: source, destination, both, lag_ms, cut, lose"
            )
        source, destination = _field(body, "source", str), _field(body, "destination", str)
        if source == destination:
            raise ControlError(400, f"destination: {destination!r} is the source; a link joins two regions")
        pairs = [(source, destination)]
        if body.get("both", True):
            pairs.append((destination, source))
        lag_ms, cut = body.get("lag_ms"), body.get("cut")
        if lag_ms is not None and (isinstance(lag_ms, bool) or not isinstance(lag_ms, (int, float)) or lag_ms < 0):
            raise ControlError(400, f"lag_ms: expected milliseconds, 0 or more, not {lag_ms!r}")
        if cut is not None and not isinstance(cut, bool):
            raise ControlError(400, f"cut: expected true or false, not {cut!r}")

        def change(log: ReplicationLog) -> None:
            for one, other in pairs:
                if lag_ms is not None:
                    log.set_lag(one, other, lag_ms)
                if cut is True:
                    log.cut(one, other, lose=bool(body.get("lose", False)))
                elif cut is False:
                    log.heal(one, other)

        self._tables.change(change)


def _pace(body: dict[str, Any]) -> float | None:
    if set(body) != {"events_per_s"}:
        raise ControlError(400, "events_per_s: missing, or not alone; null: no limit, 0: replays stand still")
    pace = body["events_per_s"]
    if pace is None:
        return None
    if isinstance(pace, bool) or not isinstance(pace, (int, float)) or pace < 0:
        raise ControlError(400, f"events_per_s: expected a number, 0 or more, or null, not {pace!r}")
    return float(pace)


def _field(body: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(body.get(name), kind):
        raise ControlError(400, f"{name}: missing or not a {kind.__name__}")
    return body[name]

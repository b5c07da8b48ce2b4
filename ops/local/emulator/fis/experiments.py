"""Experiments: from initiating over running to completed, stopped or failed.

Always:

- what an experiment breaks is in the record before it is broken, with the experiment as owner and the time of its end;
- when an action ends, however that came about, its own faults are taken out of the record and all others stay;
- the time is kept here, by a thread of the emulator: a client that is killed changes nothing;
- whoever changes the record holds its lock before this module's own, and requests take only the latter, for a moment:
  a request is never behind a file lock that `ops fault` holds while it waits for the emulator.

Statuses are those of the FIS API. https://docs.aws.amazon.com/fis/latest/APIReference/API_ExperimentState.html
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from ops.local.emulator.fis.actions import ACTIONS, Playing, duration_s
from ops.local.emulator.fis.resources import Resource
from ops.local.emulator.fis.templates import ALARM, Template, new_id, selected
from ops.local.emulator.scopes import Scope
from ops.local.record import Fault, Record

LOOK_EVERY_S = 0.25
ENDED = ("completed", "stopped", "failed", "cancelled")

logger = logging.getLogger("atoll")


class ResourceLookup(Protocol):
    """What experiments ask about the cloud."""

    def of_type(self, scope: Scope, kind: str) -> list[Resource]: ...

    def alarm_state(self, arn: str) -> str | None: ...


@dataclass
class Step:
    """One action of an experiment."""

    name: str
    body: dict[str, Any]
    status: str = "pending"
    reason: str = "Initial state"
    started: float | None = None
    ended: float | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def ends_at(self) -> float:
        return (self.started or 0.0) + duration_s(self.body["parameters"]["duration"])

    def end(self, status: str, reason: str, now: float) -> None:
        if self.status not in ("completed", "stopped", "cancelled", "skipped", "failed"):
            if self.status == "pending" and status == "stopped":
                status = "cancelled"  # it never ran
            self.status, self.reason, self.ended = status, reason, now

    def shown(self) -> dict[str, Any]:
        times = {"startTime": self.started, "endTime": self.ended}
        state = {"status": self.status, "reason": self.reason}
        return {**self.body, "state": state, **{name: at for name, at in times.items() if at is not None}}


@dataclass
class Experiment:
    """One run of a template, with what its template said when it started."""

    id: str
    scope: Scope
    template: dict[str, Any]
    tags: dict[str, str]
    created: float
    mode: str
    steps: list[Step]
    status: str = "initiating"
    reason: str = "Experiment is initiating."
    started: float | None = None
    ended: float | None = None
    resolved: dict[str, list[Resource]] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:fis:{self.scope.region}:{self.scope.account}:experiment/{self.id}"

    @property
    def active(self) -> bool:
        return self.status not in ENDED

    def shown(self) -> dict[str, Any]:
        """As ``Experiment``."""
        times = {"creationTime": self.created, "startTime": self.started, "endTime": self.ended}
        return {
            "id": self.id,
            "arn": self.arn,
            "experimentTemplateId": self.template["id"],
            "roleArn": self.template["roleArn"],
            "state": {"status": self.status, "reason": self.reason},
            "targets": self.template.get("targets", {}),
            "actions": {step.name: step.shown() for step in self.steps},
            "stopConditions": self.template["stopConditions"],
            "experimentOptions": {**self.template["experimentOptions"], "actionsMode": self.mode},
            "targetAccountConfigurationsCount": 0,
            "tags": dict(self.tags),
            **{name: at for name, at in times.items() if at is not None},
        }

    def summary(self) -> dict[str, Any]:
        """As ``ExperimentSummary``."""
        names = ("id", "arn", "experimentTemplateId", "state", "creationTime", "tags", "experimentOptions")
        return {name: value for name, value in self.shown().items() if name in names}


class ResolutionError(Exception):
    """A target names nothing."""


class Experiments:
    """Those of every account and region. ``clock`` is in unix seconds; ``apply`` breaks what the record says."""

    def __init__(
        self,
        record: Record,
        apply: Callable[[Sequence[Fault]], None],
        resources: ResourceLookup,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self._record, self._apply, self._resources = record, apply, resources
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._all: dict[str, Experiment] = {}

    # --- requests ----------------------------------------------------------------------------------------------

    def start(self, template: Template, tags: Mapping[str, str], mode: str = "run-all") -> Experiment:
        """Take an experiment in; it begins within moments."""
        steps = [Step(name, body) for name, body in template.body["actions"].items()]
        experiment = Experiment(new_id("EXP"), template.scope, template.shown(), dict(tags), self.clock(), mode, steps)
        with self._lock:
            self._all[experiment.id] = experiment
        self._woken.set()
        return experiment

    def stop(self, experiment: Experiment) -> bool:
        """Have an experiment stopped within moments; False if it has ended already."""
        with self._lock:
            if not experiment.active:
                return False
            experiment.status, experiment.reason = "stopping", "Stopping Experiment."
        self._woken.set()
        return True

    def of(self, scope: Scope) -> list[Experiment]:
        """Those of an account and region, newest first."""
        with self._lock:
            return [one for one in reversed(self._all.values()) if one.scope == scope]

    def wake(self) -> None:
        """Look now: the record has changed."""
        self._woken.set()

    # --- time --------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Look after experiments from now on, in a thread of its own that ends with the process."""
        threading.Thread(target=self._keep, daemon=True, name="experiments").start()

    def _keep(self) -> None:
        while True:
            self._woken.wait(LOOK_EVERY_S if self._active() else None)
            self._woken.clear()
            try:
                self.advance()
            except Exception:  # one look that failed must not be the last: faults would stay for ever
                logger.exception("experiments could not be looked after")
                time.sleep(LOOK_EVERY_S)

    def _active(self) -> list[Experiment]:
        with self._lock:
            return [one for one in self._all.values() if one.active]

    def advance(self) -> None:
        """Begin, go on with and end what is due."""
        if not self._active():
            return
        with self._record.held(), self._lock:
            before = self._record.read()
            faults = list(before)
            for experiment in [one for one in self._all.values() if one.active]:
                faults = self._advance(experiment, faults)
            if faults != before:
                # Recorded first: should this process end half-way, the faults are listed.
                self._record.write(faults)
                self._apply(faults)

    def _advance(self, experiment: Experiment, faults: list[Fault]) -> list[Fault]:
        now = self.clock()
        if experiment.status == "initiating":
            try:
                self._resolve(experiment)
            except ResolutionError as error:
                return self._end(experiment, "failed", str(error), faults)
            experiment.status, experiment.reason, experiment.started = "running", "Experiment is running.", now
        if (reason := self._why_stop(experiment, {one.id for one in faults})) is not None:
            return self._end(experiment, "stopped", reason, faults)
        if experiment.mode == "skip-all":
            for step in experiment.steps:
                step.end("skipped", "Action was skipped.", now)
        for step in experiment.steps:
            if step.status == "running" and step.ends_at <= now:
                step.end("completed", "Action was completed.", now)
                faults = [one for one in faults if one.id not in step.faults]
        completed = {step.name for step in experiment.steps if step.status == "completed"}
        for step in experiment.steps:
            if step.status == "pending" and completed >= set(step.body.get("startAfter") or ()):
                faults = faults + self._begin(experiment, step, now)
        if all(step.ended is not None for step in experiment.steps):
            return self._end(experiment, "completed", "Experiment completed.", faults)
        return faults

    def _resolve(self, experiment: Experiment) -> None:
        """Identify every target, once and before any action, as FIS does."""
        for name, target in experiment.template.get("targets", {}).items():
            there = self._resources.of_type(experiment.scope, target["resourceType"])
            if arns := target.get("resourceArns"):
                found = [one for one in there if any(_names(arn, one) for arn in arns)]
                missing = [arn for arn in arns if not any(_names(arn, one) for one in there)]
                if missing:
                    raise ResolutionError(f"Target {name}: there is no {missing[0]} in {experiment.scope.region}.")
            else:
                wanted = set(target["resourceTags"].items())
                found = [one for one in there if wanted <= set(one.tags.items())]
            count = selected(target["selectionMode"], len(found))
            experiment.resolved[name] = found if count == len(found) else random.sample(found, count)
            if not found and experiment.template["experimentOptions"]["emptyTargetResolutionMode"] == "fail":
                raise ResolutionError(f"Target resolution returned empty set: {name}.")
        for condition in experiment.template["stopConditions"]:
            if condition["source"] == ALARM and self._resources.alarm_state(condition["value"]) is None:
                raise ResolutionError(f"Stop condition: there is no {condition['value']}.")

    def _why_stop(self, experiment: Experiment, recorded: set[str]) -> str | None:
        if experiment.status == "stopping":
            return "Experiment stopped."
        if any(not recorded >= set(step.faults) for step in experiment.steps if step.status == "running"):
            return "Experiment halted: what it broke was healed (ops fault heal)."
        for condition in experiment.template["stopConditions"]:
            if condition["source"] == ALARM and self._resources.alarm_state(condition["value"]) == "ALARM":
                return f"Experiment halted by stop condition: {condition['value']}."
        return None

    @staticmethod
    def _begin(experiment: Experiment, step: Step, now: float) -> list[Fault]:
        resources = [one for target in (step.body.get("targets") or {}).values() for one in experiment.resolved[target]]
        if step.body.get("targets") and not resources:
            step.started = now
            step.end("skipped", "Action was skipped: its target is empty.", now)
            return []
        step.status, step.reason, step.started = "running", "Action is running.", now
        playing = Playing(
            name=step.name,
            owner=experiment.id,
            region=experiment.scope.region,
            since=_rfc3339(now),
            until=_rfc3339(step.ends_at),
            parameters=step.body["parameters"],
            resources=resources,
        )
        faults = ACTIONS[step.body["actionId"]].play(playing)
        step.faults = [fault.id for fault in faults]
        return faults

    def _end(self, experiment: Experiment, status: str, reason: str, faults: list[Fault]) -> list[Fault]:
        now = self.clock()
        for step in experiment.steps:
            step.end("cancelled" if status == "failed" else status, reason, now)
        experiment.status, experiment.reason, experiment.ended = status, reason, now
        return [one for one in faults if one.owner != experiment.id]


def _names(arn: str, resource: Resource) -> bool:
    """Whether an ARN is that of a resource, or of a version or alias of it."""
    return arn == resource.arn or arn.startswith(f"{resource.arn}:")


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")

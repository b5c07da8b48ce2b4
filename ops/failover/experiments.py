"""Experiments of AWS Fault Injection Service (FIS), which take a region's parts away in a drill and give them back.

Every experiment runs in the region that it hurts and ends there by its own duration, also when nobody is left to end
it. What a stage's drills have started is known by its tags, so that any machine can find and stop it. Waits are
bounded; an error says what was being done, in which region, and what to do next. ops/failover/templates.py makes the
requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from ops import stack
from ops.aws import Cloud, error_code, explained
from ops.errors import OpsError, UsageError
from ops.failover.templates import (
    TAG_PARTS,
    TAG_RUN,
    TAG_STAGE,
    healing_command,
    joined,
    longest_drill_s,
    ramp_up_s,
    request,
    require_parts,
    seconds_of,
    stop_alarms,
)
from ops.fanout import each

__all__ = [
    "Experiment",
    "Found",
    "Stopped",
    "find",
    "healing_command",
    "longest_drill_s",
    "look",
    "ramp_up_s",
    "refresh",
    "request",
    "require_parts",
    "start",
    "stop",
    "stop_alarms",
    "stop_all",
]

Progress = Callable[[str], None]
Sleep = Callable[[float], None]

# https://docs.aws.amazon.com/fis/latest/APIReference/API_ExperimentState.html
RUNNING = frozenset({"pending", "initiating", "running", "stopping"})
POLL_S = 1.0
# How long FIS may take to find the targets and begin.
BEGIN_S = 120.0
STOP_S = 120.0
# Of a region: as many pages are read, and as many ended experiments told of besides all that run.
PAGES, ENDED_SHOWN = 20, 20


@dataclass(frozen=True)
class Experiment:
    """One experiment as FIS last told of it. ``until`` is when it ends by itself; None before it has begun."""

    id: str
    template: str
    region: str
    parts: tuple[str, ...]
    state: str
    reason: str
    started: datetime | None
    ended: datetime | None
    run: str = ""
    created: datetime | None = None
    until: datetime | None = None

    @property
    def running(self) -> bool:
        """Whether it breaks something now, or may at any moment."""
        return self.state in RUNNING

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "region": self.region,
            "breaks": list(self.parts),
            "state": self.state,
            "reason": self.reason,
            "run": self.run,
            "since": _iso(self.started),
            "until": _iso(self.until if self.running else self.ended),
        }


@dataclass(frozen=True)
class Found:
    """The experiments of a stage, newest first, and the regions whose FIS gave no answer, each with why."""

    experiments: list[Experiment] = field(default_factory=list)
    unanswered: dict[str, str] = field(default_factory=dict)

    @property
    def running(self) -> list[Experiment]:
        return [experiment for experiment in self.experiments if experiment.running]

    def as_json(self) -> dict[str, Any]:
        return {"running": [experiment.as_json() for experiment in self.running], "unanswered": self.unanswered}


@dataclass(frozen=True)
class Stopped:
    """What :func:`stop_all` ended, and what it could not, by experiment id or region, each with why."""

    ended: list[Experiment] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"ended": [experiment.as_json() for experiment in self.ended], "failed": self.failed}


def start(
    cloud: Cloud,
    region: str,
    parts: Sequence[str],
    duration_s: int,
    run: str,
    *,
    deadline_s: float = BEGIN_S,
    progress: Progress = lambda _: None,
    sleep: Sleep = time.sleep,
) -> Experiment:
    """Take the parts away in ``region`` for ``duration_s``; return once they are, as far as FIS can tell.

    Safe to repeat: the same run with the same parts and region finds the experiment that it started before.

    Raises:
        UsageError: a region, part or duration that this stage's drills cannot have; nothing was started.
        OpsError: FIS refused or did not begin in time; then nothing is left running, or the message says what is.
    """
    stage = cloud.stage
    wanted = require_parts(stage, parts)
    asked = request(stage, cloud.account, region, wanted, duration_s, _outputs(cloud, stage.require_region(region)))
    tags, token = asked["tags"] | {TAG_RUN: run}, _token(run, region, wanted)
    fis = cloud.client("fis", region)
    progress(f"{region}: starting an experiment that takes {', '.join(wanted)} away for {duration_s} s")
    with explained(f"{region}: creating an experiment template"):
        template = fis.create_experiment_template(**asked | {"tags": tags, "clientToken": token})
    template_id = str(template["experimentTemplate"]["id"])
    try:
        with explained(f"{region}: starting an experiment of template {template_id}"):
            answer = fis.start_experiment(experimentTemplateId=template_id, clientToken=token, tags=tags)
    except OpsError:
        _delete_template(cloud, region, template_id)
        raise
    begun = _read(answer["experiment"], region)
    return _await_begin(cloud, begun, time.monotonic() + deadline_s, sleep)


def _outputs(cloud: Cloud, region: str) -> dict[str, str]:
    """The stack's outputs, where there is something of drills among them: a region that is away may not tell."""
    if not cloud.stage.has_drill_resources:
        return {}
    with explained(f"{region}: reading stack {cloud.stage.stack}"):
        return stack.read(cloud, region).outputs


def _await_begin(cloud: Cloud, experiment: Experiment, deadline: float, sleep: Sleep) -> Experiment:
    while experiment.state in ("pending", "initiating"):
        if time.monotonic() >= deadline:
            raise OpsError(
                f"{experiment.region}: experiment {experiment.id} is still {experiment.state}; it may begin yet",
                hint=f"End it: {healing_command(cloud.stage)}",
            )
        sleep(POLL_S)
        experiment = refresh(cloud, experiment)
    if not experiment.running and experiment.state != "completed":
        _delete_template(cloud, experiment.region, experiment.template)
        raise OpsError(
            f"{experiment.region}: experiment {experiment.id} {experiment.state}: {experiment.reason or 'no reason'}",
            hint="What it needs, and which alarms stop it at once: docs/failover-experiments.md",
        )
    return experiment


def find(cloud: Cloud, regions: Sequence[str] = ()) -> list[Experiment]:
    """The stage's experiments in ``regions`` (default: all), newest first.

    Raises:
        UsageError: a region is not in the stage.
        OpsError: FIS gave no answer somewhere; the message names each such region.
    """
    found = look(cloud, regions)
    if found.unanswered:
        raise OpsError("\n".join(found.unanswered.values()), hint="Run: ops drill list")
    return found.experiments


def look(cloud: Cloud, regions: Sequence[str] = ()) -> Found:
    """The same, for who can do with the regions that answer: those that run, and the newest that have ended."""
    wanted = [cloud.stage.require_region(region) for region in regions] or cloud.stage.regions
    answers = each(wanted, lambda region: _in_region(cloud, region))
    listed = [experiment for answer in answers.values() if isinstance(answer, list) for experiment in answer]
    unanswered = {region: answer for region, answer in answers.items() if isinstance(answer, str)}
    return Found(sorted(listed, key=_age, reverse=True), unanswered)


def _in_region(cloud: Cloud, region: str) -> list[Experiment] | str:
    """The experiments of one region, or why there is no telling."""
    try:
        with explained(f"{region}: listing experiments"):
            ours = _summaries(cloud, region)
        shown = [one for one in ours if one.running] + [one for one in ours if not one.running][:ENDED_SHOWN]
        return [refresh(cloud, one) for one in shown]
    except OpsError as error:
        return str(error)


def _summaries(cloud: Cloud, region: str) -> list[Experiment]:
    fis = cloud.client("fis", region)
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    for _ in range(PAGES):
        page = fis.list_experiments(maxResults=100, **more)
        found += [one for one in page["experiments"] if one.get("tags", {}).get(TAG_STAGE) == cloud.stage.stage]
        if not page.get("nextToken"):
            break
        more = {"nextToken": page["nextToken"]}
    return sorted((_read(one, region) for one in found), key=_age, reverse=True)


def refresh(cloud: Cloud, experiment: Experiment) -> Experiment:
    """The experiment as it is now.

    Raises:
        OpsError: FIS gave no answer, or does not know it.
    """
    with explained(f"{experiment.region}: reading experiment {experiment.id}"):
        answer = cloud.client("fis", experiment.region).get_experiment(id=experiment.id)
    return _read(answer["experiment"], experiment.region)


def stop(cloud: Cloud, experiment: Experiment, *, deadline_s: float = STOP_S, sleep: Sleep = time.sleep) -> Experiment:
    """End the experiment, wait until it has ended, and delete its template. One that has ended is left as it is.

    Raises:
        OpsError: FIS gave no answer, or the experiment had not ended in time; the message says when it ends by itself.
    """
    deadline = time.monotonic() + deadline_s
    with explained(f"{experiment.region}: stopping experiment {experiment.id}"):
        experiment = _ask_to_stop(cloud, experiment)
    while experiment.running:
        if time.monotonic() >= deadline:
            by_itself = f"; it ends by itself at {_iso(experiment.until)}" if experiment.until else ""
            raise OpsError(
                f"{experiment.region}: experiment {experiment.id} is {experiment.state} after {deadline_s:.0f} s"
                f"{by_itself}",
                hint=f"Repeat: {healing_command(cloud.stage)}",
            )
        sleep(POLL_S)
        experiment = refresh(cloud, experiment)
    _delete_template(cloud, experiment.region, experiment.template)
    return experiment


def _ask_to_stop(cloud: Cloud, experiment: Experiment) -> Experiment:
    try:
        cloud.client("fis", experiment.region).stop_experiment(id=experiment.id)
    except ClientError as error:
        # FIS has no error of its own for one that has ended.
        if error_code(error) != "ValidationException":
            raise
        ended = refresh(cloud, experiment)
        if ended.running and ended.state != "stopping":
            raise
        return ended
    return refresh(cloud, experiment)


def stop_all(
    cloud: Cloud,
    regions: Sequence[str] = (),
    *,
    deadline_s: float = STOP_S,
    progress: Progress = lambda _: None,
    sleep: Sleep = time.sleep,
) -> Stopped:
    """End every running experiment of the stage. What cannot be ended keeps nothing else from being ended."""
    found = look(cloud, regions)
    for region, why in found.unanswered.items():
        progress(f"{region}: FIS gives no answer: {why}")

    def end(experiment: Experiment) -> Experiment | str:
        progress(f"{experiment.region}: stopping {experiment.id} ({', '.join(experiment.parts)})")
        try:
            return stop(cloud, experiment, deadline_s=deadline_s, sleep=sleep)
        except OpsError as error:
            return str(error)

    outcomes = each(found.running, end)
    failed = {experiment.id: outcome for experiment, outcome in outcomes.items() if isinstance(outcome, str)}
    ended = [outcome for outcome in outcomes.values() if isinstance(outcome, Experiment)]
    return Stopped(ended, found.unanswered | failed)


def _delete_template(cloud: Cloud, region: str, template: str) -> None:
    """A template is of one run, and nobody starts it again; one that cannot be deleted harms nobody."""
    try:
        with explained(f"{region}: deleting experiment template {template}"):
            cloud.client("fis", region).delete_experiment_template(id=template)
    except OpsError:
        return


def _token(run: str, region: str, parts: Sequence[str]) -> str:
    token = f"{run}/{region}/{joined(parts)}"
    if any(letter.isspace() for letter in token) or not run:
        raise UsageError(f"run: {run!r} cannot name an experiment; accepted: any text without white space")
    return token


def _read(told: Mapping[str, Any], region: str) -> Experiment:
    state, tags, started = told.get("state", {}), told.get("tags", {}), told.get("startTime")
    lengths = [
        length
        for action in told.get("actions", {}).values()
        if (length := seconds_of(action.get("parameters", {}).get("duration", ""))) is not None
    ]
    return Experiment(
        id=told["id"],
        template=told.get("experimentTemplateId", ""),
        region=region,
        parts=tuple(part for part in tags.get(TAG_PARTS, "").split("+") if part),
        state=state.get("status", "pending"),
        reason=state.get("reason", ""),
        started=started,
        ended=told.get("endTime"),
        run=tags.get(TAG_RUN, ""),
        created=told.get("creationTime"),
        until=started + timedelta(seconds=max(lengths)) if started and lengths else None,
    )


def _age(experiment: Experiment) -> datetime:
    return experiment.created or experiment.started or datetime.min.replace(tzinfo=UTC)


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None

"""The executions of one run, one a region: started once, watched, stopped, and asked why they failed.

What always holds: an execution's name has the plan's token in it, so that whoever applies the same plan meanwhile joins
what runs and starts nothing twice; every wait has a deadline; whoever stops waiting stops what runs.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code, explained
from ops.errors import OpsError
from ops.fanout import each

Progress = Callable[[str], None]
ATTEMPTS = 20  # executions of one plan and size of sketch
POLL_S = (0.5, 5.0)  # at first, and at most
TAKE_UP = "Finished segments are kept for a while: apply the same token to go on from there."
SHOWN = 3  # failed segments that are named
CAUSE_CHARACTERS = 400


@dataclass(frozen=True)
class Asked:
    """What one region is to do. ``name`` is what its executions' names begin with."""

    region: str
    state_machine: str
    name: str
    segments: tuple[int, ...]
    run: Mapping[str, Any]

    @property
    def input(self) -> str:
        return json.dumps({"segments": list(self.segments), "run": dict(self.run)}, separators=(",", ":"))

    def execution(self, attempt: int) -> str:
        """The ARN of an execution of this name: Step Functions makes it of the state machine's."""
        return f"{self.state_machine.replace(':stateMachine:', ':execution:')}:{self.name}-{attempt}"


def start(cloud: Cloud, asked: Asked) -> str:
    """Start an execution, or find the one that runs already. Returns its ARN.

    Raises:
        OpsError: it could not be started.
    """
    client = cloud.client("stepfunctions", asked.region)
    with explained(f"{asked.region}: starting {asked.name}"):
        for attempt in range(1, ATTEMPTS + 1):
            found = _status(client, asked.execution(attempt))
            if found == "RUNNING":
                return asked.execution(attempt)
            if found:
                continue  # over: what it read is there, and what it did not read is asked for anew
            try:
                made = client.start_execution(
                    stateMachineArn=asked.state_machine, name=f"{asked.name}-{attempt}", input=asked.input
                )
            except ClientError as error:
                if error_code(error) != "ExecutionAlreadyExists":
                    raise
                return asked.execution(attempt)  # somebody else was quicker by a moment
            return str(made["executionArn"])
    raise OpsError(f"{asked.region}: {ATTEMPTS} executions of {asked.name} have ended", hint="Plan again.")


def follow(
    cloud: Cloud,
    running: Mapping[str, str],
    deadline_s: float,
    progress: Progress,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until all have succeeded. ``running``: region -> ARN.

    Raises:
        OpsError: one failed, with the first failed segments and their causes, or the time is over. Whoever waits
            stops the others.
    """
    end, open_, pause_s, said = clock() + deadline_s, dict(running), POLL_S[0], dict[str, str]()
    while open_:
        for region, arn in list(open_.items()):
            with explained(f"{region}: looking at execution {arn.rpartition(':')[2]}"):
                found = cloud.client("stepfunctions", region).describe_execution(executionArn=arn)
                counts = _counts(cloud, region, arn)
            if counts and said.get(region) != counts:
                said[region] = counts
                progress(f"{region}: {counts}")
            if found["status"] == "SUCCEEDED":
                del open_[region]
            elif found["status"] != "RUNNING":
                raise OpsError(
                    f"{region}: the execution ended as {found['status']}: {_why(cloud, region, arn, found)}",
                    hint=TAKE_UP,
                )
        if open_ and clock() >= end:
            raise OpsError(f"{', '.join(open_)}: not done within {deadline_s:,.0f} s")
        if open_:
            sleep(pause_s)
            pause_s = min(pause_s * 1.5, POLL_S[1])


def stop(cloud: Cloud, running: Mapping[str, str], cause: str) -> None:
    """Stop what still runs; what is over already stays as it is."""

    def one(region: str) -> None:
        try:
            cloud.client("stepfunctions", region).stop_execution(executionArn=running[region], cause=cause)
        except ClientError as error:
            if error_code(error) not in ("ValidationException", "ExecutionDoesNotExist"):
                raise

    with explained(f"stopping executions in {', '.join(running)}"):
        each(running, one)


def _status(client: Any, arn: str) -> str:
    """Of an execution; empty when there is none."""
    try:
        return str(client.describe_execution(executionArn=arn)["status"])
    except ClientError as error:
        if error_code(error) != "ExecutionDoesNotExist":
            raise
        return ""


def _map_run(cloud: Cloud, region: str, arn: str) -> str:
    runs = cloud.client("stepfunctions", region).list_map_runs(executionArn=arn)["mapRuns"]
    return str(runs[0]["mapRunArn"]) if runs else ""


def _counts(cloud: Cloud, region: str, arn: str) -> str:
    """How many segments are done; empty before the first begins."""
    run = _map_run(cloud, region, arn)
    if not run:
        return ""
    counts = cloud.client("stepfunctions", region).describe_map_run(mapRunArn=run)["itemCounts"]
    return f"{counts['succeeded']} of {counts['total']} segments, {counts['running']} being read"


def _why(cloud: Cloud, region: str, arn: str, found: Mapping[str, Any]) -> str:
    """The first failed segments with their causes; else what the execution itself says."""
    own = f"{found.get('error', 'no reason given')}: {found.get('cause', '')}"
    run = _map_run(cloud, region, arn)
    if not run:
        return own
    client = cloud.client("stepfunctions", region)
    failed = client.list_executions(mapRunArn=run, statusFilter="FAILED", maxResults=SHOWN)["executions"]
    lines = []
    for one in failed:
        told = client.describe_execution(executionArn=one["executionArn"])
        segment = json.loads(told.get("input") or "{}").get("segment", "?")
        lines.append(f"segment {segment}: {told.get('error', '')}: {_cause(told.get('cause', ''))}")
    return "; ".join(lines) or own


def _cause(text: str) -> str:
    """What a function raised is JSON with a trace: its message is enough here, the trace is in the function's log."""
    with suppress(ValueError, AttributeError):
        text = str(json.loads(text).get("errorMessage", text))
    return text[:CAUSE_CHARACTERS]

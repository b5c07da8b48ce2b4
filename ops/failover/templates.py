"""What a drill asks of AWS Fault Injection Service (FIS): the parts of an outage as one experiment template. No calls.

A template takes every part away at the same moment and for the same time; FIS gives them back by itself when the time
is over, when somebody stops the experiment, or when a stop condition is met. The stop conditions are the composite
alarms of what the experiment must *not* hurt (deploy/resources/drills.yml, docs/alarms.md).

Actions, their parameters and targets: https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ops.errors import OpsError, UsageError
from ops.stage import Stage

# What the Lambda actions take; the others take these too.
SHORTEST_S, LONGEST_S = 60, 12 * 3600
# How often the extension in the functions looks whether there is a fault, before one and during one: so long an
# outage may take to come and to go. The first is ours (deploy/resources/drills.yml), the second AWS's.
# https://docs.aws.amazon.com/fis/latest/userguide/use-lambda-actions.html
RAMP_UP_S, RAMP_DOWN_S = 20, 20
# "Tables may continue to be replicated for up to 5 minutes after action begins": the actions reference.
REPLICATION_RAMP_UP_S = 300

ORDER = ("api", "calls", "processing", "replication")
# The functions that answer requests; the processors are the stage's.
API_FUNCTIONS = ("ingest", "query", "status")
ROLE_OUTPUT = "DrillRoleArn"
# A stop condition that holds whatever the drill takes away, and one for each part that it leaves alone.
ALWAYS, GUARDED = "dead-letters", ("api", "processing", "replication")

TAG_STAGE, TAG_RUN, TAG_PARTS = "atoll:stage", "atoll:run", "atoll:parts"


def request(  # noqa: PLR0917 - what a template is made of
    stage: Stage, account: str, region: str, parts: Sequence[str], duration_s: int, stack_outputs: Mapping[str, str]
) -> dict[str, Any]:
    """CreateExperimentTemplate's parameters but for the client token and the tag of a run, which are the caller's.

    Raises:
        UsageError: a part or a duration that this stage's drills cannot have.
        OpsError: the region's stack has no role for experiments yet.
    """
    wanted = require_parts(stage, parts)
    length = _duration(require_duration(duration_s))
    targets = {part: target for part in wanted if (target := _target(stage, account, region, part)) is not None}
    return {
        "description": f"Drill: {', '.join(wanted)} of {stage.prefix} in {region} away for {duration_s} s",
        "roleArn": _role(stage, account, region, stack_outputs),
        "targets": targets,
        "actions": {part: _action(part, length) for part in wanted},
        "stopConditions": _stop_conditions(stage, account, region, wanted),
        "experimentOptions": {"accountTargeting": "single-account", "emptyTargetResolutionMode": "fail"},
        "tags": {TAG_STAGE: stage.stage, TAG_PARTS: joined(wanted)},
    }


def require_parts(stage: Stage, parts: Sequence[str]) -> tuple[str, ...]:
    """The parts in their fixed order; raise UsageError when a drill of this stage cannot take one of them away."""
    accepted = stage.failover.parts
    unknown = [part for part in parts if part not in accepted]
    if unknown or not parts:
        problem = f"{', '.join(map(repr, unknown))} cannot be taken away here" if unknown else "none is named"
        raise UsageError(
            f"parts: {problem}; accepted: {', '.join(accepted) or 'none, this stage has no drills'}",
            hint=f"What a drill may break is failover.parts in {stage.shown_file}.",
        )
    if "replication" in parts and len(stage.regions) == 1:
        raise UsageError("parts: 'replication': the stage has one region, which replicates to nobody")
    return tuple(part for part in ORDER if part in parts)


def require_duration(duration_s: int) -> int:
    """``duration_s``; raise UsageError when FIS's actions do not last so long or so short."""
    if not SHORTEST_S <= duration_s <= LONGEST_S:
        raise UsageError(
            f"duration: {duration_s} s; accepted: {SHORTEST_S} to {LONGEST_S} s, as for every action of FIS"
        )
    return duration_s


def longest_drill_s(stage: Stage, parts: Sequence[str]) -> int:
    """How long these parts may be away without an event ending in a dead-letter queue, as seconds.

    A message that a processor fails on comes back after the visibility timeout, and every delivery counts: the last one
    of ``max_receive_count`` must find the processor well, and it comes no earlier than that count less one timeouts
    after the first. Where the fault is an extension's in the functions, it may outlive the experiment by a poll.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
    """
    if "processing" not in parts:
        return LONGEST_S
    processors = stage.processors
    outlived = RAMP_DOWN_S if stage.failover.lambda_extension else 0
    return max(0, min(LONGEST_S, (processors.max_receive_count - 1) * processors.visibility_timeout_s - outlived))


def ramp_up_s(stage: Stage, parts: Sequence[str]) -> int:
    """How long it may take until all of these parts are away on AWS; a shorter drill may have shown nothing."""
    if not stage.has_drill_resources:
        return 0
    waits = {"api": RAMP_UP_S, "processing": RAMP_UP_S, "replication": REPLICATION_RAMP_UP_S}
    return max((waits.get(part, 0) for part in parts), default=0)


def stop_alarms(stage: Stage, parts: Sequence[str]) -> tuple[str, ...]:
    """The names of the alarms that end a drill of these parts; none on a cloud without composite alarms."""
    if not stage.has_drill_resources:
        return ()
    hurt = set(parts)
    if "replication" in parts and getattr(stage.table, "consistency", "eventual") == "strong":
        # A replica that is cut off takes no write and no strong read then: the whole region is hurt.
        hurt |= {"api", "processing"}
    spared = [ALWAYS, *(part for part in GUARDED if part not in hurt)]
    return tuple(f"{stage.prefix}-drill-{name}" for name in spared)


def healing_command(stage: Stage) -> str:
    """What an operator types to end every drill of the stage."""
    return f"ops drill stop --stage {stage.stage}"


def joined(parts: Sequence[str]) -> str:
    """Parts as a tag's value has them; a comma is not allowed there."""
    return "+".join(parts)


def seconds_of(text: str) -> int | None:
    """What FIS calls ``PT1H30M`` as seconds; None where it is no such duration."""
    found = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?", text)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return "PT" + (f"{minutes}M" if minutes else "") + (f"{rest}S" if rest else "")


def _role(stage: Stage, account: str, region: str, stack_outputs: Mapping[str, str]) -> str:
    if not stage.has_drill_resources:
        # A cloud that plays the experiments plays no role for them; the request names one all the same.
        return f"arn:aws:iam::{account}:role/{stage.prefix}-drill-{region}"
    if ROLE_OUTPUT not in stack_outputs:
        raise OpsError(
            f"{region}: stack {stage.stack} has no role for drills (output {ROLE_OUTPUT})",
            hint=f"Deploy it: ops deploy --stage {stage.stage} --region {region}",
        )
    return stack_outputs[ROLE_OUTPUT]


def _target(stage: Stage, account: str, region: str, part: str) -> dict[str, Any] | None:
    if part == "calls":
        return None
    here = f"{region}:{account}"
    if part == "replication":
        return _all("aws:dynamodb:global-table", [f"arn:aws:dynamodb:{here}:table/{stage.table_name}"])
    names = API_FUNCTIONS if part == "api" else stage.processor_names
    return _all("aws:lambda:function", [f"arn:aws:lambda:{here}:function:{stage.function(name)}" for name in names])


def _all(resource_type: str, arns: list[str]) -> dict[str, Any]:
    return {"resourceType": resource_type, "resourceArns": arns, "selectionMode": "ALL"}


def _action(part: str, length: str) -> dict[str, Any]:
    match part:
        case "calls":  # of the local cloud: AWS has no action that resets an operator's own calls
            return {"actionId": "atoll:reset-calls", "parameters": {"duration": length}}
        case "replication":
            return {
                "actionId": "aws:dynamodb:global-table-pause-replication",
                "parameters": {"duration": length},
                "targets": {"Tables": part},
            }
    # A function that is away does nothing: an error after the work was done would be another fault.
    fails = {"duration": length, "invocationPercentage": "100", "preventExecution": "true"}
    return {"actionId": "aws:lambda:invocation-error", "parameters": fails, "targets": {"Functions": part}}


def _stop_conditions(stage: Stage, account: str, region: str, parts: Sequence[str]) -> list[dict[str, str]]:
    here = f"arn:aws:cloudwatch:{region}:{account}:alarm"
    alarms = stop_alarms(stage, parts)
    return [{"source": "aws:cloudwatch:alarm", "value": f"{here}:{name}"} for name in alarms] or [{"source": "none"}]

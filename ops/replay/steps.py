"""The steps of a plan: what killed runs left, the tap, the rules that stand in for others, the slices. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code
from ops.errors import UsageError
from ops.plan import Step
from ops.replay import admission, temporary
from ops.replay.archives import Archive
from ops.replay.receivers import Rule
from ops.replay.selection import NothingInCommonError, Selection, intersect
from ops.replay.slices import Slice
from ops.window import text_of


def stand_in_steps(
    cloud: Cloud, source: Archive, rules: Sequence[Rule], selection: Selection, own: bool
) -> tuple[list[Rule], list[Step], list[str]]:
    """The temporary rules that a selection needs, one for each rule that receives; and why there cannot be one."""
    if selection.everything:
        return list(rules), [], []
    judged, steps, reasons = list[Rule](), list[Step](), list[str]()
    for rule in rules:
        if not rule.receives or not rule.targets:
            judged.append(rule)
            continue
        own_pattern = {name: value for name, value in rule.pattern.items() if name != "replay-name"}
        index = len(steps)
        try:
            pattern = intersect(own_pattern, selection.pattern(own))
        except NothingInCommonError:
            judged.append(replace(rule, would_receive="no: its pattern takes nothing of the selection"))
            continue
        except UsageError as error:
            judged.append(rule)
            reasons.append(f"rule {rule.name} and the selection: {error}")
            continue
        name = temporary.rule_name(cloud.stage, "0" * 16, index)
        reasons += [
            reason
            for target in rule.targets
            if (reason := _not_admitted(cloud, target, f"{rule.arn.rpartition('/')[0]}/{name}"))
        ]
        after = {
            "bus": source.bus,
            "rule": rule.name,
            "index": index,
            "pattern": pattern,
            "targets": list(rule.targets),
        }
        steps.append(
            Step(action="create", resource=f"temporary rule for {rule.name}", region=source.region, after=after)
        )
        judged.append(rule)
    return judged, steps, reasons


def _not_admitted(cloud: Cloud, target: dict[str, Any], rule_arn: str) -> str:
    try:
        return admission.refusal(cloud, target, rule_arn)
    except ClientError as error:
        return f"the resource policy of {target['Arn']} cannot be read: {error_code(error)}"


def tap_steps(source: Archive, pattern: dict[str, Any]) -> list[Step]:
    after = {"bus": source.bus, "pattern": pattern, "targets": "tap"}
    return [
        Step(action="create", resource="tap queue", region=source.region, after={"queue": None}),
        Step(action="create", resource="tap rule", region=source.region, after=after),
    ]


def slice_step(source: Archive, one: Slice, count: int, rules: list[str] | None) -> Step:
    begin, end = text_of(one.start), text_of(one.end)
    return Step(
        action="run",
        resource=f"slice {one.number} of {count} of archive {source.name}",
        region=source.region,
        detail=f"{begin} to {end}",
        after={
            "slice": one.number,
            "archive": source.arn,
            "destination": source.bus_arn,
            "from": begin,
            "to": end,
            "rules": rules,
        },
    )


def leftover_steps(cloud: Cloud, source: Archive, token: str, *, resuming: bool) -> tuple[list[Step], list[str]]:
    """What killed runs left: the steps that remove it, and what is said of what stays."""
    steps, warnings = list[Step](), list[str]()
    used: dict[str, bool] = {}
    for one in temporary.leftovers(cloud, source.region, source.bus):
        what = f"temporary {'rule' if one.rule else 'queue'} {one.name}"
        if one.token == token:
            warnings.append(f"{what} is left of an earlier run of this plan, which the next one takes up")
            continue
        if one.token not in used:
            used[one.token] = temporary.in_use(cloud, source.region, one.token)
        if used[one.token]:
            warnings.append(f"{what} belongs to a replay that is running")
        elif resuming:
            # Removing it would make another plan of this one, which is half done.
            warnings.append(f"{what} is left of another plan; a later plan removes it")
        else:
            warnings.append(f"{what} is left of a run that was killed; it is removed, so let no such run be alive")
            before = {"rule": one.rule, "bus": one.bus} if one.rule else {"queue_url": one.queue_url}
            steps.append(Step(action="delete", resource=what, region=source.region, before=before))
    return steps, warnings

"""Exports of all replicas as of one second: planned, asked for once, and waited for.

What always holds: a plan names the second, so that its token stands for exactly these exports; an export's ClientToken
has the plan's token in it, so that applying it again makes no second one; every wait has a deadline, and whoever stops
waiting is told how to take the exports up, since an export that was begun cannot be stopped.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ExportTableToPointInTime.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from ops import bucket
from ops.aws import Cloud, error_code, explained
from ops.bucket import EXPORTS
from ops.divergence.exports.manifests import FULL, INCREMENTAL
from ops.divergence.replicas import Described, Replica
from ops.errors import InterruptedRunError, OpsError, UsageError
from ops.fanout import each
from ops.plan import Outcome, Plan, Report, Step, authorize
from ops.prices import TABLE_EXPORT_USD_PER_GB

Progress = Callable[[str], None]
# An export takes minutes also of a small table, and hours of a very large one.
DEADLINE_S = 12 * 3600.0
POLL_S = (0.5, 30.0)  # at first, and at most
USUAL_S = 300.0
# Of an incremental export.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport_Requesting.html
SHORTEST, LONGEST = timedelta(minutes=15), timedelta(hours=24)
GB = 1e9
# What one machine of two cores reads from S3, of all replicas together.
ITEMS_PER_S = 400_000


@dataclass(frozen=True)
class Window:
    """The seconds that a replica can be exported as of. ``problem``: why it cannot be exported at all."""

    earliest: datetime | None = None
    latest: datetime | None = None
    problem: str = ""


def plan(
    cloud: Cloud,
    replicas: Sequence[Replica],
    described: Mapping[Replica, Described | None],
    *,
    at: str = "",
    since: str = "",
    export_format: str = "DYNAMODB_JSON",
    keep: str = "",
    parameters: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of one export of each replica, a step a replica.

    Args:
        at: the second, RFC 3339; empty: the latest that all replicas can be exported as of.
        since: only what changed since; empty: everything.
        keep: another place than the operations buckets.

    Raises:
        UsageError: ``since`` and ``at`` are no window that DynamoDB exports.
    """
    found = each(replicas, lambda one: _window(cloud, one, described[one]))
    latest = [one.latest for one in found.values() if one.latest is not None]
    second = datetime.fromisoformat(at).astimezone(UTC) if at else min(latest, default=datetime.now(UTC))
    second = second.replace(microsecond=0)
    begin = datetime.fromisoformat(since).astimezone(UTC).replace(microsecond=0) if since else None
    if begin is not None and not SHORTEST <= second - begin <= LONGEST:
        raise UsageError(
            f"since: {_text(begin)} is {second - begin} before {_text(second)}; an incremental export is of 15 minutes "
            "to 24 hours"
        )
    places = {one: bucket.place(cloud, one.region, keep) for one in replicas}
    there = each(set(places.values()), lambda one: bucket.exists(cloud, one))
    steps = []
    for replica in replicas:
        place, one = places[replica], described[replica]
        problem = found[replica].problem or _outside(found[replica], begin or second, second)
        if not problem and not there[place]:
            problem = (
                f"there is no bucket {place.bucket}: ops run provision --stage {cloud.stage.stage}, or -p keep=s3://..."
            )
        resource = f"export of {replica.label}"
        if problem or one is None:
            steps.append(Step(action="refuse", resource=resource, region=replica.region, detail=problem))
            continue
        # Not how many items: DynamoDB counts anew every few hours, and the token is to stay good.
        kind = f"changes since {_text(begin)}" if begin else "all items"
        steps.append(
            Step(
                action="run",
                resource=resource,
                region=replica.region,
                detail=f"{replica.table} as of {_text(second)} in {export_format}: {kind}; to {place.uri(EXPORTS)}",
                after={
                    "label": replica.label,
                    "table_arn": str(one.raw["TableArn"]),
                    "at": _text(second),
                    "since": _text(begin) if begin else "",
                    "format": export_format,
                    "bucket": place.bucket,
                    "prefix": place.key(EXPORTS),
                },
            )
        )
    whole = [one for one in described.values() if one is not None]
    items, size_bytes = sum(one.items for one in whole), sum(one.size_bytes for one in whole)
    return Plan(
        journaled=True,
        runbook="divergence",
        stage=cloud.stage.stage,
        account=cloud.account,
        regions=[one.region for one in replicas],
        parameters={**(parameters or {"mode": "export"}), "at": _text(second)},
        steps=steps,
        estimates={
            "items": items,
            "size_bytes": size_bytes,
            "duration_s": round(USUAL_S + items / ITEMS_PER_S, 1),
            "cost_usd": round(size_bytes / GB * TABLE_EXPORT_USD_PER_GB, 4),
        },
    )


def make(
    cloud: Cloud,
    plan: Plan,
    token: str,
    progress: Progress = lambda line: None,
    report: Report = lambda outcome: None,
    *,
    deadline_s: float = DEADLINE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Have the exports of a plan made, and wait until they are complete. Returns their ARNs, in the plan's order.

    Raises:
        RefusedError: the token is not this plan's, or a replica cannot be exported.
        OpsError: an export failed, with DynamoDB's reason, or is not complete in time.
        InterruptedRunError: Ctrl-C; the exports go on, and the hint says how to take them up.
    """
    authorize(plan, token)
    begun, steps = clock(), plan.changes
    arns = each(range(len(steps)), lambda number: _start(cloud, steps[number], f"{plan.token}-{number}"))
    progress(f"{len(arns)} exports: {', '.join(arns.values())}")
    take_up = f"Take them up when they are complete: -p mode=export -p exports={','.join(arns.values())}"
    open_, pause_s = dict(arns), POLL_S[0]
    try:
        while open_:
            for number, arn in list(open_.items()):
                found = _look(cloud, steps[number], arn)
                if found["ExportStatus"] == "COMPLETED":
                    del open_[number]
                    report(
                        Outcome(steps[number], f"exported {found.get('ItemCount', 0):,} items: {arn}", clock() - begun)
                    )
                    progress(f"{steps[number].after['label']}: exported {found.get('ItemCount', 0):,} items")
                elif found["ExportStatus"] == "FAILED":
                    raise OpsError(
                        f"{arn} failed: {found.get('FailureCode')}: {found.get('FailureMessage')}",
                        hint="Mend that and plan again with another -p at=; the same plan would find this export.",
                    )
            if open_ and clock() - begun >= deadline_s:
                raise OpsError(f"{len(open_)} exports are not complete within {deadline_s:,.0f} s", hint=take_up)
            if open_:
                sleep(pause_s)
                pause_s = min(pause_s * 1.5, POLL_S[1])
    except KeyboardInterrupt as stop:
        raise InterruptedRunError("stopped: the exports go on and cannot be stopped", hint=take_up) from stop
    return list(arns.values())


def _start(cloud: Cloud, step: Step, token: str) -> str:
    after: Mapping[str, str] = step.after
    at = datetime.fromisoformat(after["at"])
    asked: dict[str, Any] = {"ExportTime": at, "ExportType": FULL}
    if after["since"]:
        window = {"ExportFromTime": datetime.fromisoformat(after["since"]), "ExportToTime": at}
        view = {"ExportViewType": "NEW_AND_OLD_IMAGES"}
        asked = {"ExportType": INCREMENTAL, "IncrementalExportSpecification": window | view}
    with explained(f"{after['label']}: exporting {after['table_arn']}"):
        made = cloud.client("dynamodb", step.region or "").export_table_to_point_in_time(
            TableArn=after["table_arn"],
            S3Bucket=after["bucket"],
            S3Prefix=after["prefix"],
            ExportFormat=after["format"],  # type: ignore[arg-type]
            ClientToken=token,
            **asked,
        )
    return str(made["ExportDescription"]["ExportArn"])


def _look(cloud: Cloud, step: Step, arn: str) -> Mapping[str, Any]:
    with explained(f"{step.after['label']}: looking at {arn}"):
        return cloud.client("dynamodb", step.region or "").describe_export(ExportArn=arn)["ExportDescription"]


def _window(cloud: Cloud, replica: Replica, described: Described | None) -> Window:
    arn = str(described.raw.get("TableArn", "")) if described else ""
    if replica.profile or arn.split(":")[4:5] != [cloud.account]:
        return Window(problem="only this account's tables are exported; export it there and give -p exports=")
    with explained(f"{replica.label}: looking at point-in-time recovery"):
        try:
            answer = cloud.client("dynamodb", replica.region).describe_continuous_backups(TableName=replica.table)
        except ClientError as error:
            if error_code(error) not in ("TableNotFoundException", "ResourceNotFoundException"):
                raise
            return Window(problem=f"there is no table {replica.table}")
    found = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if found.get("PointInTimeRecoveryStatus") != "ENABLED":
        return Window(
            problem="point-in-time recovery is off: turn it on (table.point_in_time_recovery in the stage file, then "
            f"ops run provision; or aws dynamodb update-continuous-backups --table-name {replica.table} --region "
            f"{replica.region} --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true)"
        )
    return Window(found.get("EarliestRestorableDateTime"), found.get("LatestRestorableDateTime"))


def _outside(window: Window, begin: datetime, end: datetime) -> str:
    earliest, latest = window.earliest, window.latest
    if (earliest and begin < earliest.replace(microsecond=0)) or (latest and end > latest):
        told = f"{_text(earliest) if earliest else '?'} to {_text(latest) if latest else '?'}"
        return (
            f"{_text(begin if end <= (latest or end) else end)} is outside of what can be exported: {told}; set -p at="
        )
    return ""


def _text(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

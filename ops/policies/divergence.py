"""Grants of the ``divergence`` runbook, a part a mode."""

from __future__ import annotations

from collections.abc import Iterator

from ops.bucket import EXPORTS, FINDINGS, FLEET, REPAIR
from ops.divergence.reserved import NAMESPACE
from ops.policies.grant import GENERATED, Grant, Names
from ops.policies.shared import keys, metrics, reading_items, stack


def reading_replicas(names: Names) -> Iterator[Grant]:
    actions = ("dynamodb:Scan", "dynamodb:BatchGetItem", "dynamodb:DescribeTimeToLive")
    yield Grant("Items", actions, names.tables)
    yield from reading_items(names)


def replica_settings(names: Names) -> Iterator[Grant]:
    """What replicas tell of themselves, and whether replication runs."""
    settings = ("dynamodb:DescribeContinuousBackups", "dynamodb:GetResourcePolicy")
    yield Grant("ReplicaSettings", settings, names.tables)
    yield from keys(names, "ReplicaKey", ("kms:DescribeKey",))
    yield from metrics(names)


def heartbeats(names: Names) -> Iterator[Grant]:
    """Those that a killed run left, and those of an apply."""
    table = names.tables
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    own = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [f"{NAMESPACE}{one}" for one in names.regions]}}
    yield Grant("Heartbeats", ("dynamodb:GetItem",), table, condition=own)
    writes = ("dynamodb:PutItem", "dynamodb:DeleteItem")
    yield Grant("WriteHeartbeats", writes, table, changes=True, condition=own)


def timing_replication(names: Names) -> Iterator[Grant]:
    """Heartbeats where nothing else is read of the tables."""
    yield Grant("TimesToLive", ("dynamodb:DescribeTimeToLive",), names.tables)
    yield from heartbeats(names)
    yield from keys(names, "TableKey", ("kms:Decrypt",), behind="dynamodb:GetItem")


def findings(names: Names) -> Iterator[Grant]:
    """What a comparison confirmed, kept in S3; without this, it is in the run's directory only."""
    why = "findings are named after their run"
    yield Grant("Findings", ("s3:PutObject",), names.kept(f"{FINDINGS}/*"), why, changes=True)
    yield from keys(names, "FindingsKey", ("kms:GenerateDataKey",), behind="s3:PutObject", changes=True)


def buckets(names: Names) -> Iterator[Grant]:
    """Whether the operations buckets are there, and what is in them."""
    yield Grant("Buckets", ("s3:ListBucket",), names.kept())


def fleet_states(names: Names) -> Iterator[Grant]:
    """Where the fleet's state machines are, which the stacks tell."""
    if names.stage.divergence.fleet:
        yield from stack(names)


def fleet(names: Names) -> Iterator[Grant]:
    """Mode ``fleet``: the state machine of each region, and what its functions leave in the operations buckets. Beside
    ``stack``, which says where the state machines are, and ``buckets``."""
    if not names.stage.divergence.fleet:
        return
    buckets = [names.stage.operations_bucket(names.account, region) for region in names.stage.regions]
    name = names.stage.fleet
    yield Grant("Fleet", ("states:StartExecution",), names.everywhere("states", f"stateMachine:{name}"), changes=True)
    why = "an execution's name has its plan's token in it"
    actions = ("states:DescribeExecution", "states:StopExecution", "states:ListMapRuns")
    yield Grant("Executions", actions, names.everywhere("states", f"execution:{name}:*"), why, changes=True)
    # A segment's own execution, and the run of the Map that it belongs to: who failed, and why.
    why = f"an iteration's id: {GENERATED}"
    own = names.everywhere("states", f"execution:{name}/Segments:*")
    yield Grant("Segments", ("states:DescribeExecution",), own, why, changes=True)
    own = names.everywhere("states", f"mapRun:{name}/Segments:*")
    yield Grant("MapRuns", ("states:DescribeMapRun", "states:ListExecutions"), own, why, changes=True)
    why = "what was read of a segment is kept under its plan's token"
    kept = tuple(f"arn:aws:s3:::{bucket}/{FLEET}/*" for bucket in buckets)
    yield Grant("Sketches", ("s3:GetObject", "s3:DeleteObject"), kept, why, changes=True)
    yield from keys(names, "SketchesKey", ("kms:Decrypt",), behind="s3:GetObject", changes=True)


def exporting(names: Names) -> Iterator[Grant]:
    """Mode ``export``: the making of exports, which an apply asks for and DynamoDB writes as whoever asked, and their
    reading, which needs no token. Beside ``buckets``; ``replica_settings``, which has the window of point-in-time
    recovery; and ``findings``, which has the use of the buckets' keys for writing."""
    table = names.tables
    why = f"an export's id: {GENERATED}"
    exports = tuple(f"{arn}/export/*" for arn in table)
    yield Grant("SeeExports", ("dynamodb:DescribeExport",), exports, why)
    files, why = names.kept(f"{EXPORTS}/AWSDynamoDB/*"), "an export's files are under its id"
    yield Grant("ReadExports", ("s3:GetObject",), files, why)
    yield from keys(names, "ReadExportsKey", ("kms:Decrypt",), behind="s3:GetObject")
    making = "dynamodb:ExportTableToPointInTime"
    yield Grant("Export", (making,), table, changes=True)
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport_Requesting.html
    writing = ("s3:AbortMultipartUpload", "s3:PutObject", "s3:PutObjectAcl")
    yield Grant("WriteExports", writing, files, why, behind=making, changes=True)


def repairing(names: Names) -> Iterator[Grant]:
    """Modes ``repair`` and ``undo``: what a comparison confirmed, the writes of an apply, and the images that are kept
    before them. Beside the ledger, which has the listing of the buckets and the use of their keys."""
    table = names.tables
    yield Grant("Items", ("dynamodb:BatchGetItem", "dynamodb:DescribeTimeToLive"), table)
    yield from keys(names, "TableKey", ("kms:Decrypt",), behind="dynamodb:BatchGetItem")
    writes = ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")
    yield Grant("RepairItems", writes, table, changes=True)
    why = "findings are named after their run"
    yield Grant("ReadFindings", ("s3:GetObject",), names.kept(f"{FINDINGS}/*"), why)
    images, why = names.kept(f"{REPAIR}/*"), "images are kept under their plan's token, a chunk an object"
    yield Grant("ReadImages", ("s3:GetObject",), images, why)
    yield Grant("KeepImages", ("s3:PutObject",), images, why, changes=True)

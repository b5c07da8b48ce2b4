"""Which export is of which replica, and whether these exports can be compared at all.

What always holds: each replica has exactly one, all of them are of the same kind and the same second, and an export
that is not complete is not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code, explained
from ops.divergence.exports.manifests import SUMMARY, Manifest, load
from ops.divergence.exports.reading import Source
from ops.divergence.replicas import Described, Replica, client
from ops.errors import OpsError, RefusedError, UsageError
from ops.fanout import each

ARN = re.compile(
    r"(?P<table>arn:[a-z-]+:dynamodb:(?P<region>[a-z0-9-]+):\d{12}:table/[A-Za-z0-9_.-]{3,255})/export/\S+"
)
URI = re.compile(rf"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])/(?P<key>\S*{re.escape(SUMMARY)})")
ACCEPTED = f"ARNs of exports, or s3://bucket/.../{SUMMARY}"


def locate(
    cloud: Cloud, replicas: Sequence[Replica], described: Mapping[Replica, Described | None], exports: Sequence[str]
) -> list[Source]:
    """The export of each replica, in the order of ``replicas``, with its manifest verified.

    Raises:
        UsageError: one is no export's address, or of none of the replicas; or a replica has none, or two.
        RefusedError: they are of different kinds or times, or one is not complete.
        OpsError: a manifest is missing or damaged.
    """
    tables = {str(one.raw.get("TableArn", "")): replica for replica, one in described.items() if one is not None}
    found = each(exports, lambda text: _manifest(cloud, tables, text))
    sources: dict[Replica, Source] = {}
    for text, (s3, manifest) in found.items():
        replica = tables.get(manifest.table_arn)
        if replica is None:
            raise UsageError(
                f"exports: {text} is of {manifest.table_arn}, which is none of the replicas: {', '.join(tables)}"
            )
        if replica in sources:
            raise UsageError(f"exports: {text} and {sources[replica].manifest.uri} are both of {replica.label}")
        sources[replica] = Source(replica.label, s3, manifest)
    missing = [one.label for one in replicas if one not in sources]
    if missing:
        raise UsageError(f"exports: there is none of {', '.join(missing)}; give one of each replica")
    ordered = [sources[one] for one in replicas]
    _comparable(ordered)
    return ordered


def _comparable(sources: Sequence[Source]) -> None:
    if len({one.manifest.incremental for one in sources}) > 1:
        kinds = "; ".join(f"{one.label}: {'incremental' if one.manifest.incremental else 'full'}" for one in sources)
        raise RefusedError(f"exports: full and incremental ones cannot be compared: {kinds}")
    for what, times in (
        ("of", {one.label: one.manifest.at for one in sources}),
        ("since", {one.label: one.manifest.since or 0.0 for one in sources}),
    ):
        if len({int(at) for at in times.values()}) > 1:
            told = "; ".join(
                f"{label}: {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}" for label, at in times.items()
            )
            raise RefusedError(
                f"exports: they are not {what} the same second, so what was written between would differ: {told}",
                hint="Have them made together: the same without exports.",
            )


def _manifest(cloud: Cloud, tables: Mapping[str, Replica], text: str) -> tuple[Any, Manifest]:
    if named := URI.fullmatch(text):
        bucket, key, region = named["bucket"], named["key"], cloud.stage.home_region
    elif named := ARN.fullmatch(text):
        replica = tables.get(named["table"])
        if replica is None:
            raise UsageError(f"exports: {text} is of none of the replicas: {', '.join(tables)}")
        bucket, key = _complete(cloud, replica, text)
        region = named["region"]
    else:
        raise UsageError(f"exports: {text!r} is no export; accepted: {ACCEPTED}")
    s3 = cloud.client("s3", region)

    def fetch(name: str) -> bytes | None:
        with explained(f"reading s3://{bucket}/{name}"):
            try:
                return s3.get_object(Bucket=bucket, Key=name)["Body"].read()
            except ClientError as error:
                if error_code(error) in ("NoSuchKey", "NoSuchBucket", "404"):
                    return None
                raise

    return s3, load(fetch, bucket, key)


def _complete(cloud: Cloud, replica: Replica, arn: str) -> tuple[str, str]:
    """Bucket and key of the manifest of a complete export."""
    with explained(f"{replica.label}: looking at {arn}"):
        try:
            found = client(cloud, replica).describe_export(ExportArn=arn)["ExportDescription"]
        except ClientError as error:
            if error_code(error) != "ExportNotFoundException":
                raise
            raise UsageError(f"exports: there is no {arn} (DynamoDB forgets exports after 90 days)") from error
    status = found["ExportStatus"]
    if status == "FAILED":
        raise OpsError(f"{arn} failed: {found.get('FailureCode')}: {found.get('FailureMessage')}", hint="Export again.")
    if status != "COMPLETED":
        raise RefusedError(f"{arn} is {status}", hint="Try again when it is complete; -p exports= takes it up then.")
    return found["S3Bucket"], found["ExportManifest"]

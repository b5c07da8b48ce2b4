"""Where the runbooks keep what outlives them: the ledger of what they did, messages that nothing could take, and what
comparisons and repairs leave.

One bucket a region, made by the ``provision`` runbook, or another place that a run names. What always holds: keys are
relative to the place; the stage's own bucket is written and read only while it is this account's, since a bucket's name
is the whole world's; a bucket that is not there holds nothing, and cannot be written to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Cloud, error_code, explained
from ops.errors import OpsError, UsageError

LEDGER = "ledger"
QUARANTINE = "quarantine"
# Of segments that the functions of a fleet read, until the run that asked for them has them.
FLEET = "fleet"
# Of replayed slices, beside the ledger, whose objects are entries and nothing else.
KEYS_HEARD = "keys/replay"
# Of replicas, as DynamoDB writes them.
EXPORTS = "exports"
# What comparisons confirmed, by run.
FINDINGS = "findings"
# Items as they were before a repair, by its plan's token.
REPAIR = "repair"
# Of runbooks and suites, by stage.
REPORTS = "reports"
# Who is at what now: an object for each thing that must not be done twice at once.
LEASES = "leases"

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")
_NO_BUCKET = ("NoSuchBucket", "404", "NotFound")


@dataclass(frozen=True)
class Place:
    """A bucket, as asked for in ``region``, and what every key in it begins with (empty, or without a slash at the
    end)."""

    bucket: str
    prefix: str
    region: str

    def key(self, key: str) -> str:
        """The whole key of one that is relative to the place."""
        return f"{self.prefix}/{key}" if self.prefix else key

    def uri(self, key: str = "") -> str:
        return f"s3://{self.bucket}/{self.key(key)}"


def place(cloud: Cloud, region: str, keep: str = "") -> Place:
    """Where a run in ``region`` keeps its records: the region's operations bucket, or what ``keep`` says.

    Args:
        keep: ``s3://bucket/prefix``, the prefix optional.

    Raises:
        UsageError: ``keep`` is no such URI.
    """
    if not keep:
        return Place(cloud.stage.operations_bucket(cloud.account, region), "", region)
    return Place(*parse(keep), region)


def parse(keep: str) -> tuple[str, str]:
    """Bucket and prefix of ``s3://bucket/prefix``, without a slash at the end.

    Raises:
        UsageError: ``keep`` is no such URI.
    """
    found = _PLACE.fullmatch(keep.strip())
    prefix = (found[2] or "").strip("/") if found else ""
    if found is None or "//" in prefix:
        raise UsageError(f"keep: {keep!r} is no place in S3; accepted: s3://bucket or s3://bucket/prefix")
    return found[1], prefix


def exists(cloud: Cloud, place: Place) -> bool:
    """Whether the bucket is there.

    Raises:
        OpsError: it is another account's, or these credentials may not look.
    """
    with explained(f"looking for bucket {place.bucket}"):
        try:
            cloud.client("s3", place.region).head_bucket(Bucket=place.bucket, **owner(cloud, place))
        except ClientError as error:
            if error_code(error) in _NO_BUCKET:
                return False
            raise
    return True


def put(cloud: Cloud, place: Place, key: str, body: bytes, content_type: str = "application/json") -> None:
    """Write one object, in the place of what is there under this key.

    Raises:
        OpsError: it was not written; where the bucket is missing, the hint says who makes it.
    """
    with explained(f"writing {place.uri(key)}"):
        try:
            cloud.client("s3", place.region).put_object(
                Bucket=place.bucket, Key=place.key(key), Body=body, ContentType=content_type, **owner(cloud, place)
            )
        except ClientError as error:
            if error_code(error) != "NoSuchBucket":
                raise
            raise OpsError(f"writing {place.uri(key)}: there is no such bucket", hint=hint(cloud, place)) from error


def get(cloud: Cloud, place: Place, key: str) -> bytes | None:
    """The object, or None when it, or its bucket, is not there."""
    with explained(f"reading {place.uri(key)}"):
        try:
            found = cloud.client("s3", place.region).get_object(
                Bucket=place.bucket, Key=place.key(key), **owner(cloud, place)
            )
        except ClientError as error:
            if error_code(error) in ("NoSuchKey", *_NO_BUCKET):
                return None
            raise
        return found["Body"].read()


def delete(cloud: Cloud, place: Place, key: str) -> None:
    """Take one object away, if it is there; a bucket that keeps versions keeps it as an earlier one."""
    with explained(f"deleting {place.uri(key)}"):
        try:
            cloud.client("s3", place.region).delete_object(
                Bucket=place.bucket, Key=place.key(key), **owner(cloud, place)
            )
        except ClientError as error:
            if error_code(error) not in _NO_BUCKET:
                raise


def keys(cloud: Cloud, place: Place, prefix: str, limit: int = 10_000) -> Iterator[tuple[str, datetime, int]]:
    """Key, time of the last change and size in bytes of each object below ``prefix``, by key; none without a bucket."""
    own = len(place.key(""))
    with explained(f"listing {place.uri(prefix)}"):
        try:
            pages = (
                cloud.client("s3", place.region)
                .get_paginator("list_objects_v2")
                .paginate(
                    Bucket=place.bucket,
                    Prefix=place.key(prefix),
                    PaginationConfig={"MaxItems": limit},
                    **owner(cloud, place),
                )
            )
            for page in pages:
                for found in page.get("Contents", []):
                    yield found["Key"][own:], found["LastModified"].astimezone(UTC), found["Size"]
        except ClientError as error:
            if error_code(error) not in _NO_BUCKET:
                raise


def owner(cloud: Cloud, place: Place) -> dict[str, Any]:
    """Of the stage's own bucket: refused by S3 unless it is this account's. Elsewhere it may be anyone's.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
    """
    own = place.bucket == cloud.stage.operations_bucket(cloud.account, place.region)
    return {"ExpectedBucketOwner": cloud.account} if own else {}


def hint(cloud: Cloud, place: Place) -> str:
    """What to do where the bucket is missing."""
    if owner(cloud, place):
        return f"Make it: ops run provision --stage {cloud.stage.stage}; or name another: -p keep=s3://bucket/prefix"
    return "Make it, or name another: -p keep=s3://bucket/prefix"

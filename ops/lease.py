"""A lease: one holder at a time, on any machine, of something that must not be done twice at once.

It is an object in the home region's operations bucket, written only if nobody else has written meanwhile (S3's
conditional writes). The holder renews it while it works. What always holds: two holders at once are possible only
when the first one could not renew for the whole of the lease, and is told so at its next look; a holder that was
killed is followed once its lease has run out; time is S3's own, so clocks need not agree.

    with lease.hold(cloud, "report-daily") as held:
        ...
        held.check()   # before what must not be done twice

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from ops import bucket
from ops.aws import Cloud, caller, error_code, explained
from ops.bucket import LEASES, Place
from ops.errors import OpsError, RefusedError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

LASTS_S = 120.0
# How often it is renewed while it lasts: two renewals may fail and it is still held.
RENEWALS = 4
ATTEMPTS = 3
_LOST = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409", "404")


@dataclass(frozen=True)
class Holder:
    """Who holds it. ``since`` and ``lasts_until`` are UTC, by S3's clock."""

    by: str
    process: str
    since: str
    lasts_s: float
    lasts_until: datetime | None = None

    def __str__(self) -> str:
        return f"{self.by} ({self.process}), since {self.since}"


class HeldError(RefusedError):
    """Somebody else holds the lease; nothing was changed."""


class Lease:
    """A lease that is held, until it is released or lost."""

    def __init__(self, kept: _Kept, holder: Holder, etag: str) -> None:
        self._kept, self._holder, self._etag = kept, holder, etag
        self._over, self._lost = threading.Event(), ""
        self._renewing = threading.Thread(target=self._renew, name=f"lease of {kept.name}", daemon=True)

    def check(self) -> None:
        """Raise OpsError if it was lost: somebody else may be at work."""
        if self._lost:
            raise OpsError(f"{self._kept.uri}: the lease was lost: {self._lost}")

    def start(self) -> None:
        """Renew it from now on, in a thread of its own."""
        self._renewing.start()

    def _renew(self) -> None:
        failures = 0
        while not self._over.wait(self._holder.lasts_s / RENEWALS):
            try:
                self._etag = self._kept.write(self._holder, IfMatch=self._etag)
                failures, problem = 0, ""
            except (ClientError, BotoCoreError) as error:
                if isinstance(error, ClientError) and error_code(error) in _LOST:
                    self._lost = "somebody else took it"
                    return
                failures, problem = failures + 1, str(error)
            if failures == RENEWALS:
                self._lost = f"it could not be renewed: {problem}"
                return

    def release(self) -> None:
        """Give it back; what was lost is somebody else's, and stays."""
        self._over.set()
        self._renewing.join(timeout=self._holder.lasts_s)
        if not self._lost:
            self._kept.delete(self._etag)


@dataclass(frozen=True)
class _Kept:
    """The object that is the lease."""

    cloud: Cloud
    place: Place
    name: str

    @property
    def uri(self) -> str:
        return self.place.uri(f"{LEASES}/{self.name}.json")

    @property
    def _object(self) -> dict[str, Any]:
        where = {"Bucket": self.place.bucket, "Key": self.place.key(f"{LEASES}/{self.name}.json")}
        return where | bucket.owner(self.cloud, self.place)

    @property
    def _s3(self) -> S3Client:
        return self.cloud.client("s3", self.place.region)

    def write(self, holder: Holder, **condition: str) -> str:
        """Its new ETag."""
        fields = asdict(holder)
        del fields["lasts_until"]
        request: dict[str, Any] = self._object | {"Body": json.dumps(fields).encode(), **condition}
        answer = self._s3.put_object(**request, ContentType="application/json")
        return str(answer["ETag"])

    def delete(self, etag: str) -> None:
        try:
            self._s3.delete_object(**self._object, IfMatch=etag)
        except ClientError as error:
            if error_code(error) not in _LOST:
                raise

    def read(self) -> tuple[Holder, str, bool] | None:
        """Who holds it, its ETag, and whether it has run out; None when it is not there."""
        try:
            found = self._s3.get_object(**self._object)
        except ClientError as error:
            if error_code(error) in ("NoSuchKey", "NoSuchBucket", "404"):
                return None
            raise
        try:
            holder = Holder(**json.loads(found["Body"].read()))
        except (ValueError, TypeError):
            # Whatever it is, nothing here wrote it; it is followed once it is as old as a lease gets.
            holder = Holder("unknown", "unknown", "unknown", LASTS_S)
        until = found["LastModified"].astimezone(UTC) + timedelta(seconds=holder.lasts_s)
        told = found["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(told) if told else datetime.now(UTC)
        return replace(holder, lasts_until=until), found["ETag"], now >= until


@contextmanager
def hold(cloud: Cloud, name: str, *, lasts_s: float = LASTS_S, keep: str = "") -> Iterator[Lease]:
    """Hold the lease of this name for as long as the block runs.

    Args:
        lasts_s: how long it outlasts a holder that was killed.
        keep: another place than the operations bucket, ``s3://bucket/prefix``.

    Raises:
        HeldError: somebody else holds it; the message says who, since when and until when.
        OpsError: the bucket is missing or cannot be written to.
    """
    kept = _Kept(cloud, bucket.place(cloud, cloud.stage.home_region, keep), name)
    holder = Holder(
        by=caller(cloud).rpartition("/")[2],
        process=f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}",
        since=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        lasts_s=lasts_s,
    )
    with explained(f"taking the lease {kept.uri}"):
        held = Lease(kept, holder, _take(kept, holder))
    held.start()
    try:
        yield held
    finally:
        with explained(f"giving the lease {kept.uri} back"):
            held.release()


def holder(cloud: Cloud, name: str, keep: str = "") -> Holder | None:
    """Who holds it now; None when nobody does, or whoever did let it run out."""
    kept = _Kept(cloud, bucket.place(cloud, cloud.stage.home_region, keep), name)
    with explained(f"reading the lease {kept.uri}"):
        found = kept.read()
    return found[0] if found and not found[2] else None


def _take(kept: _Kept, holder: Holder) -> str:
    """The ETag of the lease once it is ours. It may be given back while it is looked at: tried a few times."""
    for _ in range(ATTEMPTS):
        try:
            return kept.write(holder, IfNoneMatch="*")
        except ClientError as error:
            if error_code(error) == "NoSuchBucket":
                hint = bucket.hint(kept.cloud, kept.place)
                raise OpsError(f"the lease {kept.uri}: there is no such bucket", hint=hint) from error
            if error_code(error) not in _LOST:
                raise
        found = kept.read()
        if found is None:
            continue
        earlier, etag, over = found
        if not over:
            raise HeldError(
                f"{kept.name}: already under way: {earlier}",
                hint=f"Wait for it. If it was killed: it is free again at {earlier.lasts_until:%H:%M:%S} UTC.",
            )
        try:
            return kept.write(holder, IfMatch=etag)
        except ClientError as error:
            if error_code(error) not in _LOST:
                raise
    raise HeldError(f"{kept.name}: others take the lease in turn", hint="Try again.")
